# NCAL Serve. `docker build .` makes the CPU image, `docker build --target gpu .` the GPU one, and
# `--target bulk` or `--target bulk-gpu` that of the nodes of a Ray cluster (docs/bulk.md).
# With --build-arg REVISION=$(git rev-parse HEAD) its labels say what it was made from. Needs
# BuildKit. Packages come from PyPI or, with --build-arg PIP_INDEX_URL=…, from a mirror; one that
# asks for a password comes in a pip.conf: --secret id=pip,src=pip.conf, and stays out of every
# layer.

ARG PYTHON_IMAGE=python:3.11-slim-bookworm


FROM ${PYTHON_IMAGE} AS code
WORKDIR /app
COPY bulk bulk
COPY contract contract
COPY engine engine
COPY labelling labelling
COPY ncal ncal
COPY ncal_client ncal_client
COPY service service
COPY tables tables
RUN chmod -R a+rX . && python3 -m compileall -q .


FROM ${PYTHON_IMAGE} AS packages-cpu
WORKDIR /build
COPY deploy/setup/environment.py deploy/setup/
COPY deploy/setup/locks/cpu.txt deploy/setup/locks/
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/root/.cache/pip \
    python3 deploy/setup/environment.py /opt/venv cpu --image
# An image installs nothing further, and OpenVINO's plugins for Intel's GPUs and NPUs, 61 MB of
# its wheel, are of no use without the device.
RUN /opt/venv/bin/python -m pip uninstall --yes --quiet pip setuptools \
    && rm -f /opt/venv/lib/python3*/site-packages/openvino/libs/libopenvino_intel_gpu_plugin.so \
             /opt/venv/lib/python3*/site-packages/openvino/libs/libopenvino_intel_npu_plugin.so \
             /opt/venv/lib/python3*/site-packages/openvino/libs/cache.json


FROM ${PYTHON_IMAGE} AS packages-gpu
WORKDIR /build
COPY deploy/setup/environment.py deploy/setup/
COPY deploy/setup/locks/gpu.txt deploy/setup/locks/
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/root/.cache/pip \
    python3 deploy/setup/environment.py /opt/venv gpu --image
# The one file that Triton would else compile at the start of the service.
COPY deploy/setup/prebuilt_triton.py /opt/venv/prebuilt/
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/* \
    && /opt/venv/bin/python /opt/venv/prebuilt/prebuilt_triton.py


FROM ${PYTHON_IMAGE} AS packages-bulk
WORKDIR /build
COPY deploy/setup/environment.py deploy/setup/
COPY deploy/setup/locks/cpu.txt deploy/setup/locks/bulk.txt deploy/setup/locks/
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/root/.cache/pip \
    python3 deploy/setup/environment.py /opt/venv cpu --extra bulk --image


FROM packages-gpu AS packages-bulk-gpu
COPY deploy/setup/locks/bulk.txt deploy/setup/locks/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/root/.cache/pip \
    python3 deploy/setup/environment.py /opt/venv gpu --extra bulk --image


FROM ${PYTHON_IMAGE} AS base
# Everything may be read-only, but for a tmpfs at /tmp.
RUN groupadd --gid 10001 ncal \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin ncal
ENV HF_HUB_OFFLINE=1 \
    HOME=/tmp \
    NCAL_HOST=0.0.0.0 \
    PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /app
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/venv/bin/python", "-m", "service"]
# Ready means that a real prompt went through every engine. No proxy stands in between. The CPU's
# engine is ready in seconds; a 7B on a GPU may take a quarter of an hour. A start that fails ends
# by itself.
HEALTHCHECK --interval=10s --timeout=7s --start-period=900s --retries=3 \
    CMD ["/opt/venv/bin/python", "-I", "-S", "-c", "from http.client import HTTPConnection as H; c = H('127.0.0.1', 8000, timeout=6); c.request('GET', '/health/ready'); raise SystemExit(c.getresponse().status != 200)"]


FROM base AS gpu
# Where Triton finds what it would need a C compiler for (docs/operating.md, Images), and what vLLM
# and PyTorch keep between starts: mount a volume at /cache.
RUN install --directory --owner 10001 --group 10001 /cache
ENV PYTHONPATH=/opt/venv/prebuilt \
    TORCHINDUCTOR_CACHE_DIR=/cache/inductor \
    TRITON_CACHE_DIR=/cache/triton \
    TRITON_CACHE_MANAGER=prebuilt_triton:PrebuiltCache \
    XDG_CACHE_HOME=/cache
COPY --from=packages-gpu /opt/venv /opt/venv
COPY --from=code /app /app
ARG REVISION=unknown VERSION=1.0.0
LABEL org.opencontainers.image.title="NCAL Serve" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.version="${VERSION}-gpu"
USER 10001:10001


FROM base AS base-bulk
# KubeRay starts `ray` from a login shell, and asks with wget whether a node is well.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/* \
    && ln -s /opt/venv/bin/ray /usr/local/bin/ray
ENTRYPOINT []
HEALTHCHECK NONE


FROM base-bulk AS bulk
ENV PYTHONPATH=/app
COPY --from=packages-bulk /opt/venv /opt/venv
COPY --from=code /app /app
ARG REVISION=unknown VERSION=1.0.0
LABEL org.opencontainers.image.title="NCAL Serve" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.version="${VERSION}-bulk"
USER 10001:10001


FROM base-bulk AS bulk-gpu
RUN install --directory --owner 10001 --group 10001 /cache
ENV PYTHONPATH=/opt/venv/prebuilt:/app \
    TORCHINDUCTOR_CACHE_DIR=/cache/inductor \
    TRITON_CACHE_DIR=/cache/triton \
    TRITON_CACHE_MANAGER=prebuilt_triton:PrebuiltCache \
    XDG_CACHE_HOME=/cache
COPY --from=packages-bulk-gpu /opt/venv /opt/venv
COPY --from=code /app /app
ARG REVISION=unknown VERSION=1.0.0
LABEL org.opencontainers.image.title="NCAL Serve" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.version="${VERSION}-bulk-gpu"
USER 10001:10001


# Last, so that it is the default.
FROM base AS cpu
COPY --from=packages-cpu /opt/venv /opt/venv
COPY --from=code /app /app
ARG REVISION=unknown VERSION=1.0.0
LABEL org.opencontainers.image.title="NCAL Serve" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.version="${VERSION}"
USER 10001:10001
