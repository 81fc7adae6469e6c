# shellcheck shell=bash
# What one file sets or defines, others use.
# shellcheck disable=SC2034,SC2119,SC2120
# Sourced by interop: strongSwan as peer, in the namespace $PEER. Its ESP is that of its plugin kernel-libipsec, because
# not every host kernel has ESP: always in UDP, tunnel mode only. `encap = yes` makes it pretend to be behind a NAT.

SS_REMOTE=192.0.2.1
SS_LOCAL=192.0.2.2
SS_AGGRESSIVE=no
SS_PROPOSALS=aes128-sha256-modp2048
SS_ESP=aes128gcm16,aes128-sha256
SS_ENCAP=yes
SS_AUTH_LOCAL='auth = psk'
SS_AUTH_REMOTE='auth = psk'
SS_EXTRA=''
SS_CHILD=''
SS_LOCAL_TS=10.2.0.0/24
SS_REMOTE_TS=10.1.0.0/24
SS_PLUGINS=''
SS_SECRET="secret = \"$PSK\""
CHARON=/usr/lib/ipsec/charon

swan() { STRONGSWAN_CONF=$WORK/strongswan.conf SWANCTL_DIR=$WORK/swanctl swanctl "$@" --uri "unix://$WORK/vici"; }

write_strongswan() {
    mkdir -p "$WORK/run" "$WORK"/swanctl/{x509,x509ca,x509crl,private,rsa,ecdsa,pkcs8}
    cat >"$WORK/strongswan.conf" <<CONF
charon {
    load = random nonce aes des sha1 sha2 md5 hmac kdf gmp curve25519 pem pkcs1 pkcs8 x509 revocation constraints pubkey openssl gcm kernel-libipsec kernel-netlink socket-default vici updown $SS_PLUGINS
    i_dont_care_about_security_and_use_aggressive_mode_psk = yes
    # It forgets the IV of a quick mode that is open when so many others came between (3 is usual), cannot read the
    # answer, gives up phase 1 and sends in clear until the next one stands.
    max_ikev1_exchanges = 50
    retransmit_tries = 3
    retransmit_timeout = 1
    filelog {
        log {
            path = $WORK/charon.log
            default = 1
            ike = 2
            cfg = 2
            flush_line = yes
        }
    }
    plugins {
        vici {
            socket = unix://$WORK/vici
        }
    }
}
swanctl {
    load = pem pkcs1 pkcs8 x509 openssl revocation constraints pubkey random
}
CONF
    cat >"$WORK/swanctl/swanctl.conf" <<CONF
connections {
    gw {
        version = 1
        aggressive = $SS_AGGRESSIVE
        local_addrs = $SS_LOCAL
        remote_addrs = $SS_REMOTE
        proposals = $SS_PROPOSALS
        encap = $SS_ENCAP
        $SS_EXTRA
        local {
            $SS_AUTH_LOCAL
        }
        remote {
            $SS_AUTH_REMOTE
        }
        children {
            lans {
                local_ts = $SS_LOCAL_TS
                remote_ts = $SS_REMOTE_TS
                esp_proposals = $SS_ESP
                $SS_CHILD
            }
        }
    }
}
secrets {
    ike-1 {
        $SS_SECRET
    }
}
CONF
}

# Its pid file has a fixed place: each daemon has a /run of its own.
strongswan() {
    [[ -x $CHARON ]] || skip_case "strongSwan is not installed"
    write_strongswan
    background charon ip netns exec "$PEER" unshare -m --propagation private \
        env STRONGSWAN_CONF="$WORK/strongswan.conf" SWANCTL_DIR="$WORK/swanctl" \
        sh -c "mount --bind '$WORK/run' /run && exec $CHARON"
    CHARON_PID=$!
    eventually 15 test -S "$WORK/vici" || fail "charon does not start"
    eventually 5 swan --stats || fail "charon does not answer"
    swan --load-all --clear >"$WORK/load.out" 2>&1 || { cat "$WORK/load.out" && fail "swanctl --load-all"; }
}

swan_initiate() { swan --initiate --child lans --timeout "${1:-15}"; }
swan_said() { grep -qE "$1" "$WORK/charon.log"; }
expect_swan() { eventually "${2:-10}" swan_said "$1" || fail "strongSwan did not say: $1"; }
swan_children() { swan --list-sas | grep -c 'INSTALLED' || true; }

# One CA, and a certificate for each side, RSA or ECDSA.
certificates() {
    local kind=$1 size=$2 name
    pki --gen --type "$kind" --size "$size" --outform pem >"$WORK/ca.key"
    pki --self --ca --in "$WORK/ca.key" --type "$kind" --dn "C=DE, O=Interop, CN=Test CA" --outform pem >"$WORK/ca.crt"
    for name in gateway peer; do
        certificate "$kind" "$size" "$name" ca
    done
    mkdir -p "$WORK"/swanctl/{x509,x509ca,private}
    cp "$WORK/peer.crt" "$WORK/swanctl/x509/"
    cp "$WORK/ca.crt" "$WORK/swanctl/x509ca/"
    cp "$WORK/peer.key" "$WORK/swanctl/private/"
}

# certificate KIND SIZE NAME CA
certificate() {
    pki --gen --type "$1" --size "$2" --outform pem >"$WORK/$3.key"
    pki --pub --in "$WORK/$3.key" --type "$1" | pki --issue --cacert "$WORK/$4.crt" --cakey "$WORK/$4.key" --type pub \
        --dn "C=DE, O=Interop, CN=$3.test" --san "$3.test" --outform pem >"$WORK/$3.crt"
    # PKCS#8, as the gateway wants it.
    (umask 077 && openssl pkcs8 -topk8 -nocrypt -in "$WORK/$3.key" -out "$WORK/$3.pem")
}

with_certificates() {
    certificates "$1" "$2"
    GW_AUTH=$'certificate = "@WORK@/gateway.crt"\nprivate-key-file = "@WORK@/gateway.pem"\nroots = ["@WORK@/ca.crt"]\nlocal-id = "gateway.test"\nremote-id = "peer.test"'
    SS_AUTH_LOCAL=$'auth = pubkey\ncerts = peer.crt\nid = peer.test'
    SS_AUTH_REMOTE=$'auth = pubkey\nid = gateway.test'
}
