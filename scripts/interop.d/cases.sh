# shellcheck shell=bash
# The variables are for other files, and commands in quotes for `eventually`.
# shellcheck disable=SC2034,SC2016,SC2317
# Sourced by interop: cases with strongSwan in a namespace, and ESP in UDP between them.

# Both in force, the gateway begins; the wire is looked at.
established_by_gateway() {
    wire && strongswan && gateway
    capture "$PEER" wan0 wire
    pc initiate peer --wait 15
    expect_children 1
    expect_traffic
    expect_protected wire
}

# The same, the peer begins.
established_by_peer() {
    wire && strongswan && gateway
    capture "$PEER" wan0 wire
    swan_initiate
    expect_children 1
    expect_traffic
    expect_protected wire
}

case_main_psk_initiator() { # main mode, pre-shared key: we begin
    established_by_gateway
}

case_main_psk_responder() { # main mode, pre-shared key: the peer begins
    established_by_peer
}

case_acquire() { # a packet raises the SAs, waits for them and is not lost
    wire && strongswan && gateway
    # Until the gateway knows the hosts' MAC addresses, a ping may be lost for that.
    on "$GW" ping -q -c 1 -W 2 10.1.0.1
    eventually 5 on "$PEER" ping -q -c 1 -W 1 192.0.2.1
    ping_peer 1 || fail "the first packet was lost"
    expect_children 1
    expect_traffic
}

case_aggressive_initiator() { # aggressive mode, allowed by name on both sides: we begin
    GW_CONNECTION='exchange = "aggressive"' SS_AGGRESSIVE=yes
    established_by_gateway
    "$PORTCULLIS" check "$WORK/gateway.toml" 2>&1 | grep 'warning: aggressive mode' >/dev/null || fail "no warning"
}

case_aggressive_responder() { # aggressive mode: the peer begins
    GW_CONNECTION='exchange = "aggressive"' SS_AGGRESSIVE=yes
    established_by_peer
}

case_aggressive_refused() { # aggressive mode where main mode is configured: refused
    SS_AGGRESSIVE=yes
    wire && strongswan && gateway
    ! swan_initiate 5 || fail "established"
    expect_gateway 'negotiation failed.*(compare .exchange.|is meant for this peer)'
}

case_rsa_initiator() { # main mode, RSA signatures and certificates: we begin
    with_certificates rsa 2048
    established_by_gateway
}

case_rsa_responder() { # main mode, RSA signatures: the peer begins
    with_certificates rsa 2048
    established_by_peer
}

case_ecdsa_initiator() { # main mode, ECDSA signatures (RFC 4754): we begin
    with_certificates ecdsa 256
    established_by_gateway
}

case_ecdsa_responder() { # main mode, ECDSA signatures: the peer begins
    with_certificates ecdsa 256
    established_by_peer
}

case_pfs_initiator() { # quick mode with a Diffie-Hellman exchange: we begin
    GW_CHILD='pfs = "modp2048"' SS_ESP=aes128gcm16-modp2048
    established_by_gateway
}

case_pfs_responder() { # quick mode with a Diffie-Hellman exchange: the peer begins
    GW_CHILD='pfs = "modp2048"' SS_ESP=aes128gcm16-modp2048
    established_by_peer
}

case_groups() { # MODP 3072 and 4096, ECP 256, 384 and 521, Curve25519, with hashes of all lengths
    local group hash name
    wire
    strongswan
    for name in modp3072/sha2-384 modp4096/sha2-512 ecp256/sha2-256 ecp384/sha2-384 ecp521/sha2-512 x25519/sha1; do
        group=${name%/*} hash=${name#*/}
        SS_PROPOSALS=aes256-${hash/sha2-/sha}-${group/x25519/curve25519}
        write_strongswan && swan --load-all --clear >/dev/null
        GW_CONNECTION=''
        gateway_with_proposal "aes256-cbc" "$hash" "$group"
        pc initiate peer --wait 15 || fail "$name"
        expect_children 1
        ping_peer || fail "$name: no answer"
        echo "$name established"
        pc terminate peer
        end "$GATEWAY_PID"
    done
}

