# shellcheck shell=bash
# The variables are for other files, and commands in quotes for `eventually`.
# shellcheck disable=SC2034,SC2016,SC2317
# Sourced by interop: several workers, each of which owns SAs that IKE makes.

# Two workers, and a queue of the wire for each: af_packet's, since af_xdp finds one at most on a veth. All packets of a
# peer come in at the same one, so that its worker has to hand over what belongs to the other.
two_workers() {
    GW_RUNTIME='workers = 2'
    SS_LOCAL_TS=10.2.0.1/32 SS_REMOTE_TS=10.1.0.2/32
    SS_CHILD=$'}\n            more {\n                local_ts = 10.2.0.3/32\n                remote_ts = 10.1.0.3/32\n                esp_proposals = aes128gcm16'
    policy() {
        cat <<POLICY
[[connection]]
name = "peer"
remote = $GW_REMOTE
psk-file = "$WORK/psk"
proposals = $GW_PROPOSALS
[[connection.child]]
name = "lans"
$GW_CHILD
[[connection.child]]
name = "more"
$GW_CHILD
[[spd]]
name = "one"
local = "10.1.0.2"
remote = "10.2.0.1"
action = "protect"
connection = "peer"
child = "lans"
[[spd]]
name = "other"
local = "10.1.0.3"
remote = "10.2.0.3"
action = "protect"
connection = "peer"
child = "more"
POLICY
    }
    eval "$(declare -f machine | sed '1s/machine/one_queue/')"
    machine() { one_queue | sed 's/"net_af_xdp0,iface=wan0"/"net_af_packet0,iface=wan0,qpairs=2"/'; }
}

# A counted stream each way of each child while the command runs. The rate is low: the peer's ESP is a process whose
# socket and device hold a hundred packets or so, when others have the core.
stream_all() {
    local seconds=$1 rate=$2 stream=$ROOT/scripts/interop.d/stream.py name here there receivers=()
    shift 2
    for name in one other; do
        here=10.1.0.2 there=10.2.0.1
        [[ $name == one ]] || { here=10.1.0.3 there=10.2.0.3; }
        background "$name-there" ip netns exec "$PEER" python3 "$stream" receive "$there" 7777 3 && receivers+=("$!")
        background "$name-here" ip netns exec "$GW" python3 "$stream" receive "$here" 7777 3 && receivers+=("$!")
    done
    sleep 1
    for name in one other; do
        here=10.1.0.2 there=10.2.0.1
        [[ $name == one ]] || { here=10.1.0.3 there=10.2.0.3; }
        background "$name-out" ip netns exec "$GW" python3 "$stream" send "$there" 7777 "$seconds" "$rate" "$here"
        background "$name-in" ip netns exec "$PEER" python3 "$stream" send "$here" 7777 "$seconds" "$rate" "$there"
    done
    "$@"
    wait "${receivers[@]}"
    lost_by_others
    for name in one other; do
        in_order "$name-out" "$name-there"
        in_order "$name-in" "$name-here"
    done
}

# What the kernel dropped for want of room, where we have no part in it: the reader of a failure wants to know.
lost_by_others() {
    local netns
    for netns in "$GW" "$PEER"; do
        on "$netns" awk -v at="${netns##*-}" '$1 == "Udp:" && !named { named = split($0, name); next }
            $1 == "Udp:" { for (i = 2; i <= named; i++) if (name[i] ~ /Errors/ && $i) print at ": UDP", name[i], $i }' /proc/net/snmp
        on "$netns" awk -v at="${netns##*-}" 'NR > 2 && ($5 || $13) { print at ": " $1, $5, "received and", $13, "sent dropped" }' /proc/net/dev
    done
}

# in_order SENT RECEIVED: all of it came, once, and in turn.
in_order() {
    echo "$1: $(<"$WORK/$1.out") sent; received, lost, twice, late: $(<"$WORK/$2.out")"
    [[ $(<"$WORK/$2.out") == "$(<"$WORK/$1.out") 0 0 0" ]] || fail "not all of it came, or not in order"
}

# Rekeys of both children from the peer's side.
swan_rekeys_both() {
    local n child
    for ((n = 0; n < $1; n++)); do
        for child in lans more; do swan --rekey --child "$child" >/dev/null || true; done
        sleep 0.5
    done
}

case_workers_rekey() { # two workers, each with SAs of its own: nothing is lost or overtaken in rekeys that both begin
    GW_CHILD=$'soft-lifetime = { packets = 100 }\nhard-lifetime = { seconds = 3600, packets = 100_000 }'
    two_workers
    wire
    ip -n "$PEER" address add 10.2.0.3/24 dev lan0
    strongswan && gateway
    ip -n "$GW" address add 10.1.0.3/24 dev lan0
    pc initiate peer --wait 15
    expect_children 2
    ping_peer || fail "no answer from one"
    on "$GW" ping -q -n -c 3 -i 0.2 -W 2 -I 10.1.0.3 10.2.0.3 || fail "no answer from the other"
    # What charon has no time for waits in its device.
    ip -n "$PEER" link set ipsec0 txqueuelen 10000
    stream_all 20 50 swan_rekeys_both 15
    echo "$(rekeys) rekeys"
    [[ $(rekeys) -ge 30 ]] || fail "fewer than thirty rekeys"
    # The SAs of a child are one worker's, and each worker has some.
    owned=$(field 'sorted({(s["name"], s["worker"]) for s in d["sas"]})' sa)
    echo "owners: $owned"
    [[ $owned == *", 0)"* && $owned == *", 1)"* && $(grep -o peer <<<"$owned" | wc -l) -eq 2 ]] || fail "owners: $owned"
    handed=$(field '[w["handed_off"] for w in d["workers"]]' all)
    echo "handed over by each worker: $handed"
    [[ $(field 'sum(w["handed_off"] for w in d["workers"]) > 1000' all) == True ]] || fail "hardly anything was handed over"
    lost=$(field '{r["reason"]: r["packets"] for r in d["drops"] if not r["reason"].startswith("multicast")}' drops)
    [[ $lost == '{}' ]] || fail "we have dropped packets: $lost"
    expect_children 2 15
}
