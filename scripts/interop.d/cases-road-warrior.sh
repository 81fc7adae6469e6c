# shellcheck shell=bash
# The variables are for other files, and commands in quotes for `eventually`.
# shellcheck disable=SC2034,SC2016,SC2317
# Sourced by interop: road warriors, who prove themselves by XAUTH and get an address by mode config: strongSwan and vpnc
# as clients. Behind the peer's address 192.0.2.2 there is no network: what it has inside is one address of 10.3.0.0/24.

ROAD_POOL=$'\n[[pool]]\nname = "warriors"\naddresses = "10.3.0.10-10.3.0.20"\ndns = "10.1.0.53"\nsplit-include = "10.1.0.0/24"\ndomain = "interop.test"\nbanner = "Welcome"'
ROAD_SERVER=$'xauth = { role = "server", users-file = "@WORK@/users" }\npool = "warriors"'
ROAD_ADDRESS=10.3.0.10

# What both sides have for alice, whose password is wonderland.
road_warrior() {
    GW_REMOTE='"any"' GW_RUNTIME=$ROAD_POOL GW_CONNECTION=$ROAD_SERVER
    GW_SPD=$'local = "10.1.0.0/24"\nremote = "10.3.0.0/24"'
    SS_PLUGINS='xauth-generic unity attr'
    SS_AUTH_LOCAL=$'auth = psk\nround = 1'
    SS_EXTRA=$'vips = 0.0.0.0\nlocal-user {\nauth = xauth\nround = 2\nxauth_id = alice\n}'
    SS_SECRET+=$'\n}\nxauth-1 {\nid = alice\nsecret = wonderland'
    SS_LOCAL_TS=dynamic
    (umask 077 && printf '# who may come\nalice:%s\n' "$(openssl passwd -6 wonderland)" >"$WORK/users")
}

# Traffic of the leased address, both ways.
expect_warrior() {
    local address=$ROAD_ADDRESS
    ip -n "$GW" route replace 10.3.0.0/24 via 10.1.0.1
    on "$PEER" ping -q -n -c 3 -i 0.2 -W 2 -I "$address" 10.1.0.2 || fail "no answer from the gateway's LAN"
    on "$GW" ping -q -n -c 3 -i 0.2 -W 2 -I 10.1.0.2 "$address" || fail "no answer from the road warrior"
    [[ $(field '[(i["user"], i["addresses"]) for i in d["ikes"]][-1]' ike) == "('alice', ['$address'])" ]] ||
        fail "show ike: $(field 'd["ikes"]' ike)"
    [[ $(field 'set(c["remote"] for c in d["children"])' child) == "{'$address'}" ]] || fail "SAs for more than the lease"
}

admitted() {
    wire && strongswan && gateway
    capture "$PEER" wan0 wire
    swan_initiate
    expect_children 1
    expect_warrior
    expect_protected wire
    [[ $(tshark -r "$WORK/wire.pcap" -Y '_ws.malformed' 2>/dev/null | wc -l) -eq 0 ]] || fail "malformed packets"
}

case_warrior_main_psk() { # XAUTH and mode config after main mode with a pre-shared key
    road_warrior && admitted
    expect_swan 'installing new virtual IP 10.3.0.10'
}

case_warrior_aggressive_psk() { # the same after aggressive mode, with a group's name
    road_warrior
    GW_CONNECTION+=$'\nexchange = "aggressive"\nremote-id = "keyid:warriors"' SS_AGGRESSIVE=yes
    SS_AUTH_LOCAL+=$'\nid = keyid:warriors'
    admitted
}

case_warrior_certificates() { # the same after main mode with certificates on both sides
    with_certificates rsa 2048
    road_warrior
    SS_AUTH_LOCAL=$'auth = pubkey\ncerts = peer.crt\nid = peer.test\nround = 1'
    admitted
}

case_warrior_hybrid() { # hybrid authentication: only the gateway has a certificate
    with_certificates rsa 2048
    road_warrior
    GW_AUTH=$'certificate = "@WORK@/gateway.crt"\nprivate-key-file = "@WORK@/gateway.pem"\nlocal-id = "gateway.test"\nhybrid = true'
    SS_EXTRA='vips = 0.0.0.0' SS_AUTH_LOCAL=$'auth = xauth\nxauth_id = alice'
    admitted
}

case_warrior_hybrid_aggressive() { # hybrid authentication in aggressive mode
    with_certificates rsa 2048
    road_warrior
    GW_AUTH=$'certificate = "@WORK@/gateway.crt"\nprivate-key-file = "@WORK@/gateway.pem"\nlocal-id = "gateway.test"\nhybrid = true\nexchange = "aggressive"'
    SS_EXTRA='vips = 0.0.0.0' SS_AUTH_LOCAL=$'auth = xauth\nxauth_id = alice' SS_AGGRESSIVE=yes
    admitted
}

