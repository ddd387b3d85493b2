# `make demo` and `make test` need Python 3.11+, gcc and make; everything else lands in .venv.
PYTHON ?= python3
# A package index for torch alone, e.g. https://download.pytorch.org/whl/cpu to leave the CUDA libraries out.
TORCH_INDEX_URL ?=
VENV := .venv
RUN := $(VENV)/bin

KERNELS := addercore/ops/c/libadder.so
ENGINE := addercore/runtime/libadder_run.so
KERNEL_SOURCES := $(wildcard addercore/ops/c/src/*.[ch] addercore/ops/c/src/*.inc) addercore/ops/c/build.py
ENGINE_SOURCES := $(wildcard addercore/runtime/src/*.[ch] addercore/runtime/src/*.inc)

# Containers often forbid compiled modules. Every process of a test, and there are hundreds, would compile its own.
export PYTHONDONTWRITEBYTECODE :=

# The tests run in so many processes side by side: one more than two cores, as many tests wait for servers and leases.
WORKERS ?= 3
SIDE_BY_SIDE := -n $(WORKERS) --dist loadgroup

.PHONY: setup kernels demo up test test-all test-five check docs pictures faults fuzz format study bench bench-integer bench-service bench-load soak attack compose-test lock release clean

setup: $(VENV)/.installed $(KERNELS) $(ENGINE)

$(VENV)/.installed: pyproject.toml constraints.txt setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Adderworks needs Python 3.11 or newer; name one with PYTHON=… (found $$($(PYTHON) --version))"; exit 2; }
	@test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX_URL),$(RUN)/pip install --quiet --index-url $(TORCH_INDEX_URL) -c constraints.txt torch)
	$(RUN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# The C libraries, which the installation builds once; here again where a source is newer. Without a compiler it says so.
$(KERNELS): $(KERNEL_SOURCES) | $(VENV)/.installed
	$(RUN)/python addercore/ops/c/build.py --part kernels

$(ENGINE): $(ENGINE_SOURCES) addercore/ops/c/build.py | $(VENV)/.installed
	$(RUN)/python addercore/ops/c/build.py --part engine

kernels: $(VENV)/.installed
	$(RUN)/python addercore/ops/c/build.py

demo: setup
	$(RUN)/adder demo

up: setup
	@exec $(RUN)/adder up

# Most of the tests; at the end it says what it leaves out: what takes long or needs more than Python, gcc and make.
test: setup
	$(RUN)/python -m pytest $(SIDE_BY_SIDE) --part short

# All of them; on a processor with more than AVX2 those that train or compare numbers run once more with AVX2 alone.
test-all: test
	$(RUN)/python -m pytest $(SIDE_BY_SIDE) --part rest
	$(RUN)/python -m tests.support.avx2_alone $(SIDE_BY_SIDE) -m bits

# Whether `make test` passes every time, also on a busy machine.
test-five: setup
	$(RUN)/python -m tests.support.repeat --times 5 --load 4 -- $(SIDE_BY_SIDE) --part short

check: setup docs
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/python -m adderclient.make_sync --check
	$(RUN)/mypy

# Checks links, commands, paths, settings and REST calls that README and docs name, and their generated parts; then builds
# the site, strictly: build/docs/site/index.html. Needs no network.
docs: setup
	$(RUN)/python -m tests.docs
	$(RUN)/python -m tests.docs.site

# Causes every fault on real processes and prints what it cost (docs/faults.md); about 25 minutes.
faults: setup
	$(RUN)/python -m tests.faults

# A hundred thousand requests and five thousand mutated uploads, all from one seed (docs/request-limits.md).
fuzz: setup
	$(RUN)/python -m tests.fuzz

# Every page at both widths and in both colour schemes into build/pictures, those of the README into docs/pictures.
pictures: setup
	$(RUN)/python -m tests.docs.screens

format: setup
	$(RUN)/ruff format .
	$(RUN)/ruff check --fix .
	$(RUN)/python -m adderclient.make_sync

# The smallest honest part of the study on Fashion-MNIST; started again, it goes on where it was interrupted.
study: setup
	$(RUN)/python -m benchmarks.study benchmarks/studies/smallest.json
	$(RUN)/python -m benchmarks.study benchmarks/studies/smallest.json --look

bench: setup
	$(RUN)/python -m benchmarks.kernels --write

bench-integer: setup
	$(RUN)/python -m benchmarks.integer --write

bench-service: setup
	$(RUN)/python -m benchmarks.service

bench-load: setup
	$(RUN)/python -m benchmarks.service --only claims,queue,points,lists,clients,upkeep
	$(RUN)/python -m benchmarks.service --only real --databases postgresql
	$(RUN)/python -m benchmarks.service --only queue,real --databases postgresql --apis 2 --workers 8 --store s3

# What did not hold once, and what the threat model promises, tried against a running service: HELD or HOLE a line.
attack: setup
	$(RUN)/python -m tests.attack

soak: setup
	$(RUN)/python -m benchmarks.service --only soak --databases postgresql

compose-test: setup
	$(RUN)/python -m tests.deploy.compose_trial

# Wheel, source distribution, checksums and the changelog's part into dist/; uploads nothing (docs/installing.md).
release: setup
	$(RUN)/python deploy/release.py

lock: setup
	{ echo '# Exact versions of everything that `make setup` installs; made by `make lock`.'; \
	  $(RUN)/pip freeze --exclude-editable | sed 's/^torch==\([0-9.]*\).*/torch==\1/'; } > constraints.new && mv constraints.new constraints.txt
	$(RUN)/python deploy/lock_image.py
	$(RUN)/python -m tests.docs.licences

clean:
	rm -rf $(VENV) $(KERNELS) $(ENGINE) demo-data data .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
