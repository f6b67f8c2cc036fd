# The short way to everything. Each line says what it does; the work is in tools/ and CMake.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.PHONY: run build test bench soak fuzz tidy clean help
FUZZ_SECONDS ?= 60
SOAK_MINUTES ?= 120

run: ## build, then start weir on 127.0.0.1:6380 (ARGS='--store redis://host:port' …)
	@tools/setup.sh run
	@tools/build.sh release weir
	@exec build/weir serve $(ARGS)

build: ## the release binary, build/weir
	@tools/setup.sh build
	@tools/build.sh release weir

test: ## everything, in stages; stops at the first that fails
	@tools/setup.sh test
	@tools/test.sh

bench: ## measure against the floor, redis-server and nutcracker (TRACES=DIR adds miss ratios)
	@tools/setup.sh test
	@tools/build.sh release
	@TRACES='$(TRACES)' /usr/bin/python3 bench/run.py $(ARGS)

soak: ## the same tests for hours (SOAK_MINUTES=120)
	@tools/setup.sh test
	@SOAK_MINUTES=$(SOAK_MINUTES) tools/soak.sh

fuzz: ## each fuzzer for FUZZ_SECONDS=60
	@tools/setup.sh test
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tools/fuzz.sh

tidy: ## formatting and clang-tidy over src/
	@tools/setup.sh test
	@tools/tidy.sh

clean: ## remove build/
	@rm -rf build

help: ## this list
	@sed -n 's/^\([a-z]*\): ## \(.*\)/\1\t\2/p' Makefile | expand -t 10
