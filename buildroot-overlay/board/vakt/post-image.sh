#!/bin/sh
# Called by Buildroot with the images directory: hands kernel, modules and root tree to vakt-image, the only
# place that knows how a disk is put together. The root tree is made anew of our programs and the overlay:
# what else Buildroot put into its target directory (libraries, /etc) has no use in an image.
set -eu
images=$1

root="$BUILD_DIR/vakt-root"
rm -rf "$root"
for directory in dev proc run state sys tmp etc usr/bin usr/lib; do
	mkdir -p "$root/$directory"
done
cp -R "$BR2_EXTERNAL_VAKT_PATH/board/vakt/rootfs_overlay/." "$root/"
for program in init store log collector repair web update time; do
	cp "$TARGET_DIR/usr/bin/vakt-$program" "$root/usr/bin/"
done
# Who may sign updates: the root.json of VAKT_UPDATE_KEYS (made with vakt-image keys), or of keys for development.
keys=${VAKT_UPDATE_KEYS:-$BUILD_DIR/vakt-update-keys}
if [ ! -f "$keys/root.json" ] && [ -z "${VAKT_UPDATE_KEYS:-}" ]; then
	"$HOST_DIR/bin/vakt-image" keys "$keys"
fi
mkdir -p "$root/usr/lib/vakt/update"
cp "$keys/root.json" "$root/usr/lib/vakt/update/root.json"
find "$root" -type d -exec chmod 755 {} +
find "$root" -type f -exec chmod 644 {} +
chmod 755 "$root"/usr/bin/vakt-*

version=$("$HOST_DIR/bin/vakt-image" --version | cut -d' ' -f2)
cat >"$root/usr/lib/os-release" <<END
NAME=Vakt
ID=vakt
PRETTY_NAME="Vakt $version"
VERSION_ID=$version
IMAGE_ID=vakt
IMAGE_VERSION=$version
END

# The kernel has no modules; what vakt-image looks at is the list of what is built in.
set -- "$BUILD_DIR"/linux-[0-9]*/include/config/kernel.release
if [ $# -ne 1 ] || [ ! -f "$1" ]; then
	echo "post-image: expected one kernel in $BUILD_DIR, found: $*" >&2
	exit 1
fi
linux=${1%/include/config/kernel.release}
read -r release <"$1"
modules="$BUILD_DIR/vakt-modules/$release"
mkdir -p "$modules/kernel"
cp "$linux/modules.builtin" "$modules/"

# What Kconfig dropped without a word stops the build here.
if grep -q '^BR2_aarch64=y' "$BR2_CONFIG"; then
	arch=aarch64 efi=aa64 kernel=Image
else
	arch=x86_64 efi=x64 kernel=bzImage
fi
board="$BR2_EXTERNAL_VAKT_PATH/board/vakt"
"$board/lost-lines" "$linux/.config" "$board/linux.config" "$board/linux-$arch.config"

CARGO_NET_OFFLINE=true "$HOST_DIR/bin/vakt-image" sbom --root-tree "$root" \
	--part "pkg:generic/linux@${release%-vakt}" \
	--part "pkg:deb/debian/systemd-boot-efi@$(sed -n 's/^VAKT_BOOT_VERSION = //p' "$board/../../package/vakt-boot/vakt-boot.mk")"

exec "$HOST_DIR/bin/vakt-image" assemble \
	--root-tree "$root" \
	--kernel "$images/$kernel" \
	--modules "$modules" \
	--stub "$images/vakt-boot/linux$efi.efi.stub" \
	--boot-loader "$images/vakt-boot/systemd-boot$efi.efi" \
	--output "$images/vakt"
