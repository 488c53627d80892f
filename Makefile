# make demo: the whole cycle on the shipped sample.  make test: all checks but the slow ones.
# make test-slow: those.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NODE_LLAMA = $(shell node -p "require('./export/package.json').dependencies['node-llama-cpp']")
NODE_PLATFORM = $(shell node -p "process.platform.replace('darwin', 'mac') + '-' + process.arch")

# Two processes, each with cores and files of its own: see tests/conftest.py.
in-parallel = -n 2 --dist loadfile --no-loadscope-reorder
least-covered = $(BIN)/python -m coverage report --sort=cover | sed -n '1,12p;$$p'

.PHONY: demo test test-slow programs lint format package compat clean

demo: $(VENV)/installed
	@echo "The whole cycle on sample data: about 4 minutes on two cores, less the second time."
	@$(BIN)/python recipes/demo.py demo

test: $(VENV)/installed lint
	@test -e $(VENV)/programs/built || \
	    echo "Without make programs, which needs cmake and npm, the kit's programs are not tested."
	@echo "Running the tests but the slow ones: about 10 minutes on two cores."
	@$(BIN)/python -m pytest -m "not slow" $(in-parallel) --durations=10 --cov --cov-report=
	@$(least-covered)

# The slow ones, and those that hypothesis draws for, with thirty times as many draws.
test-slow: $(VENV)/installed
	@echo "Running the slow tests: about 16 minutes on two cores."
	@$(BIN)/python -m pytest -m "slow or property" $(in-parallel) --hypothesis-profile=slow --durations=10

programs: $(VENV)/programs/built

lint: $(VENV)/installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(VENV)/installed
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

$(VENV)/installed: pyproject.toml constraints.txt
	@echo "Installing into $(VENV), once: about 6 minutes, most of it compiling llama.cpp."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[train,smollm2,gemma,spacy,dev]'
	@touch $@

# The runtimes that the kit is tested with: llama.cpp's programs, from the sources of the installed
# llama-cpp-python, and node-llama-cpp. Optimized for building quickly.
$(VENV)/programs/built: constraints.txt export/package.json | $(VENV)/installed
	@echo "Building llama-server and llama-completion, once: about 4 minutes on two cores."
	@rm -rf $(VENV)/programs && mkdir -p $(VENV)/programs/source
	@$(BIN)/python -m pip download --quiet -c constraints.txt --no-deps \
	    --no-binary llama-cpp-python -d $(VENV)/programs llama-cpp-python
	@tar xzf $(VENV)/programs/llama_cpp_python-*.tar.gz --strip-components=1 -C $(VENV)/programs/source
	@cmake -S $(VENV)/programs/source/vendor/llama.cpp -B $(VENV)/programs/build \
	    -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE=-O1 -DBUILD_SHARED_LIBS=OFF \
	    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF \
	    -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF >$(VENV)/programs/log
	@cmake --build $(VENV)/programs/build --parallel 2 \
	    --target llama-server llama-completion >>$(VENV)/programs/log
	@mv $(VENV)/programs/build/bin/llama-* $(VENV)/programs/
	@npm install --silent --ignore-scripts --omit=optional --prefix $(VENV)/programs \
	    node-llama-cpp@$(NODE_LLAMA) @node-llama-cpp/$(NODE_PLATFORM)@$(NODE_LLAMA)
	@rm -rf $(VENV)/programs/source $(VENV)/programs/build $(VENV)/programs/*.tar.gz
	@touch $@

# The wheel and the sdist, and the whole cycle with nothing but the wheel installed.
package: $(VENV)/installed
	@rm -rf dist build/package && mkdir -p build/package
	@$(BIN)/python -m build --outdir dist . >build/package/log
	@$(PYTHON) -m venv build/package/venv
	@build/package/venv/bin/python -m pip install --quiet -c constraints.txt "$$(ls dist/*.whl)[train,smollm2]"
	@cp recipes/demo.py build/package/
	@cd build/package && venv/bin/python demo.py demo && venv/bin/minisift export demo/notes.gguf kit --format kit

clean:
	rm -rf demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The tests of llama.cpp's engine on the oldest and on the newest llama-cpp-python that pyproject.toml
# admits, each in an environment of its own under .venv-compat.
compat: $(VENV)/installed
	@echo "About 6 minutes a version on two cores, most of it compiling llama.cpp, once."
	@$(BIN)/python tests/support/compat.py
