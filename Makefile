# Everything runs in .venv, which each target sets up first; the second time that takes no time.
PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3))
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := -m pip --disable-pip-version-check --quiet
# One process a core: tests share nothing but the machine.
PARALLEL := --numprocesses auto --maxprocesses 8 --dist worksteal

.PHONY: demo test test-slow test-long test-cluster lint docs clean

demo: $(READY)
	$(BIN)/partdistill demo --out out/demo

test: $(READY)
	$(BIN)/python -m pytest $(PARALLEL)

# What takes seconds each: the rest of what continuous integration runs.
test-slow: $(READY)
	$(BIN)/python -m pytest $(PARALLEL) -m 'slow and not long and not cluster'

# What takes a minute or more each.
test-long: $(READY)
	$(BIN)/python -m pytest -m long

# Hosts in namespaces of this machine: for root, with iproute2 and util-linux (and sshfs, openssh-sftp-server).
# Elsewhere they are skipped. By one process, as they wait for signs of life.
test-cluster: $(READY)
	$(BIN)/python -m pytest -m 'cluster and not long' -rs tests/cluster

lint: $(READY) docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy src tests $(wildcard benchmarks/*.py docs/*.py examples/*.py)

# The pages as a site, warnings being errors; nothing is fetched.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf out build .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The stamp comes last, so that an installation that was stopped is done again. Debian's Python may lack
# ensurepip (package python3-venv): then the interpreter's own pip fills the environment.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "expected Python 3.11 or newer, found '$(PYTHON)': run make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV) && $(PYTHON) -m venv --without-pip $(VENV) && \
		$(PYTHON) $(PIP) --python $(BIN)/python install pip; }
	$(BIN)/python $(PIP) install --editable '.[dev]' --constraint constraints.txt
	@touch $@
