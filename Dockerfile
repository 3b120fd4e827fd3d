# The image: one process, one volume, no root, nothing that writes outside the volume.
#   docker build -t heartbeat .          another base: --build-arg BASE=NAME (Debian or its like, with Python 3.11 or newer)
#   docker run -p 9780:9780 -v heartbeat:/var/lib/heartbeat -v ./config.yaml:/etc/heartbeat/config.yaml:ro heartbeat
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# The libraries first: this layer changes only with the lock. They go into an environment without pip.
COPY requirements/build.txt requirements/run.txt requirements/
RUN python3 -m venv /build \
 && python3 -m venv --without-pip /opt/heartbeat \
 && /build/bin/pip install --quiet --only-binary :all: --require-hashes -r requirements/build.txt \
 && /build/bin/pip --python /opt/heartbeat/bin/python install --quiet --only-binary :all: --require-hashes -r requirements/run.txt
COPY pyproject.toml README.md LICENSE config.example.yaml ./
COPY heartbeat heartbeat
COPY checks checks
COPY examples examples
RUN /build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /dist . \
 && /build/bin/pip --python /opt/heartbeat/bin/python install --quiet --no-deps --no-index /dist/*.whl

FROM ${BASE}
LABEL org.opencontainers.image.title="heartbeat" org.opencontainers.image.licenses="MIT"
# Group 0 may write to the volume, since a platform that makes up a user id leaves the group at 0.
RUN mkdir -p /etc/heartbeat/checks.d /var/lib/heartbeat \
 && chown 65532:0 /var/lib/heartbeat \
 && chmod 0770 /var/lib/heartbeat
COPY --from=build /opt/heartbeat /opt/heartbeat
COPY config.example.yaml /etc/heartbeat/config.example.yaml
COPY examples /etc/heartbeat/examples
# Compiled when built; at run time nothing is written beside the code, so the root may be read-only.
# A configuration takes the last four as ${HEARTBEAT_LISTEN} and so on; the health check asks at that port.
ENV PATH=/opt/heartbeat/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HEARTBEAT_STORE=sqlite:////var/lib/heartbeat/heartbeat.db \
    HEARTBEAT_CONTROL=/var/lib/heartbeat/heartbeat.sock \
    HEARTBEAT_LOG=json \
    HEARTBEAT_LISTEN=0.0.0.0:9780
WORKDIR /var/lib/heartbeat
VOLUME /var/lib/heartbeat
EXPOSE 9780
USER 65532:0
STOPSIGNAL SIGTERM
# http.client, not urllib: the proxies that checks may be given must not be asked for our own page.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["python3", "-I", "-S", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['HEARTBEAT_LISTEN'].rpartition(':')[2]), timeout=3); c.request('GET', '/-/healthy'); sys.exit(c.getresponse().status != 200)"]
CMD ["heartbeat", "run", "-c", "/etc/heartbeat/config.yaml"]
