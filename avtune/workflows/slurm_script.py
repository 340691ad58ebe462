"""The batch script of a SLURM job: one Ray over the job's machines, and a search on it. No Ray, no torch here."""

from __future__ import annotations

import re

_SCRIPT = r"""#!/bin/bash
@DIRECTIVES@
# Written by avtune: a Ray of this job's own over its machines, and a search on it. Before its time is over, or when it
# is preempted, the job ends in order, is queued again and goes on. `scancel` ends it for good.
set -u
umask 077
python=@PYTHON@
@CHECK@
# A token for this job only, and folders and ports that no other job on these machines has.
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 RAY_USAGE_STATS_REPORT_URL=http://127.0.0.1:9/
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN
unset RAY_ADDRESS RAY_AUTH_TOKEN_PATH
temporary=${TMPDIR:-/tmp}
[ ${#temporary} -le 30 ] || temporary=/tmp  # Ray makes sockets there, whose paths have 107 characters at most
export RAY_TMPDIR=$temporary/avtune-$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
others=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | tail -n +2 | paste -sd,)
ip=$(getent ahostsv4 "$head" | awk '$1 !~ /^127\./ {print $1; exit}')
[ -n "$ip" ] || ip=$(hostname -I | awk '{print $1}')
read -r port client_port < <("$python" -c '
import socket
taken = [socket.create_server(("", 0)) for _ in range(2)]
print(*(each.getsockname()[1] for each in taken))')

search=
warned=
kind=KILL  # of what waits for the machines: told to end, Ray in it prints its stack
# SLURM's warning that the job's time is over, or that it is preempted, comes to this shell alone.
trap 'warned=$(date +%s); [ -z "$search" ] || kill -$kind "$search" 2> /dev/null' TERM
ends=$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%e 2> /dev/null)
[[ $ends == 20* ]] && ends=$(date -d "$ends" +%s 2> /dev/null) || ends=

started=()
ray_on() {  # hosts, how many, further options of `ray start`
  srun --overlap --nodes="$2" --ntasks="$2" --ntasks-per-node=1 --nodelist="$1" --kill-on-bad-exit=0 bash -c '
    mkdir -p "$RAY_TMPDIR"
    trap "rm -rf \"$RAY_TMPDIR\"" EXIT
    "$0" -m ray.scripts.scripts start --block --num-cpus="${SLURM_CPUS_ON_NODE:-1}" \
      --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --min-worker-port=0 --max-worker-port=0 --disable-usage-stats "$@" \
      > "$RAY_TMPDIR/start.log" 2>&1 & ray=$!
    end() {  # its processes may take longer than a job has
      # A preemption may be told to the steps alone: the shell of the job ends the search in order.
      scancel --signal=TERM --batch "$SLURM_JOB_ID" 2> /dev/null
      kill -TERM $ray 2> /dev/null
      for _ in $(seq 15); do kill -0 $ray 2> /dev/null || return; sleep 0.2; done
      pkill -KILL -P $ray
      kill -KILL $ray 2> /dev/null
    }
    trap end TERM
    wait $ray || { code=$?; [ $code -gt 128 ] || tail -n 20 "$RAY_TMPDIR/start.log"; }
    wait $ray 2> /dev/null
  ' "$python" "${@:3}" &
  started+=($!)
}
ray_on "$head" 1 --head --node-ip-address="$ip" --port="$port" --ray-client-server-port="$client_port" \
  --include-dashboard=false
until (exec 3<> "/dev/tcp/$ip/$port") 2> /dev/null; do
  kill -0 "${started[0]}" 2> /dev/null || { echo "avtune: Ray does not start on $head" >&2; exit 1; }
  sleep 0.2
done
[ -z "$others" ] || ray_on "$others" $((SLURM_JOB_NUM_NODES - 1)) --address="$ip:$port"

"$python" -m avtune.runners.ray.wait_for_nodes "$ip:$port" "$SLURM_JOB_NUM_NODES" &
search=$!
[ -z "$warned" ] || kill -$kind "$search" 2> /dev/null
{ wait "$search"; code=$?; } 2> /dev/null
while kill -0 "$search" 2> /dev/null; do { wait "$search"; code=$?; } 2> /dev/null; done  # a signal ends a wait
kind=TERM
if [ $code -eq 0 ] && [ -z "$warned" ]; then
  # In this shell and not through srun, which would be told to end before avtune has.
  "$python" -m avtune @WORDS@ --cluster "$ip:$port" &
  search=$!
  [ -z "$warned" ] || kill -TERM "$search" 2> /dev/null
  wait "$search"; code=$?
  while kill -0 "$search" 2> /dev/null; do wait "$search"; code=$?; done  # a signal ends a wait
fi
trap '' TERM
# Ray is asked to end on each machine; srun itself, told to end, would kill it and leave its files.
for step in $(squeue --noheader --steps --jobs="$SLURM_JOB_ID" --format=%i 2> /dev/null | grep '\.[0-9][0-9]*$'); do
  scancel --signal=TERM "$step" 2> /dev/null
done
for _ in $(seq 75); do
  kill -0 "${started[@]}" 2> /dev/null || break
  sleep 0.2
done
kill -TERM "${started[@]}" 2> /dev/null
wait "${started[@]}" 2> /dev/null
rm -rf "$RAY_TMPDIR"
# 2 is the code of an error that the same command would have again.
if [ -n "$warned" ] && [ $code -ne 0 ] && [ $code -ne 2 ]; then
  state=$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T 2> /dev/null)
  if [ "$state" = RUNNING ] && goes_on; then
    echo "avtune: queued again; it goes on"
    scontrol requeue "$SLURM_JOB_ID"
    exit $code
  fi
fi
[ -z "$unchanged" ] || rm -f "$unchanged"
exit $code
"""


