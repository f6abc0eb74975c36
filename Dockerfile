FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PATH=/venv/bin:$PATH
WORKDIR /app
# Python's official image has no bytecode of the standard library, and the service cannot write any. Without this step,
# each process, and each health check, would compile every module that it imports.
RUN useradd --system --uid 10001 --home-dir /app odenet \
 && python -m compileall -q -x 'site-packages|test|lib2to3' "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"

# Dependencies come first, so a change of the code neither installs them again nor adds another layer of them.
FROM base AS dependencies
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv --without-pip /venv
COPY pyproject.toml constraints.txt ./

# Without setup.py, pip installs the command `odenet` but not the code that the command imports. So each stage removes
# the command again. The images run the code in /app with `python -m`.

# gRPC is off unless ODENET_GRPC_PORT sets its port. Its packages add 30 MB, and save its users an image
# of their own.
FROM dependencies AS service-dependencies
RUN pip --python /venv/bin/python install --quiet --constraint constraints.txt '.[grpc,tracing]' \
 && pip --python /venv/bin/python uninstall --quiet --yes odenet

FROM dependencies AS gpu-dependencies
RUN pip --python /venv/bin/python install --quiet --constraint constraints.txt '.[gpu,grpc,tracing]' \
 && pip --python /venv/bin/python uninstall --quiet --yes odenet

FROM dependencies AS training-dependencies
RUN pip --python /venv/bin/python install --quiet --constraint constraints.txt '.[training]' \
 && pip --python /venv/bin/python uninstall --quiet --yes odenet

# Fits a network and exports it into the models folder, on the CPU or on CUDA.
FROM base AS training
COPY --from=training-dependencies /venv /venv
COPY data data
COPY models models
COPY training training
RUN python -m compileall -q models training \
 && mkdir /runs && chown odenet /runs && find models/fitted -type d -exec chown odenet {} +
ENV MPLCONFIGDIR=/tmp/matplotlib
USER 10001
ENTRYPOINT ["python", "-m", "training"]
CMD ["--help"]

FROM base AS code
COPY models models
COPY service service
RUN python -m compileall -q models service && find models/fitted -type d -exec chown odenet {} +

FROM base AS serving
ENV ODENET_HOST=0.0.0.0 ODENET_PORT=8000 ODENET_LOG_FORMAT=json
EXPOSE 8000
EXPOSE 9000
USER 10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-m", "service.server.healthcheck"]
CMD ["python", "-m", "service"]

# The service with torch on CUDA: docker build --target gpu, docker run --gpus all.
FROM serving AS gpu
COPY --from=gpu-dependencies /venv /venv
COPY --from=code /app /app
ENV ODENET_BACKEND=torch ODENET_DEVICE=cuda

# The service without torch. `docker build` builds this stage by default, because it is the last.
FROM serving AS service
COPY --from=service-dependencies /venv /venv
COPY --from=code /app /app
