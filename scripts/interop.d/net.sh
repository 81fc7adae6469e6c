# shellcheck shell=bash
# The loop variable is the inner shell's.
# shellcheck disable=SC2016
# Sourced by interop: network namespaces, processes, and what waits for both.
#
#   LAN host 10.1.0.2 -- 10.1.0.1 [Portcullis] 192.0.2.1 == 192.0.2.2 [peer] 10.2.0.1
#
# The gateway's LAN port is a tap whose kernel end, lan0 in its namespace, is the LAN host.

TAG=pi$$
GW=$TAG-gw
PEER=$TAG-peer
NAT=$TAG-nat
PIDS=()

skip_case() {
    echo "$*"
    exit 77
}

fail() {
    echo "failed: $*"
    exit 1
}

# Ends a process and waits for it; one that does not listen is killed.
end() {
    local pid=$1 tenths
    kill "$pid" 2>/dev/null || return 0
    for ((tenths = 0; tenths < 50; tenths++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}

take_down() {
    local status=$? i netns
    trap '' INT TERM
    set +e
    if [[ $status -ne 0 && $status -ne 77 ]]; then show_logs; fi
    for ((i = ${#PIDS[@]} - 1; i >= 0; i--)); do end "${PIDS[i]}"; done
    for netns in "$GW" "$PEER" "$NAT"; do ip netns del "$netns" 2>/dev/null; done
    exit "$status"
}

# What a reader of a failure wants to see.
show_logs() {
    local file
    for file in "$WORK"/gateway.err "$WORK"/charon.log "$WORK"/pluto.log; do
        [[ ! -s $file ]] || { echo "--- ${file##*/}" && tail -n 25 "$file"; }
    done
    [[ ! -S $WORK/gateway.sock ]] || "$PORTCULLIS" show all --socket "$WORK/gateway.sock"
}

# background NAME COMMAND..: runs it, remembers it, and keeps what it says. The last one is $!.
background() {
    # Said explicitly, since a shell gives what it runs in the background no input.
    "${@:2}" <&0 >"$WORK/$1.out" 2>"$WORK/$1.err" &
    PIDS+=("$!")
}

on() { ip netns exec "$@"; }

# eventually SECONDS COMMAND..: true as soon as the command is.
eventually() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [[ $SECONDS -lt $deadline ]] || return 1
        sleep 0.1
    done
}

make_netns() {
    local netns
    for netns in "$@"; do
        ip netns add "$netns"
        # Without IPv6 the hosts say nothing by themselves.
        on "$netns" sh -c 'for f in all default; do echo 1 >/proc/sys/net/ipv6/conf/$f/disable_ipv6
            echo 0 >/proc/sys/net/ipv4/conf/$f/rp_filter; done' 2>/dev/null || true
        ip -n "$netns" link set lo up
    done
}

# link NETNS-A IF-A NETNS-B IF-B
link() {
    ip -n "$1" link add "$2" type veth peer name "$4" netns "$3"
    ip -n "$1" link set "$2" up
    ip -n "$3" link set "$4" up
}

# The gateway's wire straight to the peer.
wire() {
    make_netns "$GW" "$PEER"
    link "$GW" wan0 "$PEER" wan0
    ip -n "$PEER" address add 192.0.2.2/24 dev wan0
    peer_lan
}

# A network behind the peer, and an address of the peer in it.
peer_lan() {
    ip -n "$PEER" link add lan0 type veth peer name lan1
    ip -n "$PEER" link set lan1 up
    ip -n "$PEER" address add 10.2.0.1/24 dev lan0
    ip -n "$PEER" link set lan0 up
}

# nat BEHIND: address translation on the way, which hides one side: `gateway` or `peer`.
# Outside it is 192.0.2.0/24, inside 198.51.100.0/24.
nat() {
    local inside=$GW outside=$PEER address
    [[ $1 == gateway ]] || { inside=$PEER outside=$GW; }
    make_netns "$GW" "$PEER" "$NAT"
    link "$inside" wan0 "$NAT" inside
    link "$outside" wan0 "$NAT" outside
    ip -n "$NAT" address add 198.51.100.1/24 dev inside
    ip -n "$NAT" address add 192.0.2.9/24 dev outside
    on "$NAT" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
    on "$NAT" nft -f - <<'RULES'
table ip nat {
    chain post {
        type nat hook postrouting priority srcnat
        oifname "outside" masquerade random
    }
}
RULES
    if [[ $1 == peer ]]; then
        ip -n "$PEER" address add 198.51.100.2/24 dev wan0
        ip -n "$PEER" route add default via 198.51.100.1
    else
        ip -n "$PEER" address add 192.0.2.2/24 dev wan0
    fi
    # A checksum that the kernel leaves to a device would reach af_xdp undone.
    for address in "$NAT inside" "$NAT outside" "$PEER wan0"; do no_offload "$address"; done
    peer_lan
}

# no_offload "NETNS IF"
no_offload() {
    local netns interface
    read -r netns interface <<<"$1"
    on "$netns" ethtool -K "$interface" tx off rx off tso off gso off gro off >/dev/null 2>&1 || true
}

# capture NETNS INTERFACE FILE [FILTER..]
capture() {
    on "$1" tcpdump --immediate-mode -U -i "$2" -w "$WORK/$3.pcap" "${@:4}" >/dev/null 2>&1 &
    PIDS+=("$!")
    eventually 5 test -s "$WORK/$3.pcap" || fail "tcpdump does not start"
}

# packets FILE [FILTER]: how many of a capture match.
packets() { tcpdump -nn -r - "${@:2}" <"$WORK/$1.pcap" 2>/dev/null | wc -l; }
