#!/bin/sh
# Runs a program inside a hypervisor's namespaces and groups: enter.sh CGROUP PID PROGRAM...
set -e
group=$1
. "$(dirname "$0")/cgroup.sh"
pid=$2
shift 2
exec nsenter --target "$pid" --mount --uts --cgroup "$@"
