# shellcheck shell=bash
# The variables are for other files, and commands in quotes for `eventually`.
# shellcheck disable=SC2034,SC2016,SC2317
# Sourced by interop: cases with a Linux kernel's ESP and AH behind the peer.

kernel_by_gateway() {
    guest_strongswan && gateway
    capture "$PEER" wan0 wire
    pc initiate peer --wait 20
    expect_children 1
    expect_traffic
    expect_protected wire "${1:-esp}"
}

kernel_by_peer() {
    guest_strongswan && gateway
    capture "$PEER" wan0 wire
    swan_initiate
    expect_children 1
    expect_traffic
    expect_protected wire "${1:-esp}"
}

case_kernel_psk_initiator() { # ESP of a Linux kernel, without UDP: we begin
    kernel_by_gateway
}

case_kernel_psk_responder() { # ESP of a Linux kernel, without UDP: the peer begins
    kernel_by_peer
}

case_kernel_ah_initiator() { # AH: we begin
    GW_CHILD='proposals = [{ ah = "hmac-sha2-256-128" }]' SS_ESP='' SS_CHILD='ah_proposals = sha256'
    ah_only && kernel_by_gateway ah
}

case_kernel_ah_responder() { # AH: the peer begins
    GW_CHILD='proposals = [{ ah = "hmac-sha2-256-128" }]' SS_ESP='' SS_CHILD='ah_proposals = sha256'
    ah_only && kernel_by_peer ah
}

# swanctl refuses both kinds of proposals in one child. Clear packets inside AH are seen on the wire, of course.
ah_only() {
    eval "$(declare -f write_strongswan | sed '1s/write_strongswan/write_both/')"
    write_strongswan() { write_both && sed -i '/esp_proposals/d' "$WORK/swanctl/swanctl.conf"; }
    expect_protected() {
        local count all
        count=$(packets "$1" ah) all=$(packets "$1" 'net 10.0.0.0/8 and not ah')
        [[ $count -gt 0 && $all -eq 0 ]] || fail "not protected on the wire: $count AH, $all clear"
    }
}

case_kernel_transport() { # transport mode between the gateways themselves: a ping of the peer is answered
    GW_CHILD='mode = "transport"' GW_SPD=$'local = "192.0.2.1"\nremote = "192.0.2.2"'
    SS_CHILD='mode = transport' SS_LOCAL_TS=dynamic SS_REMOTE_TS=dynamic
    guest_strongswan && gateway
    capture "$PEER" wan0 wire
    swan_initiate
    expect_children 1
    guest "ping -q -n -c 3 -i 0.2 -W 2 192.0.2.1" || fail "no answer"
    [[ $(packets wire esp) -ge 6 && $(packets wire icmp) -eq 0 ]] || fail "not protected on the wire"
}

