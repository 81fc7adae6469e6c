#!/bin/bash
# First process of a user-mode Linux guest whose root is the host's file system, read-only.
# It loads IPsec, then runs each command file whose name comes over the console.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mkdir -p /tmp/exchange /tmp/modules/lib
mount -t hostfs -o @EXCHANGE@ none /tmp/exchange

# The guest's modules are not under /lib/modules, which belongs to the host's kernel.
ln -s /usr/lib/uml/modules /tmp/modules/lib/modules
printf '#!/bin/sh\nexec modprobe -d /tmp/modules "$@"\n' >/tmp/modprobe
chmod +x /tmp/modprobe
echo /tmp/modprobe >/proc/sys/kernel/modprobe
for module in xfrm_user esp4 esp6 ah4 ah6 xfrm4_tunnel dummy; do /tmp/modprobe "$module"; done

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
    file=/tmp/exchange/$name
    bash "$file.command" >"$file.output" 2>&1 </dev/null
    echo $? >"$file.partial"
    mv "$file.partial" "$file.status"
done
# The console is closed: the test has ended.
busybox poweroff -f
