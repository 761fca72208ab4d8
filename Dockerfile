# syntax=docker/dockerfile:1
# The example's workers (target worker, the default) and the test suite (target tests).
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY amqtask amqtask
RUN pip wheel --no-cache-dir --wheel-dir /wheels ".[cli,process,monitor]"

FROM python:${PYTHON}-slim AS tests
RUN apt-get update \
    && apt-get install -y --no-install-recommends rabbitmq-server openssl procps \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home amqtask
WORKDIR /app
COPY --chown=amqtask . .
RUN pip install --no-cache-dir --editable ".[dev]"
USER amqtask
CMD ["python", "-m", "pytest", "tests/conformance", "tests/integration"]

FROM python:${PYTHON}-slim AS worker
RUN useradd --create-home amqtask
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --no-index --find-links /wheels "amqtask[cli,process,monitor]" && rm -r /wheels
WORKDIR /app
COPY routing.yaml ./
COPY examples examples
USER amqtask
ENV PYTHONUNBUFFERED=1 AMQTASK_APP=examples.files.tasks
ENTRYPOINT ["amqtask"]
CMD ["up"]
