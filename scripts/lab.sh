#!/usr/bin/env bash
# A LAN in one machine: clients, a balancer and backends, each in a network namespace of its own with
# cubic as its congestion control, joined by veth pairs to a bridge in a namespace that is the switch.
# Usage: scripts/lab.sh up [OPTIONS]
#        scripts/lab.sh exec [--name PREFIX] HOST COMMAND...
#        scripts/lab.sh status [--name PREFIX]
#        scripts/lab.sh down [--name PREFIX]
# Hosts know each other by name and have fixed addresses in 10.77.0.0/24:
#   balancer 10.77.0.1     backend1 10.77.0.11, backend2 .12 ...     client1 10.77.0.101, client2 .102 ...
# up       makes it; several labs can be there at a time, each with a name of its own
#   --name PREFIX    what the names of its namespaces begin with (lab)
#   --backends N     (2)
#   --clients N      (1)
#   --mtu BYTES      of every link (1500)
#   --delay TIME     of each packet, so a round trip takes twice as long: 5ms, 500us; takes a kernel with netem
#   --loss PERCENT   of packets: 1, 0.1
#   --rate RATE      of the link to each host: 100mbit, 1gbit
#                    All three are done where the switch sends to a host, so each packet meets them once.
# exec     runs a command in a host, or in `switch`; the exit code is the command's
# status   says what is there: hosts, addresses, congestion control, delay, loss and rate and by which means
# down     takes everything away. Processes that still run in its hosts are ended (SIGTERM, SIGKILL
#          after three seconds), no others. It is no error when nothing is there.
# A look:  scripts/lab.sh up
#          scripts/lab.sh exec backend1 loadgen serve --mode http --name B1 --host 10.77.0.11 --port 8881 &
#          scripts/lab.sh exec balancer evenkeel --host 10.77.0.1 --port 8080 --backends 10.77.0.11:8881 &
#          scripts/lab.sh exec client1 curl http://balancer:8080/
#          scripts/lab.sh down
# Needs root, iproute2, ethtool, and nftables for --loss where the kernel has no netem.
# Exit codes: 0 done, 1 it could not be done (the message says why, and up leaves nothing behind),
# 2 wrong command line.
set -euo pipefail

PATH=$PATH:/usr/sbin:/sbin
name=lab backends=2 clients=1 mtu=1500 delay="" loss="" rate=""

main() {
    local command=${1:-}
    case $command in
        --help | -h) sed -n '2,/^set -e/{/^# \{0,1\}/s///p}' "$0"; exit 0 ;;
        up | down | status | exec) shift ;;
        "") misused "what shall be done? up, down, exec or status" ;;
        *) misused "no such command: $command" ;;
    esac
    options "$command" "$@"
    switch=$name-switch
    [ "$(id -u)" -eq 0 ] || fail "network namespaces need root: run it with sudo"
    need ip:iproute2 tc:iproute2 ethtool:ethtool nsenter:util-linux flock:util-linux
    "lab_$command"
}

# Reads the command line into the variables above, and into `words` what is no option.
options() {
    local command=$1
    shift
    words=()
    while [ $# -gt 0 ]; do
        case $command:$1 in
            *:--help) main --help ;;
            *:--name | up:--backends | up:--clients | up:--mtu | up:--delay | up:--loss | up:--rate)
                [ $# -ge 2 ] || misused "$1 needs a value"
                declare -g "${1#--}=$2"
                shift 2
                ;;
            *:--*) misused "$command has no option $1" ;;
            exec:*) words=("$@") && break ;;
            *) misused "$command takes no '$1'" ;;
        esac
    done
    [ "$command" != exec ] || [ "${#words[@]}" -ge 2 ] || misused "exec takes a host and a command"
    [[ $name =~ ^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$ ]] ||
        misused "--name '$name': letters, digits, - and _, at most 40"
    number --backends "$backends" 1 80
    number --clients "$clients" 1 100
    number --mtu "$mtu" 576 65535
    [[ -z $delay || $delay =~ ^[0-9]+(\.[0-9]+)?(us|ms|s)$ ]] ||
        misused "--delay '$delay': 5ms, 0.5ms, 500us, 1s"
    [[ -z $rate || $rate =~ ^[1-9][0-9]{0,8}(k|m|g)bit$ ]] ||
        misused "--rate '$rate': 500kbit, 100mbit, 1gbit"
    loss=${loss%\%}
    [[ -z $loss || $loss =~ ^(100|[0-9]{1,2}(\.[0-9]{1,4})?)$ ]] ||
        misused "--loss '$loss': percent, from 0 to 100, with at most four digits after the point"
    # None is none.
    [[ $delay =~ [1-9] ]] || delay=""
    [[ $loss =~ [1-9] ]] || loss=""
}

