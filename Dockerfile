# The broker alone: give it a MongoDB replica set with VELA_MONGO_URI (docker-compose.yml runs both).
FROM python:3.12-slim-bookworm AS build
WORKDIR /source
RUN python -m venv /opt/vela
ENV PATH=/opt/vela/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY broker ./broker
COPY datamodels ./datamodels
COPY examples ./examples
RUN pip install . && python -m compileall -q /opt/vela/lib

FROM python:3.12-slim-bookworm
LABEL org.opencontainers.image.title="Vela" \
      org.opencontainers.image.description="NGSI-LD context broker" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin vela
COPY --from=build /opt/vela /opt/vela
ENV PATH=/opt/vela/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 VELA_LOG_FORMAT=json
USER 10001
EXPOSE 1026
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ.get(\"VELA_PORT\") or 1026}/health/ready', timeout=4)"]
ENTRYPOINT ["vela"]
CMD ["serve"]
