# shellcheck shell=bash
# The variables are for other files, and commands in quotes for `eventually`.
# shellcheck disable=SC2034,SC2016,SC2317
# Sourced by interop: what established peers notice of others.

case_flood() { # thousands of first messages and of made-up cookies a second from everywhere: an established peer's rekeys and DPD are answered as before
    GW_REMOTE='"any"' LOG_LEVEL=info SS_EXTRA=$'dpd_delay = 1s\ndpd_timeout = 5s'
    local message mac flood lost
    wire && strongswan && gateway
    capture "$PEER" wan0 wire host 192.0.2.2
    swan_initiate
    expect_traffic
    swan_rekeys 5
    sleep 1
    message=$(tshark_fields -Y 'isakmp' -e udp.payload | awk 'NR == 1' | tr -d :)
    mac=$(on "$GW" cat /sys/class/net/wan0/address)
    mkfifo "$WORK/flooding" && exec {flood}<>"$WORK/flooding"
    background flood ip netns exec "$PEER" python3 "$ROOT/scripts/interop.d/flood.py" wan0 "$mac" 192.0.2.1 "$message" "${FLOOD:-20000}" <"$WORK/flooding"
    sleep 2
    FLOODED=$(date +%s.%N)
    swan_rekeys 12
    sleep 1
    echo "of the gateway's counters: $(field '{k: v for k, v in d["counters"].items() if v}' ike)"
    echo | tee "$WORK/flooding" >/dev/null
    wait "${PIDS[-1]}"
    lost=$(field '{drop["reason"]: drop["packets"] for drop in d["drops"]}' drops)
    echo "messages: $(<"$WORK/flood.out"), drops: $lost"
    # The peer has a ring of its own, which made-up cookies do not get into.
    [[ $lost != *urgent-ring-full* ]] || fail "the flood is before the peer"
    quick_modes
    [[ $(swan_children) -eq 1 && $(children) -ge 1 ]] || fail "the peer gave us up"
    expect_traffic
}

tshark_fields() { tshark -r - -T fields "$@" <"$WORK/wire.pcap" 2>/dev/null; }

# How long the peer waited for the answer to its quick modes, before and in the flood: the median may not grow much.
quick_modes() {
    tshark_fields -Y 'isakmp.exchangetype == 32' -e frame.time_epoch -e ip.src -e isakmp.messageid >"$WORK/quick-modes"
    python3 - "$WORK/quick-modes" "$FLOODED" <<'PYTHON' || fail "the peer waits"
import statistics
import sys

asked, waited = {}, {"quiet": [], "flood": []}
for line in open(sys.argv[1]):
    at, source, message = line.split()
    if source == "192.0.2.2":
        asked.setdefault(message, float(at))
    elif message in asked and asked[message]:
        when = "quiet" if asked[message] < float(sys.argv[2]) else "flood"
        waited[when].append(1000 * (float(at) - asked[message]))
        asked[message] = None
for when, each in waited.items():
    print(f"{when}: {len(each)} quick modes answered, median {statistics.median(each):.1f} ms, longest {max(each):.1f} ms")
unanswered = sum(1 for at in asked.values() if at)
sys.exit(unanswered > 0 or len(waited["flood"]) < 10 or statistics.median(waited["flood"]) > 100)
PYTHON
}