case_kernel_algorithms() { # each cipher of ESP that IKEv1 and the peer's kernel have
    local pair ours theirs
    guest_strongswan
    for pair in \
        'encryption = "aes128-gcm16"|aes128gcm16' 'encryption = "aes256-gcm16"|aes256gcm16' \
        'encryption = "aes192-gcm16"|aes192gcm16' 'encryption = "aes256-gcm12"|aes256gcm12' \
        'encryption = "aes128-gcm8"|aes128gcm8' 'encryption = "aes128-ccm16"|aes128ccm16' \
        'encryption = "aes128-cbc", integrity = "hmac-sha2-256-128"|aes128-sha256' \
        'encryption = "aes256-cbc", integrity = "hmac-sha2-512-256"|aes256-sha512' \
        'encryption = "aes192-cbc", integrity = "hmac-sha2-384-192"|aes192-sha384' \
        'encryption = "aes128-ctr", integrity = "hmac-sha1-96"|aes128ctr-sha1' \
        'encryption = "aes128-cbc", integrity = "aes-xcbc-96"|aes128-aesxcbc' \
        'encryption = "3des-cbc", integrity = "hmac-md5-96"|3des-md5' \
        'encryption = "null", integrity = "hmac-sha2-256-128"|null-sha256'; do
        ours=${pair%|*} theirs=${pair#*|}
        GW_CHILD="proposals = [{ $ours }]"
        sed -i "s/esp_proposals = .*/esp_proposals = $theirs/" "$WORK/exchange/swanctl/swanctl.conf"
        swan --load-all --clear >/dev/null
        gateway
        pc initiate peer --wait 15 || fail "$theirs is not established"
        ping_peer || fail "$theirs: no answer"
        echo "$theirs established"
        pc terminate peer
        eventually 5 eval '[[ $(swan_children) -eq 0 ]]' || fail "$theirs: the peer keeps its SAs"
        end "$GATEWAY_PID"
    done
}

case_kernel_esn() { # extended sequence numbers, asked for as RFC 4304 says
    GW_CHILD='proposals = [{ encryption = "aes128-gcm16", esn = true }]' SS_ESP=aes128gcm16-esn
    kernel_by_gateway
    [[ $(field 'd["children"][0]["esn"]' child) == True ]] || fail "without ESN"
}

# Everything is IPv6: IKE, ESP and what is in it.
ipv6() {
    GW_LAN_ADDRESSES='"2001:db8:1::1/64"' GW_WAN_ADDRESSES='"2001:db8:f::1/64"'
    GW_ROUTE=2001:db8:2::/64 GW_NEXT=2001:db8:f::2
    GW_REMOTE='"2001:db8:f::2"' GW_SPD=$'local = "2001:db8:1::/64"\nremote = "2001:db8:2::/64"'
    SS_LOCAL=2001:db8:f::2 SS_REMOTE=2001:db8:f::1 SS_LOCAL_TS=2001:db8:2::/64 SS_REMOTE_TS=2001:db8:1::/64
    guest_strongswan
    guest "ip address add 2001:db8:f::2/64 dev vec0 nodad && ip address add 2001:db8:2::254/64 dev vec1 nodad
        ip route add default via 2001:db8:f::1 && echo 1 >/proc/sys/net/ipv6/conf/all/forwarding" || fail "the guest has no IPv6"
    on "$PEER" sysctl -q -w net.ipv6.conf.lan0.disable_ipv6=0
    ip -n "$PEER" address add 2001:db8:2::1/64 dev lan0 nodad
    ip -n "$PEER" route add 2001:db8::/32 via 2001:db8:2::254
    gateway
    on "$GW" sysctl -q -w net.ipv6.conf.lan0.disable_ipv6=0
    ip -n "$GW" address add 2001:db8:1::2/64 dev lan0 nodad
    ip -n "$GW" route add 2001:db8:2::/64 via 2001:db8:1::1
    capture "$PEER" wan0 wire
}

ipv6_traffic() {
    expect_children 1
    on "$GW" ping -6 -q -n -c 3 -i 0.2 -W 2 2001:db8:2::1 || fail "no answer from the peer's LAN"
    on "$PEER" ping -6 -q -n -c 3 -i 0.2 -W 2 2001:db8:1::2 || fail "no answer from the gateway's LAN"
    [[ $(packets wire 'ip6 and esp') -ge 12 && $(packets wire 'net 2001:db8:1::/64') -eq 0 ]] || fail "not protected on the wire"
}

case_kernel_ipv6_initiator() { # IKE and ESP over IPv6: we begin
    ipv6
    pc initiate peer --wait 20
    ipv6_traffic
}

case_kernel_ipv6_responder() { # IKE and ESP over IPv6: the peer begins
    ipv6
    swan_initiate
    ipv6_traffic
}

case_kernel_rekey_by_gateway() { # a hundred rekeys that we begin: no packet of a counted stream is lost
    GW_CHILD=$'soft-lifetime = { packets = 100 }\nhard-lifetime = { seconds = 3600, packets = 100_000 }'
    guest_strongswan && gateway
    pc initiate peer --wait 20
    expect_traffic
    stream_both 75 200 true
    echo "$(rekeys) rekeys"
    [[ $(rekeys) -ge 100 ]] || fail "fewer than a hundred rekeys"
    expect_children 1 30
}

case_kernel_rekey_by_peer() { # rekeys that the peer begins, one after the other: we lose no packet of a counted stream
    guest_strongswan && gateway
    pc initiate peer --wait 20
    expect_traffic
    stream_both 50 200 guest_rekeys 60
    echo "$(rekeys) rekeys"
    [[ $(rekeys) -ge 20 ]] || fail "fewer than twenty rekeys"
    expect_children 1 60
}

case_kernel_rekey_by_both() { # both begin rekeys as they please: we lose no packet, and one pair of SAs is left
    GW_CHILD=$'soft-lifetime = { packets = 150 }\nhard-lifetime = { seconds = 3600, packets = 100_000 }'
    guest_strongswan && gateway
    pc initiate peer --wait 20
    expect_traffic
    stream_both 50 200 guest_rekeys 50
    echo "$(rekeys) rekeys"
    sleep 3
    expect_children 1 60
    expect_traffic
}

# In the guest, so that no command waits for the console.
guest_rekeys() {
    guest "(for i in \$(seq $1); do STRONGSWAN_CONF=/tmp/exchange/strongswan.conf swanctl --rekey --child lans --uri unix:///run/vici; sleep 0.6; done) >/tmp/exchange/rekeys.out 2>&1 &"
}

case_libreswan_psk_initiator() { # libreswan, main mode, pre-shared key: we begin
    libreswan_by_gateway
}

case_libreswan_psk_responder() { # libreswan, main mode, pre-shared key: it begins
    libreswan_by_peer
}

case_libreswan_rsa_initiator() { # libreswan, RSA signatures: we begin
    libreswan_certificates && libreswan_by_gateway
}

case_libreswan_rsa_responder() { # libreswan, RSA signatures: it begins
    libreswan_certificates && libreswan_by_peer
}

case_libreswan_pfs() { # libreswan, quick mode with a Diffie-Hellman exchange: both in turn
    GW_CHILD='pfs = "modp2048"' LS_MORE='esp=aes128-sha2_256;modp2048'
    libreswan_by_both
}

case_libreswan_ah() { # libreswan, AH: both in turn
    GW_CHILD='proposals = [{ ah = "hmac-sha2-256-128" }]' LS_MORE=$'phase2=ah\n\tphase2alg=sha2_256\n\tpfs=no'
    ah_only && libreswan_by_both
    expect_protected wire
}

# We begin, then the peer does.
libreswan_by_both() {
    libreswan_by_gateway
    pc terminate peer
    expect_children 0
    sleep 1
    whack --name gw --initiate || true
    expect_children 1
    expect_traffic
}

libreswan_certificates() {
    with_certificates rsa 2048
    LS_AUTH=$'authby=rsasig\n\tleftid=@gateway.test\n\trightid=@peer.test\n\trightcert=peer\n\trightsendcert=always\n\tleftrsasigkey=%cert\n\tleftca=%same'
}

libreswan_by_gateway() {
    LS_MORE=${LS_MORE:-$'esp=aes128-sha2_256\n\tpfs=no'}
    guest_libreswan && gateway
    capture "$PEER" wan0 wire
    pc initiate peer --wait 20
    expect_children 1
    expect_traffic
    expect_protected wire
}

libreswan_by_peer() {
    LS_MORE=${LS_MORE:-$'esp=aes128-sha2_256\n\tpfs=no'}
    guest_libreswan && gateway
    capture "$PEER" wan0 wire
    whack --name gw --initiate
    expect_children 1
    expect_traffic
    expect_protected wire
}
