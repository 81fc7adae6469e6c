//! Portcullis against the IPsec of a Linux kernel, static keys on both sides (proof 2).
//!
//! The kernel runs as user-mode Linux; the gateway's ports are DPDK af_xdp ports on veth pairs. Real pings cross in
//! both directions, the wire between the peers is captured, and counters are checked after each case. The gateway
//! does not originate pings: in transport mode only the kernel does, and the gateway's replies are the other way.

mod site;
mod table;
mod trials;

use kit::{Cases, Need, available};
use site::Site;
use table::Case;

#[test]
fn linux_kernel_peer() {
    let needs = [
        Need::Root,
        Need::Program("ip", "iproute2"),
        Need::Program("ethtool", "ethtool"),
        Need::Program("tcpdump", "tcpdump"),
        Need::Program("ping", "iputils-ping"),
        Need::Program("perl", "perl-base"),
        Need::Program("linux.uml", "user-mode-linux"),
        Need::Program("modprobe", "kmod"),
        Need::Program("busybox", "busybox-static"),
    ];
    if !available("linux_kernel_peer", &needs) {
        return;
    }
    let mut site = Site::new();
    let (ordinary, special) = table::cases();
    let policy: String = ordinary.iter().chain(&special).map(Case::policy).collect();
    let gateway = site.gateway(&policy);

    let mut cases = Cases::new();
    for case in &ordinary {
        cases.run(case.name, || trials::both_ways(&mut site, &gateway, case));
    }
    for case in &special {
        let trial = match case.name {
            name if name.starts_with("fragments") => trials::fragments,
            "path-mtu" => trials::path_mtu_4,
            "path-mtu-6in6" => trials::path_mtu_6,
            name if name.starts_with("esn-crosses") => trials::crosses_2_32,
            name if name.starts_with("clear-text") => trials::clear_text,
            name => panic!("no trial for {name}"),
        };
        cases.run(case.name, || trial(&mut site, &gateway, case));
    }
    cases.run("clean-end", || gateway.stop().success().map(drop));
    cases.finish();
}
