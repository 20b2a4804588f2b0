# Every build uses the release profile with FAISS bundled, so that FAISS is compiled once and shared by all of them.
.NOTPARALLEL:
.PHONY: demo install setup models test lint bench bench-own bench-memory bench-million eval native-torch corrupt fuzz asan old-cpu bench-peers

export PATH := $(CURDIR)/.local/bin:$(PATH):$(HOME)/.cargo/bin
# The Python that has FAISS, for the tests that open our files with it.
export VDB_TEST_PYTHON := $(CURDIR)/.local/venv/bin/python
# A threaded OpenBLAS reads this when it is loaded; our own threads are all that we want.
export OPENBLAS_NUM_THREADS := 1

# Where the embedding models and the ONNX Runtime are, for the tests and the benchmarks.
export VDB_MODELS ?= $(CURDIR)/.local/models

CARGO_FLAGS := --release --locked

# Installs what is missing, builds, and shows vdb at work on the samples. A second run downloads and builds nothing.
demo:
	@scripts/demo.sh

# Runs everything that has to pass before a change is taken.
test: models lint
	cargo test $(CARGO_FLAGS) -- --show-output
	RUSTDOCFLAGS=-Dwarnings cargo doc $(CARGO_FLAGS) --no-deps

# Puts the program and its model where they are found without further ado.
install:
	@scripts/install.sh

# Checks the machine, installs what is missing, makes .local/venv. Quick when nothing is to be done.
setup:
	@scripts/setup.sh

# Fetches the embedding models and the ONNX Runtime, about 200 MB, unless they are there.
models: setup
	@scripts/models.sh

lint:
	cargo fmt --check
	cargo clippy $(CARGO_FLAGS) --all-targets -- -D warnings
	cargo clippy $(CARGO_FLAGS) --all-targets --no-default-features --features faiss-bundled -- -D warnings
	cargo clippy $(CARGO_FLAGS) --bench memory --bench million -- -D warnings

# All benchmarks but the longest, bench-million: some half an hour, and a gigabyte of packages of other libraries. With -k a bound
# that does not hold stops nothing.
bench: bench-own bench-peers bench-memory

# Those that need nothing but ourselves.
bench-own: models
	cargo bench --profile release --locked --no-fail-fast

# Compares vdb with other libraries, which it installs into .local/peers first. DATA: sizes, such as "100000x384 1000000x384
# 100000x3072"; TEXTS: a directory with a corpus.jsonl, or with directories that have one; PEERS: some of the libraries.
bench-peers: models
	@scripts/peers.sh
	VDB_PEERS_PYTHON=$(CURDIR)/.local/peers/bin/python VDB_PEERS_DATA="$(DATA)" VDB_PEERS="$(PEERS)" \
		VDB_PEERS_TEXTS="$(if $(TEXTS),$(abspath $(TEXTS)))" cargo bench --profile release --locked --bench peers

# Measures memory, with 200,000 vectors of 3,072 values, beside LangChain's FAISS store: many minutes, ten gigabytes of disk.
# VDB_MEMORY_ROWS and VDB_MEMORY_DIM make it smaller.
bench-memory: setup
	test -x .local/langchain/bin/python || python3 -m venv .local/langchain
	.local/langchain/bin/pip install --quiet --requirement benches/python/requirements-langchain.txt
	cargo bench --profile release --locked --bench memory

# Measures a store of a million vectors of 384 values: many minutes, ten gigabytes of disk. VDB_MILLION_DIR keeps it for a later run.
bench-million: setup
	cargo bench --profile release --locked --bench million

# Measures how well texts are found by words, by meaning and by both: make eval DATA="DIRECTORY..." MIN="hybrid=0.885"
eval: models
	VDB_EVAL_DATA="$(abspath $(DATA))" VDB_EVAL_MIN="$(MIN)" cargo bench --profile release --locked --bench eval

# Loads us into Python beside PyTorch, too, which is several gigabytes.
native-torch: setup
	cargo build $(CARGO_FLAGS) --example in_python
	python3 -m venv .local/torch
	.local/torch/bin/pip install --quiet --requirement tests/python/requirements.txt torch
	.local/torch/bin/python tests/python/beside_others.py target/release/examples/libin_python.so torch

# Flips bits in every byte of a small store, cuts it at every length, and does a part of that to the file of a writer that was
# killed: some 1.7 million files, half an hour or more.
corrupt: setup
	VDB_CORRUPT=all cargo test $(CARGO_FLAGS) --test main -- corrupt::damage --nocapture --test-threads=1

# Runs each fuzz target for FUZZ_SECONDS.
fuzz: setup
	scripts/fuzz.sh

# Compiles the C++ shim and a test of it for AddressSanitizer, and runs it.
asan: setup
	scripts/asan.sh

# Runs the program on emulated processors, with AVX2 and without: some minutes. Installs qemu-user-static.
old-cpu: setup
	scripts/old_cpu.sh
