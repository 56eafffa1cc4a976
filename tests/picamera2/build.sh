#!/bin/sh
# Builds a Debian 13 tree with libcamera's virtual camera and the real picamera2, once, and prints where it is.
# Needs root, debootstrap, unshare, pip and a Debian mirror: the one this machine's own apt uses.
# Two to three minutes and 1 GB the first time. Exit 3: something that it needs is missing.
#
# Beside the newest picamera2 stands the oldest that works with Debian 13's libcamera, from the days
# of Debian 12: Raspberry Pi's archive alone has it as a package, so both come as wheels. Debian 13's own FFmpeg
# stands there as well, for what videos are made with.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ezrec
tree=$cache/picamera2
python=${PYTHON:-python3}
packages=python3,python3-libcamera,python3-numpy,python3-av,python3-prctl,python3-piexif,python3-pil,ffmpeg
new=picamera2==0.3.38
old=picamera2==0.3.17
wheels="ffmpeg-python future filelock simplejpeg videodev2 v4l2-python3 msgspec pytest pytest-timeout iniconfig packaging pluggy pygments"
# Another recipe is another tree: what is cached is used only while nothing of this changed.
recipe=$(echo "1 $packages $new $old $wheels" | cat - "$here/virtual.yaml" | sha256sum | cut -c1-16)

missing() { echo "test-picamera2: $*" >&2; exit 3; }

if [ "$(cat "$tree/.recipe" 2>/dev/null || true)" = "$recipe" ]; then
	echo "$tree"
	exit 0
fi

[ "$(id -u)" = 0 ] || missing "building the tree needs root: run it with sudo"
command -v debootstrap >/dev/null || missing "debootstrap is not installed: apt-get install debootstrap"
"$python" -m pip --version >/dev/null 2>&1 || missing "pip is not installed: apt-get install python3-pip"

# One-line and deb822 sources alike; security and vendors' archives hold no base system.
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
	sed -nE 's/^(URIs:|deb( +\[[^]]*\])?) +([^ ]+\/debian)\/?( .*)?$/\3/p' |
	grep -vE 'security|raspberrypi' | head -n 1)
[ -n "$mirror" ] || missing "no Debian mirror in this machine's apt sources"
proxy=$(apt-config shell proxy Acquire::http::Proxy | sed -nE "s/^proxy='(.*)'$/\1/p")
[ -z "$proxy" ] || export http_proxy="${http_proxy:-$proxy}"

mkdir -p "$cache"
# Two runs at once would build over each other.
exec 9>"$cache/picamera2.lock"
flock -w 900 9 || missing "another run has been building the tree for a quarter of an hour"
if [ "$(cat "$tree/.recipe" 2>/dev/null || true)" = "$recipe" ]; then
	echo "$tree"
	exit 0
fi
part=$cache/picamera2.part
log=$cache/picamera2.log
rm -rf "$part" "$tree"
echo "test-picamera2: building a Debian 13 tree in $tree (two to three minutes, once)" >&2
# Its limit: a mirror that stalls must not hold up whoever waits for the tests.
timeout -k 10 480 debootstrap --variant=minbase --include="$packages" trixie "$part" "$mirror" >"$log" 2>&1 || {
	tail -n 3 "$log" >&2
	missing "debootstrap failed, see $log"
}
rm -rf "$part"/var/cache/apt/archives/*.deb "$part"/var/lib/apt/lists/*

# $1: a folder in the tree; then wheels. Without their dependencies: numpy and av come from Debian, as on the device.
unpack() {
	folder=$part/$1
	shift
	mkdir -p "$folder"
	timeout -k 10 90 "$python" -m pip download --quiet --no-deps --python-version 3.13 --only-binary :all: \
		--platform "manylinux_2_28_$(uname -m)" --platform "manylinux2014_$(uname -m)" \
		--dest "$folder/.wheels" "$@" >>"$log" 2>&1 || {
		tail -n 3 "$log" >&2
		missing "the wheels could not be had, see $log"
	}
	for wheel in "$folder"/.wheels/*.whl; do
		"$python" -m zipfile -e "$wheel" "$folder"
	done
	rm -rf "$folder/.wheels"
}

# shellcheck disable=SC2086
unpack opt/py $wheels
unpack opt/new "$new"
unpack opt/old "$old"
mkdir -p "$part/opt/ezrec" "$part/usr/share/libcamera/pipeline/virtual"
cp "$here/virtual.yaml" "$part/usr/share/libcamera/pipeline/virtual/virtual.yaml"
echo "$recipe" >"$part/.recipe"
mv "$part" "$tree"
echo "$tree"
