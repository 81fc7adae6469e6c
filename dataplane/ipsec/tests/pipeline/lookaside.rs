//! Packets that a crypto device ciphers while the worker goes on.

use portcullis_config::{Mode, SaConfig};
use portcullis_ipsec::DropReason;
use portcullis_ipsec::command::Command;

use crate::rig::packets::{Dice, after, echo, udp};
use crate::rig::policy::{
    AH_SHA2, CBC, FIRST, GCM, Sites, V4_ENDS, V6_ENDS, is_esp, lans, transforms,
};
use crate::rig::{Gateway, LAN, WIRE, exchange};

/// A tunnel between gateways whose devices hold that many packets.
fn tunnel(device: usize, change: impl Fn(&mut SaConfig)) -> (Gateway, Gateway) {
    let mut sites = Sites::default();
    sites.protect(lans(), &[(GCM, Mode::Tunnel)], V4_ENDS, change);
    (sites.a.device, sites.b.device) = (device, device);
    sites.build()
}

fn hold(gateway: &Gateway, holds: bool) {
    gateway.device.borrow_mut().holds = holds;
}

fn numbered(count: u16) -> Vec<Vec<u8>> {
    (0..count)
        .map(|n| udp("10.1.0.10", "10.2.0.20", (7, 7), &n.to_be_bytes()).write())
        .collect()
}

fn numbers(packets: &[Vec<u8>]) -> Vec<u16> {
    let number = |p: &Vec<u8>| u16::from_be_bytes([p[p.len() - 2], p[p.len() - 1]]);
    packets.iter().map(number).collect()
}

#[test]
fn every_esp_transform_goes_through_the_device_and_back() {
    let mut dice = Dice(1);
    for (n, transform) in transforms().into_iter().enumerate() {
        if !is_esp(transform) {
            continue;
        }
        for ends in [V4_ENDS, V6_ENDS] {
            let mut sites = Sites::default();
            sites.protect(lans(), &[(transform, Mode::Tunnel)], ends, |sa| {
                sa.esn = n % 2 == 0;
            });
            // One side only: the other has no part in what the device did.
            let (at_a, at_b) = if n % 4 < 2 { (64, 0) } else { (0, 64) };
            (sites.a.device, sites.b.device) = (at_a, at_b);
            let (mut a, mut b) = sites.build();
            for size in [0, 1, 7, 16, 100, 1400, 9000] {
                let sent = udp("10.1.0.10", "10.2.0.20", (7, 7), &dice.bytes(size)).write();
                a.on_lan(&sent);
                exchange(&mut a, &mut b);
                assert_eq!(b.sent(LAN), [after(&sent, 2)], "{size} {transform:?}");
            }
            assert_eq!(a.device.borrow().taken, if at_a > 0 { 7 } else { 0 });
            assert_eq!(b.device.borrow().taken, if at_b > 0 { 7 } else { 0 });
        }
    }
}

#[test]
fn bundles_pass_the_device_for_esp_and_the_worker_for_ah() {
    let mut sites = Sites::default();
    let bundle = [(CBC, Mode::Tunnel), (AH_SHA2, Mode::Transport)];
    sites.protect(lans(), &bundle, V4_ENDS, |_| {});
    (sites.a.device, sites.b.device) = (200, 200);
    let (mut a, mut b) = sites.build();
    let sent = numbered(100);
    a.receive(LAN, &sent);
    exchange(&mut a, &mut b);
    assert_eq!(b.sent(LAN).len(), 100);
    assert_eq!(a.device.borrow().taken, 100);
    assert_eq!(b.device.borrow().taken, 100);
}

#[test]
fn packets_in_the_device_are_held_and_come_back_in_order() {
    let (mut a, mut b) = tunnel(1000, |_| {});
    hold(&a, true);
    a.receive(LAN, &numbered(200));
    a.assert_silent();
    assert_eq!(a.counters.held.get(), 200);
    assert_eq!(a.pipeline.in_flight(), 200);
    hold(&a, false);
    a.finish();
    assert_eq!((a.counters.held.get(), a.reasons()), (0, vec![]));
    let wire = a.sent(WIRE);
    let sequence = |p: &Vec<u8>| u32::from_be_bytes([p[24], p[25], p[26], p[27]]);
    assert_eq!(
        wire.iter().map(sequence).collect::<Vec<_>>(),
        (1..=200).collect::<Vec<_>>()
    );
    hold(&b, true);
    b.receive(WIRE, &wire);
    b.assert_silent();
    hold(&b, false);
    b.finish();
    assert_eq!(numbers(&b.sent(LAN)), (0..200).collect::<Vec<_>>());
}

