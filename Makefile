# Everything runs in .venv, made here from the first usable Python of PYTHON_CANDIDATES, or from
# PYTHON=... where that is given. GNU make 3.81 and a BSD userland are enough.

PYTHON_CANDIDATES = python3.13 python3.12 python3.11 python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet

# More arguments for demo, check, test and bench: make test ARGS="-k lock -x"
ARGS ?=

# Without the compiled core everything would still pass, on the lock-based path, and nobody would see.
ATOMIC_INTENUM_REQUIRE_EXT ?= 1
export ATOMIC_INTENUM_REQUIRE_EXT

# Containers often set it. The tests start some thousand processes, and each would compile the package.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo check test windows soak drop-in tox lint lint-python lint-c model stress bench gate docs pictures dist clean FORCE
# All targets share .venv, and two pips at once would break it.
.NOTPARALLEL:

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo '  ARGS      more arguments for the tool below:   make test ARGS="-k lock -x"'
	@echo '  BACKENDS  the backends to test, in this order: make test BACKENDS="native lock"'
	@echo '  PYTHON    the interpreter to make $(VENV) with:  make test PYTHON=python3.12'

# The shell goes on after Ctrl-C, and make ends by the signal itself: neither has to report an error.
demo: $(VENV)/demo-tools  ## watch workers claim files, die and come back, and see what was measured
	@trap : INT; $(PY) examples/demo $(ARGS) || [ $$? = 130 ]

# One run a backend: the package chooses its backend once, when it is imported.
BACKENDS ?= $(BUILT) lock
# One process more than there are cores: many a test waits for something.
PARALLEL ?= -n $(shell $(PY) -c 'import os; print(min(os.cpu_count() + 1, 8))') --dist worksteal

check: $(VENV)/test-tools $(VENV)/lint-tools  ## check style, and run the fast tests on the first backend
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@ATOMIC_INTENUM_BACKEND=$(firstword $(BACKENDS)) $(PY) -m pytest -m "not slow and not soak" $(PARALLEL) $(ARGS)

# A backend without a test of that choice (5) is no failure, unless none has any.
test: $(VENV)/test-tools  ## run the tests on each backend, and name at the end what failed
	@mkdir -p build; rm -f build/failures; trap 'exit 130' INT; \
	failed=; found=; next=; \
	for backend in $(BACKENDS); do \
	    status=0; \
	    ATOMIC_INTENUM_BACKEND=$$backend $(PY) -m pytest $(PARALLEL) $$next --failures=build/failures $(ARGS) \
	        || status=$$?; \
	    [ $$status = 5 ] || found=1; \
	    [ $$status = 0 ] || [ $$status = 5 ] || failed="$$failed $$backend"; \
	    next=--next-backend; \
	done; \
	[ -n "$$found" ] || { echo "No test is chosen on any of: $(BACKENDS)" >&2; exit 5; }; \
	[ -z "$$failed" ] || { echo "Failed on:$$failed"; cat build/failures 2>/dev/null; exit 1; } >&2

# tests/helpers/windows has the switch: Python imports it as it starts, in every child too.
windows: $(VENV)/test-tools  ## run the tests on the lock path without what Windows lacks (Linux)
	@ATOMIC_INTENUM_BACKEND=lock PYTHONPATH="$(CURDIR)/tests/helpers/windows" $(PY) -m pytest $(PARALLEL) $(ARGS)

soak: $(VENV)/test-tools  ## run the tests that repeat, at their full size: an hour or more
	@set -e; for backend in $(BACKENDS); do \
	    ATOMIC_INTENUM_SOAK=1 ATOMIC_INTENUM_BACKEND=$$backend $(PY) -m pytest \
	        -m "soak or scaled" -rP -o timeout=0 -o faulthandler_timeout=0 $(ARGS); \
	done

tox: $(VENV)/tox-tools  ## run the tests on every interpreter that is found (ARGS="-f py314")
	@$(PY) -m tox run $(ARGS)

drop-in: $(VENV)/test-tools  ## run the tests of multiprocessing-intenum, fetched from PyPI
	@$(PY) tests/tools/drop_in.py

