FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PATH=/venv/bin:$PATH
WORKDIR /app
RUN useradd --system --uid 10001 --home-dir /app odenet

# Dependencies first: a change of the code does not install them anew.
FROM base AS dependencies
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /venv
COPY pyproject.toml constraints.txt ./

FROM dependencies AS service-dependencies
RUN pip install --quiet --constraint constraints.txt '.[tracing]'

FROM dependencies AS gpu-dependencies
RUN pip install --quiet --constraint constraints.txt '.[gpu,tracing]'

FROM dependencies AS training-dependencies
RUN pip install --quiet --constraint constraints.txt '.[training]'

# What fits a network and exports it into the models folder, on the CPU or on CUDA.
FROM base AS training
COPY --from=training-dependencies /venv /venv
COPY data data
COPY models models
COPY training training
RUN mkdir /runs && chown -R odenet /runs models/fitted
ENV MPLCONFIGDIR=/tmp/matplotlib
USER odenet
ENTRYPOINT ["python", "-m", "training"]
CMD ["--help"]

FROM base AS serving
COPY models models
COPY service service
RUN chown -R odenet models/fitted
ENV ODENET_HOST=0.0.0.0 ODENET_PORT=8000 ODENET_LOG_FORMAT=json
EXPOSE 8000
USER odenet
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-m", "service.probe"]
CMD ["python", "-m", "service"]

# The service by torch on CUDA: docker build --target gpu, docker run --gpus all.
FROM serving AS gpu
COPY --from=gpu-dependencies /venv /venv
ENV ODENET_BACKEND=torch ODENET_DEVICE=cuda

# The service without torch; the last stage is what `docker build` makes.
FROM serving AS service
COPY --from=service-dependencies /venv /venv
