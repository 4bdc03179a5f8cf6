# The library and its command on an NVIDIA GPU; torch's wheels bring CUDA, the host brings the driver.
#   docker build -f docker/cuda.Dockerfile -t perception:cuda .
#   docker run --rm --gpus all -v "$PWD:/data" perception:cuda detect scan.bin --out results --device cuda
FROM nvidia/cuda:12.6.3-base-ubuntu22.04 AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3.10=3.10.* python3.10-venv=3.10.* \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY perception perception
RUN python3.10 -m venv /opt/perception && /opt/perception/bin/pip install . -c constraints.txt

FROM nvidia/cuda:12.6.3-base-ubuntu22.04
# gcc: Triton compiles a small launcher the first time that a kernel runs.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
       python3.10=3.10.* python3.10-dev=3.10.* gcc=4:11.* libc6-dev=2.35-* \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --home-dir /var/lib/perception --uid 10001 perception
COPY --from=build /opt/perception /opt/perception
ENV PATH=/opt/perception/bin:$PATH NUMBA_CACHE_DIR=/var/lib/perception/.cache/numba MPLCONFIGDIR=/var/lib/perception/.cache/matplotlib
USER 10001
WORKDIR /data
HEALTHCHECK --interval=60s --timeout=60s --start-period=60s \
    CMD ["python", "-c", "import torch; torch.zeros(1, device='cuda')"]
ENTRYPOINT ["perception"]
CMD ["--help"]
