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
for program in init store log collector repair web update; do
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

set -- "$TARGET_DIR"/lib/modules/*
if [ $# -ne 1 ] || [ ! -d "$1" ]; then
	echo "post-image: expected one kernel in $TARGET_DIR/lib/modules, found: $*" >&2
	exit 1
fi
exec "$HOST_DIR/bin/vakt-image" assemble \
	--root-tree "$root" \
	--kernel "$images/bzImage" \
	--modules "$1" \
	--stub "$images/vakt-boot/linuxx64.efi.stub" \
	--boot-loader "$images/vakt-boot/systemd-bootx64.efi" \
	--output "$images/vakt"
