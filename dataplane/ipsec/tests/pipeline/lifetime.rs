//! Sequence overflow and lifetimes: when an SA stops, and who is told.

use portcullis_config::{Lifetimes, Limits, SaConfig};
use portcullis_ipsec::DropReason;
use portcullis_ipsec::pipeline::{Event, SaSide};

use crate::rig::packets::{after, echo};
use crate::rig::policy::{GCM, tunnel_with};
use crate::rig::{Gateway, LAN, WIRE, exchange};

const OUT: SaSide = SaSide::Outbound(0);
const IN: SaSide = SaSide::Inbound(0);

fn packet() -> Vec<u8> {
    echo("10.1.0.10", "10.2.0.20", &[0; 72]).write()
}

#[test]
fn the_last_sequence_number_stops_the_sa() {
    for (esn, last) in [(false, u64::from(u32::MAX)), (true, u64::MAX)] {
        let (mut a, _) = tunnel_with(GCM, |sa| sa.esn = esn);
        a.with_outbound(0, |sa| sa.sequence = last - 2);
        for sequence in [last - 1, last] {
            a.on_lan(&packet());
            let wire = a.sent(WIRE);
            assert_eq!(wire[0][24..28], (sequence as u32).to_be_bytes());
            assert_eq!(a.sas[0].sequence.get(), sequence);
        }
        // RFC 4303 3.3.3: must not cycle.
        for n in 0..3 {
            a.on_lan(&packet());
            a.assert_dropped(DropReason::SequenceOverflow, n);
            assert_eq!(a.sas[0].drops.get(DropReason::SequenceOverflow), n + 1);
        }
        assert_eq!(a.io.events, [Event::HardExpire(OUT)]);
    }
}

/// ESN carries on where 32 bits end, and both sides agree.
#[test]
fn extended_numbers_cross_32_bits() {
    let (mut a, mut b) = tunnel_with(GCM, |sa| sa.esn = true);
    let start = 3 * (1 << 32) - 5;
    a.with_outbound(0, |sa| sa.sequence = start);
    b.with_inbound(0, |sa| {
        sa.replay = Some(portcullis_ipsec::replay::ReplayWindow::starting_at(
            64, true, start,
        ));
    });
    for n in 1..=40 {
        a.on_lan(&packet());
        exchange(&mut a, &mut b);
        assert_eq!(b.sent(LAN), [after(&packet(), 2)]);
        assert_eq!(b.sas[0].sequence.get(), start + n);
    }
    // Without ESN the same numbers stop.
    let (mut a, _) = tunnel_with(GCM, |_| {});
    a.with_outbound(0, |sa| sa.sequence = start);
    a.on_lan(&packet());
    a.assert_dropped(DropReason::SequenceOverflow, 0);
}

fn limited(soft: Limits, hard: Limits) -> (Gateway, Gateway) {
    tunnel_with(GCM, |sa: &mut SaConfig| {
        sa.lifetimes = Lifetimes::new(soft, hard)
    })
}

fn packets(n: u64) -> Limits {
    Limits {
        packets: Some(n),
        ..Limits::default()
    }
}

#[test]
fn packets_soft_and_hard() {
    let (mut a, mut b) = limited(packets(2), packets(4));
    for n in 1..=7u64 {
        a.on_lan(&packet());
        exchange(&mut a, &mut b);
        assert_eq!(b.sent(LAN).len(), usize::from(n <= 4));
    }
    assert_eq!(
        a.io.events,
        [Event::SoftExpire(OUT), Event::HardExpire(OUT)]
    );
    assert_eq!(a.drops(DropReason::SaExpired), 3);
    assert_eq!(
        b.io.events,
        [Event::SoftExpire(IN)],
        "the packets that would have told more never came"
    );
    // The receiver has its own limit.
    let (mut a, _) = tunnel_with(GCM, |_| {});
    let (_, mut b) = limited(packets(2), packets(4));
    for n in 1..=6u64 {
        a.on_lan(&packet());
        b.receive(WIRE, &a.sent(WIRE));
        assert_eq!(b.sent(LAN).len(), usize::from(n <= 4));
    }
    assert_eq!(b.io.events, [Event::SoftExpire(IN), Event::HardExpire(IN)]);
    assert_eq!(b.sas[0].drops.get(DropReason::SaExpired), 2);
}

