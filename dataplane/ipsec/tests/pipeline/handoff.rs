//! SAs that another worker owns.

use portcullis_config::Mode;
use portcullis_ipsec::DropReason;
use portcullis_ipsec::pipeline::Handoff;

use crate::rig::packets::{after, echo, fragments, udp};
use crate::rig::policy::{AH_SHA2, GCM, NULL, Sites, V4_ENDS, lans};
use crate::rig::{Gateway, LAN, Site, WIRE};

/// Worker 0, which takes the packets in, and worker 1, which owns the SAs.
fn workers(site: &Site) -> (Gateway, Gateway) {
    let at = |worker| {
        Site {
            worker,
            owner: 1,
            ..site.clone()
        }
        .build()
    };
    (at(0), at(1))
}

/// Carries what worker 0 handed off to worker 1.
fn carry(from: &mut Gateway, to: &mut Gateway) -> usize {
    let all = std::mem::take(&mut from.io.handoffs);
    let count = all.len();
    for (worker, handoff) in all {
        assert_eq!(worker, 1);
        to.take_over(handoff);
    }
    count
}

#[test]
fn both_directions_go_by_the_owner() {
    for bundle in [
        vec![(GCM, Mode::Tunnel)],
        vec![(AH_SHA2, Mode::Tunnel)],
        vec![(NULL, Mode::Tunnel), (AH_SHA2, Mode::Transport)],
    ] {
        let mut sites = Sites::default();
        sites.protect(lans(), &bundle, V4_ENDS, |_| {});
        let ((mut a0, mut a1), (mut b0, mut b1)) = (workers(&sites.a), workers(&sites.b));
        for (from, to) in [("10.1.0.10", "10.2.0.20"), ("fd01::10", "fd02::20")] {
            for size in [0, 100, 1400] {
                let sent = echo(from, to, &vec![5; size]).write();
                a0.on_lan(&sent);
                assert!(a0.sent(WIRE).is_empty());
                assert!(matches!(a0.io.handoffs[..], [(1, Handoff::Seal(0, _))]));
                carry(&mut a0, &mut a1);
                b0.receive(WIRE, &a1.sent(WIRE));
                assert!(b0.sent(LAN).is_empty());
                assert!(matches!(b0.io.handoffs[..], [(1, Handoff::Open(_))]));
                carry(&mut b0, &mut b1);
                assert_eq!(b1.sent(LAN), [after(&sent, 2)], "{:?}", b1.reasons());
            }
        }
        assert_eq!(
            (a1.sas[0].packets.get(), b1.counters.taken_over.get()),
            (6, 6)
        );
        assert_eq!(a0.sas[0].packets.get(), 0);
    }
}

/// Too big for the tunnel, found out by the owner: it fragments, or tells the sender by its own LAN port.
#[test]
fn the_owner_knows_the_size() {
    let mut sites = Sites::default();
    sites.mtu(1500, 9600);
    sites.protect(lans(), &[(GCM, Mode::Tunnel)], V4_ENDS, |_| {});
    let (mut a0, mut a1) = workers(&sites.a);
    a0.on_lan(&echo("10.1.0.10", "10.2.0.20", &[0; 3000]).write());
    carry(&mut a0, &mut a1);
    assert_eq!(a1.sent(WIRE).len(), 3);
    a0.on_lan(&echo("10.1.0.10", "10.2.0.20", &[0; 3000]).df().write());
    carry(&mut a0, &mut a1);
    assert_eq!(a1.sent(LAN).len(), 1);
    assert_eq!(a1.drops(DropReason::TooBig), 1);
}

/// Fragments of ESP meet on the worker that received them, then move.
#[test]
fn reassembled_before_it_is_handed_over() {
    let mut sites = Sites::default();
    sites.protect(lans(), &[(GCM, Mode::Tunnel)], V4_ENDS, |_| {});
    let mut a = sites.a.build();
    let (mut b0, mut b1) = workers(&sites.b);
    let sent = udp("10.1.0.10", "10.2.0.20", (1, 2), &[7; 2000]).write();
    a.on_lan(&sent);
    let wire = a.sent(WIRE).remove(0);
    let esp = crate::rig::packets::payload(&wire).to_vec();
    let outer = crate::rig::packets::Ip::new(V4_ENDS.0, V4_ENDS.1, 50, esp);
    b0.receive(WIRE, &fragments(&outer, 800));
    assert_eq!(carry(&mut b0, &mut b1), 1);
    assert_eq!(b1.sent(LAN), [after(&sent, 2)]);
}

/// What another worker hands over is checked like what came from the wire.
#[test]
fn handed_over_garbage_is_dropped() {
    let mut sites = Sites::default();
    sites.protect(lans(), &[(GCM, Mode::Tunnel)], V4_ENDS, |_| {});
    let (_, mut b1) = workers(&sites.b);
    let buf = |bytes: &[u8]| portcullis_ipsec::buffer::TestBuf::new(bytes);
    b1.take_over(Handoff::Open(buf(&[])));
    b1.take_over(Handoff::Open(buf(&[0x45; 40])));
    b1.take_over(Handoff::Seal(0, buf(&[1; 3])));
    b1.take_over(Handoff::Seal(
        99,
        buf(&echo("10.2.0.20", "10.1.0.10", b"x").write()),
    ));
    assert_eq!(b1.drops(DropReason::NoSa), 1);
    assert_eq!(b1.counters.drops.total(), 4);
    b1.assert_silent();
}
