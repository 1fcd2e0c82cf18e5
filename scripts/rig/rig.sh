# What the rigs share: packages, a network of their own, a balancer in front of two servers, and
# checks that tell how they went. It is sourced by the scripts beside this directory.
# shellcheck shell=bash
#
# A rig calls `rig_enter "$@"` once. Outside, that installs and builds, makes $WORK and $LOGS, and runs
# the same script again in network, process and mount namespaces of its own, where any port is free
# and where everything that was started ends with the script. There, `rig_enter` returns.

set -o allexport # checks run in a shell of their own, and know what is known here

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
script=$(basename "$0")
# The balancers' user: nothing else runs as this user, so that rules may tell their sockets apart.
balancer_uid=64321
declare -A started=() # name of a server: its process
failed=0

# Says why nothing can be tried here, and stops.
cannot() {
    echo "$script: $*" >&2
    exit 3
}

# Says what is wrong with the command line, and stops.
misused() {
    echo "$script: $*; see scripts/$script --help" >&2
    exit 2
}

# Installs what is missing of "command:package ...".
install_needs() {
    local need missing=()
    for need in "$@"; do
        PATH=$PATH:/usr/sbin:/sbin command -v "${need%%:*}" >/dev/null || missing+=("${need##*:}")
    done
    [ "${#missing[@]}" -eq 0 ] || install_packages "${missing[@]}"
}

# Installs packages; no service of them is started.
install_packages() {
    command -v apt-get >/dev/null || cannot "no apt-get here; install by hand: $*"
    local policy=/usr/sbin/policy-rc.d made=""
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        made=$policy
    fi
    local code=0
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@"; } >"$LOGS/apt.log" 2>&1 || code=$?
    [ -z "$made" ] || rm -f "$made"
    [ "$code" -eq 0 ] || { failed=1; cannot "apt-get could not install $*: see $LOGS/apt.log"; }
}

# Builds evenkeel unless one was named, and puts a copy where the balancers' user can read it.
provide_evenkeel() {
    if [ -z "$binary" ]; then
        (cd "$root" && cargo build --release --package evenkeel) || cannot "evenkeel does not build"
        binary=${CARGO_TARGET_DIR:-$root/target}/release/evenkeel
    fi
    [ -x "$binary" ] || cannot "there is no program at $binary"
    cp "$binary" "$WORK/evenkeel"
    chmod 755 "$WORK/evenkeel"
}

# Runs the rig in namespaces of its own; returns inside them. The rig's `prepare` is called outside.
rig_enter() {
    if [ -n "${RIG_INSIDE:-}" ]; then
        # The first process of a namespace ignores what it has no handler for.
        trap 'exit 143' TERM INT HUP
        ip link set lo up
        return
    fi
    [ "$(id -u)" -eq 0 ] || cannot "this needs root: packages, namespaces, servers of several users"
    WORK=$(mktemp -d /tmp/evenkeel-rig.XXXXXX)
    chmod 711 "$WORK"
    mkdir -p "$root/target"
    LOGS=$(mktemp -d "$root/target/$script.XXXXXX")
    chmod 755 "$LOGS"
    inside=""
    trap rig_leave EXIT
    trap 'exit 143' TERM INT HUP
    prepare
    unshare --net true 2>/dev/null || cannot "no namespaces here: is this an unprivileged container?"
    RIG_INSIDE=1 unshare --net --mount --pid --fork --kill-child --mount-proc "$0" "$@" &
    inside=$!
    local code=0
    wait "$inside" || code=$?
    inside=""
    failed=$code
    exit "$code"
}

# Leaves nothing behind but the logs of a run that failed.
rig_leave() {
    local code=$?
    # With unshare all that was started inside is killed by the kernel.
    [ -z "$inside" ] || { kill "$inside" && wait "$inside"; } 2>/dev/null || true
    rm -rf "$WORK"
    [ "$failed" -ne 0 ] || [ -n "${keep_logs:-}" ] || rm -rf "$LOGS"
    exit "$code"
}

# start NAME COMMAND...: a server in the background; its output is the log NAME.
start() {
    local name=$1
    shift
    "$@" >"$LOGS/$name.log" 2>&1 </dev/null &
    started[$name]=$!
}

# Waits until ports of this network are listened on, without connecting to them.
wait_for_ports() {
    local port tries
    for port in "$@"; do
        tries=0
        until [ -n "$(ss --no-header --listening --tcp --numeric "sport = :$port")" ]; do
            tries=$((tries + 1))
            [ "$tries" -lt 200 ] || return 1
            sleep 0.05
        done
    done
}

# as_balancer COMMAND...: run in place of this shell as the balancers' user.
as_balancer() {
    exec setpriv --reuid="$balancer_uid" --regid="$balancer_uid" --clear-groups "$@"
}

# Tells every evenkeel to end; how they ended is for the check `evenkeel_ended`.
stop_evenkeels() {
    local name code
    for name in "${!started[@]}"; do
        [[ $name = front-* ]] || continue
        code=0
        kill -TERM "${started[$name]}" 2>/dev/null || echo "$name was gone" >>"$WORK/ended"
        wait "${started[$name]}" || code=$?
        echo "$name: exit code $code" >>"$WORK/ended"
    done
}

# For a check, after `stop_evenkeels`: what they said at the end, and nothing that they should not say.
evenkeel_ended() {
    tail -n 4 "$LOGS"/front-*.log
    cat "$WORK/ended"
    no_line -v ': exit code 0$' "$WORK/ended"
    no_line -i -E 'panick|assertion' "$LOGS"/front-*.log
}

# check NAME SECONDS COMMAND...: runs it in a shell of its own that stops at the first failure.
# A command that exits with 77 was skipped; the last line of its log says why.
check() {
    local name=$1 limit=$2 log code=0 from=$EPOCHREALTIME
    shift 2
    log="$LOGS/${name//[^a-zA-Z0-9]/-}.log"
    # SC2016: expanded by the new shell.
    # shellcheck disable=SC2016
    timeout --kill-after=2 "$limit" bash -euo pipefail -c '"$@"' check "$@" >"$log" 2>&1 </dev/null || code=$?
    local took
    took=$(awk -v a="$from" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", b - a }')
    case $code in
        0) echo "pass  $name ($took)" ;;
        77) echo "skip  $name: $(tail -n 1 "$log")" ;;
        124 | 137) failed=1; echo "FAIL  $name: not done after $limit s, see $log" ;;
        *) failed=1; echo "FAIL  $name: exit code $code after $took, see $log" ;;
    esac
}

# For a check: what cannot be tried, and why.
skip() {
    echo "$*"
    exit 77
}

# same WHAT EXPECTED ACTUAL: for a check.
same() {
    [ "$2" = "$3" ] || { printf '%s: expected\n%s\nand got\n%s\n' "$1" "$2" "$3"; return 1; }
}

# no_line GREP-ARGUMENTS...: for a check; `! grep` would not stop it.
no_line() {
    if grep "$@"; then return 1; fi
}

sha_of() {
    sha256sum "$@" | cut -d ' ' -f 1
}
