# The image of every command: the operator in a Deployment, and whatever else volumehealth can do.
# Both stages install by hash: the lock files name every package and what it must hash to.

FROM python:3.13-slim AS build
WORKDIR /source
COPY requirements.lock requirements-dev.lock ./
RUN python -m venv /opt/volumehealth \
 && /opt/volumehealth/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
RUN python -m venv /opt/builder \
 && /opt/builder/bin/pip install --no-cache-dir --require-hashes -r requirements-dev.lock
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN /opt/builder/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel . \
 && /opt/volumehealth/bin/pip install --no-cache-dir --no-deps /wheel/*.whl

FROM python:3.13-slim
COPY --from=build /opt/volumehealth /opt/volumehealth
ENV PATH=/opt/volumehealth/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["volumehealth"]
CMD ["--help"]