# gateway_with_proposal CIPHER HASH GROUP
gateway_with_proposal() {
    local usual='proposals = [{ encryption = "aes128-cbc", hash = "sha2-256", group = "modp2048" }]'
    write_gateway
    sed -i "s|^$(printf '%s' "$usual" | sed 's/[][]/\\&/g')|proposals = [{ encryption = \"$1\", hash = \"$2\", group = \"$3\" }]|" "$WORK/gateway.toml"
    write_gateway() { :; }
    gateway
    unset -f write_gateway
    . "$ROOT/scripts/interop.d/gateway.sh"
}

case_nat_forced() { # ESP in UDP although there is no translation on the way, at our wish
    GW_CONNECTION='nat-traversal = "force"' SS_ENCAP=no
    established_by_gateway
    [[ $(packets wire esp) -eq 0 ]] || fail "ESP without UDP"
}

case_nat_before_gateway() { # we are behind a masquerading NAT and begin
    GW_ADDRESS=198.51.100.2 GW_NEXT=198.51.100.1
    SS_ENCAP=no SS_REMOTE=%any SS_AUTH_REMOTE=$'auth = psk\nid = 198.51.100.2'
    nat gateway && strongswan && gateway
    capture "$PEER" wan0 wire
    pc initiate peer --wait 15
    expect_children 1
    expect_traffic
    expect_protected wire
    expect_nat here
}

case_nat_before_peer() { # the peer is behind a masquerading NAT and begins
    GW_REMOTE='"any"' GW_NEXT=192.0.2.9
    SS_ENCAP=no SS_LOCAL=198.51.100.2
    nat peer && strongswan && gateway
    capture "$GW" wan0 wire
    swan_initiate
    expect_children 1
    expect_traffic
    expect_nat peer
}

case_nat_rebinds() { # the NAT before the peer forgets it: its next ESP packet, from another port, tells us where it is
    GW_REMOTE='"any"' GW_NEXT=192.0.2.9
    SS_ENCAP=no SS_LOCAL=198.51.100.2
    nat peer && strongswan && gateway
    swan_initiate
    expect_children 1
    local before timeout
    for timeout in udp_timeout udp_timeout_stream; do on "$NAT" sysctl -q -w "net.netfilter.nf_conntrack_$timeout=1"; done
    expect_traffic
    before=$(field 'd["ikes"][0]["remote"]' ike)
    sleep 3
    # The answer to the first may still go where the peer was.
    on "$PEER" ping -q -n -c 4 -i 0.2 -W 1 -I 10.2.0.1 10.1.0.2 | grep -E ' [34] received' || fail "the peer was not followed"
    [[ $(field 'd["ikes"][0]["remote"]' ike) != "$before" ]] || fail "the NAT did not forget the peer"
    expect_gateway 'another address'
}

# What `show ike` knows of the NAT.
expect_nat() {
    local nat
    nat=$(field 'd["ikes"][0]["nat"]' ike)
    case $1 in
        here) [[ $nat == "[True, "* ]] ;;
        peer) [[ $nat == *", True]" ]] ;;
    esac || fail "NAT $1 not found: $nat"
}

case_dpd_peer_killed() { # dead peer detection: the peer is killed, its SAs go
    GW_CONNECTION='dpd = { delay = 1, when = "always" }'
    wire && strongswan && gateway
    pc initiate peer --wait 15
    expect_traffic
    kill -KILL "$CHARON_PID"
    expect_gateway 'the peer does not answer' 90
    eventually 5 eval '[[ $(children) -eq 0 ]]' || fail "SAs are still there"
}

case_dpd_answered() { # the peer's dead peer detection is answered for as long as we live
    SS_EXTRA=$'dpd_delay = 1s\ndpd_timeout = 4s'
    wire && strongswan && gateway
    swan_initiate
    expect_children 1
    expect_swan 'parsed INFORMATIONAL_V1 request .* N\(DPD_ACK\)|N\(DPD_ACK\)' 15
    sleep 6
    [[ $(swan_children) -eq 1 ]] || fail "the peer gave us up"
    expect_traffic
}

