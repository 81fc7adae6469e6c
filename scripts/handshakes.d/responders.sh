# shellcheck shell=bash
# Sourced by handshakes: the wire, the tester and both kinds of responder.
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

# charon NETNS CORE NAME: a charon with the load-tester, at the tester's end or the responder's.
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
            proposal = aes128-sha256-modp2048
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
    charon "$GW" "$RESPONDER_CORE" responder
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
proposals = [{ encryption = "aes128-cbc", hash = "sha2-256", group = "modp2048" }]

[[connection.child]]
name = "host"
proposals = [{ encryption = "aes128-cbc", integrity = "hmac-sha2-256-128" }]

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

# measure RESPONDER: prints what became of the tunnels, and notes the best rate and the least time of its core.
measure() {
    local began ended rate each here there ticks
    wire
    case $1 in
        portcullis) respond_portcullis ;;
        strongswan) respond_strongswan ;;
    esac
    charon "$PEER" "$TESTER_CORE" tester
    ticks=$(cpu_ticks "${PIDS[0]}")
    began=$(date +%s.%N)
    nsenter -t "${PIDS[-1]}" -m timeout 180 "$SS/libexec/ipsec/load-tester" initiate "$TUNNELS" 0 >"$WORK/marks" 2>&1 || true
    ended=$(date +%s.%N)
    ticks=$(($(cpu_ticks "${PIDS[0]}") - ticks))
    there=$(tr -cd + <"$WORK/marks" | wc -c)
    sleep 0.5
    case $1 in
        portcullis) here=$(portcullis_has) ;;
        *) here=$(charon_has responder) ;;
    esac
    rate=$(echo "$TUNNELS / ($ended - $began)" | bc)
    each=$(echo "scale=2; $ticks * 10 / $TUNNELS" | bc)
    printf '%-18s %s of %s tunnels (%s at the tester), %s/s, %s ms of its core each\n' \
        "$1" "$here" "$TUNNELS" "$there" "$rate" "$each"
    [[ $1 != portcullis ]] || FAILED=$((FAILED + TUNNELS - (here < there ? here : there)))
    [[ $rate -le ${BEST[$1]:-0} ]] || BEST[$1]=$rate
    [[ $(echo "$each < ${LEAST[$1]:-1000}" | bc) -eq 0 ]] || LEAST[$1]=$each
    end_processes
}
