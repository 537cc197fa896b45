# Two images: `serve`, without PyTorch, and `train`. docs/docker.md says how to use them.
#   docker build --target serve --tag sleepstage .
#   docker build --target train --tag sleepstage-train .
ARG PYTHON=3.13.12-slim-trixie@sha256:f1927c75e81efd1e091dbd64b6c0ecaa5630b38635a3d1c04034ac636e1f94c8

FROM python:${PYTHON} AS build
# Only wheels: building a source distribution would download packages that have no hash here.
ENV PIP_NO_CACHE_DIR=1 \
    PIP_ONLY_BINARY=:all: \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
RUN python -m venv --without-pip /opt/venv

FROM build AS serve-build
COPY deploy/serve.txt ./
RUN pip --python /opt/venv/bin/python install --no-compile --require-hashes --requirement serve.txt

FROM build AS train-build
COPY deploy/train.txt deploy/torch.txt ./
RUN pip --python /opt/venv/bin/python install --no-compile --require-hashes --requirement train.txt
# The CPU build: the one from PyPI brings gigabytes of CUDA. For a GPU, build with this set to "".
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# The second command adds the CUDA libraries, which have no hashes; for the CPU it changes nothing.
RUN pip --python /opt/venv/bin/python install --no-compile --require-hashes --requirement torch.txt \
        --no-deps ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} \
    && pip --python /opt/venv/bin/python install --no-compile torch==2.13.0

# The package alone: it goes over its dependencies as a small layer, the only one that changes with
# the source.
FROM build AS package
COPY deploy/build.txt ./
RUN pip install --require-hashes --requirement build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip wheel --no-build-isolation --no-deps --wheel-dir dist . \
    && pip --python /opt/venv/bin/python install --no-compile --no-deps --prefix /src/installed \
        dist/*.whl

FROM python:${PYTHON} AS base
# Who runs it needs no account, no home, and no right to write but in one folder and /tmp.
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    USER=sleepstage \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

FROM base AS train
RUN install --directory --owner=10001 --group=10001 /work
COPY --from=train-build /opt/venv /opt/venv
COPY --from=package /src/installed /opt/venv
WORKDIR /work
USER 10001:10001
CMD ["sleepstage", "run"]

FROM base AS serve
RUN install --directory --owner=10001 --group=10001 /data
COPY --from=serve-build /opt/venv /opt/venv
COPY --from=package /src/installed /opt/venv
ENV SLEEPSTAGE_HOST=0.0.0.0 \
    SLEEPSTAGE_PORT=8000 \
    SLEEPSTAGE_STORE=/data \
    SLEEPSTAGE_LOG=json
EXPOSE 8000
USER 10001:10001
STOPSIGNAL SIGTERM
# http.client, unlike urllib, ignores the proxies of the environment.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --start-interval=1s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; server = http.client.HTTPConnection('127.0.0.1', int(os.environ['SLEEPSTAGE_PORT']), timeout=4); server.request('GET', '/readyz'); sys.exit(server.getresponse().status != 200)"]
CMD ["sleepstage", "serve"]
