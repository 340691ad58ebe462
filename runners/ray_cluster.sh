#!/usr/bin/env bash
# A search on several machines through a Ray cluster of your own: virtual machines, a lab's workstations.
#
#   runners/ray_cluster.sh head IP             on the first machine; IP is its address in the private network
#   runners/ray_cluster.sh join IP             on each of the others
#   runners/ray_cluster.sh search IP DATASET [options of `avtune search`]
#   runners/ray_cluster.sh stop                on each machine, afterwards
#
# What it does, and why:
#   - makes a token on the first machine, in ~/.ray/auth_token, if there is none: copy that file to the others (mode 600),
#     because whoever reaches a Ray without a token can run any program as you;
#   - starts Ray without dashboard and telemetry; PORT is 6379 unless the variable says otherwise;
#   - attaches the search to it; the same command continues a study.
# docs/cluster.md says what the machines and their network need.
set -eu
usage() { sed -n '2,15s/^# \{0,1\}//p' "$0"; exit 2; }
[ $# -ge 1 ] || usage

bin=$(dirname "$0")/../.venv/bin/
[ -x "${bin}avtune" ] || bin=""
token=${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}
port=${PORT:-6379}
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0

needs_token() {
  [ -n "${RAY_AUTH_TOKEN:-}" ] || [ -f "$token" ] || { echo "no $token: copy it from the first machine" >&2; exit 2; }
}

case $1 in
  head)
    [ $# -eq 2 ] || usage
    if [ -z "${RAY_AUTH_TOKEN:-}" ] && [ ! -f "$token" ]; then
      mkdir -p -m 700 "$(dirname "$token")"
      (umask 077; od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > "$token")
      echo "made $token; copy it to the other machines"
    fi
    "${bin}ray" start --head --port "$port" --node-ip-address "$2" --include-dashboard false
    ;;
  join)
    [ $# -eq 2 ] || usage
    needs_token
    "${bin}ray" start --address "$2:$port"
    ;;
  search)
    [ $# -ge 3 ] || usage
    needs_token
    address=$2:$port; shift 2
    exec "${bin}avtune" search "$@" --cluster "$address"
    ;;
  stop)
    echo "this ends every Ray on this machine, private runs of avtune included"
    "${bin}ray" stop
    ;;
  *) usage ;;
esac