number() {
    if ! [[ $2 =~ ^[1-9][0-9]{0,4}$ ]] || [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
        misused "$1 is a number from $3 to $4, not '$2'"
    fi
}

# --- up ---------------------------------------------------------------------------------------------

lab_up() {
    [[ -z $delay ]] || has_netem ||
        fail "this kernel has no netem (CONFIG_NET_SCH_NETEM): --delay $delay is refused"
    [[ -z $loss ]] || has_netem || need nft:nftables
    take_turns
    [ -z "$(namespaces)" ] ||
        fail "lab '$name' is up, or a part of it is left; take it away first: $(self down)"
    trap undo EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    add_switch
    local host
    for host in $(planned); do
        add_host "$host"
    done
    wait_for_links
    [ -z "$loss" ] || has_netem || lose_by_nft
    trap - EXIT
    lab_status
}

add_switch() {
    ip netns add "$switch"
    ip -n "$switch" link set lo up
    ip -n "$switch" link add lan mtu "$mtu" type bridge
    ip -n "$switch" link set lan up
    use_cubic "$switch"
}

# A host, its cable, and what the switch does to packets on their way to it.
add_host() {
    local host=$1 namespace=$name-$1
    ip netns add "$namespace"
    ip -n "$namespace" link set lo up
    ip -n "$switch" link add "$host" mtu "$mtu" type veth peer name eth0 mtu "$mtu" netns "$namespace"
    ip -n "$namespace" addr add "$(address "$host")/24" dev eth0
    one_segment_a_packet "$namespace" eth0
    one_segment_a_packet "$switch" "$host"
    queue "$namespace" eth0
    queue "$switch" "$host"
    ip -n "$namespace" link set eth0 up
    shape "$host"
    ip -n "$switch" link set "$host" master lan up
    use_cubic "$namespace"
    # Twice the ports, so that those of closed connections are not needed too soon.
    set_sysctl "$namespace" ip_local_port_range "20000 60999"
    mkdir -p "/etc/netns/$namespace"
    hosts_file >"/etc/netns/$namespace/hosts"
}

# A packet on a veth pair is a train of up to 64 KiB unless its sender cuts it (TSO off). A pair whose
# sender does is one where the receiver may merge what comes together (GRO), which only a change switches
# on. So hosts have the packets, and the work, of a network card without TSO.
one_segment_a_packet() {
    local change
    for change in "tso off" "gro off" "gro on"; do
        # shellcheck disable=SC2086 # two words
        nsenter --net="/run/netns/$1" ethtool -K "$2" $change
    done
}

# What finds the 256 places of a veth pair taken is dropped, unless there is a queue before it, as there is
# before every network card (from Linux 6.16 on; docs/decisions/0016). As much as netem's below.
queue() {
    tc -n "$1" qdisc add dev "$2" root handle 1: pfifo limit 10000
}

# Delay and loss by netem, and rate by tbf, on the port of a host, instead of the queue.
shape() {
    local parent=(root) netem=()
    [ -z "$delay" ] || netem+=(delay "$delay")
    [ -z "$loss" ] || netem+=(loss "$loss%")
    if [ "${#netem[@]}" -gt 0 ] && has_netem; then
        # Room for what is on its way at 10 Gbit/s for 10 ms.
        tc -n "$switch" qdisc replace dev "$1" root handle 1: netem limit 10000 "${netem[@]}"
        parent=(parent 1:1)
    fi
    [ -z "$rate" ] || tc -n "$switch" qdisc replace dev "$1" "${parent[@]}" handle 2: tbf rate "$rate" \
        burst "$(burst)" latency 50ms
}

# Bytes that may go at once: a millisecond of the rate, and no less than two packets.
burst() {
    local unit=${rate##*[0-9]} bits
    case $unit in kbit) bits=1000 ;; mbit) bits=1000000 ;; gbit) bits=1000000000 ;; esac
    local bytes=$((${rate%"$unit"} * bits / 8000)) least=$((2 * (mtu + 18)))
    echo $((bytes > least ? bytes : least))
}

# Address resolution is spared: a lost request there is a second of silence, not a lost packet.
lose_by_nft() {
    local last
    last=$(awk -v loss="$loss" 'BEGIN { printf "%.0f", loss * 10000 - 1 }')
    nsenter --net="/run/netns/$switch" nft -f - <<RULES
table bridge lab {
    chain forward {
        type filter hook forward priority 0
        ether type arp accept
        counter
        numgen random mod 1000000 <= $last counter drop comment "loss $loss %"
    }
}
RULES
}

