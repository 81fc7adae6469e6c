# shellcheck shell=bash
# The variables are for other files, and commands in quotes for `eventually`.
# shellcheck disable=SC2034,SC2016,SC2317
# Sourced by interop: what the old profile, `ws2003`, lets pass in clear, and what it does not.

# What its phase 1 and its quick modes have where nothing is said.
old_peer() {
    SS_PROPOSALS=3des-sha1-modp1024 SS_ESP=3des-sha1
    SS_CHILD='mode = transport' SS_LOCAL_TS=dynamic SS_REMOTE_TS=dynamic
    guest_strongswan
}

# A ping of the gateway from one of the peer's addresses.
guest_pings() { guest "ping -q -n -c ${2:-3} -i 0.2 -W 2 -I $1 192.0.2.1"; }

# How many packets of a kind are on the wire, between the gateway and one address of the peer.
between() { packets wire "host 192.0.2.1 and host $1 and $2"; }

# quick_filters KIND NAME: how many filters the monitor shows.
quick_filters() { field "len([f for f in d['filters'] if (f['phase'], f['kind'], f['name']) == ('quick-mode', '$1', '$2')])" filters; }

case_default_response() { # the default response rule: a peer that begins is answered, and only what it asked for is protected
    policy() { printf '[policy]\nprofile = "ws2003"\n[default-response]\nactive = %s\nauthentication = [{ psk-file = "%s/psk" }]\n' "${ACTIVE:-true}" "$WORK"; }
    old_peer && gateway
    guest "ip address add 192.0.2.3/24 dev vec0" || fail "no second address"
    capture "$PEER" wan0 wire
    # As long as nobody asks, it is as if there were no such rule, and this gateway asks nobody.
    guest_pings 192.0.2.2 || fail "no answer in clear"
    [[ $(between 192.0.2.2 icmp) -ge 6 && $(between 192.0.2.2 'udp port 500') -eq 0 ]] || fail "not as the policy says"
    [[ $(quick_filters generic default-response) -eq 1 && $(quick_filters specific default-response/default-response) -eq 0 ]] || fail "filters: $(pc show filters)"
    # The peer asks: there is a dynamic filter for what it asked for.
    swan_initiate
    expect_children 1
    [[ $(quick_filters specific default-response/default-response) -eq 1 ]] || fail "no dynamic filter: $(pc show filters)"
    [[ $(field 'd["children"][0]["remote"]' child) == 192.0.2.2 ]] || fail "the filter is about more than was asked for"
    expect_only_protected
    # The peer takes its SAs away: its filter goes.
    swan --terminate --ike gw --timeout 5
    expect_children 0
    [[ $(quick_filters specific default-response/default-response) -eq 0 ]] || fail "the dynamic filter stays"
    guest_pings 192.0.2.2 || fail "no answer in clear after the end"
    deactivated
}

# The peer is spoken to inside of ESP only, whoever asks, and anybody else as before.
expect_only_protected() {
    local clear forged
    clear=$(between 192.0.2.2 icmp)
    guest_pings 192.0.2.2 || fail "no answer inside of ESP"
    [[ $(between 192.0.2.2 icmp) -eq $clear && $(between 192.0.2.2 esp) -ge 6 ]] || fail "not protected on the wire"
    guest_pings 192.0.2.3 || fail "no answer to somebody else"
    [[ $(between 192.0.2.3 icmp) -ge 6 && $(between 192.0.2.3 esp) -eq 0 ]] || fail "somebody else is not spoken to in clear"
    forged=$(on "$PEER" sh -c 'sleep 1 | python3 "$@"' sh "$ROOT/tests/steady/traffic.py" \
        forge wan0 "$(on "$GW" cat /sys/class/net/wan0/address)" 192.0.2.2 192.0.2.1 forged | tail -n 1)
    eventually 5 eval "[[ \$(dropped clear-but-must-be-protected) -ge $forged ]]" || fail "of $forged in clear $(dropped clear-but-must-be-protected) were dropped"
}

dropped() { field "sum(r['packets'] for r in d['drops'] if r['reason'] == '$1')" drops; }

# Without the rule a peer that no rule is about is refused.
deactivated() {
    ACTIVE=false write_gateway
    pc reload
    ! swan_initiate 5 || fail "established without the rule"
    expect_gateway 'negotiation failed.*is meant for this peer'
    expect_children 0
}

