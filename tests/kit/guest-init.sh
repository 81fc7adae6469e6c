#!/bin/bash
# First process of a user-mode Linux guest whose root is the host's file system, read-only.
# It loads IPsec, then runs each command file whose name comes over the console.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mkdir -p /tmp/exchange /tmp/modules/lib
busybox mount -t hostfs -o @EXCHANGE@ none /tmp/exchange

# The guest's modules are not under /lib/modules, which belongs to the host's kernel. All are loaded now, so that
# the kernel need not run modprobe in the middle of a test.
ln -s /usr/lib/uml/modules /tmp/modules/lib/modules
for module in xfrm_user esp4 esp6 ah4 ah6 xfrm4_tunnel xfrm6_tunnel dummy \
    ecb cbc ctr gcm ccm hmac cmac xcbc md5 sha512_generic aes_generic des_generic ghash-generic \
    chacha20poly1305 chacha_generic poly1305_generic authenc authencesn echainiv seqiv crypto_null \
    jitterentropy_rng drbg; do
    modprobe -q -d /tmp/modules "$module" # one that is not there is built in
done
echo >/proc/sys/kernel/modprobe

ip link set lo up
for scope in all default; do
    echo 0 >/proc/sys/net/ipv4/conf/$scope/rp_filter
    echo 0 >/proc/sys/net/ipv6/conf/$scope/accept_dad
    echo 0 >/proc/sys/net/ipv6/conf/$scope/accept_ra
    echo 0 >/proc/sys/net/ipv6/conf/$scope/router_solicitations
done

touch /tmp/exchange/up
stty -echo
cd /tmp
while read -r name; do
    [ -n "$name" ] || continue
    file=/tmp/exchange/$name
    bash "$file.command" >"$file.output" 2>&1 </dev/null
    echo $? >"$file.partial"
    mv "$file.partial" "$file.status"
done
# The console is closed: the test has ended.
busybox poweroff -f
