################################################################################
#
# vakt-boot
#
################################################################################

# Keep in step with the "boot" package in image/inputs.lock.
VAKT_BOOT_VERSION = 252.39-1~deb12u2
VAKT_BOOT_SITE = http://deb.debian.org/debian/pool/main/s/systemd
ifeq ($(BR2_aarch64),y)
VAKT_BOOT_DEBIAN_ARCH = arm64
VAKT_BOOT_EFI_ARCH = aa64
else
VAKT_BOOT_DEBIAN_ARCH = amd64
VAKT_BOOT_EFI_ARCH = x64
endif
VAKT_BOOT_SOURCE = systemd-boot-efi_$(VAKT_BOOT_VERSION)_$(VAKT_BOOT_DEBIAN_ARCH).deb
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
	$(INSTALL) -D -m 0644 $(VAKT_BOOT_EFI_DIR)/linux$(VAKT_BOOT_EFI_ARCH).efi.stub \
		$(BINARIES_DIR)/vakt-boot/linux$(VAKT_BOOT_EFI_ARCH).efi.stub
	$(INSTALL) -D -m 0644 $(VAKT_BOOT_EFI_DIR)/systemd-boot$(VAKT_BOOT_EFI_ARCH).efi \
		$(BINARIES_DIR)/vakt-boot/systemd-boot$(VAKT_BOOT_EFI_ARCH).efi
endef

$(eval $(generic-package))
