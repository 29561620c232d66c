# Everything happens in .venv; each target installs what it needs and nothing else.
PYTHON ?= python3
BIN := .venv/bin
SITE := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet  # the theme advertises its successor otherwise

.PHONY: demo test check docs

demo: .venv/cpu
	$(BIN)/vmdepth-run demo -o demo.mp4
	@echo "Open $(CURDIR)/demo.mp4 in a browser: colour on the left, depth on the right."

# One process per core, one thread each: libraries that all want every core wait for each other.
test: .venv/test .venv/mamba-ssm
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile

check: .venv/check
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(SITE)

docs: .venv/docs
	$(SITE)
	@echo "Open $(CURDIR)/build/site/index.html in a browser."

.venv/bin/python:
	$(PYTHON) -m venv .venv

# The tests run its kernels by Triton's interpreter. Its wheel is built by the torch that is here, without its CUDA part,
# which they do not need; nor do they need the gigabyte that it asks for, so it lies where nothing else sees it. Where
# pip reaches no index, the tests that need it skip; where it does, a failure is one.
.venv/mamba-ssm: .venv/test
	MAMBA_FORCE_BUILD=TRUE MAMBA_SKIP_CUDA_BUILD=TRUE $(BIN)/pip install --quiet --upgrade \
		--no-build-isolation --no-deps --target $@ mamba-ssm==2.3.2.post1 && touch $@ || \
		{ ! $(BIN)/pip index versions mamba-ssm >/dev/null 2>&1 && echo "no mamba-ssm, as pip reaches no index: its tests skip"; }

.venv/%: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --editable '.[$*]'
	@touch $@
