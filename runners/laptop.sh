#!/usr/bin/env bash
# A search on one machine: a laptop, a workstation, a single cloud instance.
#
#   runners/laptop.sh DATASET [NAME] [options of `avtune search`]
#   runners/laptop.sh demo
#   runners/laptop.sh my_features.h5 my_study --trials 64
#
# What it does, and why:
#   - uses every GPU that torch sees, else every CPU core, each for up to four trials at a time (`avtune doctor` shows
#     how many);
#   - runs at low priority, so that the machine stays usable meanwhile;
#   - keeps the machine awake where the system offers a way to;
#   - starts the same command again if it was cut off, because the same command continues a study.
# Stop it with Ctrl-C; start it again with the same words to go on.
set -u
[ $# -ge 1 ] || { sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 2; }

dataset=$1; shift
name=()
if [ $# -ge 1 ] && [ "${1#-}" = "$1" ]; then name=(--name "$1"); shift; fi

avtune=$(dirname "$0")/../.venv/bin/avtune
[ -x "$avtune" ] || avtune=avtune
awake=()
if command -v caffeinate >/dev/null; then awake=(caffeinate -i)
elif command -v systemd-inhibit >/dev/null && systemd-inhibit --what=idle true 2>/dev/null; then
  awake=(systemd-inhibit --what=idle --who=avtune --why="hyper-parameter search")
fi

for attempt in 1 2 3; do
  ${awake[@]+"${awake[@]}"} nice -n 10 "$avtune" search "$dataset" ${name[@]+"${name[@]}"} "$@"
  code=$?
  # 0 done, 1 and 2 say what to mend, 130 and 143 were meant; anything else (e.g. 137, out of memory) goes on.
  case $code in 0|1|2|130|143) exit $code ;; esac
  echo "cut off with exit code $code (attempt $attempt of 3); continuing" >&2
done
exit "$code"