model: $(VENV)/made  ## check the protocol's models, and that each planted fault is found (needs spin, herd7)
	@$(PY) tests/model/litmus.py
	@$(PY) tests/model/run.py

# The core without Python, by any CC and, with RUNNER, on any machine: csrc/README.md has an example.
STRESS_CFLAGS ?= -O2
STRESS_RUNS := "stress threads 10000" "stress limits" "stress points" "stress kills 100" \
    "stress relay 500" "stress relay-forks 500" "stress herd 200" "stress wait-points" "stress late" \
    "board threads 20000" "board claim 10" "board watch 100" "board watch-points" \
    "watch cases" "watch bits" "watch points" "watch storm 2000" "watch turns 500" "park 10000" forked names
stress:  ## build the C core's stress tests by CC, and run each of their runs (RUNNER=...)
	@mkdir -p build
	@set -ex; for program in stress board watch park forked names; do \
	    $(CC) -std=c11 -Wall -Wextra -Werror -pthread $(STRESS_CFLAGS) -iquote csrc \
	        tests/core_c/$$program.c -o build/$$program -ldl; \
	done
	@set -e; for run in $(STRESS_RUNS); do echo "$$run"; $(RUNNER) build/$$run; done

lint: lint-python lint-c  ## check style, types, the extension's stub and the C sources

# Results, tables and plots: of a named machine they are kept, and README and docs show them.
MACHINE ?=
RESULTS_FOLDER := $(if $(MACHINE),benchmarks/results,build/bench)
RESULTS := $(RESULTS_FOLDER)/$(or $(MACHINE),results).json
bench: $(VENV)/bench-tools  ## measure everything beside its rivals: a table, and plots
	@missed=0; $(PY) benchmarks/run.py --output $(RESULTS) $(ARGS) || missed=$$?; \
	$(PY) benchmarks/report.py $(RESULTS) --to $(RESULTS_FOLDER) $(if $(MACHINE),--into README.md docs/benchmarks.md) \
	    && exit $$missed

gate: $(VENV)/gate-tools  ## fail if something is half as fast as promised, or takes more instructions
	@$(PY) benchmarks/gate.py

# A clean build each time: a page that did not change would keep its warnings to itself.
docs: $(VENV)/docs-tools  ## build the documentation into build/docs, every warning an error
	@rm -rf build/docs
	@$(PY) -m sphinx -E -q -n -W --keep-going -d build/doctrees docs build/docs
	@echo "build/docs/index.html"

pictures: $(VENV)/demo-tools  ## take the pictures that the documentation shows (Linux)
	@$(PY) docs/pictures.py
	@$(PY) docs/pictures/demo.py

# ---- the environment ---------------------------------------------------------------------------

# What a Python must have; it prints what is missing.
PROBE := import os, sys, sysconfig; \
    sys.version_info >= (3, 11) or sys.exit(f"is {sys.version.split()[0]}, and 3.11 is the oldest that serves"); \
    import venv, ensurepip; \
    header = os.path.join(sysconfig.get_path("include"), "Python.h"); \
    os.environ["ATOMIC_INTENUM_REQUIRE_EXT"] in ("", "0") or os.path.exists(header) or sys.exit(f"has no {header}")

# A .venv is made anew if it no longer runs, if it was made for another folder (a copied checkout would
# test the sources of the original), or if another PYTHON is asked for.
ifneq ($(shell { read -r folder && read -r python; } 2>/dev/null <$(VENV)/made && \
    [ "$$folder" = "$(CURDIR)" ] && { [ -z "$(PYTHON)" ] || [ "$$python" = "$(PYTHON)" ]; } && \
    $(PY) -c '' 2>/dev/null && echo fresh),fresh)
$(VENV)/made: FORCE
endif