# The study would be made on a disk of that machine, and begin from nothing on another one when the job is queued again.
_CHECK = r"""
submitted=@FILE@
if [ ! -e "$submitted" ]; then
  echo "avtune: $(hostname) does not see ${submitted%/slurm/*}, the results folder of the machine that submitted" \
    "this job" >&2
  echo "give --results a folder that every machine sees, or a bucket: s3://... or gs://..." >&2
  exit 1
fi
# A job that is queued again and again, and trains nothing: its time is too short for it.
study=${submitted%/slurm/*}/$(basename "$submitted" .sh)
unchanged=${submitted%.sh}-${SLURM_JOB_ID-}.unchanged
trained() { cat "$study"/{curves,repeats,scored}.jsonl 2> /dev/null | wc -c; }
before=$(trained)
goes_on() {
  # A preemption comes earlier than the end of its time, of which SLURM may warn a minute too early.
  [ -n "$ends" ] && [ "$warned" -ge $((ends - @GRACE@ - 90)) ] || return 0
  if [ "$(trained)" != "$before" ]; then rm -f "$unchanged"; return 0; fi
  echo >> "$unchanged"
  [ "$(wc -l < "$unchanged")" -ge 3 ] || return 0
  echo "avtune: the time of this job was over three times before an epoch was trained: it is not queued again" >&2
  echo "give it more time, --slurm time=... (it is warned @GRACE@ s before its end, as grace says), and more CPUs or" \
    "GPUs if an epoch takes longer" >&2
  return 1
}
"""
_NO_CHECK = """unchanged=
goes_on() { return 0; }
"""


def script(directives: list[str], python: str, words: str, file: str | None = None, grace: int = 0) -> str:
    """The script.

    Args:
        directives: options of sbatch, e.g. `--nodes=2`.
        python: the interpreter, quoted for the shell.
        words: the command line of avtune without its name, quoted for the shell.
        file: where the script is kept, in `slurm/` of the results folder, quoted for the shell: the job ends where it
            is not seen, and is queued again in vain three times at most. None for no such checks.
        grace: seconds between SLURM's warning and the end of the job's time.
    """
    check = _NO_CHECK if file is None else _CHECK.replace("@FILE@", file).replace("@GRACE@", str(grace))
    parts = {
        "CHECK": check,
        "DIRECTIVES": "\n".join(f"#SBATCH {each}" for each in directives),
        "PYTHON": python,
        "WORDS": words,
    }
    return re.sub(r"@(CHECK|DIRECTIVES|PYTHON|WORDS)@", lambda found: parts[found[1]], _SCRIPT)
