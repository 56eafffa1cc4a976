#!/bin/bash
# Becomes PID 1 of the namespaces it was started in: a bare systemd over an overlay of this machine's root, or of
# the directories in EZREC_BED_ROOT.
# Called by bed.py. $1: an empty directory to mount in. $2…: binds, each `ro:SOURCE:TARGET` or `rw:SOURCE:TARGET`.
#
# What is written inside lies in memory and is forgotten with the mount namespace. There is no network but an `lo`
# of its own, no device of the machine, no unit of the machine's, and /proc/sys is read-only.
set -euo pipefail
umask 022
bed=$1
shift
root=$bed/root

mount --make-rprivate /
mount -t tmpfs -o size=2g,mode=755 tmpfs "$bed"
mkdir "$bed/upper" "$bed/work" "$root"
mount -t overlay overlay -o "lowerdir=${EZREC_BED_ROOT:-/},upperdir=$bed/upper,workdir=$bed/work" "$root"

mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
for node in null zero full random urandom tty; do
	touch "$root/dev/$node"
	mount --bind "/dev/$node" "$root/dev/$node"
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
for hidden in /home /mnt /srv /media; do
	[ ! -d "$root$hidden" ] || mount -t tmpfs -o mode=755 tmpfs "$root$hidden"
done
for bind in "$@"; do
	IFS=: read -r how source target <<<"$bind"
	mkdir -p "$root$target"
	mount --bind "$source" "$root$target"
	[ "$how" = rw ] || mount -o remount,bind,ro "$root$target"
done

# Nothing of the machine's own: no unit of its /etc, nothing that would talk to its kernel.
rm -rf "$root"/etc/systemd/system/*.wants "$root"/etc/systemd/system/*.requires "$root"/etc/systemd/system/ezrec* \
	"$root"/etc/systemd/system/{recorder,video_worker,booking_sync,system_status,log_collector}.service*
for unit in systemd-{sysctl,modules-load,binfmt,udevd,hwdb-update,random-seed}.service kmod-static-nodes.service \
	{sys-kernel-debug,sys-kernel-tracing,sys-kernel-config,sys-fs-fuse-connections,dev-hugepages,dev-mqueue}.mount \
	systemd-journald-audit.socket; do
	ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
rm -f "$root/etc/fstab"
touch "$root/etc/fstab"
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n' >"$root/etc/systemd/journald.conf.d/bed.conf"
printf '[Unit]\nDescription=Test bed\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n' \
	>"$root/etc/systemd/system/bed.target"

cd "$root"
mkdir run/before
pivot_root . run/before
umount -l /run/before
rmdir /run/before
mount --make-rshared / # without it LoadCredential= finds nothing
exec env -i container=bed LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin \
	/lib/systemd/systemd --system --unit=bed.target --show-status=0 --log-target=journal-or-kmsg
