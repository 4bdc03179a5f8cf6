# The library and its command on a CPU.
#   docker build -f docker/cpu.Dockerfile -t perception:cpu .
#   docker run --rm -v "$PWD:/data" perception:cpu detect scan.bin --out results
FROM python:3.11.9-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY perception perception
RUN python -m venv /opt/perception \
    && /opt/perception/bin/pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu \
    && /opt/perception/bin/pip install . -c constraints.txt

FROM python:3.11.9-slim-bookworm
RUN useradd --create-home --home-dir /var/lib/perception --uid 10001 perception
COPY --from=build /opt/perception /opt/perception
ENV PATH=/opt/perception/bin:$PATH NUMBA_CACHE_DIR=/var/lib/perception/.cache/numba MPLCONFIGDIR=/var/lib/perception/.cache/matplotlib
USER 10001
WORKDIR /data
HEALTHCHECK --interval=60s --timeout=30s --start-period=30s CMD ["perception", "models"]
ENTRYPOINT ["perception"]
CMD ["--help"]