case_warrior_push() { # mode config that the gateway begins
    road_warrior
    GW_CONNECTION+=$'\nmode-config = "push"' SS_EXTRA+=$'\npull = no'
    admitted
}

case_warrior_wrong_password() { # a wrong password: refused on both sides, and nothing stands
    road_warrior
    SS_SECRET=${SS_SECRET/wonderland/looking-glass}
    wire && strongswan && gateway
    ! swan_initiate 20 || fail "established"
    expect_swan 'XAuth authentication .*failed|received FAIL|authentication of .* failed'
    expect_gateway 'negotiation failed.*user .alice. is unknown here, or the password is wrong' 20
    [[ $(field '(d["counters"]["wrong_passwords"], d["ikes"])' ike) == "(3, [])" ]] || fail "$(field d ike)"
    ! grep -q -e wonderland -e looking-glass "$WORK/gateway.err" || fail "a password is in the log"
}

case_warrior_unknown_user() { # a user who is not known: as a wrong password
    road_warrior
    SS_EXTRA=${SS_EXTRA/alice/carol} SS_SECRET=${SS_SECRET/alice/carol}
    wire && strongswan && gateway
    ! swan_initiate 20 || fail "established"
    expect_gateway 'negotiation failed.*user .carol. is unknown here, or the password is wrong'
}

case_warrior_pool_exhausted() { # no address left: counted, and told on both sides
    road_warrior
    GW_RUNTIME=${ROAD_POOL/10.3.0.10-10.3.0.20/10.3.0.10}
    printf 'bob:%s\n' "$(openssl passwd -6 wonderland)" >>"$WORK/users"
    wire && strongswan && gateway
    swan_initiate
    expect_warrior
    # Alice's host is gone, and the gateway does not know it yet.
    kill -KILL "$CHARON_PID"
    wait "$CHARON_PID" 2>/dev/null || true # its ports are free then
    rm "$WORK/vici"
    SS_EXTRA=${SS_EXTRA/alice/bob} SS_SECRET=${SS_SECRET/alice/bob}
    strongswan
    ! swan_initiate 5 || fail "established"
    expect_gateway 'negotiation failed.*all addresses of the pool are in use'
    [[ $(field 'd["counters"]["pool_exhausted"]' ike) -ge 1 ]] || fail "not counted"
    expect_children 1
}

case_warrior_comes_again() { # the same address after the client has gone and come
    road_warrior && wire && strongswan && gateway
    swan_initiate
    expect_warrior
    swan --terminate --ike gw --timeout 5
    expect_children 0
    swan_initiate
    expect_children 1
    expect_warrior
}

case_warrior_rekeys() { # both renew SAs, and the client phase 1 with XAUTH again: the address stays, traffic goes on
    road_warrior
    GW_CHILD=$'soft-lifetime = { packets = 40 }\nhard-lifetime = { seconds = 3600, packets = 100_000 }'
    wire && strongswan && gateway
    swan_initiate
    expect_warrior
    swan --rekey --child lans
    eventually 5 eval '[[ $(rekeys) -ge 1 ]]' || fail "the client did not renew its SAs"
    on "$PEER" ping -q -n -c 60 -i 0.05 -W 2 -I "$ROAD_ADDRESS" 10.1.0.2
    eventually 5 eval '[[ $(rekeys) -ge 2 ]]' || fail "we did not renew them"
    swan --rekey --ike gw
    eventually 10 eval '[[ $(field "d[\"counters\"][\"users\"]" ike) -ge 2 ]]' || fail "phase 1 was not renewed"
    expect_children 1 15
    expect_warrior
}

# vpnc, with its own ESP, in the peer's namespace. vpnc LINE..: lines of its configuration beside the usual ones.
vpnc_client() {
    command -v vpnc >/dev/null || skip_case "vpnc is not installed"
    [[ -c /dev/net/tun ]] || skip_case "there is no /dev/net/tun"
    cat >"$WORK/vpnc-script" <<'SCRIPT'
#!/bin/sh
env | grep -E '^(INTERNAL|CISCO|TUNDEV|reason)' >>"${0%/*}/script.log"
[ "$reason" = connect ] || exit 0
ip link set "$TUNDEV" up mtu 1300
ip address add "$INTERNAL_IP4_ADDRESS/32" dev "$TUNDEV"
ip route add 10.1.0.0/24 dev "$TUNDEV" src "$INTERNAL_IP4_ADDRESS"
SCRIPT
    chmod +x "$WORK/vpnc-script"
    (
        umask 077
        printf '%s\n' 'IPSec gateway 192.0.2.1' 'IPSec ID warriors' 'Xauth username alice' 'IKE DH Group dh14' \
            'Perfect Forward Secrecy nopfs' 'Vendor cisco' "Script $WORK/vpnc-script" "Pidfile $WORK/vpnc.pid" \
            'DPD idle timeout (our side) 10' 'Debug 2' "$@" >"$WORK/vpnc.conf"
    )
    background vpnc ip netns exec "$PEER" vpnc --no-detach --non-inter "$WORK/vpnc.conf"
    VPNC_PID=$!
}