# stream_both SECONDS RATE COMMAND..: a counted stream in each direction while the command runs, of which none is lost.
stream_both() {
    local seconds=$1 rate=$2
    shift 2
    local stream=$ROOT/scripts/interop.d/stream.py
    background to_peer ip netns exec "$PEER" python3 "$stream" receive 10.2.0.1 7777 3
    local there=$!
    background to_gateway ip netns exec "$GW" python3 "$stream" receive 10.1.0.2 7777 3
    local back=$!
    sleep 0.5
    background from_gateway ip netns exec "$GW" python3 "$stream" send 10.2.0.1 7777 "$seconds" "$rate" 10.1.0.2
    background from_peer ip netns exec "$PEER" python3 "$stream" send 10.1.0.2 7777 "$seconds" "$rate" 10.2.0.1
    "$@"
    wait "$there" "$back"
    echo "to the peer: $(<"$WORK/from_gateway.out") sent; received, lost, twice, late: $(<"$WORK/to_peer.out")"
    echo "to the gateway: $(<"$WORK/from_peer.out") sent; received, lost, twice, late: $(<"$WORK/to_gateway.out")"
    arrived "$WORK/from_gateway.out" "$WORK/to_peer.out" || fail "packets to the peer were lost"
    arrived "$WORK/from_peer.out" "$WORK/to_gateway.out" || fail "packets to the gateway were lost"
    # What a peer sends in clear between two SAs is all that we may drop.
    ! pc show drops | grep -E '^[a-z0-9-]+ +[0-9]' | grep -v -e '^clear-but-must-be-protected' -e '^multicast' || fail "we have dropped packets"
}

# arrived SENT RECEIVED: files that say how many.
arrived() { [[ $(<"$1") -eq $(cut -d' ' -f1 "$2") ]]; }

rekeys() { field 'd["counters"]["rekeys"]' ike; }

case_rekey_by_gateway() { # a hundred rekeys that we begin, at a volume limit: no packet of a counted stream is lost
    GW_CHILD=$'soft-lifetime = { packets = 120 }\nhard-lifetime = { seconds = 3600, packets = 100_000 }'
    wire && strongswan && gateway
    pc initiate peer --wait 15
    expect_traffic
    stream_both 70 200 true
    echo "$(rekeys) rekeys"
    [[ $(rekeys) -ge 100 ]] || fail "fewer than a hundred rekeys"
    expect_children 1 15
}

swan_rekeys() {
    local n
    for ((n = 0; n < $1; n++)); do
        swan --rekey --child lans >/dev/null || true
        sleep 0.4
    done
}

case_rekey_by_both() { # a hundred rekeys that both sides begin as they please: no packet is lost, one pair of SAs is left
    GW_CHILD=$'soft-lifetime = { packets = 100 }\nhard-lifetime = { seconds = 3600, packets = 100_000 }'
    wire && strongswan && gateway
    pc initiate peer --wait 15
    expect_traffic
    stream_both 50 200 swan_rekeys 80
    echo "$(rekeys) rekeys"
    [[ $(rekeys) -ge 100 ]] || fail "fewer than a hundred rekeys"
    sleep 3
    expect_children 1 15
    expect_traffic
}

case_rekey_ike() { # phase 1 is renewed while phase 2 goes on
    GW_CONNECTION='lifetime = 60'
    wire && strongswan && gateway
    pc initiate peer --wait 15
    stream_both 75 100 true
    [[ $(field 'd["counters"]["established"]' ike) -ge 2 ]] || fail "phase 1 was not renewed"
    expect_traffic
}

case_short_life() { # the peer wants phase 2 to live for seconds: it gets a minute, is told of it, and so is the log
    SS_CHILD=$'life_time = 20s\n                rekey_time = 0'
    wire && strongswan && gateway
    swan_initiate
    expect_children 1
    expect_gateway 'too short a life'
    expect_swan 'N\(\(24576\)\)' # RESPONDER-LIFETIME
    expect_traffic
}

case_delete_by_gateway() { # terminate: both sides are without SAs
    wire && strongswan && gateway
    pc initiate peer --wait 15
    expect_traffic
    pc terminate peer
    expect_children 0
    eventually 5 eval '[[ $(swan_children) -eq 0 ]]' || fail "the peer still has SAs"
    ping_peer 1 || fail "a packet does not bring them back"
}

