# The two commands: `make demo` and `make test`. Each sets the machine up by itself (Debian 12 or newer).
.PHONY: demo test test-page test-net test-lab test-faults test-install soak bench fuzz deny check release arm64 manual dist setup clean

demo: setup
	@tools/demo.sh

test:
	@tools/setup.sh test
	@tools/test.sh

# The answer page in a real browser: its rules, its journeys, its looks (pictures in target/page). Part of `make test`.
test-page:
	@tools/setup.sh test
	@tools/test.sh page

# Every row of the network fault lab in both roles, almost two hours; `make test` runs the short form. Needs root.
test-net:
	@tools/setup.sh test
	cargo build --locked --quiet
	@tools/test-net.sh

# The installed daemon in a virtual machine with a real kernel and simulated devices. Needs root.
test-lab:
	@tools/setup.sh lab
	@tools/test-lab.sh

# The table of docs/faults.md, each cell by the test it names, in all three labs. Needs root.
test-faults:
	@tools/setup.sh test
	@tools/setup.sh lab
	@tools/test-faults.sh

# The package in a clean Debian 12 that boots: installed, upgraded, hung, purged; and the Yocto layer. Needs root.
test-install:
	@tools/setup.sh install
	@tools/test-install.sh

# Calls for an hour (SOAK_MINUTES), then whether threads, descriptors, memory and files stayed flat, with plots in
# target/soak. `make test` runs the short form.
soak:
	@tools/setup.sh test
	@tools/soak.sh

# What a call costs beside what a user would otherwise run and as it grows, and instruction counts against their ceilings.
# The scenario takes some 20 minutes, BENCH_QUICK=1 under 5, what grows 15 more; the build comes before that.
bench:
	@tools/setup.sh bench
	@tools/bench.sh

# Every fuzz target for so many seconds each; docs/fuzzing.md.
FUZZ_SECONDS ?= 60
fuzz: setup
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tools/fuzz.sh

# Every dependency held to deny.toml. Known faults too where the advisory database can be had: DENY="advisories ...".
DENY ?= licenses bans sources
deny:
	@tools/setup.sh deny
	@target/deny-tools/bin/cargo-deny --locked check $(DENY)

# The fast part of `make test`, for every save.
check:
	cargo test --locked --test heart --test tidy
	cargo clippy --locked --all-targets -- -D warnings

# The program as it is installed: optimised, stripped.
release: setup
	cargo build --locked --release
	@ls -l target/release/intercomd

# The program for 64-bit ARM boards, built on a PC, and its pure tests under emulation.
arm64:
	@tools/arm64.sh

# What is released, in target/dist/: sources with all crates, packages, bill of materials, checksums.
dist:
	@tools/setup.sh dist
	@tools/dist.sh

# Man pages, completions and the licences of what is linked in, into target/dist/manual/.
manual: release
	@tools/dist.sh manual

setup:
	@tools/setup.sh build

clean:
	rm -rf target fuzz/target web/dist web/node_modules tests/browser/node_modules tests/net/node_modules tests/soak/node_modules tests/bench/node_modules
