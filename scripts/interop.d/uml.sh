# shellcheck shell=bash
# What one file sets or defines, others use.
# shellcheck disable=SC2034,SC2119,SC2120
# Sourced by interop: the peer is a Linux kernel of its own, with its own ESP and AH: user-mode Linux, one process, whose
# root is the host's file system, read-only, so that the host's daemons run in it.
#
#   ... [Portcullis] 192.0.2.1 == 192.0.2.2 [guest: kernel, strongSwan or libreswan] 10.2.0.254 -- 10.2.0.1 LAN host in $PEER

GUEST_COMMANDS=0
# As tests/kit/uml.rs has it: what of the registers the guest's kernel keeps.
GUEST_ENV=GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX,-AVX2,-AVX_Fast_Unaligned_Load,-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-XSAVE,-XSAVEC

guest_peer() {
    local exchange=$WORK/exchange interface
    command -v linux.uml >/dev/null || skip_case "user-mode Linux is not installed"
    make_netns "$GW" "$PEER"
    link "$GW" wan0 "$PEER" wan0
    ip -n "$PEER" link add lan0 type veth peer name lan1
    for interface in wan0 lan1; do ip -n "$PEER" link set "$interface" up promisc on; done
    for interface in wan0 lan0 lan1; do no_offload "$PEER $interface"; done
    ip -n "$PEER" address add 10.2.0.1/24 dev lan0
    ip -n "$PEER" link set lan0 up
    ip -n "$PEER" route add default via 10.2.0.254
    mkdir -p "$exchange"
    sed "s|@EXCHANGE@|$exchange|" "$ROOT/tests/kit/guest-init.sh" >"$WORK/init"
    chmod 0700 "$WORK/init"
    mkfifo "$WORK/console"
    exec {CONSOLE}<>"$WORK/console"
    HOME=$WORK TMPDIR=/dev/shm background guest ip netns exec "$PEER" perl -e "$(<"$ROOT/tests/kit/without-xstate.pl")" linux.uml \
        mem=256M root=/dev/root rootfstype=hostfs rootflags=/ ro con0=fd:0,fd:1 con=null quiet "$GUEST_ENV" \
        "umid=$TAG-guest" "uml_dir=$WORK/" "init=$WORK/init" \
        vec0:transport=raw,ifname=wan0,depth=128,gro=0 vec1:transport=raw,ifname=lan1,depth=128,gro=0 <&"$CONSOLE"
    # Any interrupt wakes it up: on a busy host its timer is now and then lost while it idles.
    (while sleep 0.5; do echo >&"$CONSOLE"; done) &
    PIDS+=("$!")
    eventually 60 test -e "$exchange/up" || fail "the guest does not boot"
    guest "ip address add 192.0.2.2/24 dev vec0 && ip link set vec0 up
        ip address add 10.2.0.254/24 dev vec1 && ip link set vec1 up
        ip route add default via 192.0.2.1 && echo 1 >/proc/sys/net/ipv4/ip_forward" || fail "the guest has no network"
}

# guest LINES: runs shell lines in the guest; their output and status.
guest() {
    local name deadline=$((SECONDS + ${GUEST_PATIENCE:-40}))
    GUEST_COMMANDS=$((GUEST_COMMANDS + 1))
    name=$GUEST_COMMANDS.$BASHPID.$RANDOM
    printf '%s\n' "$1" >"$WORK/exchange/$name.command"
    echo "$name" >&"$CONSOLE"
    until [[ -e $WORK/exchange/$name.status ]]; do
        [[ $SECONDS -lt $deadline ]] || { echo "guest hangs in: $1" && return 124; }
        sleep 0.05
    done
    cat "$WORK/exchange/$name.output"
    return "$(<"$WORK/exchange/$name.status")"
}

