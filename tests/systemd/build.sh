#!/bin/bash
# Builds what lies in /opt/ezrec on an installed box, once, and prints where it is: a venv made at that very path (in a
# mount namespace), with the dependencies of pyproject.toml. The package itself is bound over it from the clone.
# Half a minute the first time. Exit 3: something that it needs is missing.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ezrec
python=/usr/bin/python3
missing() { echo "test-systemd: $*" >&2; exit 3; }

[ "$(id -u)" = 0 ] || missing "it needs root"
[ -x $python ] || missing "$python is missing: the units' users reach no other Python"
$python -c 'import ensurepip, venv' 2>/dev/null || missing "python3-venv is missing: apt-get install python3-venv"
recipe=$(cat "$0" "$here/pyproject.toml" <($python -V) | sha256sum | cut -c1-16)
tree=$cache/appliance-$recipe
if [ ! -e "$tree/.ready" ]; then
	echo "test-systemd: building the appliance's tree in $tree (once)" >&2
	mkdir -p "$cache"
	part=$(mktemp -d "$cache/appliance.XXXXXX")
	trap 'rm -rf "$part"' EXIT
	chmod 755 "$part"
	mkdir -p /opt/ezrec
	unshare --mount bash -eu -c '
		mount --make-rprivate /
		mount --bind "$1" /opt/ezrec
		"$3" -m venv /opt/ezrec/.venv
		/opt/ezrec/.venv/bin/pip install --quiet --disable-pip-version-check "$2"
	' sh "$part" "$here" $python >"$part.log" 2>&1 || { tail -n 5 "$part.log" >&2; missing "the packages could not be had"; }
	rm -f "$part.log"
	# What an installation inside the box finds in place of the network: every package as a wheel, and what builds ours.
	$python -m venv "$part/wheels.venv"
	"$part/wheels.venv/bin/pip" wheel --quiet --disable-pip-version-check --wheel-dir "$part/wheels" "$here" 'hatchling>=1.27' \
		>"$part.log" 2>&1 || { tail -n 5 "$part.log" >&2; missing "the packages could not be had"; }
	rm -rf "$part/wheels.venv" "$part.log" "$part"/wheels/ezrec-*
	touch "$part/.ready"
	mv -T "$part" "$tree" 2>/dev/null || true # another run was quicker: its tree is as good
	trap - EXIT
fi
echo "$tree"