case_stop() { # the gateway is stopped: the peer is told at once, and has no SA left
    local began
    wire && strongswan && gateway
    pc initiate peer --wait 15
    expect_traffic
    [[ $(swan_children) -eq 1 ]] || fail "the peer has no SA"
    began=$(date +%s%N)
    kill -TERM "$GATEWAY_PID"
    eventually 2 eval '[[ -z $(swan --list-sas) ]]' || fail "the peer still has SAs: $(swan --list-sas)"
    echo "gone after $((($(date +%s%N) - began) / 1000000)) ms"
    wait "$GATEWAY_PID" || fail "the gateway did not end well"
}

case_delete_by_peer() { # the peer terminates: both sides are without SAs
    wire && strongswan && gateway
    pc initiate peer --wait 15
    expect_traffic
    swan --terminate --ike gw --timeout 5
    expect_children 0
    expect_gateway 'SAs removed.*deleted by the peer'
}

case_wrong_psk_initiator() { # another key at the peer: refused on both sides, with the reason
    SS_SECRET='secret = "something else altogether"'
    wire && strongswan && gateway
    ! pc initiate peer --wait 90 || fail "established"
    expect_children 0
    expect_gateway '(authentication|negotiation) failed'
}

case_wrong_psk_responder() { # another key at the peer, which begins
    SS_SECRET='secret = "something else altogether"'
    wire && strongswan && gateway
    ! swan_initiate 8 || fail "established"
    expect_gateway 'authentication failed' 90
    field '[f["reason"] for f in d["failures"]]' ike
}

case_wrong_certificate() { # the peer's certificate is of another authority
    with_certificates rsa 2048
    pki --gen --type rsa --size 2048 --outform pem >"$WORK/other.key"
    pki --self --ca --in "$WORK/other.key" --type rsa --dn "CN=Another CA" --outform pem >"$WORK/other.crt"
    certificate rsa 2048 peer other
    cp "$WORK/peer.crt" "$WORK/swanctl/x509/" && cp "$WORK/peer.key" "$WORK/swanctl/private/"
    cp "$WORK/other.crt" "$WORK/swanctl/x509ca/"
    wire && strongswan && gateway
    ! swan_initiate 8 || fail "established"
    expect_gateway 'authentication failed.*certificate is not believed'
}

case_revoked_certificate() { # the peer's certificate is on the revocation list
    with_certificates rsa 2048
    pki --signcrl --cacert "$WORK/ca.crt" --cakey "$WORK/ca.key" --reason key-compromise --cert "$WORK/peer.crt" \
        --lifetime 30 --outform pem >"$WORK/ca.crl"
    GW_CONNECTION='crls = ["@WORK@/ca.crl"]'
    wire && strongswan && gateway
    ! swan_initiate 8 || fail "established"
    expect_gateway 'authentication failed.*certificate is not believed'
}

case_revocation_by_reload() { # how strictly revocation is checked changes while the gateway runs, both ways
    with_certificates rsa 2048
    pki --signcrl --cacert "$WORK/ca.crt" --cakey "$WORK/ca.key" --reason key-compromise --cert "$WORK/peer.crt" \
        --lifetime 30 --outform pem >"$WORK/ca.crl"
    GW_CONNECTION=$'crls = ["@WORK@/ca.crl"]\nrevocation = "off"'
    wire && strongswan && gateway
    pc initiate peer --wait 15
    expect_traffic
    sed -i 's/^revocation = .*/revocation = "known"/' "$WORK/gateway.toml"
    pc reload
    expect_children 0
    ! pc initiate peer --wait 15 || fail "established with a revoked certificate"
    expect_gateway 'authentication failed.*certificate is not believed'
    [[ $(field 'd["config"]["revocation"][0]["check"]' config) == known ]] || fail "the settings in force are others"
    sed -i 's/^revocation = .*/revocation = "off"/' "$WORK/gateway.toml"
    pc reload
    pc initiate peer --wait 15
    expect_traffic
}

case_own_address() { # the gateway gets another address by a reload: SAs of the old one end, and come again from the new one
    SS_REMOTE=192.0.2.0/24
    wire && strongswan && gateway
    pc initiate peer --wait 15
    expect_traffic
    sed -i 's#"192.0.2.1/24"#"192.0.2.7/24"#' "$WORK/gateway.toml"
    pc reload
    ping_peer 5 || fail "no answer from the peer's LAN"
    expect_traffic
    eventually 5 eval '[[ $(swan_children) -eq 1 ]]' || fail "the peer keeps the old SAs"
    [[ $(swan --list-sas) == *192.0.2.7* ]] || fail "the SAs are not those of the new address"
    on "$PEER" ping -q -n -c 2 -W 2 192.0.2.1 && fail "the old address answers"
    return 0
}

