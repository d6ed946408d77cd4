# One image for every part: `python -m app processor`, `gateway`, `bridge`, `topics create`, …
# Only what requirements-runtime.lock names is installed, and nothing that builds or tests.
FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/auerbach
COPY requirements-runtime.lock /src/
RUN /opt/auerbach/bin/pip install --require-hashes -r /src/requirements-runtime.lock
# The build backend comes from the development lock, hashed too, and stays in this stage.
COPY requirements.lock pyproject.toml README.md LICENSE /src/
RUN python -m pip install --require-hashes --only-binary :all: -r /src/requirements.lock
COPY app /src/app
COPY agents /src/agents
COPY tables /src/tables
COPY web /src/web
COPY bridges /src/bridges
COPY clients /src/clients
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels /src \
 && /opt/auerbach/bin/pip install --no-deps /wheels/auerbach-*.whl

FROM python:3.11-slim
RUN useradd --uid 10001 --user-group --no-create-home auerbach \
 && install -d -o auerbach -g auerbach /data
COPY --from=build /opt/auerbach /opt/auerbach
ENV PATH=/opt/auerbach/bin:$PATH PYTHONUNBUFFERED=1 DATA=/data HOST=0.0.0.0 PORT=8080
USER auerbach
WORKDIR /data
VOLUME /data
# A gateway's, with the replaced service's WebSocket and gRPC; a bridge's health.
EXPOSE 8080 8180 50051 8280
# A gateway's; docker-compose.yml has the processor's and the bridge's.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/readyz', timeout=4)"]
ENTRYPOINT ["python", "-m", "app"]
CMD ["gateway"]
