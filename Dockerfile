# One image for the web, the worker and the engine; the command chooses which. CPU by default: for a GPU build with
#   docker build --build-arg TORCH=cuda .
FROM python:3.11-slim AS build
ARG TORCH=cpu
# Where pip finds torch's CPU build, when the default index only has the CUDA one.
ARG TORCH_INDEX=""
RUN apt-get update && apt-get install -y --no-install-recommends make npm && rm -rf /var/lib/apt/lists/*
WORKDIR /gemlens
COPY pyproject.toml constraints.txt Makefile package.json package-lock.json README.md ./
COPY app app
COPY inference inference
COPY gemmascope gemmascope
RUN if [ "$TORCH" = cpu ] && [ -n "$TORCH_INDEX" ]; then export PIP_EXTRA_INDEX_URL="$TORCH_INDEX"; fi; make setup

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 gemlens && mkdir /data && chown gemlens /data
WORKDIR /gemlens
COPY --from=build /gemlens /gemlens
COPY migrations migrations
COPY alembic.ini ./
COPY templates templates
COPY static static
COPY starter starter
COPY --from=build /gemlens/static/vendor static/vendor
ENV PATH=/gemlens/.venv/bin:$PATH GEMLENS_HOME=/data GEMLENS_HOST=0.0.0.0 OMP_WAIT_POLICY=PASSIVE
USER gemlens
VOLUME /data
EXPOSE 3000 5002
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=4 \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(os.environ.get('HEALTH', 'http://127.0.0.1:3000/healthz'), timeout=4)"]
CMD ["gemlens", "serve"]
