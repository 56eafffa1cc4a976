#!/bin/bash
# Builds a Debian 13 machine to boot in place of this one, once: the picamera2 tests' tree with systemd laid over it, and
# in another folder what lies in /opt/ezrec there. Prints the overlay's lower directories, then that folder.
# A minute the first time, beside the picamera2 tests' tree. Exit 3: something that it needs is missing.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ezrec
packages="systemd systemd-sysv dbus python3-venv procps util-linux"
certificates=/etc/ssl/certs/ca-certificates.crt # of this machine: it may reach the network through somebody
missing() { echo "test-systemd: $*" >&2; exit 3; }

[ "$(id -u)" = 0 ] || missing "it needs root"
base=$("$here/tests/picamera2/build.sh") || exit $?
recipe=$(cat "$0" "$here/pyproject.toml" "$base/.recipe" | sha256sum | cut -c1-16)
tree=$cache/debian13-$recipe
if [ ! -e "$tree/.ready" ]; then
	echo "test-systemd: building a Debian 13 machine in $tree (once)" >&2
	part=$(mktemp -d "$cache/debian13.XXXXXX")
	trap 'rm -rf "$part"' EXIT
	chmod 755 "$part"
	mkdir "$part/over" "$part/work" "$part/root" "$part/app"
	# shellcheck disable=SC2016 # the words are those of the inner shell
	timeout -k 10 600 unshare --mount bash -euc '
		part=$1 base=$2 here=$3 certificates=$4 root=$1/root
		shift 4
		mount --make-rprivate /
		mount -t overlay overlay -o "lowerdir=$base,upperdir=$part/over,workdir=$part/work" "$root"
		mount -t proc proc "$root/proc"
		mount --rbind /dev "$root/dev"
		cp -L /etc/resolv.conf "$root/etc/resolv.conf"
		inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
			DEBIAN_FRONTEND=noninteractive http_proxy="${http_proxy:-}" https_proxy="${https_proxy:-}" "$@"; }
		inside apt-get update -q
		inside apt-get install -y -q --no-install-recommends "$@"
		inside apt-get clean
		mkdir -p "$root/opt/ezrec" "$root/mnt/clone"
		mount --bind "$part/app" "$root/opt/ezrec"
		mount --bind "$here" "$root/mnt/clone"
		[ ! -e "$certificates" ] || mount --bind "$certificates" "$root/$certificates"
		inside python3 -m venv /opt/ezrec/.venv
		inside /opt/ezrec/.venv/bin/pip install -q --cert "$certificates" /mnt/clone
		inside /opt/ezrec/.venv/bin/pip wheel -q --cert "$certificates" --wheel-dir /opt/ezrec/wheels \
			/mnt/clone "hatchling>=1.27"
		rm "$part"/app/wheels/ezrec-*
	' sh "$part" "$base" "$here" "$certificates" $packages >"$part.log" 2>&1 ||
		{ tail -n 5 "$part.log" >&2; missing "the packages could not be had, see $part.log"; }
	rm -rf "$part.log" "$part/work" "$part/root"
	touch "$part/.ready"
	mv -T "$part" "$tree" 2>/dev/null || true # another run was quicker: its tree is as good
	trap - EXIT
fi
echo "$tree/over:$base"
echo "$tree/app"
