#!/bin/sh
# Puts EZREC on this machine, from a clone: sudo ./install.sh [--dry-run] [--shape one|split] …
# Needs nothing but Python and apt. `./install.sh --help` tells the rest; a newer clone: sudo ezrec upgrade .
set -eu
cd "$(dirname "$0")"
[ -x /usr/bin/python3 ] || { echo "install.sh: python3 is missing: sudo apt-get install python3" >&2; exit 1; }
/usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
	{ echo "install.sh: Python 3.11 or newer is needed: Debian 12, Raspberry Pi OS 12, or later" >&2; exit 1; }
PYTHONDONTWRITEBYTECODE=1 exec /usr/bin/python3 -m ezrec.install install "$@"
