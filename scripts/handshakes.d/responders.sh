# shellcheck shell=bash
# Sourced by handshakes: the wire, both kinds of tester and both kinds of responder.
#
#   [tester] 10.99.0.0/19 behind 192.0.2.2 == 192.0.2.1 [responder] 10.1.0.0/24

TAG=ph$$
GW=$TAG-gw
PEER=$TAG-peer
PIDS=()

end_processes() {
    local pid tenths
    for pid in "${PIDS[@]}"; do
        kill "$pid" 2>/dev/null || continue
        for ((tenths = 0; tenths < 80; tenths++)); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    PIDS=()
}

take_down() {
    local status=$?
    trap '' INT TERM
    end_processes
    ip netns del "$GW" 2>/dev/null || true
    ip netns del "$PEER" 2>/dev/null || true
    if [[ -n ${KEEP:-} ]]; then echo "logs: $WORK"; else rm -rf "$WORK"; fi
    exit "$status"
}

# eventually SECONDS COMMAND..: true as soon as the command is.
eventually() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [[ $SECONDS -lt $deadline ]] || return 1
        sleep 0.1
    done
}

wire() {
    local netns
    ip netns del "$GW" 2>/dev/null || true
    ip netns del "$PEER" 2>/dev/null || true
    for netns in "$GW" "$PEER"; do
        ip netns add "$netns"
        # shellcheck disable=SC2016 # for the shell inside
        ip netns exec "$netns" sh -c 'for f in all default; do echo 1 >/proc/sys/net/ipv6/conf/$f/disable_ipv6
            echo 0 >/proc/sys/net/ipv4/conf/$f/rp_filter; done' 2>/dev/null || true
        ip -n "$netns" link set lo up
    done
    ip -n "$GW" link add wan0 type veth peer name wan0 netns "$PEER"
    for netns in "$GW" "$PEER"; do
        ip -n "$netns" link set wan0 up
        # A checksum that the kernel leaves to a device would reach af_xdp undone.
        ip netns exec "$netns" ethtool -K wan0 tx off rx off tso off gso off gro off >/dev/null 2>&1 || true
    done
    ip -n "$PEER" address add 192.0.2.2/24 dev wan0
}

# charon NETNS CORE NAME GROUP: a charon with the load-tester, at the tester's end or the responder's.
charon() {
    local netns=$1 core=$2 dir=$WORK/$3
    mkdir -p "$dir/run"
    rm -f "$dir"/run/* "$dir/vici" "$dir/log"
    cat >"$dir/strongswan.conf" <<CONF
charon {
    load = random nonce aes sha1 sha2 hmac kdf pem pkcs1 pubkey openssl gcm load-tester kernel-netlink socket-default vici
    threads = 32
    init_limit_half_open = 0
    dos_protection = no
    cookie_threshold = 0
    block_threshold = 0
    reuse_ikesa = no
    ikesa_table_size = 4096
    ikesa_table_segments = 16
    filelog {
        log {
            path = $dir/log
            default = ${CHARON_LOG:-0}
        }
    }
    plugins {
        vici {
            socket = unix://$dir/vici
        }
        load-tester {
            enable = yes
            initiators = 0
            iterations = 0
            fake_kernel = yes
            version = 1
            proposal = aes128-sha256-$4
            esp = aes128-sha256
            responder = 192.0.2.1
            initiator_auth = psk
            responder_auth = psk
            initiator_id = c%d@lt.test
            initiator_match = *@lt.test
            responder_id = gw.lt.test
            initiator_tsr = 10.1.0.0/24
            responder_tsr = 10.1.0.0/24
            preshared_key = load-test-pre-shared-key
            addrs_prefix = 32
            $([[ $3 == tester ]] && printf 'addrs {\n wan0 = 10.99.0.0/19\n }')
        }
    }
}
CONF
    ip netns exec "$netns" taskset -c "$core" unshare -m --propagation private \
        env STRONGSWAN_CONF="$dir/strongswan.conf" \
        sh -c "mount --bind '$dir/run' /run && exec '$SS/libexec/ipsec/charon'" >"$dir/out" 2>&1 &
    PIDS+=("$!")
    eventually 15 test -S "$dir/run/charon.ldt" || die "charon does not start: $(tail -n 3 "$dir/out" "$dir/log")"
}

# What the charon named so has established.
charon_has() {
    STRONGSWAN_CONF=$WORK/$1/strongswan.conf "$SS/sbin/swanctl" --stats --uri "unix://$WORK/$1/vici" 2>/dev/null |
        sed -n 's/IKE_SAs: \([0-9]*\) total, \([0-9]*\) half.*/\1 \2/p' | awk '{ print $1 - $2 }'
}

respond_strongswan() {
    ip -n "$GW" address add 192.0.2.1/24 dev wan0
    ip -n "$GW" route add 10.99.0.0/19 via 192.0.2.2
    charon "$GW" "$RESPONDER_CORE" responder "$1"
}

