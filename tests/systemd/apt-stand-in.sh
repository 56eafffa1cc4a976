#!/bin/sh
# A stand-in for apt-get, apt-cache and dpkg-query inside the test's box, which has no network: it writes down what it
# was asked for, and believes that what it "installed" is there. python3-picamera2 is to be had from it, as it is on
# Raspberry Pi OS; everything else is answered by the machine's own dpkg.
notes=/var/lib/apt-stand-in
mkdir -p "$notes"
echo "$(basename "$0") $*" >>"$notes/log"
case $(basename "$0") in
apt-get)
	[ "$1" = install ] || exit 0
	for word in "$@"; do
		case $word in install | -*) ;; *) touch "$notes/$word" ;; esac
	done
	;;
apt-cache)
	case $2 in
	python3-picamera2) echo "  Candidate: 0.3.27" ;;
	*) echo "  Candidate: (none)" ;;
	esac
	;;
dpkg-query)
	for word in "$@"; do package=$word; done
	[ ! -e "$notes/$package" ] || { printf 'install ok installed'; exit 0; }
	[ -e /usr/bin/dpkg-query.real ] || exit 1
	exec /usr/bin/dpkg-query.real "$@"
	;;
esac
