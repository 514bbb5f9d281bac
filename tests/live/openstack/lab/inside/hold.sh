#!/bin/sh
# Holds the namespaces of one hypervisor: hold.sh HOST FOLDER CGROUP
# A hostname of its own makes it a hypervisor of its own to Nova; mounts of its own give libvirt its own /run, /var/lib, /etc and groups.
set -e
here=$(dirname "$0")
group=$3
. "$here/cgroup.sh"
exec unshare --mount --uts --cgroup --propagation private sh -e "$here/inner.sh" "$1" "$2"
