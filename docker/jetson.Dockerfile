# The nodes on a Jetson with JetPack 6 (L4T r36, Ubuntu 22.04, Python 3.10) and ROS 2 Humble.
#   docker build -f docker/jetson.Dockerfile -t perception:jetson .
#   docker run --rm --runtime nvidia --net host --ipc host perception:jetson
FROM nvcr.io/nvidia/l4t-jetpack:r36.4.0 AS ros
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates=2024* curl=7.81.* gnupg=2.2.* \
    && curl -fsSL https://raw.githubusercontent.com/ros/rosdistro/master/ros.key -o /usr/share/keyrings/ros.gpg \
    && echo "deb [signed-by=/usr/share/keyrings/ros.gpg] http://packages.ros.org/ros2/ubuntu jammy main" \
       > /etc/apt/sources.list.d/ros2.list \
    && apt-get update \
    && apt-get install -y --no-install-recommends \
       ros-humble-ros-base=0.10.* ros-humble-vision-msgs=4.1.* ros-humble-rmw-fastrtps-cpp=6.2.* python3-venv=3.10.* \
    && rm -rf /var/lib/apt/lists/*

FROM ros AS build
# Wheels of torch for JetPack are NVIDIA's; jetson-ai-lab keeps them as an index.
ARG TORCH_INDEX=https://pypi.jetson-ai-lab.io/jp6/cu126
ARG TORCH=torch==2.8.0
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-colcon-common-extensions=0.3.* \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY perception perception
# NVIDIA's torch is older than the one that constraints.txt pins: everything else is held, torch and triton are not.
RUN python3 -m venv --system-site-packages /opt/perception \
    && grep -vE '^(torch|triton)==' constraints.txt > held.txt \
    && /opt/perception/bin/pip install "$TORCH" --index-url "$TORCH_INDEX" \
    && /opt/perception/bin/pip install . -c held.txt
COPY ros_nodes /ws/src/perception_ros
WORKDIR /ws
RUN . /opt/ros/humble/setup.bash \
    && /opt/perception/bin/python -m colcon build --packages-select perception_ros --install-base /opt/ws --merge-install

FROM ros
RUN useradd --create-home --home-dir /var/lib/perception --uid 10001 --groups video perception
COPY --from=build /opt/perception /opt/perception
COPY --from=build /opt/ws /opt/ws
COPY docker/entrypoint.sh docker/healthy.py /usr/local/bin/
ENV ROS_DISTRO=humble RMW_IMPLEMENTATION=rmw_fastrtps_cpp PATH=/opt/perception/bin:$PATH \
    NUMBA_CACHE_DIR=/var/lib/perception/.cache/numba MPLCONFIGDIR=/var/lib/perception/.cache/matplotlib
USER 10001
WORKDIR /var/lib/perception
HEALTHCHECK --interval=15s --timeout=10s --start-period=120s CMD ["entrypoint.sh", "python", "/usr/local/bin/healthy.py"]
ENTRYPOINT ["entrypoint.sh"]
CMD ["ros2", "launch", "perception_ros", "detection.launch.py"]
