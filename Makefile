# Two commands matter: `make run` boots the image and says where its pages are, `make test` runs every
# test. Each installs what it needs (as root through apt; otherwise it prints the command).

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.DEFAULT_GOAL := help

# Set-up is a small program of its own; the image builder comes with everything else that is built.
SETUP := cargo run --quiet --locked --package vakt-setup -- --for
IMAGE := cargo run --quiet --locked --package vakt-image --
BUILT = $(or $(CARGO_TARGET_DIR),target)/$(shell rustc --print host-tuple)/debug
PROGRAMS := vakt-init vakt-store vakt-log vakt-collector vakt-repair vakt-web vakt-update vakt-time vakt-egress
DEV := target/dev
TEST_IMAGE := target/test-image

.PHONY: help
help: ## What can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

.PHONY: run
run: image ## Boot the image in QEMU; Ctrl-C powers it off. FLAGS="--config vakt.toml" and others are passed on
	$(SETUP) run
	$(IMAGE) run $(FLAGS)

.PHONY: image
image: ## Build the flashable image: target/image/vakt-<version>-<arch>.img.zst; KERNEL=source FORMAT=qcow2 SECURE_BOOT=DIR
	$(SETUP) $(if $(filter source,$(KERNEL)),kernel,build)
	$(IMAGE) build $(if $(KEYS),--keys $(KEYS)) $(if $(KERNEL),--kernel $(KERNEL)) $(if $(FORMAT),--format $(FORMAT)) \
	  $(if $(SECURE_BOOT),--secure-boot-key $(SECURE_BOOT)/db.key --secure-boot-cert $(SECURE_BOOT)/db.crt)

.PHONY: bundle
bundle: image ## Add the image to a signed repository of updates, target/update; KEYS=DIR as `vakt-image keys DIR` made it
	$(IMAGE) bundle --output target/update --archive target/update.tar $(if $(KEYS),--keys $(KEYS))

.PHONY: dev
dev: ## The same init and services as a container on this host, at https://127.0.0.1:8443 (root)
	$(SETUP) build
	$(IMAGE) tree --output $(DEV)/tree
	mkdir -p $(DEV)/state
	$(DEV)/tree/usr/bin/vakt-init container --root $(DEV)/tree --state $(DEV)/state \
	  --map 443=127.0.0.1:8443 --map 514=127.0.0.1:5514 $(if $(CONFIG),--config $(CONFIG))

.PHONY: test
test: ## Every test of every tier, with one closing summary
	$(SETUP) test
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
	cargo build --workspace --all-targets --locked
	$(BUILT)/vakt-image build --profile dev --no-compress --output $(TEST_IMAGE)
	.ci/deny
	.ci/tests target/tests.log

.PHONY: test-long
test-long: export VAKT_TEST_LONG := 1
test-long: test ## `make test`, with a thousand power cuts instead of fifty and longer outages: an hour more

.PHONY: fuzz
fuzz: ## Fuzz every decoder and the query language, SECONDS=60 each; TARGET=promql for one alone
	command -v cargo-fuzz > /dev/null || cargo install --locked cargo-fuzz
	cd fuzz && cargo fuzz build -s none --fuzz-dir . && for target in $(or $(TARGET),$$(cargo fuzz list --fuzz-dir .)); do \
	  mkdir -p found/$$target && cargo fuzz run -s none --fuzz-dir . $$target found/$$target corpus/$$target -- \
	    -max_total_time=$(or $(SECONDS),60) -timeout=20 -rss_limit_mb=2048 -print_final_stats=1; done

.PHONY: buildroot-check
buildroot-check: ## Check buildroot-overlay/ against BUILDROOT=DIR and KERNEL_SOURCE=DIR; says what was not run
	buildroot-overlay/check

.PHONY: bench
bench: image ## Print the measures: boot, sizes, memory, ingest against the peers
	$(SETUP) test
	cargo build --locked --release $(addprefix --package ,$(PROGRAMS)) --package vakt-qemu-tests --bins
	cargo run --locked --release --package vakt-qemu-tests --bin vakt-bench

.PHONY: clean
clean: ## Remove everything that was built
	cargo clean