#[test]
fn a_full_device_drops_counts_and_recovers() {
    let (mut a, mut b) = tunnel(40, |_| {});
    hold(&a, true);
    a.receive(LAN, &numbered(100));
    assert_eq!(a.reasons(), [(DropReason::EngineBusy, 60)]);
    assert_eq!(a.counters.held.get(), 40);
    // The SA counts what it sends, and its lost ones apart.
    assert_eq!(a.sas[FIRST].packets.get(), 40);
    assert_eq!(a.sas[FIRST].drops.get(DropReason::EngineBusy), 60);
    hold(&a, false);
    a.finish();
    let first = a.sent(WIRE);
    assert_eq!(first.len(), 40);
    a.receive(LAN, &numbered(10));
    let second = a.sent(WIRE);
    assert_eq!(second.len(), 10);
    hold(&b, true);
    b.receive(WIRE, &[first, second].concat());
    assert_eq!(b.reasons(), [(DropReason::EngineBusy, 10)]);
    hold(&b, false);
    b.finish();
    assert_eq!(numbers(&b.sent(LAN)), (0..40).collect::<Vec<_>>());
}

#[test]
fn what_was_refused_is_not_taken_for_a_replay() {
    let (mut a, mut b) = tunnel(40, |_| {});
    a.receive(LAN, &numbered(40));
    let wire = a.sent(WIRE);
    hold(&b, true);
    b.device.borrow_mut().capacity = 1;
    b.receive(WIRE, &wire);
    assert_eq!(b.drops(DropReason::EngineBusy), 39);
    hold(&b, false);
    b.device.borrow_mut().capacity = 40;
    b.finish();
    b.receive(WIRE, &wire);
    assert_eq!(b.drops(DropReason::Replay), 1);
    assert_eq!(numbers(&b.sent(LAN)), (0..40).collect::<Vec<_>>());
}

#[test]
fn replays_and_forgeries_in_the_device_are_found() {
    let (mut a, mut b) = tunnel(1000, |_| {});
    a.on_lan(&echo("10.1.0.10", "10.2.0.20", b"x").write());
    let genuine = a.sent(WIRE).pop().unwrap();
    let mut forged = genuine.clone();
    *forged.last_mut().unwrap() ^= 1;
    hold(&b, true);
    // Neither the window nor anybody else has seen any of them.
    b.receive(WIRE, &[forged, genuine.clone(), genuine]);
    assert_eq!(b.reasons(), []);
    hold(&b, false);
    b.finish();
    assert_eq!(
        b.reasons(),
        [(DropReason::Replay, 1), (DropReason::IcvMismatch, 1)]
    );
    assert_eq!(b.sent(LAN).len(), 1);
}

#[test]
fn packets_of_a_removed_or_replaced_sa_are_dropped_when_they_come_back() {
    for replace in [false, true] {
        let (mut a, mut b) = tunnel(1000, |_| {});
        a.receive(LAN, &numbered(5));
        let wire = a.sent(WIRE);
        hold(&b, true);
        b.receive(WIRE, &wire);
        match replace {
            // Its successor in the slot has a window of its own, and has seen nothing.
            true => b.with_inbound(FIRST, |_| {}),
            false => b.apply(Command::RemoveInbound(FIRST as u32)),
        }
        hold(&b, false);
        b.finish();
        assert_eq!(b.reasons(), [(DropReason::BadSpi, 5)]);
        b.assert_silent();

        hold(&a, true);
        a.receive(LAN, &numbered(5));
        match replace {
            true => a.with_outbound(FIRST, |_| {}),
            false => a.apply(Command::RemoveOutbound(FIRST as u32)),
        }
        hold(&a, false);
        a.finish();
        assert_eq!(a.reasons(), [(DropReason::NoSa, 5)]);
        a.assert_silent();
    }
}

#[test]
fn what_is_in_the_device_at_the_end_is_counted() {
    let (mut a, _) = tunnel(1000, |_| {});
    hold(&a, true);
    a.receive(LAN, &numbered(50));
    a.pipeline.release(&mut a.io);
    assert_eq!(a.reasons(), [(DropReason::EngineFailure, 50)]);
    assert_eq!(a.counters.held.get(), 0);
}
