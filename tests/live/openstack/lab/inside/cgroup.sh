# Sourced: puts this shell below control group $1 of every hierarchy of version 1. A systemd inside libvirt-lxc mounts those itself, and would
# otherwise write into the machine's own groups. Version 2 ("unified") stays out of sight: libvirt-lxc 9.0 cannot start in hybrid mode.
for tree in /sys/fs/cgroup/*/; do
    name=$(basename "$tree")
    if [ "$name" = unified ] || [ -L "/sys/fs/cgroup/$name" ]; then
        continue
    fi
    mkdir -p "$tree$1"
    if [ "$name" = cpuset ]; then
        cat "${tree}cpuset.cpus" >"$tree$1/cpuset.cpus"
        cat "${tree}cpuset.mems" >"$tree$1/cpuset.mems"
    fi
    echo $$ >"$tree$1/cgroup.procs"
done
