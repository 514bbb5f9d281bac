# Sourced: puts this shell below control group $group of every hierarchy of version 1. A systemd inside libvirt-lxc mounts those itself, and would
# otherwise write into the machine's own groups. Version 2 ("unified") stays out of sight: libvirt-lxc 9.0 cannot start in hybrid mode.
for tree in /sys/fs/cgroup/*/; do
    name=$(basename "$tree")
    if [ "$name" = unified ] || [ -L "/sys/fs/cgroup/$name" ]; then
        continue
    fi
    mkdir -p "$tree$group"
    if [ "$name" = cpuset ]; then
        cat "${tree}cpuset.cpus" >"$tree$group/cpuset.cpus"
        cat "${tree}cpuset.mems" >"$tree$group/cpuset.mems"
    fi
    echo $$ >"$tree$group/cgroup.procs"
done