# strongSwan in the guest, over the kernel's ESP and AH.
guest_strongswan() {
    SS_ENCAP=no
    guest_peer
    write_strongswan
    sed -i "s/kernel-libipsec //; s|$WORK/charon.log|/tmp/exchange/charon.log|; s|unix://$WORK/vici|unix:///run/vici|" "$WORK/strongswan.conf"
    cp -r "$WORK/swanctl" "$WORK/strongswan.conf" "$WORK/exchange/"
    ln -sf exchange/charon.log "$WORK/charon.log"
    guest "STRONGSWAN_CONF=/tmp/exchange/strongswan.conf $CHARON >/tmp/exchange/charon.out 2>&1 &
        for i in \$(seq 100); do [ -S /run/vici ] && exit 0; sleep 0.1; done; exit 1" || fail "charon does not start"
    swan() {
        guest "STRONGSWAN_CONF=/tmp/exchange/strongswan.conf SWANCTL_DIR=/tmp/exchange/swanctl swanctl $* --uri unix:///run/vici"
    }
    swan --load-all --clear >"$WORK/load.out" 2>&1 || { cat "$WORK/load.out" && fail "swanctl --load-all"; }
}

# What libreswan is told; the gateway is on the left.
LS_AUTH='authby=secret'
LS_MORE=''

# libreswan in the guest. Its package excludes strongSwan's, so it is unpacked beside it.
guest_libreswan() {
    local pluto=/tmp/exchange/libreswan/usr/libexec/ipsec
    [[ -x $TARGET/libreswan/usr/libexec/ipsec/pluto ]] || skip_case "libreswan could not be unpacked"
    guest_peer
    cp -r "$TARGET/libreswan" "$WORK/exchange/"
    mkdir -p "$WORK"/exchange/{nss,ipsec.d}
    certutil -N -d "sql:$WORK/exchange/nss" --empty-password
    if [[ -e $WORK/peer.crt ]]; then
        certutil -A -d "sql:$WORK/exchange/nss" -n ca -t CT,C,C -i "$WORK/ca.crt"
        openssl pkcs12 -export -in "$WORK/peer.crt" -inkey "$WORK/peer.key" -name peer -passout pass:x -out "$WORK/peer.p12"
        pk12util -i "$WORK/peer.p12" -d "sql:$WORK/exchange/nss" -W x >/dev/null
    fi
    printf '%s : PSK "%s"\n' '192.0.2.1 192.0.2.2' "$PSK" >"$WORK/exchange/ipsec.secrets"
    cat >"$WORK/exchange/ipsec.conf" <<CONF
config setup
	logfile=/tmp/exchange/pluto.log
	ikev1-policy=accept
conn gw
	left=192.0.2.1
	right=192.0.2.2
	leftsubnet=10.1.0.0/24
	rightsubnet=10.2.0.0/24
	ikev2=no
	ike=aes128-sha2_256;modp2048
	auto=add
	$LS_AUTH
	$LS_MORE
CONF
    sed -i '/^\t$/d' "$WORK/exchange/ipsec.conf"
    ln -sf exchange/pluto.log "$WORK/pluto.log"
    # pluto runs "ipsec _updown": its own is put in the place of the other.
    guest "cp -r /tmp/exchange/nss /run/nss && mkdir -p /run/pluto
        mount -t tmpfs tmpfs /usr/libexec && mkdir -p /usr/libexec/ipsec && cp -a $pluto/. /usr/libexec/ipsec/
        [ ! -e /usr/sbin/ipsec ] || mount --bind /tmp/exchange/libreswan/usr/sbin/ipsec /usr/sbin/ipsec
        $pluto/pluto --rundir /run/pluto --config /tmp/exchange/ipsec.conf --nssdir /run/nss \
            --secretsfile /tmp/exchange/ipsec.secrets --ipsecdir /tmp/exchange/ipsec.d --logfile /tmp/exchange/pluto.log
        for i in \$(seq 50); do [ -S /run/pluto/pluto.ctl ] && break; sleep 0.2; done
        $pluto/whack --rundir /run/pluto --listen
        $pluto/addconn --config /tmp/exchange/ipsec.conf --ctlsocket /run/pluto/pluto.ctl gw" >"$WORK/load.out" 2>&1 ||
        { cat "$WORK/load.out" && fail "pluto does not start"; }
}

whack() { guest "/tmp/exchange/libreswan/usr/libexec/ipsec/whack --rundir /run/pluto $*"; }
