"""ament_python package; also `pip install ./ros_nodes`, which needs no ROS for the tools over bags."""

from glob import glob

from setuptools import find_packages, setup

NAME = "perception_ros"

setup(
    name=NAME,
    version="0.1.0",
    packages=find_packages(include=[f"{NAME}*"]),
    package_data={NAME: ["parameters/*.yaml"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", glob("launch/*.launch.py")),
        (f"share/{NAME}/config", glob("config/*.yaml") + glob("config/*.rviz")),
        (f"share/{NAME}/fastdds", glob("fastdds/*.xml")),
    ],
    install_requires=["setuptools", "lidar-perception"],
    extras_require={"bags": ["rosbags>=0.10"]},
    python_requires=">=3.10",
    zip_safe=False,
    maintainer="The perception developers",
    maintainer_email="perception@localhost",
    description="ROS 2 nodes for 3D perception on lidar point clouds",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            f"{name}_node = perception_ros.nodes.main:{name}"
            for name in ("detection", "keypoints", "flow", "places", "trees", "composed")
        ]
        + ["player = perception_ros.nodes.player:main", "perception_bag = perception_ros.bags.command:main"]
    },
)
