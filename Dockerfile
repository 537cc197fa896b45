# Two images: `serve`, without PyTorch, and `train`. docs/docker.md says how to use them.
#   docker build --target serve --tag sleepstage .
#   docker build --target train --tag sleepstage-train .
ARG PYTHON=3.13.12-slim-trixie

FROM python:${PYTHON} AS serve-build
WORKDIR /src
COPY deploy/serve.txt ./
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python install --no-cache-dir --requirement serve.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip --python /opt/venv/bin/python install --no-cache-dir --constraint serve.txt '.[serve]'

FROM python:${PYTHON} AS train-build
# The CPU build: the one from PyPI brings gigabytes of CUDA. For a GPU, build with this set to "".
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
COPY deploy/train.txt ./
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python install --no-cache-dir --requirement train.txt \
        ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"}
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip --python /opt/venv/bin/python install --no-cache-dir --constraint train.txt '.[train,score,edf]' \
        ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"}

FROM python:${PYTHON} AS base
# Who runs it needs no account, no home, and no right to write but in the volume and /tmp.
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    USER=sleepstage \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

FROM base AS train
RUN install --directory --owner=10001 --group=10001 /work
COPY --from=train-build /opt/venv /opt/venv
WORKDIR /work
VOLUME /work
USER 10001:10001
CMD ["sleepstage", "run"]

FROM base AS serve
RUN install --directory --owner=10001 --group=10001 /data
COPY --from=serve-build /opt/venv /opt/venv
ENV SLEEPSTAGE_HOST=0.0.0.0 \
    SLEEPSTAGE_PORT=8000 \
    SLEEPSTAGE_STORE=/data \
    SLEEPSTAGE_LOG=json
VOLUME /data
EXPOSE 8000
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"SLEEPSTAGE_PORT\"]}/readyz', timeout=4)"]
CMD ["sleepstage", "serve"]