# The host may default to BBR, which without fq measures its own pacing. A restricted algorithm must be
# allowed by the first namespace before another one may default to it (tcp_cong.c,
# tcp_set_default_congestion_control); what is allowed there is set back at once.
use_cubic() {
    set_sysctl "$1" tcp_congestion_control cubic 2>/dev/null || use_restricted_cubic "$1"
}

# In a shell of its own, which no signal ends before all is as it was.
use_restricted_cubic() (
    trap '' INT TERM HUP
    allowed=/proc/sys/net/ipv4/tcp_allowed_congestion_control
    before=$(<"$allowed") done=yes
    echo "$before cubic" >"$allowed" || fail "cubic is restricted, and only the first namespace may allow it"
    set_sysctl "$1" tcp_congestion_control cubic || done=""
    echo "$before" >"$allowed"
    [ "$done" ] || fail "cubic cannot be chosen in $1"
)

set_sysctl() {
    # shellcheck disable=SC2016 # expanded there
    nsenter --net="/run/netns/$1" sh -c 'echo "$2" >"/proc/sys/net/ipv4/$1"' sh "$2" "$3"
}

# What `ip netns exec` shows as /etc/hosts.
hosts_file() {
    local host
    for host in $(planned); do
        echo "$(address "$host") $host"
    done
    cat /etc/hosts 2>/dev/null || echo "127.0.0.1 localhost"
}

# The bridge learns of a cable when the kernel gets to it.
wait_for_links() {
    local wanted turn
    wanted=$(planned | wc -l)
    for ((turn = 0; turn < 200; turn++)); do
        [ "$(bridge -n "$switch" link show | grep -c 'state forwarding')" -lt "$wanted" ] || return 0
        sleep 0.05
    done
    fail "the bridge does not forward after ten seconds"
}

undo() {
    local code=$?
    trap - EXIT
    set +e
    teardown
    echo "lab.sh: up did not succeed; what it had made is taken away" >&2
    [ "$code" -ne 0 ] || code=1
    exit "$code"
}

# --- down -------------------------------------------------------------------------------------------

lab_down() {
    take_turns
    require_outside
    teardown
    [ -z "$(namespaces)" ] || fail "these are left: $(namespaces | xargs)"
}

# A shell in a host would end itself, and cannot undo mounts that it sees a copy of.
require_outside() {
    local namespace
    for namespace in $(namespaces); do
        [ ! /proc/self/ns/net -ef "/run/netns/$namespace" ] ||
            fail "this shell is in $namespace: leave it first"
    done
}

# Takes away whatever is there of this lab; the links go with their namespaces.
teardown() {
    trap '' INT TERM HUP
    local namespace
    end_processes
    for namespace in $(namespaces); do
        [ ! -e "/run/netns/$namespace" ] || ip netns del "$namespace"
        if [ -d "/etc/netns/$namespace" ]; then
            rm -f "/etc/netns/$namespace/hosts"
            rmdir "/etc/netns/$namespace"
        fi
    done
    [ ! -d /etc/netns ] || rmdir --ignore-fail-on-non-empty /etc/netns
}

end_processes() {
    local pids turn
    for ((turn = 0; turn < 60; turn++)); do
        mapfile -t pids < <(processes "$(namespaces)")
        [ "${#pids[@]}" -gt 0 ] || return 0
        [ "$turn" -ne 0 ] || kill -TERM "${pids[@]}" 2>/dev/null || true
        sleep 0.05
    done
    kill -KILL "${pids[@]}" 2>/dev/null || true
}

# --- exec, status -----------------------------------------------------------------------------------

lab_exec() {
    local host=${words[0]}
    require_up
    [[ " $(there | xargs) switch " == *" $host "* ]] ||
        fail "lab '$name' has no host '$host'; it has: $(there | xargs) switch"
    exec ip netns exec "$name-$host" "${words[@]:1}"
}

lab_status() {
    require_up
    local host namespace
    echo "lab '$name'"
    printf '  %-10s %-13s %-6s %-8s %s\n' host address MTU TCP processes
    for host in $(there); do
        namespace=$name-$host
        printf '  %-10s %-13s %-6s %-8s %s\n' "$host" "$(address "$host")" \
            "$(mtu_of "$namespace" eth0)" \
            "$(nsenter --net="/run/netns/$namespace" cat /proc/sys/net/ipv4/tcp_congestion_control)" \
            "$(processes "$namespace" | wc -l)"
    done
    effects
}

