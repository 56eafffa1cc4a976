#!/bin/sh
# Runs the camera module's contract with real picamera2, libcamera and PyAV, on a virtual camera; then, once a way,
# the making of videos with the FFmpeg and the Python of Debian 13, which the rest of the suite may not meet.
# `--optional`: a machine where it cannot run is no failure. It says so in either case.
# PICAMERA2: `new`, `old`, or `both` versions, which is what happens when it is not set.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
optional=no
[ "${1:-}" = --optional ] && { optional=yes; shift; }

case ${PICAMERA2:-both} in
	both) versions="new old" ;;
	new | old) versions=$PICAMERA2 ;;
	*) echo "PICAMERA2 must be new, old or both" >&2; exit 2 ;;
esac

# One or two tests a way in which a video is made.
videos="only_the_groups or every_frame_is_shown_once or passes_makes_the_video or burned_in_is_copied or follow_each_other or turned_picture_is_upright or (in_its_place and closed)"

not_run() {
	echo "!!! test-picamera2 did NOT run: the camera module is NOT tested here. $*" >&2
	[ $optional = yes ] && exit 0
	exit 1
}

[ "$(id -u)" = 0 ] || not_run "It needs root."
unshare --mount true 2>/dev/null || not_run "It needs a mount namespace of its own (unshare)."
status=0
tree=$("$here/build.sh") || status=$?
[ $status = 3 ] && not_run "See above for what is missing."
[ $status = 0 ] || exit $status

# The mounts are in a namespace of their own and go with it, whatever happens.
exec unshare --mount --pid --fork --kill-child sh -eu -c '
	mount --make-rprivate /
	mount -t proc proc "$1/proc"
	mount -t tmpfs tmpfs "$1/dev"
	for node in null zero full random urandom; do
		touch "$1/dev/$node"
		mount --bind "/dev/$node" "$1/dev/$node"
	done
	mkdir "$1/dev/shm"
	mount -t tmpfs tmpfs "$1/tmp"
	mount --bind "$2" "$1/opt/ezrec"
	mount -o remount,bind,ro "$1/opt/ezrec"
	tree=$1
	videos=$3
	versions=$4
	shift 4
	status=0
	for version in $versions; do
		env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LANG=C.UTF-8 LIBCAMERA_LOG_LEVELS=*:FATAL \
			PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="/opt/ezrec:/opt/$version:/opt/py" \
			timeout -k 10 420 chroot "$tree" python3 -m tests.picamera2.inside "$@" || status=1
	done
	[ $# = 0 ] || exit $status
	chroot "$tree" ffmpeg -version | sed -n "s/^/test-picamera2: videos: /;1p"
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/opt/ezrec:/opt/py \
		timeout -k 10 300 chroot "$tree" sh -c "cd /opt/ezrec && python3 -m pytest -q -p no:cacheprovider --noconftest \
			-c /dev/null --rootdir /opt/ezrec tests/media/render/test_smart_render.py tests/media/render/test_logo_segments.py tests/media/render/test_copy.py \
			tests/media/render/test_renderer.py tests/media/ffmpeg/test_encoders.py \
			tests/media/render/test_encode_segments.py -k \"\$1\"" sh "$videos" || status=1
	exit $status
' sh "$tree" "$here/../.." "$videos" "$versions" "$@"
