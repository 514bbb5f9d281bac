#!/bin/sh
# Inside the namespaces that hold.sh made: inner.sh HOST FOLDER
set -e
hostname "$1"
mount --make-rshared /
# Looking for KVM must not find it: the tests emulate, and the same everywhere.
if [ -e /dev/kvm ]; then mount --bind /dev/null /dev/kvm; fi
names=$(ls /sys/fs/cgroup)
umount -R /sys/fs/cgroup
mount -t tmpfs cgroups /sys/fs/cgroup
for name in $names; do
    case $name in
        unified) continue ;;
        systemd) options=none,name=systemd ;;
        *) options=$name ;;
    esac
    mkdir -p "/sys/fs/cgroup/$name"
    mount -t cgroup -o "$options" cgroup "/sys/fs/cgroup/$name"
done
mkdir -p /run/libvirt
mount --bind "$2/run" /run/libvirt
mount --bind "$2/lib" /var/lib/libvirt
mount --bind "$2/etc" /etc/libvirt
mount --bind "$2/cache" /var/cache/libvirt
(cat /etc/hosts; echo "127.0.1.1 $1") >"$2/hosts"
mount --bind "$2/hosts" /etc/hosts
touch "$2/ready"
exec sleep infinity
