# shellcheck shell=bash
# What one file sets or defines, others use.
# shellcheck disable=SC2034,SC2119,SC2120
# Sourced by interop: the Portcullis side.

# What the cases change before `gateway`.
GW_ADDRESS=192.0.2.1   # of the wire
GW_LAN_ADDRESSES=''    # of the ports, if not one of IPv4
GW_WAN_ADDRESSES=''
GW_ROUTE=''            # to the peer's LAN, if not to everything
GW_NEXT=''             # next hop to everything, if not the peer
GW_CONNECTION=''       # lines of [[connection]] beside the usual ones
GW_CHILD=''            # lines of [[connection.child]]
GW_REMOTE='"192.0.2.2"'
GW_AUTH="psk-file = \"@WORK@/psk\""
GW_RUNTIME=''
GW_PROPOSALS='[{ encryption = "aes128-cbc", hash = "sha2-256", group = "modp2048" }]'
GW_ENV=()              # of the process
GW_SPD=$'local = "10.1.0.0/24"\nremote = "10.2.0.0/24"'
PSK='correct horse battery staple'

write_gateway() {
    (umask 077 && printf '%s\n' "$PSK" >"$WORK/psk")
    { machine && policy; } >"$WORK/gateway.toml"
}

# What belongs to the machine: ports and a route.
machine() {
    local next=${GW_NEXT:-192.0.2.2}
    cat <<MACHINE
[runtime]
control-socket = "$WORK/gateway.sock"
mbufs = 4095
engines = ["vaes", "portable"]
$GW_RUNTIME

[[port]]
name = "lan"
device = "net_tap0,iface=lan0"
side = "protected"
addresses = [${GW_LAN_ADDRESSES:-'"10.1.0.1/24"'}]

[[port]]
name = "wan"
device = "net_af_xdp0,iface=wan0"
side = "unprotected"
addresses = [${GW_WAN_ADDRESSES:-"\"$GW_ADDRESS/24\""}]

[[route]]
destination = "${GW_ROUTE:-0.0.0.0/0}"
via = "$next"

MACHINE
}

# What is protected: one connection, and one child for one entry.
policy() {
    cat <<POLICY
[[connection]]
name = "peer"
remote = $GW_REMOTE
${GW_AUTH//@WORK@/$WORK}
proposals = $GW_PROPOSALS
${GW_CONNECTION//@WORK@/$WORK}

[[connection.child]]
name = "lans"
$GW_CHILD

[[spd]]
name = "lan-to-lan"
$GW_SPD
action = "protect"
connection = "peer"
POLICY
}

gateway() {
    write_gateway
    no_offload "$GW wan0"
    no_offload "$PEER wan0"
    "$PORTCULLIS" check "$WORK/gateway.toml" || fail "policy"
    : >"$WORK/gateway.err"
    background gateway ip netns exec "$GW" env PORTCULLIS_LOG="${LOG_LEVEL:-debug}" "${GW_ENV[@]}" \
        "$PORTCULLIS" run --config "$WORK/gateway.toml"
    GATEWAY_PID=$!
    eventually 30 grep -q '^portcullis: running' "$WORK/gateway.err" || fail "the gateway does not run: $(tail -n 3 "$WORK/gateway.err")"
    ip -n "$GW" link set lan0 address 02:00:00:00:01:10
    ip -n "$GW" address add 10.1.0.2/24 dev lan0
    ip -n "$GW" link set lan0 up
    ip -n "$GW" route add 10.2.0.0/16 via 10.1.0.1
}

pc() { "$PORTCULLIS" "$@" --socket "$WORK/gateway.sock"; }

# field FILTER WHAT: a value out of `show WHAT --json`.
field() { pc show "$2" --json | python3 -c "import json,sys; d=json.load(sys.stdin); print($1)"; }

gateway_said() { grep -qE "$1" "$WORK/gateway.err"; }
expect_gateway() { eventually "${2:-10}" gateway_said "$1" || fail "the gateway did not say: $1"; }

# From the LAN host of the gateway to the peer's LAN, and back.
ping_peer() { on "$GW" ping -q -n -c "${1:-3}" -i 0.2 -W 2 -I 10.1.0.2 10.2.0.1; }
ping_gateway() { on "$PEER" ping -q -n -c "${1:-3}" -i 0.2 -W 2 -I 10.2.0.1 10.1.0.2; }

expect_traffic() {
    ping_peer || fail "no answer from the peer's LAN"
    ping_gateway || fail "no answer from the gateway's LAN"
}

# Nothing of the LANs was on the wire in clear.
expect_protected() {
    local protected=${2:-'esp or ah or udp port 4500'} count clear
    count=$(packets "$1" "$protected")
    clear=$(packets "$1" 'net 10.0.0.0/8')
    echo "$count protected packets, $clear clear"
    [[ $count -gt 0 && $clear -eq 0 ]] || fail "not protected on the wire"
}

children() { field 'len([c for c in d["children"] if c["in_use"]])' child; }
expect_children() {
    local wanted=$1
    eventually "${2:-10}" eval "[[ \$(children) -eq $wanted ]]" || fail "expected $wanted children in use, not $(children)"
}
