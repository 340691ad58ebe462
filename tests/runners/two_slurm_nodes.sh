#!/usr/bin/env bash
# A real SLURM of two machines, n1 and n2, each a set of namespaces with an address and processes of its own. Runs a command
# as on a login node and ends with everything in it when the command ends. `$on_n1 COMMAND` and `$on_n2 COMMAND` run one on
# a machine.
#
#   unshare --net --pid --mount --uts --fork --kill-child --mount-proc bash two_slurm_nodes.sh FOLDER COMMAND...
#
# Needs slurm-wlm and iproute2, and the right to make namespaces (root).
set -eu
folder=$1
shift
mkdir -p "$folder"/{state,log,spool.n1,spool.n2,munge}
printf '127.0.0.1 localhost\n10.78.0.1 n1\n10.78.0.2 n2\n10.78.0.3 login\n' > "$folder/hosts"
mount --make-rprivate /
mount --bind "$folder/hosts" /etc/hosts
hostname login
ip link set lo up
ip link add name switch type bridge
ip addr add 10.78.0.3/24 dev switch
ip link set switch up

cat > "$folder/slurm.conf" << CONFIG
ClusterName=pair
SlurmctldHost=login
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.%n.pid
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool.%n
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.%n.log
AuthInfo=socket=$folder/munge/socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
KillWait=30
SlurmdTimeout=6
ReturnToService=2
JobRequeue=1
NodeName=n[1-2] CPUs=2 RealMemory=2000
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=all Nodes=ALL Default=YES State=UP PriorityTier=1 GraceTime=60
PartitionName=high Nodes=ALL State=UP PriorityTier=2 PreemptMode=OFF
CONFIG
export SLURM_CONF=$folder/slurm.conf

(umask 077; head -c 128 /dev/urandom > "$folder/munge/key")
munged --key-file "$folder/munge/key" --socket "$folder/munge/socket" --pid-file "$folder/munge/pid" \
  --log-file "$folder/munge/log" --seed-file "$folder/munge/seed" --force
slurmctld -c
for number in 1 2; do
  name=n$number
  # The machine's first process: holds its namespaces, and takes up what its processes leave behind.
  unshare --net --mount --uts --pid --fork --kill-child --mount-proc \
    bash -c "hostname $name; ip link set lo up; touch '$folder/up.$name'; while :; do sleep 60 & wait -n; done" &
  outer=$!
  until [ -e "$folder/up.$name" ]; do sleep 0.02; done
  inner=$(pgrep -P "$outer")
  ip link add "$name" type veth peer name eth netns "$inner"
  ip link set "$name" master switch up
  nsenter --target "$inner" --net bash -c "ip addr add 10.78.0.$number/24 dev eth; ip link set eth up"
  export "on_$name=nsenter --target $inner --net --mount --uts --pid"
  nsenter --target "$inner" --net --mount --uts --pid slurmd -N "$name"
done
for _ in $(seq 300); do
  [ "$(sinfo --noheader --states=idle --format=%D 2> /dev/null)" = 2 ] && break
  sleep 0.1
done
"$@"
