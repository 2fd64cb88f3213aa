################################################################################
#
# vakt-boot
#
################################################################################

# Keep in step with the "boot" package in image/inputs.lock.
VAKT_BOOT_VERSION = 252.39-1~deb12u2
VAKT_BOOT_SITE = http://deb.debian.org/debian/pool/main/s/systemd
VAKT_BOOT_SOURCE = systemd-boot-efi_$(VAKT_BOOT_VERSION)_amd64.deb
VAKT_BOOT_LICENSE = LGPL-2.1+
VAKT_BOOT_LICENSE_FILES = usr/share/doc/systemd-boot-efi/copyright
VAKT_BOOT_INSTALL_TARGET = NO
VAKT_BOOT_INSTALL_IMAGES = YES
VAKT_BOOT_EFI_DIR = $(@D)/usr/lib/systemd/boot/efi

# A .deb is an ar archive that holds data.tar.xz.
define VAKT_BOOT_EXTRACT_CMDS
	cd $(@D) && ar x $(VAKT_BOOT_DL_DIR)/$(VAKT_BOOT_SOURCE) data.tar.xz
	$(call suitable-extractor,data.tar.xz) $(@D)/data.tar.xz | \
		$(TAR) -C $(@D) $(TAR_OPTIONS) -
endef

define VAKT_BOOT_INSTALL_IMAGES_CMDS
	$(INSTALL) -D -m 0644 $(VAKT_BOOT_EFI_DIR)/linuxx64.efi.stub \
		$(BINARIES_DIR)/vakt-boot/linuxx64.efi.stub
	$(INSTALL) -D -m 0644 $(VAKT_BOOT_EFI_DIR)/systemd-bootx64.efi \
		$(BINARIES_DIR)/vakt-boot/systemd-bootx64.efi
endef

$(eval $(generic-package))
