# `make` alone says what there is. Every step that a fresh machine needs is in here and in tools/.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

LIGHT := -p netsonde-core -p netsonde-sdk -p netsonde-probe-cadvisor -p netsonde-probe-cadvisor-traffic \
	-p netsonde-probe-packet-loss -p netsonde-probe-socket-memory -p netsonde-probe-sockstat \
	-p netsonde-probe-tcp-reset -p netsonde-probe-tcp-state -p netsonde-probe-traffic
WASM := wasm32-unknown-unknown
FUZZ_SECONDS ?= 60

.PHONY: help setup run test lint bench fuzz guests
help:
	@echo "make run     builds the agent and runs it here: built-in probes, this kernel, http://127.0.0.1:13119/metrics"
	@echo "             (ARGS='--config FILE' for another configuration; without root it serves what it may)"
	@echo "make test    all tests; those on the real kernel need root"
	@echo "make lint    format, clippy with warnings denied, licences"
	@echo "make bench   the benches, each beside its reference"
	@echo "make fuzz    each fuzz target for FUZZ_SECONDS=$(FUZZ_SECONDS) seconds"
	@echo "make setup   what the others need: the standard library for $(WASM), what the tests need of Debian and PyPI"

setup:
	tools/install-wasm-std.sh
	tools/install-packages.sh
	tools/install-rotel.sh
	tools/install-victoria-metrics.sh

run:
	tools/install-wasm-std.sh
	cargo build --locked --release -p netsonde
	exec target/release/netsonde run --cache-folder target/cache $(ARGS)

# The light crates are tested with debug assertions; whatever holds the WASM compiler is built once, optimised.
test: setup guests
	cargo test --locked $(LIGHT)
	cargo test --locked --manifest-path tests/guests/Cargo.toml -p listen_overflows -p tcp_retransmit
	cargo build --locked --release -p netsonde
	cargo test --locked --release -p netsonde -p netsonde-tests

# Probes outside the workspace, for the tests.
guests:
	tools/install-wasm-std.sh
	cargo build --locked --profile probe --target $(WASM) --manifest-path tests/guests/Cargo.toml

lint:
	tools/install-wasm-std.sh
	cargo fmt --all --check
	cargo fmt --all --check --manifest-path tests/guests/Cargo.toml
	cargo fmt --all --check --manifest-path fuzz/Cargo.toml
	cargo clippy --locked --release --workspace --all-targets -- -D warnings
	tools/licences.sh

bench: setup
	cargo bench --locked -p netsonde-core
	cargo bench --locked -p netsonde
	cargo bench --locked -p netsonde-tests

# Coverage-guided on the stable toolchain: libFuzzer, and the compiler's own instrumentation, without a sanitizer.
fuzz: export RUSTFLAGS := -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
	-Cdebug-assertions -Coverflow-checks -Ccodegen-units=1
fuzz:
	cd fuzz && cargo build --locked --release --target $$(rustc -vV | sed -n 's/^host: //p')
	cd fuzz && for target in targets/*.rs; do \
		name=$$(basename $$target .rs); mkdir -p corpus/$$name; \
		echo "== $$name"; \
		target/$$(rustc -vV | sed -n 's/^host: //p')/release/$$name -max_total_time=$(FUZZ_SECONDS) -timeout=10 \
			-print_final_stats=0 -verbosity=1 corpus/$$name; \
	done
