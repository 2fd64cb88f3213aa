################################################################################
#
# vakt
#
################################################################################

VAKT_VERSION = local
VAKT_SITE = $(BR2_EXTERNAL_VAKT_PATH)/..
VAKT_SITE_METHOD = local
VAKT_LICENSE = Apache-2.0
VAKT_LICENSE_FILES = LICENSE
# host-clang and libbpf's headers compile the eBPF programs.
VAKT_DEPENDENCIES = host-clang host-libbpf vakt-boot host-vakt
HOST_VAKT_DEPENDENCIES = host-clang host-libbpf

# The same programs as vakt-image's PROGRAMS (image/src/build/programs.rs).
VAKT_PROGRAMS = \
	vakt-init \
	vakt-store \
	vakt-log \
	vakt-collector \
	vakt-repair \
	vakt-web \
	vakt-update \
	vakt-time \
	vakt-egress

# A checkout holds gigabytes that no build needs.
VAKT_EXCLUDE = --exclude /target --exclude /.git --exclude /vendor
VAKT_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = $(VAKT_EXCLUDE)
HOST_VAKT_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = $(VAKT_EXCLUDE)

# A local source is not vendored by Buildroot's download step, and its build is
# offline: fetch what Cargo.lock names, once, into the copy of the source.
define VAKT_VENDOR
	if [ ! -e $(@D)/vendor/.complete ]; then \
		cd $(@D) && \
		$(HOST_MAKE_ENV) $(PKG_COMMON_CARGO_ENV) \
			cargo vendor --locked --versioned-dirs vendor \
			> vendored.toml && \
		cat vendored.toml >> .cargo/config.toml && \
		touch vendor/.complete; \
	fi
endef
VAKT_PRE_BUILD_HOOKS += VAKT_VENDOR
HOST_VAKT_PRE_BUILD_HOOKS += VAKT_VENDOR

VAKT_TRIPLE_UPPER = $(call UPPERCASE,$(RUSTC_TARGET_NAME))
VAKT_BPF_ENV = \
	CLANG=$(VAKT_PKGDIR)/bpf-clang \
	VAKT_HOST_DIR=$(HOST_DIR)

# Buildroot's settings come by the environment, which beats .cargo/config.toml
# and the profiles in Cargo.toml. What must hold nevertheless comes after them:
# the target is named (.cargo/config.toml says host-tuple), static linking is
# asked for (an image has no dynamic loader), and the release profile is ours.
VAKT_CARGO_ENV = \
	$(VAKT_BPF_ENV) \
	CARGO_BUILD_TARGET=$(RUSTC_TARGET_NAME) \
	CARGO_TARGET_$(VAKT_TRIPLE_UPPER)_RUSTFLAGS="\
		-Ctarget-feature=+crt-static \
		-Clink-arg=-Wl,--build-id=none \
		--remap-path-prefix=$(@D)=/vakt" \
	CARGO_PROFILE_RELEASE_OPT_LEVEL=3 \
	CARGO_PROFILE_RELEASE_LTO=fat \
	CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 \
	CARGO_PROFILE_RELEASE_DEBUG=0 \
	CARGO_PROFILE_RELEASE_STRIP=symbols

VAKT_CARGO_BUILD_OPTS = $(addprefix --package ,$(VAKT_PROGRAMS))

# "cargo install" takes no workspace, and would build everything again.
define VAKT_INSTALL_TARGET_CMDS
	$(foreach program,$(VAKT_PROGRAMS), \
		$(INSTALL) -D -m 0755 \
			$(@D)/target/$(RUSTC_TARGET_NAME)/$(if $(BR2_ENABLE_DEBUG),debug,release)/$(program) \
			$(TARGET_DIR)/usr/bin/$(program)
	)
endef

HOST_VAKT_CARGO_ENV = \
	$(VAKT_BPF_ENV) \
	CARGO_BUILD_TARGET=$(RUSTC_HOST_NAME)
HOST_VAKT_CARGO_BUILD_OPTS = --package vakt-image

define HOST_VAKT_INSTALL_CMDS
	$(INSTALL) -D -m 0755 \
		$(@D)/target/$(RUSTC_HOST_NAME)/release/vakt-image \
		$(HOST_DIR)/bin/vakt-image
endef

$(eval $(cargo-package))
$(eval $(host-cargo-package))