vpnc_server() {
    road_warrior
    # It knows SHA-1 and MD5 only.
    GW_PROPOSALS='[{ encryption = "aes256-cbc", hash = "sha1", group = "modp2048" }]'
    GW_CHILD='proposals = [{ encryption = "aes256-cbc", integrity = "hmac-sha1-96" }]'
    GW_CONNECTION+=$'\nexchange = "aggressive"'
}

vpnc_admitted() {
    wire && gateway
    capture "$PEER" wan0 wire
    vpnc_client "$@"
    eventually 20 grep -q '^reason=connect' "$WORK/script.log" || fail "$(tail -n 5 "$WORK/vpnc.err" "$WORK/vpnc.out")"
    sleep 0.5
    expect_children 1
    expect_warrior
    expect_protected wire
    grep -q '^INTERNAL_IP4_DNS=10.1.0.53' "$WORK/script.log" || fail "no DNS"
    grep -q '^CISCO_DEF_DOMAIN=interop.test' "$WORK/script.log" || fail "no domain"
    grep -q '^CISCO_BANNER=Welcome' "$WORK/script.log" || fail "no banner"
    grep -q '^CISCO_SPLIT_INC_0_ADDR=10.1.0.0' "$WORK/script.log" || fail "no split-include"
    [[ $(tshark -r "$WORK/wire.pcap" -Y '_ws.malformed' 2>/dev/null | wc -l) -eq 0 ]] || fail "malformed packets"
    end "$VPNC_PID"
    expect_children 0
}

case_vpnc_psk() { # vpnc: aggressive mode, XAUTH, mode config with Unity's attributes, ESP in UDP
    vpnc_server
    vpnc_admitted "IPSec secret $PSK" 'Xauth password wonderland' 'NAT Traversal Mode force-natt'
}

case_vpnc_raw() { # vpnc with ESP on IP
    vpnc_server
    vpnc_admitted "IPSec secret $PSK" 'Xauth password wonderland' 'NAT Traversal Mode none'
    [[ $(packets wire esp) -gt 0 ]] || fail "no ESP on IP"
}

case_vpnc_hybrid() { # vpnc with hybrid authentication
    with_certificates rsa 2048
    vpnc_server
    GW_AUTH=$'certificate = "@WORK@/gateway.crt"\nprivate-key-file = "@WORK@/gateway.pem"\nlocal-id = "gateway.test"\nhybrid = true'
    vpnc_admitted 'IKE Authmode hybrid' "CA-File $WORK/ca.crt" 'IPSec secret none' 'Xauth password wonderland' \
        'NAT Traversal Mode force-natt'
}

case_vpnc_wrong_password() { # vpnc with a wrong password
    vpnc_server
    # At a second question it would rather ask a user that is not there.
    GW_CONNECTION=${GW_CONNECTION/users\"/users\", tries = 1}
    wire && gateway
    vpnc_client "IPSec secret $PSK" 'Xauth password looking-glass' 'NAT Traversal Mode force-natt'
    expect_gateway 'negotiation failed.*user .alice. is unknown here, or the password is wrong' 15
    eventually 5 eval '! kill -0 "$VPNC_PID"' || fail "vpnc has not given up"
    grep -q 'authentication unsuccessful' "$WORK/vpnc.err" "$WORK/vpnc.out" || fail "$(cat "$WORK/vpnc.err")"
}

case_warrior_of_strongswan() { # the gateway as client: XAUTH, and an address from strongSwan's pool
    SS_PLUGINS='xauth-generic attr'
    SS_EXTRA=$'pools = inside\nremote-user {\nauth = xauth\nround = 2\n}'
    SS_AUTH_REMOTE=$'auth = psk\nround = 1'
    SS_SECRET+=$'\n}\nxauth-1 {\nid = alice\nsecret = wonderland\n}\n}\npools {\ninside {\naddrs = 10.1.0.2'
    SS_REMOTE_TS=dynamic
    (umask 077 && echo wonderland >"$WORK/password")
    GW_CONNECTION=$'xauth = { role = "client", user = "alice", password-file = "@WORK@/password" }\nrequest-address = true'
    wire && strongswan && gateway
    capture "$PEER" wan0 wire
    pc initiate peer --wait 15
    expect_children 1
    expect_traffic
    expect_protected wire
    [[ $(field '[i["addresses"] for i in d["ikes"]]' ike) == "[['10.1.0.2']]" ]] || fail "show ike: $(field d ike)"
    expect_swan "XAuth authentication of 'alice' successful"
}