respond_portcullis() {
    (umask 077 && echo load-test-pre-shared-key >"$WORK/psk")
    cat >"$WORK/gateway.toml" <<POLICY
[runtime]
control-socket = "$WORK/gateway.sock"
mbufs = 8191
engines = ["vaes", "portable"]

[[port]]
name = "lan"
device = "net_null0,no-rx=1"
side = "protected"
addresses = ["10.1.0.1/24"]

[[port]]
name = "wan"
device = "net_af_xdp0,iface=wan0"
side = "unprotected"
addresses = ["192.0.2.1/24"]

[[route]]
destination = "0.0.0.0/0"
via = "192.0.2.2"

[[connection]]
name = "clients"
remote = "any"
remote-id = "any"
local-id = "gw.lt.test"
psk-file = "$WORK/psk"
proposals = [{ encryption = "aes128-cbc", hash = "sha2-256", group = "$1" }]

[[connection.child]]
name = "host"
proposals = [{ encryption = "aes128-cbc", integrity = "hmac-sha2-256-128" }]

[[spd]]
name = "ping"
local = "192.0.2.1/32"
remote = "192.0.2.2/32"
protocol = "icmp"
action = "bypass"

[[spd]]
name = "clients"
local = "10.1.0.0/24"
remote = "10.99.0.0/19"
action = "protect"
connection = "clients"
POLICY
    "$PORTCULLIS" check "$WORK/gateway.toml" || die "policy"
    : >"$WORK/gateway.err"
    ip netns exec "$GW" env PORTCULLIS_LOG="${LOG_LEVEL:-warn}" taskset -c "$RESPONDER_CORE" \
        "$PORTCULLIS" run --config "$WORK/gateway.toml" >"$WORK/gateway.out" 2>"$WORK/gateway.err" &
    PIDS+=("$!")
    eventually 30 grep -q '^portcullis: running' "$WORK/gateway.err" ||
        die "the gateway does not run: $(tail -n 3 "$WORK/gateway.err")"
}

# Tunnels whose SAs packets find.
portcullis_has() {
    "$PORTCULLIS" show child --json --socket "$WORK/gateway.sock" |
        python3 -c 'import json, sys; print(sum(c["in_use"] for c in json.load(sys.stdin)["children"]))'
}

# Hundredths of a second that a process has computed so far.
cpu_ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

# Both testers leave in RATE how many tunnels a second there were, in THERE how many of them stand there.

# strongSwan's: it does as much work as a responder.
test_load_tester() {
    local began ended
    charon "$PEER" "$TESTER_CORE" tester "$1"
    TICKS=$(cpu_ticks "${PIDS[0]}")
    began=$(date +%s.%N)
    nsenter -t "${PIDS[-1]}" -m timeout 180 "$SS/libexec/ipsec/load-tester" initiate "$TUNNELS" 0 >"$WORK/marks" 2>&1 || true
    ended=$(date +%s.%N)
    THERE=$(tr -cd + <"$WORK/marks" | wc -c)
    RATE=$(echo "$TUNNELS / ($ended - $began)" | bc)
    NOTE=
}

# Ours: it does as little as it can.
test_tunnels() {
    local report
    # All the peers' addresses are the tester's.
    ip -n "$PEER" route add local 10.99.0.0/19 dev lo
    TICKS=$(cpu_ticks "${PIDS[0]}")
    report=$(ip netns exec "$PEER" taskset -c "$TESTER_CORE" timeout 180 \
        "$TESTER" 192.0.2.1 10.99.0.1 "$TUNNELS" "$WINDOW" "$1" load-test-pre-shared-key) || report='{}'
    read -r THERE RATE NOTE < <(python3 -c 'import json, sys
r = json.loads(sys.argv[1])
own, repeated = r.get("own_ms"), r.get("repeated")
print(r.get("tunnels", 0), int(r.get("rate", 0)), f", {own} ms of the tester each, {repeated} messages repeated")' "$report")
}

# measure RESPONDER TESTER GROUP: prints what became of the tunnels, and notes the best rate and the least time of the
# responder's core.
measure() {
    local each here key="$1 $2 $3"
    wire
    "respond_$1" "$3"
    # Both ends know each other's MAC address before the clock starts.
    eventually 10 ip netns exec "$PEER" ping -c 1 -W 1 192.0.2.1 || die "$1 does not answer a ping"
    "test_$2" "$3"
    TICKS=$(($(cpu_ticks "${PIDS[0]}") - TICKS))
    sleep 0.5
    case $1 in
        portcullis) here=$(portcullis_has) ;;
        *) here=$(charon_has responder) ;;
    esac
    each=$(echo "scale=2; $TICKS * 10 / $TUNNELS" | bc)
    printf '%-11s %-9s %-10s %s of %s tunnels (%s at the tester), %s/s, %s ms of its core each%s\n' \
        "$2" "$3" "$1" "$here" "$TUNNELS" "$THERE" "$RATE" "$each" "$NOTE"
    # Portcullis is what must not fail.
    [[ $1 != portcullis ]] || FAILED=$((FAILED + TUNNELS - (here < THERE ? here : THERE)))
    [[ $RATE -le ${BEST[$key]:-0} ]] || BEST["$key"]=$RATE
    [[ $(echo "$each < ${LEAST[$key]:-1000}" | bc) -eq 0 ]] || LEAST["$key"]=$each
    end_processes
}

# summary TESTER GROUP: what the best of all rounds come to.
summary() {
    local ours="portcullis $1 $2" theirs="strongswan $1 $2"
    printf '%-11s %-9s portcullis : strongswan = %s in rate, %s for each millisecond of its core\n' "$1" "$2" \
        "$(echo "scale=1; ${BEST[$ours]:-0} / ${BEST[$theirs]:-1}" | bc)" \
        "$(echo "scale=1; ${LEAST[$theirs]} / ${LEAST[$ours]}" | bc)"
}
