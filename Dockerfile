# One image for every process of the service: API, worker, inference, migration. The command chooses.
#
#   docker build -t adderworks .
#   docker build -t adderworks --build-arg TORCH_INDEX_URL= .      torch from the default index (its CUDA build)
#
# Plain Dockerfile instructions only: the classic builder and BuildKit both take them.

ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS builder

# Where torch's builds are; empty: only the index that pip is configured for.
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# The C compiler for the kernels; it stays in this stage.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/adder
ENV PATH=/opt/adder/bin:$PATH
WORKDIR /src

# The dependencies, in layers that change only with these files. "+cpu" and the like name a build of torch, which is
# the index's affair: the pin keeps the version alone. (A build with a suffix ranks above the one without.)
#
# Each file that is installed must have a checksum of deploy/image.lock. Torch comes apart and last, by version alone:
# its index is an argument, and a CUDA build brings libraries of its own.
COPY pyproject.toml README.md constraints.txt ./
COPY deploy/image.lock /tmp/image.lock
RUN pip install --require-hashes --no-deps --only-binary :all: --requirement /tmp/image.lock
RUN sed -E '/^-e /d; s/^(torch==[0-9.]+)\+.*/\1/' constraints.txt >/tmp/constraints.txt \
 && pip install ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"} --constraint /tmp/constraints.txt torch

# What nothing here runs: torch's C++ headers, CMake files and test programs, the packages' own test suites.
RUN site=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
 && rm -rf "$site"/torch/include "$site"/torch/share "$site"/torch/test \
 && find "$site"/torch/bin -type f ! -name torch_shm_manager -delete \
 && find "$site"/torch/lib -name '*.a' -delete \
 && for package in joblib matplotlib mpmath networkx numpy scipy sklearn sympy; do \
      find "$site/$package" -type d \( -name tests -o -name test \) -prune -exec rm -rf {} +; done

COPY setup.py ./
COPY api api
COPY worker worker
COPY addercore addercore
COPY jobs jobs
COPY adderclient adderclient
COPY launcher launcher
COPY migrations migrations
RUN pip install --no-deps --no-build-isolation --no-index . \
 && pip uninstall --yes --quiet setuptools pip
# The image must not be made with a part missing: everything the processes import, once, and the kernels.
COPY deploy/healthcheck.py /opt/adder/healthcheck.py
RUN cd / && python -c "from addercore.ops.c import library; library.load()"
RUN cd / && python -c "import addercore.train, api.app, worker.app, worker.child, worker.inference, matplotlib.pyplot" \
 && python -c "import sklearn.datasets; sklearn.datasets.load_digits()"


FROM ${PYTHON_IMAGE}

# The kernels' OpenMP. torch brings the same file in some of its builds only.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/*

# 10001 is the service, 10002 the jobs of a worker.
RUN groupadd --gid 10002 adder-job \
 && useradd --uid 10002 --gid 10002 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin adder-job \
 && groupadd --gid 10001 adder \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin adder \
 && install --directory --owner=adder --group=adder --mode=0750 /data

COPY --from=builder /opt/adder /opt/adder

# PYTHONSAFEPATH: no module is ever imported from the working folder, which jobs write to.
ENV PATH=/opt/adder/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    ADDER_DATA_DIR=/data \
    ADDER_HOST=0.0.0.0

USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000

HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=3 \
  CMD ["python", "/opt/adder/healthcheck.py", "api"]
# Exec form: SIGTERM reaches Python itself. Every process here ends in order on it.
CMD ["python", "-m", "api"]

# Last, since a commit changes it.
ARG ADDER_VERSION=unknown
ARG GIT_COMMIT=unknown
ENV ADDER_COMMIT=${GIT_COMMIT}
LABEL org.opencontainers.image.title="Adderworks" \
      org.opencontainers.image.description="Training as a service for adder networks" \
      org.opencontainers.image.version="${ADDER_VERSION}" \
      org.opencontainers.image.revision="${GIT_COMMIT}"
