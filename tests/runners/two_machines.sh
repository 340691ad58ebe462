#!/usr/bin/env bash
# Two machines of a private network, 10.77.0.1 and 10.77.0.2, as two network namespaces: starts Ray on both with
# runners/ray_cluster.sh, searches on the first with the words given, and stops it.
#
# Run it in namespaces of its own, where nothing else can be reached or stopped, with HOME and RAY_TMPDIR set:
#   unshare --user --map-root-user --net --pid --fork --kill-child --mount-proc bash two_machines.sh WORDS
set -eu
cluster=$(dirname "$0")/../../runners/ray_cluster.sh
ip link set lo up
coproc other { exec unshare --net bash -c 'ip link set lo up; echo up; exec cat'; }
read -r _ <&"${other[0]}"
on_other() { nsenter --target "$other_PID" --net "$@"; }
ip link add eth type veth peer name eth netns "$other_PID"
ip addr add 10.77.0.1/24 dev eth
ip link set eth up
on_other ip addr add 10.77.0.2/24 dev eth
on_other ip link set eth up

bash "$cluster" head 10.77.0.1 >&2
on_other bash "$cluster" join 10.77.0.1 >&2
bash "$cluster" search 10.77.0.1 "$@"
bash "$cluster" stop >&2
