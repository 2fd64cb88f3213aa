#!/bin/sh
# Runs in the fresh namespaces: builds the root of the peer over the base tree and becomes its systemd.
# What a container may not change on this kernel (/sys, /proc/sys) is read-only, and systemd starts without
# the capabilities that reach beyond its namespaces, except those in the third argument.
set -eu
tree=$1 room=$2 kept=$3

mount -t tmpfs -o mode=755 tmpfs "$room"
mkdir "$room/upper" "$room/work" "$room/root"
mount -t overlay -o "lowerdir=$tree,upperdir=$room/upper,workdir=$room/work" overlay "$room/root"
cd "$room/root"

mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup

mount -t tmpfs -o mode=755 tmpfs dev
nodes="null zero full random urandom tty"
case ",$kept," in *,syslog,*) nodes="$nodes kmsg" ;; esac
for node in $nodes; do
    touch "dev/$node"
    mount --bind "/dev/$node" "dev/$node"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd

mkdir -p .old
pivot_root . .old
cd /
umount -l /.old
rmdir /.old
dropped=
for capability in sys_module sys_time sys_rawio syslog mac_admin mac_override bpf perfmon; do
    case ",$kept," in
    *,$capability,*) ;;
    *) dropped=$dropped,-$capability ;;
    esac
done
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=vakt-test \
    setpriv --bounding-set="${dropped#,}" \
    /lib/systemd/systemd --show-status=no --log-target=journal