mtu_of() {
    ip -n "$1" -oneline link show "$2" | sed 's/.* mtu \([0-9]*\).*/\1/'
}

# What happens to packets, as the kernel has it.
effects() {
    local qdiscs without="" rules=""
    echo "  MTU: $(mtu_of "$switch" lan); one segment a packet (TSO off), merged where they arrive (GRO)"
    qdiscs=$(tc -n "$switch" qdisc show dev balancer)
    delay=$(setting delay) loss=$(setting loss) rate=$(setting rate)
    has_netem || without=" (this kernel has no netem, so --delay is refused and --loss is done by nft)"
    echo "  delay: ${delay:-none}${delay:+ for each packet, by netem}$without"
    [ -n "$loss" ] || ! command -v nft >/dev/null ||
        rules=$(nsenter --net="/run/netns/$switch" nft list table bridge lab 2>/dev/null || true)
    if [ -n "$rules" ]; then
        loss=$(sed -n 's/.*comment "loss \(.*\)".*/\1/p' <<<"$rules")
        # Two counters: of all packets, and of those that were dropped.
        mapfile -t counted < <(sed -n 's/.*counter packets \([0-9]*\).*/\1/p' <<<"$rules")
        echo "  loss: $loss, by nft: ${counted[1]} of ${counted[0]} packets dropped so far"
    else
        echo "  loss: ${loss:-none}${loss:+ by netem}"
    fi
    echo "  rate: ${rate:-none}${rate:+ to each host, by tbf}"
    qdiscs=$(tc -n "$name-balancer" qdisc show dev eth0)
    echo "  queue: $(setting limit) before each link, where no rate or delay has its own"
}

# The word after `$1` in `qdiscs`.
setting() {
    sed -n "s/.* $1 \([^ ]*\).*/\1/p" <<<"$qdiscs" | head -n 1
}

require_up() {
    [ -e "/run/netns/$switch" ] || fail "lab '$name' is not up: $(self up)"
}

# --- what all share -----------------------------------------------------------------------------------

# Hosts that shall be there.
planned() {
    echo balancer
    seq --format 'backend%g' "$backends"
    seq --format 'client%g' "$clients"
}

# Hosts that are there.
there() {
    namespaces | sed "s/^$name-//" | grep -vx switch
}

address() {
    case $1 in
        balancer) echo 10.77.0.1 ;;
        backend*) echo "10.77.0.$((10 + ${1#backend}))" ;;
        client*) echo "10.77.0.$((100 + ${1#client}))" ;;
    esac
}

# The namespaces of this lab, and what of it has only its hosts file left (after a reboot).
namespaces() {
    local path
    for path in /run/netns/"$name"-* /etc/netns/"$name"-*; do
        if [[ ${path##*/} =~ ^"$name"-(switch|balancer|(backend|client)[0-9]+)$ ]]; then
            echo "${path##*/}"
        fi
    done | sort --version-sort --unique
}

# Who lives in these namespaces.
processes() {
    local namespace
    for namespace in $1; do
        [ ! -e "/run/netns/$namespace" ] || ip netns pids "$namespace"
    done
}

# Tried where it leaves nothing: in a namespace that ends with the command.
has_netem() {
    [ -n "${netem_known:-}" ] || {
        netem_known=no
        ! unshare --net tc qdisc add dev lo root netem delay 1ms 2>/dev/null || netem_known=yes
    }
    [ "$netem_known" = yes ]
}

# One lab after the other is made or taken away: they share what the first namespace allows.
take_turns() {
    local lock
    exec {lock}</run
    flock --timeout 300 "$lock" || fail "another lab.sh has been at work for five minutes"
}

# Says what is missing of "command:package ...".
need() {
    local one missing=() packages=""
    for one in "$@"; do
        command -v "${one%%:*}" >/dev/null && continue
        missing+=("${one%%:*}")
        [[ " $packages " == *" ${one##*:} "* ]] || packages+=" ${one##*:}"
    done
    [ "${#missing[@]}" -eq 0 ] || fail "no ${missing[*]} here: apt-get install$packages"
}

# How this script is called for this lab.
self() {
    echo "scripts/lab.sh $1$([ "$name" = lab ] || echo " --name $name")"
}

fail() {
    echo "lab.sh: $*" >&2
    exit 1
}

misused() {
    echo "lab.sh: $*; see scripts/lab.sh --help" >&2
    exit 2
}

main "$@"