$(VENV)/made:
	@reasons=; \
	for python in $(or $(PYTHON),$(PYTHON_CANDIDATES)); do \
	    if reason=$$("$$python" -c '$(PROBE)' 2>&1); then \
	        echo "Making $(VENV) with $$python: $$("$$python" --version)"; \
	        rm -rf $(VENV) && "$$python" -m venv $(VENV) && \
	        printf '%s\n' '$(CURDIR)' "$$python" >$@; \
	        exit; \
	    fi; \
	    reasons="$$reasons    $$python: $$(echo "$$reason" | tail -n 1)\n"; \
	done; \
	printf "No usable Python. It takes 3.11 or newer, with the venv module and the C headers\n" >&2; \
	printf "(Debian: apt install python3-venv python3-dev), or PYTHON=... to name one. Tried:\n" >&2; \
	printf "%b" "$$reasons" >&2; \
	exit 1

# The same for the extension, which is built by the flags that are recorded here.
FLAGS := $(strip CC=$(CC) $(ATOMIC_INTENUM_CFLAGS) : $(ATOMIC_INTENUM_LDFLAGS) : $(ATOMIC_INTENUM_REQUIRE_EXT))
ifneq ($(shell cat $(VENV)/installed 2>/dev/null),$(FLAGS))
$(VENV)/installed: FORCE
endif

# The bindings that were built: native on CPython alone, cffi where that can be had.
FIND_BUILT := from importlib.util import find_spec; \
    print(*(name for name in ("native", "cffi") if find_spec(f"atomic_intenum._{name}")))
BUILT = $(shell ATOMIC_INTENUM_BACKEND=lock $(PY) -c '$(FIND_BUILT)')