case_wrong_identity() { # a certificate that is believed, but of somebody else
    with_certificates rsa 2048
    GW_AUTH=${GW_AUTH/peer.test/somebody.test}
    wire && strongswan && gateway
    ! swan_initiate 8 || fail "established"
    expect_gateway 'authentication failed'
}

# The log tells what the peer offered and which attribute of it differs from ours, and so does `show ike`.
expect_mismatch() {
    expect_gateway 'negotiation failed.*no proposal in common'
    expect_gateway "mismatches=.*$1"
    pc show ike >"$WORK/show-ike"
    grep -E "offered .*$1" "$WORK/show-ike" || fail "show ike: $(<"$WORK/show-ike")"
}

case_no_common_proposal() { # phase 1 without a common proposal: the log and `show ike` tell which attribute differs
    SS_PROPOSALS=aes256-sha512-modp3072
    wire && strongswan && gateway
    ! swan_initiate 8 || fail "established"
    expect_mismatch 'not '
    expect_swan 'NO_PROPOSAL_CHOSEN|NO_PROP'
}

case_no_common_child_proposal() { # quick mode without a common proposal
    SS_ESP=aes256-sha512
    wire && strongswan && gateway
    ! swan_initiate 8 || fail "established"
    expect_mismatch 'not '
}

case_wrong_traffic() { # quick mode for traffic that is not ours
    SS_LOCAL_TS=10.9.0.0/24
    wire && strongswan && gateway
    ! swan_initiate 8 || fail "established"
    expect_gateway 'negotiation failed.*no child has this traffic'
}

case_narrowed() { # the peer asks for a part of our traffic: it gets SAs for that
    SS_LOCAL_TS=10.2.0.1/32
    wire && strongswan && gateway
    swan_initiate
    expect_children 1
    expect_traffic
    [[ $(field 'd["children"][0]["remote"]' child) == 10.2.0.1 ]] || fail "not narrowed"
}

case_key_log() { # tshark opens IKE and ESP with the keys that were written down, and finds nothing malformed
    GW_RUNTIME="key-log = \"$WORK/keys\""
    mkdir "$WORK/keys"
    wire && strongswan && gateway
    capture "$PEER" wan0 wire
    pc initiate peer --wait 15
    expect_traffic
    sleep 0.5
    local profile=$WORK/profile
    mkdir -p "$profile/wireshark" && cp "$WORK"/keys/* "$profile/wireshark/"
    tshark_wire() {
        XDG_CONFIG_HOME=$profile tshark -r - -o esp.enable_encryption_decode:TRUE -o esp.enable_authentication_check:FALSE "$@" \
            <"$WORK/wire.pcap" 2>/dev/null
    }
    tshark_wire -Y 'isakmp.typepayload == 8' | grep . >/dev/null || fail "no HASH payload was decrypted"
    tshark_wire -Y 'icmp && ip.addr == 10.2.0.1' | grep . >/dev/null || fail "no ESP packet was decrypted"
    [[ $(tshark_wire -Y '_ws.malformed' | wc -l) -eq 0 ]] || fail "malformed: $(tshark_wire -Y _ws.malformed)"
}

case_reload() { # another policy while SAs stand: they stay, traffic goes on
    wire && strongswan && gateway
    pc initiate peer --wait 15
    expect_traffic
    printf '\n[[spd]]\nname = "more"\nlocal = "10.1.0.0/24"\nremote = "203.0.113.0/24"\naction = "discard"\n' >>"$WORK/gateway.toml"
    stream_both 4 200 pc reload
    expect_children 1
    grep -q 'SAs removed' "$WORK/gateway.err" && fail "SAs were removed"
    sed -i '/^name = "lan-to-lan"/,/^connection/d' "$WORK/gateway.toml"
    ! pc reload || fail "a policy with a child that nobody uses was taken"
    expect_children 1
}
