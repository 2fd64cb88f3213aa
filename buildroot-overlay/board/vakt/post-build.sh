#!/bin/sh
# Called by Buildroot with the target directory when every package is installed: what goes into an image must
# run without a dynamic loader, so a program that needs one stops the build here and not on the box.
set -eu
target=$1

for program in init store log collector repair web update time egress; do
	file="$target/usr/bin/vakt-$program"
	if [ ! -x "$file" ]; then
		echo "post-build: $file is missing" >&2
		exit 1
	fi
	if LC_ALL=C readelf --program-headers "$file" | grep -q INTERP; then
		echo "post-build: $file is dynamically linked; see VAKT_CARGO_ENV in package/vakt/vakt.mk" >&2
		exit 1
	fi
done
