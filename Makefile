# The commands for people. They need python3 with venv, and make, and install the rest themselves.

PYTHON ?= python3
VENV ?= .venv
HOST ?=
DIST ?= dist
FUZZ_SECONDS ?= 300
FUZZ_LONGEST ?= 60
RANDOM_SERVERS ?= 1000
BIN = $(VENV)/bin
READY = $(VENV)/.ready
# The environment of the tests works for the demo, too. Without it, a small one must do, in seconds.
DEMO = $(if $(wildcard $(READY)),$(VENV),$(VENV)-demo)

.PHONY: help demo test faults sweep lint format fuzz audit bench contrib picture screenshots package clean

help:
	@echo 'make demo              check small built-in mail servers, healthy and broken ones'
	@echo 'make demo HOST=name    check that host'
	@echo 'make test              all tests; as root on Debian it first installs the servers to test against'
	@echo 'make faults            run broken servers past this plugin and check_smtp; writes docs/faults.md'
	@echo 'make sweep             1,000 checks in one run, each compared with itself alone'
	@echo 'make lint              ruff, mypy, import-linter and bandit'
	@echo 'make format            format the code with ruff'
	@echo 'make fuzz              try what servers could say, at random and guided by coverage'
	@echo 'make audit             look for known vulnerabilities of the dependencies'
	@echo 'make bench             what a check costs compared with check_smtp and smtplib, and whether that is too much'
	@echo 'make contrib           write the generated files in contrib/ and the options in docs/reference.md'
	@echo 'make picture           draw docs/phases.png again, which takes five minutes'
	@echo 'make screenshots       take the other pictures in docs/ again, which takes two minutes'
	@echo 'make package           source archive, wheel, single file, .deb and .rpm, as far as this machine can'
	@echo 'make clean             remove everything that the others made'

demo: $(DEMO)/.demo
	@$(DEMO)/bin/python -m tests.demo $(HOST)

test: $(READY)
	@tests/servers/install
	@$(BIN)/coverage erase
	COVERAGE_PROCESS_START=$(CURDIR)/pyproject.toml COVERAGE_FILE=$(CURDIR)/.coverage \
		$(BIN)/python -m pytest -n 6
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

faults: $(READY)
	@tests/servers/install
	@$(BIN)/python -m tests.faults

sweep: $(READY)
	CHECKS=1000 $(BIN)/python -m pytest -n 0 tests/test_checks_all_kinds.py

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive check_smtp_health

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# In the tests, Hypothesis and the servers of test_random_server do the same in each run; here they are random. New inputs
# of the fuzzer, and whatever breaks the plugin, are kept in build/fuzz.
fuzz: $(READY)
	RANDOM_SERVERS=$(RANDOM_SERVERS) $(BIN)/python -m pytest -n 2 --hypothesis-profile=fuzz -m hypothesis
	@mkdir -p build/fuzz/corpus build/fuzz/corpus_of_parts
	$(BIN)/python -m fuzz target -max_total_time=$(FUZZ_SECONDS) -timeout=$(FUZZ_LONGEST) \
		-print_final_stats=1 -artifact_prefix=build/fuzz/ build/fuzz/corpus fuzz/corpus
	$(BIN)/python -m fuzz parts -max_total_time=$(FUZZ_SECONDS) -timeout=$(FUZZ_LONGEST) \
		-max_len=70000 -print_final_stats=1 -artifact_prefix=build/fuzz/ \
		build/fuzz/corpus_of_parts fuzz/corpus_of_parts

# Needs the vulnerability service of PyPI. A dependency that could not be looked up is a failure.
audit:
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/pip install --quiet --disable-pip-version-check pip-audit
	$(VENV)-audit/bin/pip-audit --strict --no-deps --disable-pip --requirement tests/constraints.txt

bench: $(READY)
	@$(BIN)/python -m bench

contrib: $(READY)
	$(BIN)/python -m contrib.generate

picture: $(READY)
	$(BIN)/python -m tests.picture

# As root on Debian. It says what it needs in addition to the tests.
screenshots: $(READY)
	@tests/servers/install
	@$(BIN)/python -m tests.screenshots

package: $(READY)
	@packaging/build $(BIN)/python $(DIST)

clean:
	rm -rf $(VENV) $(VENV)-audit $(VENV)-demo .tox build dist packaging/share .coverage* .hypothesis .mypy_cache .ruff_cache *.egg-info

# An editable install with a finder, instead of a path, would cost each start of Python 20 ms.
$(READY): setup.cfg pyproject.toml tests/constraints.txt tests/covered.pth tests/install-scramp
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint tests/constraints.txt \
		--config-settings editable_mode=compat --editable '.[test]'
	@cp tests/covered.pth "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	@tests/install-scramp $(BIN)/python
	@touch $@

$(VENV)-demo/.demo: tests/demo.txt tests/constraints.txt
	@echo 'installing what the demo needs into $(VENV)-demo'
	@$(PYTHON) -m venv $(VENV)-demo
	@$(VENV)-demo/bin/pip install --quiet --disable-pip-version-check --requirement tests/demo.txt
	@touch $@

$(VENV)/.demo: $(READY)
	@touch $@