# Editable: what is edited in src takes effect at once; what is edited in csrc, at the next make.
$(VENV)/installed: $(VENV)/made pyproject.toml setup.py $(wildcard csrc/*.h csrc/*/*.h csrc/*.c csrc/*.py)
	@echo "Building and installing the package"
	@$(PIP) install --editable .
	@printf '%s\n' '$(subst ','\'',$(FLAGS))' >$@

# The package is there already, so that this adds no more than the tools its extra names.
# CPython brings no cffi: the tests of that binding need its extra.
# An older release with a wheel goes before a newer one without: numpy's take a quarter of an hour to compile.
TOOLS := demo test lint docs dist tox
comma := ,
$(TOOLS:%=$(VENV)/%-tools): $(VENV)/%-tools: $(VENV)/made pyproject.toml | $(VENV)/installed
	@echo "Installing what 'make $*' needs"
	@$(PIP) install --prefer-binary 'atomic-intenum[$*$(if $(filter cffi,$(BUILT)),$(comma)cffi)]'
	@touch $@

$(VENV)/bench-tools: $(VENV)/made pyproject.toml benchmarks/requirements.txt | $(VENV)/installed
	@echo "Installing what 'make bench' needs"
	@$(PIP) install --prefer-binary 'atomic-intenum[bench]' -r benchmarks/requirements.txt
	@touch $@

$(VENV)/gate-tools: $(VENV)/made benchmarks/requirements.txt | $(VENV)/installed
	@echo "Installing what 'make gate' needs"
	@$(PIP) install --prefer-binary -r benchmarks/requirements.txt 'pytest-benchmark>=5'
	@touch $@

# ---- lint --------------------------------------------------------------------------------------

lint-python: $(VENV)/lint-tools
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	MYPYPATH=benchmarks $(PY) -m mypy benchmarks
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(PY) -m pyright --pythonpath $(PY)
	MYPYPATH=src $(PY) -m mypy.stubtest atomic_intenum._native

# The C files whose layout is .clang-format's.
FORMATTED := $(wildcard csrc/*.[ch] csrc/native/*.h tests/core_c/*.[ch])

C_WARNINGS := -std=c11 -Wall -Wextra -Werror -fsyntax-only -iquote csrc

# With each compiler that is here: the extension for the stable ABI and for one version, and each header
# by itself, without Python.h. A header is included rather than compiled: as the main file it would
# get warnings that it doesn't deserve (for #pragma once, for an unused static inline function).
lint-c: $(VENV)/lint-tools
	$(VENV)/bin/clang-format --dry-run -Werror $(FORMATTED)
	@set -e; \
	python_h=$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("include"))'); \
	found=; \
	for cc in gcc clang; do \
	    command -v $$cc >/dev/null || continue; \
	    found=1; \
	    for abi in -DPy_LIMITED_API=0x030B0000 -UPy_LIMITED_API; do \
	        echo "$$cc $(C_WARNINGS) $$abi csrc/native.c"; \
	        $$cc $(C_WARNINGS) -isystem "$$python_h" $$abi csrc/native.c; \
	    done; \
	    for header in csrc/*.h; do \
	        echo "$$cc $(C_WARNINGS) $$header"; \
	        echo "#include \"$${header#csrc/}\"" | $$cc $(C_WARNINGS) -x c -; \
	    done; \
	done; \
	[ -n "$$found" ] || { echo "no gcc or clang to check csrc with" >&2; exit 1; }

# ---- dist --------------------------------------------------------------------------------------

# The headers of 3.12 and later make Py_RETURN_NONE and its like take no reference, which aborts on 3.11,
# so a wheel for 3.11 and later has to be built with those of 3.11.
IS_311 := import sys; sys.exit(sys.version_info[:2] != (3, 11))

IS_LINUX := import sys; sys.exit(sys.platform != "linux")

# One commit gives the same bytes, and a second build shows it: from what the first sdist holds, in another
# folder, where the sources have other times and modes. Debug information would name the folder, a wheel
# takes modes from the umask, and both take the time from SOURCE_DATE_EPOCH: the commit's.
dist: $(VENV)/test-tools $(VENV)/dist-tools  ## build the sdist and the wheel into dist/, and check them
	@rm -rf dist build/builder build/again
	$(PY) -m pytest -q tests/tools/test_packaging.py
	@set -e; \
	builder=$(PY); \
	if ! $(PY) -c '$(IS_311)' && python3.11 -c '$(IS_311); $(PROBE)' >/dev/null 2>&1; then \
	    echo "Building with python3.11, for its headers"; \
	    python3.11 -m venv build/builder; \
	    builder=build/builder/bin/python; \
	    $$builder -m pip --disable-pip-version-check --quiet install build; \
	fi; \
	umask 022; \
	ATOMIC_INTENUM_CFLAGS="-g0 $$ATOMIC_INTENUM_CFLAGS"; \
	SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(if [ -e .git ]; then git log -1 --format=%ct; else date +%s; fi)}; \
	export ATOMIC_INTENUM_CFLAGS SOURCE_DATE_EPOCH; \
	$$builder -m build --outdir dist .; \
	mkdir -p build/again; \
	gzip -dc dist/*.tar.gz | (cd build/again && tar xf -); \
	chmod -R go= build/again; \
	$$builder -m build --outdir build/again/dist build/again/atomic_intenum-*; \
	for file in dist/*; do \
	    cmp "$$file" "build/again/$$file"; \
	    echo "$$file: built again elsewhere, the same bytes"; \
	done; \
	$(PY) -c '$(IS_LINUX)' || exit 0; set -x; \
	for wheel in dist/*-linux_*.whl; do \
	    $(PY) -m auditwheel show "$$wheel"; \
	    PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PY) -m auditwheel repair --wheel-dir dist "$$wheel"; \
	    rm "$$wheel"; \
	done
	$(PY) -m twine check --strict dist/*
	$(PY) -m check_wheel_contents dist/*.whl
	$(PY) -m abi3audit --strict --verbose dist/*.whl
	$(PY) tests/tools/check_dist.py dist $(BUILT)
	@ls -l dist
	@! ls dist | grep -q 'manylinux\|musllinux' || { \
	    echo "The wheel's tag says from which libc on it runs: that of this machine, which is newer than"; \
	    echo "most users'.  The wheels for publishing are cibuildwheel's, built in its containers."; \
	}
	@$(PY) -c '$(IS_311)' || [ -d build/builder ] || { \
	    echo "This wheel is for this machine only: NOT FOR PUBLISHING. It was built with the headers of"; \
	    echo "$$($(PY) --version), and python3.11, whose headers a wheel for 3.11 needs, wasn't found."; \
	}

clean:  ## remove .venv and everything that was built or cached
	rm -rf $(VENV) .tox build dist wheelhouse .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -rf src/*.egg-info src/atomic_intenum/*.so
	find . -name .git -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +
