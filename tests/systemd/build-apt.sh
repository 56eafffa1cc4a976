#!/bin/bash
# Builds a Debian machine on which nothing of EZREC was installed yet, once: $1 is 12 or 13. Beside its root lies what its
# own apt and pip find in place of the network: the packages that an installation asks for, with all that they need, and
# wheels. Prints where. Two minutes and 0.9 GB the first time. Exit 3: something that it needs is missing.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ezrec
case $1 in 12) suite=bookworm python=3.11 ;; 13) suite=trixie python=3.13 ;; *) exit 1 ;; esac
packages=systemd,systemd-sysv,dbus,python3,procps,util-linux,passwd,adduser,tzdata
asked_for="ffmpeg fonts-dejavu-core python3-venv"
missing() { echo "test-systemd: $*" >&2; exit 3; }

[ "$(id -u)" = 0 ] || missing "it needs root"
recipe=$(cat "$0" "$here/pyproject.toml" | sha256sum | cut -c1-16)
tree=$cache/debian$1-apt-$recipe
if [ -e "$tree/.ready" ]; then echo "$tree"; exit 0; fi
[ "${ONLY_BUILT:-}" != yes ] || missing "no tree of a fresh Debian $1 is built: make test-systemd builds it, in some minutes"
command -v debootstrap >/dev/null || missing "debootstrap is missing: apt-get install debootstrap"
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
	sed -nE 's/^(URIs:|deb( +\[[^]]*\])?) +([^ ]+\/debian)\/?( .*)?$/\3/p' |
	grep -vE 'security|raspberrypi' | head -n 1) || true # one of the two kinds of list is not there
[ -n "$mirror" ] || missing "no Debian mirror in this machine's apt sources"
proxy=$(apt-config shell proxy Acquire::http::Proxy | sed -nE "s/^proxy='(.*)'$/\1/p")
[ -z "$proxy" ] || export http_proxy="${http_proxy:-$proxy}"

echo "test-systemd: building a fresh Debian $1 machine in $tree (once)" >&2
mkdir -p "$cache"
part=$(mktemp -d "$cache/debian$1-apt.XXXXXX")
trap 'rm -rf "$part"' EXIT
chmod 755 "$part"
mkdir "$part/debs" "$part/wheels"
log=$part.log
failed() { tail -n 5 "$log" >&2; missing "$1, see $log"; }
timeout -k 10 1200 debootstrap --variant=minbase --include="$packages" "$suite" "$part/root" "$mirror" >"$log" 2>&1 ||
	failed "debootstrap failed"
cp -L /etc/resolv.conf "$part/root/etc/resolv.conf"
# shellcheck disable=SC2016,SC2086 # the words are those of the inner shell; and several
timeout -k 10 900 unshare --mount bash -euc '
	root=$1/root debs=$1/debs venv=$2
	shift 2
	inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 http_proxy="${http_proxy:-}" "$@"; }
	mount --make-rprivate /
	mount -t proc proc "$root/proc"
	mount --rbind /dev "$root/dev"
	mount --bind "$debs" "$root/var/cache/apt/archives"
	inside apt-get update -q
	# The hundred libraries are there already, for the sake of time: what stands above them is taken out again.
	inside env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
	inside env DEBIAN_FRONTEND=noninteractive apt-get remove -y -q --purge ffmpeg python3-venv "$venv"
	inside apt-get install -y -q --no-install-recommends --download-only "$@"
	rm -rf "$debs/partial" "$debs/lock" "$root"/var/lib/apt/lists/*
' sh "$part" "python$python-venv" $asked_for >>"$log" 2>&1 || failed "the packages could not be had"
rm -rf "$part"/root/var/cache/apt/archives/* "$part"/root/var/cache/apt/*.bin "$part/root/etc/resolv.conf"

# Debian has no picamera2. What Raspberry Pi OS has under its name is here a module that knows no camera.
fake=$part/fake
mkdir -p "$fake/DEBIAN" "$fake/usr/lib/python3/dist-packages"
printf 'Package: python3-picamera2\nVersion: 0.3.99\nArchitecture: all\nMaintainer: nobody\nDescription: a stand-in\n' \
	>"$fake/DEBIAN/control"
printf 'class Picamera2:\n    @staticmethod\n    def global_camera_info():\n        return []\n' \
	>"$fake/usr/lib/python3/dist-packages/picamera2.py"
keep=$(cd "$part/debs" && ls | grep -E '^(ffmpeg|fonts-dejavu-core|python3(\.[0-9]+)?-venv)_' || true)
(cd "$part/debs" && ls | grep -vxF "$keep" | xargs -r rm -f)
dpkg-deb --build --root-owner-group "$fake" "$part/debs/python3-picamera2_0.3.99_all.deb" >>"$log" 2>&1 ||
	failed "dpkg-deb failed"
rm -r "$fake"
for deb in "$part"/debs/*.deb; do
	dpkg-deb --field "$deb"
	printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "${deb##*/}" "$(stat -c %s "$deb")" "$(sha256sum <"$deb" | cut -d' ' -f1)"
done >"$part/debs/Packages"

mapfile -t needs < <(/usr/bin/python3 -c 'import sys, tomllib
print(*tomllib.load(open(sys.argv[1], "rb"))["project"]["dependencies"], sep="\n")' "$here/pyproject.toml")
/usr/bin/python3 -m venv "$part/venv" # for its pip alone
timeout -k 10 300 "$part/venv/bin/python" -m pip download --quiet --disable-pip-version-check --python-version "$python" \
	--only-binary :all: --platform "manylinux_2_28_$(uname -m)" --platform "manylinux2014_$(uname -m)" \
	--dest "$part/wheels" "${needs[@]}" 'hatchling>=1.27' >>"$log" 2>&1 || failed "the wheels could not be had"
rm -rf "$log" "$part/venv"
touch "$part/.ready"
mv -T "$part" "$tree" 2>/dev/null || true # another run was quicker: its tree is as good
trap - EXIT
echo "$tree"
