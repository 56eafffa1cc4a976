#!/bin/bash
# Boots a real systemd and tests the units in it; with DEBIAN=13 that of Debian 13, whatever this machine has.
# `--optional`: a machine that cannot is no failure; it says so either way.
set -euo pipefail
cd "$(dirname "$0")/../.."
optional=no
[ "${1:-}" = --optional ] && { optional=yes; shift; }
not_run() {
	echo "!!! test-systemd did NOT run: the units are NOT tested here. $*" >&2
	[ $optional = yes ] && exit 0
	exit 1
}
[ "$(id -u)" = 0 ] || not_run "It needs root."
[ -x /lib/systemd/systemd ] || not_run "systemd is not installed."
findmnt -n -t cgroup2 >/dev/null || not_run "No cgroup2 is mounted."
unshare --mount --pid --fork --net --uts --ipc --cgroup true 2>/dev/null || not_run "Namespaces cannot be had (unshare)."
unshare --mount sh -c 'mount -t tmpfs t /mnt && mkdir /mnt/u /mnt/w /mnt/r && mount -t overlay o \
	-o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/r' 2>/dev/null || not_run "An overlay of / cannot be mounted."
status=0
case ${DEBIAN:-} in
"") built=/$'\n'$(tests/systemd/build.sh) || status=$? ;;
13) built=$(tests/systemd/build13.sh) || status=$? ;;
*) not_run "DEBIAN may be 13, or not set: this machine's own." ;;
esac
[ $status = 3 ] && not_run "See above for what is missing."
[ $status = 0 ] || exit $status
{ read -r EZREC_BED_ROOT && read -r EZREC_APPLIANCE; } <<<"$built"
# Fresh machines with an apt of their own, of both Debians whatever DEBIAN says. Without them only those tests are left out;
# `--optional` builds none, since that takes minutes.
fresh=
for number in 12 13; do
	if tree=$(ONLY_BUILT=$optional tests/systemd/build-apt.sh $number); then
		fresh="$fresh${fresh:+, }\"$number\": \"$tree\""
	elif [ $optional = yes ]; then
		echo "!!! test-systemd: an installation on a fresh Debian $number is NOT tested here. See above for what is missing." >&2
	else
		not_run "See above for what is missing."
	fi
done
EZREC_FRESH="{$fresh}"
export EZREC_BED_ROOT EZREC_APPLIANCE EZREC_FRESH
exec .venv/bin/pytest -o addopts="-q --strict-markers --strict-config" -n "$(($(nproc) + 2))" --dist worksteal tests/systemd "$@"