case_accept_clear() { # secure any, accept clear: only the peer's first packet is in clear, the answer begins IKE
    policy() {
        cat <<POLICY
[policy]
profile = "ws2003"
[[filter-list]]
name = "all"
filter = [{ source = "my-address", destination = "any" }]
[[filter-action]]
name = "request"
action = "negotiate"
clear-text = "accept"
[[rule]]
name = "secure"
filter-list = "all"
filter-action = "request"
authentication = [{ psk-file = "$WORK/psk" }]
POLICY
    }
    old_peer && gateway
    capture "$PEER" wan0 wire
    guest "ping -q -n -c 1 -W 10 192.0.2.1" || fail "the answer was lost"
    expect_children 1
    guest "ping -q -n -c 3 -i 0.2 -W 2 192.0.2.1" || fail "no answer inside of ESP"
    [[ $(between 192.0.2.2 icmp) -eq 1 && $(between 192.0.2.2 'icmp and src host 192.0.2.2') -eq 1 ]] || fail "more than the first packet in clear"
    [[ $(between 192.0.2.2 esp) -ge 7 ]] || fail "not protected on the wire"
}

# A peer without IKE, which does not even say so; and a gateway whose clock can be put forward, for minutes are long.
silent_peer() {
    local clock=(/usr/lib/*/faketime/libfaketime.so.1)
    [[ -e ${clock[0]} ]] || skip_case "libfaketime is not installed"
    echo +0 >"$WORK/clock" && FORWARD=0
    GW_ENV=("LD_PRELOAD=${clock[0]}" "FAKETIME_TIMESTAMP_FILE=$WORK/clock" FAKETIME_NO_CACHE=1)
    wire
    ip -n "$PEER" route add 10.1.0.0/24 via 192.0.2.1
    on "$PEER" nft -f - <<'RULES'
table ip silent {
    chain in {
        type filter hook input priority 0
        udp dport { 500, 4500 } drop
    }
}
RULES
    gateway
    capture "$PEER" wan0 wire
    on "$GW" ping -q -c 1 -W 2 10.1.0.1
}

put_forward() { FORWARD=$((FORWARD + $1)) && echo "+$FORWARD" >"$WORK/clock.new" && mv "$WORK/clock.new" "$WORK/clock"; }

# The first packet begins IKE; it is repeated five times, each time after twice as long.
nobody_answers() {
    local again
    background first ip netns exec "$GW" ping -q -n -c 1 -W 8 -I 10.1.0.2 10.2.0.1
    FIRST=$!
    for again in 1 2 4 8 16; do
        eventually 10 sent_more || fail "no IKE"
        [[ $(packets wire 'net 10.0.0.0/8') -eq 0 ]] || fail "in clear before the time-out"
        put_forward "$again"
    done
    eventually 10 sent_more || fail "IKE was not repeated five times"
    put_forward 32
}

# Another message of IKE is on the wire.
sent_more() {
    local now
    now=$(packets wire 'udp port 500')
    [[ $now -gt ${SENT:-0} ]] && SENT=$now
}

case_soft_sa() { # fall back to clear: with a peer that does not answer IKE, after the time-out, until there is no traffic
    GW_RUNTIME=$'[policy]\nprofile = "ws2003"' GW_SPD=$'clear-text = "fall-back"\n'$GW_SPD
    silent_peer && nobody_answers
    wait "$FIRST" || fail "the packet that waited was lost: $(<"$WORK/first.out")"
    expect_gateway 'the peer knows no IKE: traffic passes in clear'
    expect_traffic
    [[ $(soft 'sa["packets"]') -ge 14 && $(packets wire 'net 10.0.0.0/8 and icmp') -ge 14 ]] || fail "not counted: $(pc show sa)"
    [[ $(pc events --json | grep -c '"soft-sa-up"') -eq 1 ]] || fail "no event: $(pc events)"
    # It ages. Workers, which note the last use, have a clock of their own: to control it is 263 seconds ago, then 363.
    put_forward 200 && sleep 0.5 && expect_traffic
    put_forward 100
    expect_gateway 'traffic no longer passes in clear.*no traffic'
    local clear
    clear=$(packets wire 'net 10.0.0.0/8')
    ! ping_peer 2 || fail "in clear without a soft SA"
    [[ $(packets wire 'net 10.0.0.0/8') -eq $clear ]] || fail "in clear without a soft SA"
    eventually 5 sent_more || fail "IKE is not asked again"
}

soft() { field "[$1 for sa in d['sas'] if sa['mode'] == 'soft'][0]" sa; }

case_never_clear() { # the same in the profile `modern`: never in clear, whoever does not answer
    silent_peer && nobody_answers
    ! wait "$FIRST" || fail "an answer"
    expect_gateway 'negotiation failed.*does not answer at all'
    ! ping_peer 2 || fail "an answer"
    put_forward 400 && sleep 0.5
    [[ $(packets wire 'net 10.0.0.0/8') -eq 0 && $(packets wire 'udp port 500') -gt 6 ]] || fail "in clear"
    [[ $(dropped no-sa-negotiated) -ge 1 ]] || fail "not counted: $(pc show drops)"
    # What would allow it is refused.
    GW_SPD=$'clear-text = "fall-back"\n'$GW_SPD && write_gateway
    ! "$PORTCULLIS" check "$WORK/gateway.toml" || fail "modern takes fall-back"
}
