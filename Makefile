# Every target sets the environment up first; the stamp file makes that a no-op when nothing changed.
# Choose the interpreter with `make PYTHON=python3.12 ...`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
OLDEST := .venv-oldest
PYTEST := $(BIN)/python -m pytest -q
CHECKED := hostsim tests benchmarks scenarios docs/tools docs/site

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# A process that may not keep compiled modules compiles hostsim anew: 0.5 s at each start of the command.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup warm-up demo test long quick golden validation swarm real bench lint docs site oldest lock clean

help:
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## create the virtual environment with the locked dependencies

# --no-compile: pip would compile 9,700 modules, 20 s of a processor; Python compiles those that it imports, as it meets them.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "hostsim needs Python 3.11 or later; '$(PYTHON)' is missing or older." \
	       "Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' has no venv module. On Debian: apt install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt setuptools
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt --no-build-isolation -e '.[dev]'
	@touch $@

warm-up: $(STAMP) ## compile the loops of simulations, once for each version: about a minute
	$(BIN)/hostsim warm-up

demo: warm-up ## compile once, then run the first scenario: a verdict, a table, a report under out/
	$(BIN)/hostsim run scenarios/precopy_convergence.toml --html out/precopy_convergence/report.html

test: lint ## everything that must hold, about 6 minutes on 2 cores
	$(PYTEST) tests/timing -p no:xdist --benchmark-disable
	$(PYTEST) -m "not long and not timing and not swarm and not real" -n 2 --dist worksteal --benchmark-disable

long: $(STAMP) ## closed forms, KVM tables; QEMU, /dev/kvm, Chromium, a cluster, a wheel, as far as there; long blocks of pages
	$(PYTEST) -m "long and not swarm and not real" -n 2 --dist worksteal --benchmark-disable

quick: $(STAMP) ## unit, property and tidy tests
	$(PYTEST) -m "quick and not swarm and not timing" -n 2 --dist worksteal --benchmark-disable

golden: $(STAMP) ## results kept byte by byte
	$(PYTEST) -m golden --benchmark-disable

validation: $(STAMP) ## real migrations, published tables, closed forms
	$(PYTEST) -m "validation and not swarm and not real" -n 2 --dist worksteal --benchmark-disable

swarm: $(STAMP) ## many drawn configurations; not part of `make test`
	$(PYTEST) -m swarm -n 2 --dist worksteal --benchmark-disable

real: $(STAMP) ## streams of the kernel at hand beside the model, as root
	$(PYTEST) -m real

bench: $(STAMP) ## speed and memory, medians of 3
	$(BIN)/python -m benchmarks

lint: $(STAMP) ## ruff and mypy
	$(BIN)/ruff check $(wildcard $(CHECKED))
	$(BIN)/mypy

docs: $(STAMP) ## write the generated pages and pictures of docs/
	$(BIN)/python docs/tools/collect_limits.py
	$(BIN)/python docs/tools/write_schema.py
	$(BIN)/python docs/tools/write_results.py
	$(BIN)/python docs/tools/write_kvm_tables.py
	$(BIN)/python docs/tools/write_validation.py
	$(BIN)/python docs/tools/write_modes.py
	$(BIN)/python docs/tools/write_forms.py
	$(BIN)/python docs/tools/write_man.py
	$(BIN)/python docs/tools/draw_slope_floor.py
	$(BIN)/python docs/tools/draw_validation.py
	$(BIN)/python docs/tools/draw_real_kvm.py --measure
	$(BIN)/python docs/tools/draw_cost.py
	$(BIN)/python docs/tools/draw_window.py
	$(BIN)/python docs/tools/draw_clear.py
	$(BIN)/python docs/tools/draw_run.py
	$(BIN)/python docs/tools/draw_postcopy.py
	$(BIN)/python docs/tools/shoot_report.py
	$(BIN)/python docs/tools/draw_rmap_debate.py
	$(BIN)/python docs/tools/draw_ageing_2x2.py --run
	$(BIN)/python docs/tools/draw_gallery.py --all

site: $(STAMP) ## build the site from docs/ and check it: build/site/index.html
	$(BIN)/python docs/tools/build_site.py

oldest: ## the quick tests with the oldest versions that pyproject.toml allows, in .venv-oldest
	$(PYTHON) -m venv --clear $(OLDEST)
	$(PYTHON) docs/tools/oldest.py > $(OLDEST)/oldest.txt
	$(OLDEST)/bin/python -m pip install --quiet -c $(OLDEST)/oldest.txt setuptools
	$(OLDEST)/bin/python -m pip install --quiet -c $(OLDEST)/oldest.txt --no-build-isolation -e '.[dev]'
	$(OLDEST)/bin/python -m pytest -q -m "quick and not swarm and not timing" -n 2 --dist worksteal --benchmark-disable

lock: ## resolve the newest dependencies anew and write constraints.txt
	$(PYTHON) docs/tools/lock.py

clean: ## remove what the targets above made
	rm -rf $(VENV) $(OLDEST) build dist out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find hostsim tests benchmarks docs scenarios -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