/// Packets of a burst are charged together: not one more passes than one by one, and all that passed are counted.
#[test]
fn bursts_end_where_single_packets_would() {
    let bytes = |n| Limits {
        bytes: Some(n),
        ..Limits::default()
    };
    const LIMIT: u64 = 32 * 700;
    for (soft, hard) in [
        (packets(LIMIT / 2 - 3), packets(LIMIT - 5)),
        (bytes(100 * (LIMIT / 2 - 3)), bytes(100 * (LIMIT - 5))),
    ] {
        let (mut a, mut b) = limited(soft, hard);
        let mut passed = 0;
        for burst in 1..=710 {
            a.receive(LAN, &vec![packet(); 32]);
            let wire = a.sent(WIRE);
            passed += wire.len() as u64;
            assert_eq!(passed, (32 * burst).min(LIMIT - 5));
            b.receive(WIRE, &wire);
            assert_eq!(b.sent(LAN).len(), wire.len());
            for gateway in [&a, &b] {
                let sa = &gateway.sas[0];
                assert_eq!(
                    (sa.packets.get(), sa.bytes.get(), sa.sequence.get()),
                    (passed, 100 * passed, passed)
                );
            }
            assert_eq!(
                a.io.events.len(),
                usize::from(passed > LIMIT / 2 - 3) + usize::from(passed < 32 * burst)
            );
        }
        assert_eq!(
            a.io.events,
            [Event::SoftExpire(OUT), Event::HardExpire(OUT)]
        );
        assert_eq!(b.io.events, [Event::SoftExpire(IN)]);
    }
}

#[test]
fn bytes_count_what_is_inside() {
    let bytes = |n| Limits {
        bytes: Some(n),
        ..Limits::default()
    };
    assert_eq!(packet().len(), 100);
    let (mut a, mut b) = limited(bytes(250), bytes(400));
    for n in 1..=5 {
        a.on_lan(&packet());
        exchange(&mut a, &mut b);
        assert_eq!(b.sent(LAN).len(), usize::from(n <= 4));
    }
    assert_eq!(
        a.io.events,
        [Event::SoftExpire(OUT), Event::HardExpire(OUT)]
    );
    assert_eq!(a.sas[0].bytes.get(), 400);
    assert_eq!(b.sas[0].bytes.get(), 400);
    assert_eq!(b.io.events, [Event::SoftExpire(IN)]);
}

#[test]
fn seconds_run_whether_packets_come_or_not() {
    let seconds = |n| Limits {
        seconds: Some(n),
        ..Limits::default()
    };
    let (mut a, _) = limited(seconds(10), seconds(20));
    let born = a.now;
    for (after, events, passes) in [
        (9_999, 0, true),
        (10_000, 1, true),
        (19_999, 1, true),
        (20_000, 2, false),
    ] {
        a.now = born + after;
        a.on_lan(&packet());
        assert_eq!(a.sent(WIRE).len(), usize::from(passes), "{after}");
        assert_eq!(a.io.events.len(), events);
    }
    a.assert_silent();
}

#[test]
fn news_that_control_could_not_take_is_told_again() {
    let (mut a, mut b) = limited(packets(1), packets(3));
    (a.io.deaf, b.io.deaf) = (true, true);
    for _ in 0..5 {
        a.on_lan(&packet());
        exchange(&mut a, &mut b);
    }
    assert!(a.io.events.is_empty() && b.io.events.is_empty());
    (a.io.deaf, b.io.deaf) = (false, false);
    for _ in 0..2 {
        a.on_lan(&packet());
    }
    assert_eq!(a.io.events, [Event::HardExpire(OUT)]);
    let (mut a, _) = limited(packets(1), packets(30));
    a.io.deaf = true;
    for _ in 0..5 {
        a.on_lan(&packet());
    }
    a.io.deaf = false;
    for _ in 0..3 {
        a.on_lan(&packet());
    }
    assert_eq!(a.io.events, [Event::SoftExpire(OUT)]);
}

/// What is not authentic uses nothing up.
#[test]
fn forgeries_do_not_shorten_a_life() {
    let (mut a, _) = tunnel_with(GCM, |_| {});
    let (_, mut b) = limited(packets(1), packets(2));
    a.on_lan(&packet());
    let wire = a.sent(WIRE).remove(0);
    let mut forged = wire.clone();
    *forged.last_mut().unwrap() ^= 1;
    for _ in 0..10 {
        b.on_wire(&forged);
    }
    let told = b.io.events.drain(..);
    assert!(
        told.into_iter()
            .all(|e| matches!(e, Event::CryptoFailure { .. }))
    );
    b.on_wire(&wire);
    assert_eq!(b.sent(LAN).len(), 1);
    assert!(b.io.events.is_empty());
}
