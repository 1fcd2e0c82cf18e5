#!/usr/bin/env bash
# Asks the balancer with N clients at the same time, over HTTP and a connection for each request, and
# says which backend answered how often: the parallel curls of old, done by `loadgen http`.
# Usage: scripts/run_parallel_clients.sh [OPTIONS] [N [HOST [PORT]]]
#   N                clients (10)
#   HOST, PORT       where the balancer is (127.0.0.1, 8080); also --host HOST, --port PORT, -p PORT
#   --clients N      the same as N; also -c N
#   --requests M     requests of each client, one after the other (1); also -n M
#   --path PATH      what they ask for (/)
#   --help
# The loadgen of the PATH is used, otherwise the one in target/release, otherwise one is built.
# Exit codes: 0 every request was answered, 1 some were not, or loadgen could not run (it says why),
# 2 wrong command line, 3 there is no loadgen and no cargo to build it.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
clients=10 requests=1 host=127.0.0.1 port=8080 path=/

misused() {
    echo "run_parallel_clients.sh: $*; see scripts/run_parallel_clients.sh --help" >&2
    exit 2
}

# Says what `$2` is not, unless it is a number from 1 to `$3`.
check_number() {
    if ! [[ $2 =~ ^[1-9][0-9]{0,8}$ ]] || [ "$2" -gt "$3" ]; then
        misused "$1 is a number from 1 to $3, not '$2'"
    fi
}

parse() {
    local words=()
    while [ $# -gt 0 ]; do
        case $1 in
            --help | -h) sed -n '2,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit 0 ;;
            --clients | -c | --requests | -n | --host | --port | -p | --path)
                [ $# -gt 1 ] || misused "$1 needs a value"
                case $1 in
                    --clients | -c) clients=$2 ;;
                    --requests | -n) requests=$2 ;;
                    --host) host=$2 ;;
                    --port | -p) port=$2 ;;
                    --path) path=$2 ;;
                esac
                shift
                ;;
            -*) misused "there is no option $1" ;;
            *) words+=("$1") ;;
        esac
        shift
    done
    [ "${#words[@]}" -le 3 ] || misused "'${words[3]}' is too much"
    clients=${words[0]:-$clients} host=${words[1]:-$host} port=${words[2]:-$port}
    check_number "the number of clients" "$clients" 1000000
    check_number "the number of requests" "$requests" 1000
    check_number "the port" "$port" 65535
    [[ $path == /* ]] || misused "a path begins with a slash, not '$path'"
    # An IPv6 address stands in brackets.
    [[ $host != *:* || $host == \[* ]] || host="[$host]"
}

run_loadgen() {
    if command -v loadgen >/dev/null; then
        loadgen "$@"
    elif [ -x "$root/target/release/loadgen" ]; then
        "$root/target/release/loadgen" "$@"
    elif command -v cargo >/dev/null; then
        cargo run --quiet --release --manifest-path "$root/Cargo.toml" -p loadgen -- "$@"
    else
        echo "run_parallel_clients.sh: no loadgen in the PATH or in target/release, and no cargo to" \
            "build it; install Rust (https://rustup.rs)" >&2
        exit 3
    fi
}

# From a report as JSON: a line `NAME answered COUNT` for each backend.
backends() {
    tr -d '\n' |
        grep -oE '"name": *"([^"\\]|\\.)*", *"responses": *[0-9]+' |
        sed -E 's/^"name": *"(.*)", *"responses": *([0-9]+)$/\1 answered \2/; s/\\(.)/\1/g' || true
}

main() {
    parse "$@"
    local total=$((clients * requests)) report status=0 answered
    report=$(run_loadgen http "http://$host:$port$path" -c "$clients" -n "$total" \
        --requests-per-connection 1 --json -) || status=$?
    answered=$(backends <<<"$report")
    [ -z "$answered" ] || printf '%s\n' "$answered"
    answered=$(awk '{ sum += $NF } END { print sum + 0 }' <<<"$answered")
    if [ "$answered" -lt "$total" ] && [ "$status" -eq 0 ]; then
        status=1
    fi
    # Without a report loadgen has said what is wrong.
    [ -z "$report" ] || echo "$answered of $total requests were answered"
    exit "$status"
}

main "$@"
