# shellcheck shell=bash
# Sourced by lab-netns, lab-pcap, pktgen and exercise.sh: two gateways, A with LAN 10.1.0.0/24 and B with LAN
# 10.2.0.0/24, the tunnel between them, and the check of what went over the wire.
#
#   host 10.1.0.2 -- 10.1.0.1 [gateway A] 192.0.2.1 == wire == 192.0.2.2 [gateway B] 10.2.0.1 -- host 10.2.0.2

. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
export PORTCULLIS=${PORTCULLIS_BIN:-$TARGET/release/portcullis}
WORK=$(mktemp -d "${TMPDIR:-/tmp}/portcullis-lab.XXXXXX")
PROCESSES=()

# Ends what was started, gateways last, and waits for it: nothing may outlive the script.
stop_processes() {
    local i
    for ((i = ${#PROCESSES[@]} - 1; i >= 0; i--)); do
        kill "${PROCESSES[i]}" 2>/dev/null || true
        wait "${PROCESSES[i]}" 2>/dev/null || true
    done
    PROCESSES=()
}

# Who makes the SAs: `ike`, or `manual`.
KEYING=${KEYING:-manual}

# Fresh keys for each run: AES-128 key and 4 byte salt (RFC 4106 8.1), one for each direction; and one that IKE begins with.
make_keys() {
    local direction
    (umask 077 && od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$WORK/psk")
    for direction in a-to-b b-to-a; do
        (umask 077 && od -An -N20 -tx1 /dev/urandom | tr -d ' \n' >"$WORK/$direction.key")
    done
}

# write_policy HERE LAN_DEVICE WAN_DEVICE [CAPTURE]: the policy file of gateway a or b.
write_policy() {
    local here=$1 there=b me=1 peer=2
    [[ $here == a ]] || { there=a me=2 peer=1; }
    cat >"$WORK/$here.toml" <<POLICY
[runtime]
control-socket = "$WORK/$here.sock"

[[port]]
name = "lan"
device = "$2"
side = "protected"
addresses = ["10.$me.0.1/24"]
mac = "02:00:00:00:0$me:01"

[[port]]
name = "wan"
device = "$3"
side = "unprotected"
addresses = ["192.0.2.$me/24"]
mac = "02:00:00:00:0$me:02"
${4:+capture = \"$4\"}

[[route]]
destination = "10.$peer.0.0/24"
via = "192.0.2.$peer"

[[spd]]
name = "lan-to-lan"
local = ["10.$me.0.0/24"]
remote = ["10.$peer.0.0/24"]
action = "protect"
$(if [[ $KEYING == ike ]]; then negotiated "$peer"; else manual; fi)
POLICY
}

# What the SPD entry names if IKE makes the SAs.
negotiated() {
    cat <<POLICY
connection = "peer"

[[connection]]
name = "peer"
remote = "192.0.2.$1"
psk-file = "$WORK/psk"

[[connection.child]]
name = "lans"
POLICY
}

# The same with SAs keyed by hand, with the variables of write_policy.
manual() {
    cat <<POLICY
outbound = ["$here-to-$there"]
inbound = ["$there-to-$here"]

[[sa]]
name = "$here-to-$there"
direction = "outbound"
protocol = "esp"
spi = 0x100$me
mode = "tunnel"
source = "192.0.2.$me"
destination = "192.0.2.$peer"
encryption = "aes128-gcm16"
key-file = "$WORK/$here-to-$there.key"

[[sa]]
name = "$there-to-$here"
direction = "inbound"
protocol = "esp"
spi = 0x100$peer
mode = "tunnel"
source = "192.0.2.$peer"
destination = "192.0.2.$me"
encryption = "aes128-gcm16"
key-file = "$WORK/$there-to-$here.key"
POLICY
}

# memif ROLE NAME: the device at one end of the wire.
memif() { echo "role=$1,socket=$WORK/$2.memif,socket-abstract=no,id=0"; }

# neighbor ADDRESS MAC PORT: who answers no ARP: capture files and null devices.
neighbor() { printf '\n[[neighbor]]\naddress = "%s"\nmac = "%s"\nport = "%s"\n' "$@"; }

# count FILE [FILTER]: packets of a capture that match. Read from standard input, because tcpdump gives up root first.
count() { tcpdump -nn -r - "${@:2}" <"$1" 2>/dev/null | wc -l; }

# check_wire FILE: the verdict on a captured wire: ESP, IKE, what resolves neighbours, and nothing else.
check_wire() {
    local resolve='(arp or (icmp6 and ip6[40] >= 133 and ip6[40] <= 136))' ike='(udp port 500)' all esp ikes resolving clear
    all=$(count "$1")
    esp=$(count "$1" esp)
    resolving=$(count "$1" "$resolve")
    ikes=$(count "$1" "$ike")
    clear=$(count "$1" "not esp and not $resolve and not $ike")
    echo "captured on the wire: $all frames, $esp ESP, $ikes IKE, $resolving ARP or NDP, $clear clear"
    [[ $esp -gt 0 ]] || die "no ESP packet on the wire"
    [[ $clear -eq 0 ]] || die "clear packets on the wire"
}
