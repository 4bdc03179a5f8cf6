# The nodes on ROS 2 Jazzy, Ubuntu 24.04, CPU; torch's CUDA wheels with --build-arg TORCH_INDEX=https://pypi.org/simple.
#   docker build -f docker/jazzy.Dockerfile -t perception:jazzy .
#   docker run --rm --net host --ipc host perception:jazzy
FROM ros:jazzy-ros-base-noble AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv=3.12.* python3-pip=24.* \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY perception perception
# System packages stay visible: rclpy is one of them.
RUN python3 -m venv --system-site-packages /opt/perception \
    && /opt/perception/bin/pip install torch==2.13.0 --index-url "$TORCH_INDEX" \
    && /opt/perception/bin/pip install . -c constraints.txt
COPY ros_nodes /ws/src/perception_ros
WORKDIR /ws
RUN . /opt/ros/jazzy/setup.bash \
    && /opt/perception/bin/python -m colcon build --packages-select perception_ros --install-base /opt/ws --merge-install

FROM ros:jazzy-ros-base-noble
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
       ros-jazzy-vision-msgs=4.1.* ros-jazzy-tf2-msgs=0.36.* ros-jazzy-rmw-fastrtps-cpp=8.4.* \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --home-dir /var/lib/perception --uid 10001 perception
COPY --from=build /opt/perception /opt/perception
COPY --from=build /opt/ws /opt/ws
COPY docker/entrypoint.sh docker/healthy.py /usr/local/bin/
ENV ROS_DISTRO=jazzy RMW_IMPLEMENTATION=rmw_fastrtps_cpp PATH=/opt/perception/bin:$PATH \
    NUMBA_CACHE_DIR=/var/lib/perception/.cache/numba MPLCONFIGDIR=/var/lib/perception/.cache/matplotlib
USER 10001
WORKDIR /var/lib/perception
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s CMD ["entrypoint.sh", "python", "/usr/local/bin/healthy.py"]
ENTRYPOINT ["entrypoint.sh"]
CMD ["ros2", "launch", "perception_ros", "detection.launch.py"]
