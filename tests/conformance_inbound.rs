//! The driver's inbound processing, step by step: "How IPSec Works" (Windows Server 2003), 24 steps, for traffic of the
//! gateway itself in transport mode, and beside each its transit twin: traffic forwarded through tunnel SAs.
//!
//! | step | what the document says | test |
//! |---|---|---|
//! | 1 | the packet is handed to the driver | `step_01_each_packet_comes_to_the_driver` |
//! | 2 | ISAKMP passes unmodified | `step_02_isakmp_passes_unmodified` |
//! | 3 | offloaded? its status is looked at | `step_03_status_of_the_nic_is_looked_at` |
//! | 4 | bad status: event, discarded | `step_04_bad_hardware_status_is_logged_and_discarded` |
//! | 5 | AH and ESP are looked for | `step_05_ah_and_esp_are_told_from_clear_packets` |
//! | 6 | none: filters are looked at | `step_06_clear_packets_are_held_against_the_filters` |
//! | 7 | no filter matches: it passes | `step_07_no_match_passes_in_ws2003_and_is_discarded_in_modern` |
//! | 8 | match: an SA for its contents is looked for | `step_08_an_sa_is_looked_for_by_contents` |
//! | 9 | there is none | `step_09_without_sa_the_action_decides` |
//! | 10 | the filter permits inbound: it passes | `step_10_inbound_permit_passes` |
//! | 11 | it does not: discarded | `step_11_without_permit_it_is_discarded` |
//! | 12 | there is an SA: is it soft? | `step_12_a_soft_sa_is_told_from_others` |
//! | 13 | soft: it passes | `step_13_soft_sa_lets_it_pass` |
//! | 14 | not soft: discarded | `step_14_clear_where_an_sa_protects_is_discarded` |
//! | 15 | AH or ESP: the SPI is read | `step_15_spi_is_read` |
//! | 16 | the SA is looked up | `step_16_sa_is_found_by_spi_protocol_and_destination` |
//! | 17 | none: Bad SPI event, discarded | `step_17_bad_spi_is_logged_and_discarded` |
//! | 18 | its last use is noted | `step_18_last_use_is_noted` |
//! | 19 | offloaded: 20 and 21 are skipped | `step_19_what_the_nic_opened_is_not_opened_again` |
//! | 20 | HMAC verified, fields processed, decrypted | `step_20_verified_and_decrypted` |
//! | 21 | failure: event, discarded | `step_21_failure_is_logged_and_discarded` |
//! | 22 | headers and trailer come off | `step_22_headers_and_trailer_come_off` |
//! | 23 | tunnel: the inner packet comes in anew | `step_23_tunnelled_packet_comes_in_anew` |
//! | 24 | transport: it goes on | `step_24_transport_goes_on` |
//!
//! Behind them: packets must have been secured according to policy (requirement 141).

use std::cell::RefCell;

use portcullis_config::{Action, ClearText, Mode, UdpEncapsulation};
use portcullis_ipsec::command::Command;
use portcullis_ipsec::offload::offers::{Offers, State};
use portcullis_ipsec::offload::{Fits, HardwareStatus, Session};
use portcullis_ipsec::pipeline::{Event, Handoff, SaSide};
use portcullis_ipsec::sa::SaRef;
use portcullis_ipsec::sad::SpiEntry;
use portcullis_ipsec::{DropReason, PacketBuf};

mod conformance;
#[path = "../dataplane/ipsec/tests/rig/mod.rs"]
mod rig;

use conformance::nic::{Driver, FakeNic, drive, remove};
use conformance::{
    BOTH, CHILD, IN, OUT, Pair, Profile, Traffic, arrived, assert_discarded, assert_quiet,
    negotiate,
};
use rig::packets::{Ip, after, payload, udp};
use rig::policy::{AH_SHA2, GCM, Sites, V4_ENDS};
use rig::{LAN, WIRE};

/// RFC 2408 2.5.1.
const ISAKMP: u16 = 500;
/// RFC 3948 2.
const NAT_T: u16 = 4500;
/// Protocol numbers (RFC 4303 2, RFC 4302 2).
const ESP: u8 = 50;
const AH: u8 = 51;

#[test]
fn step_01_each_packet_comes_to_the_driver() {
    for traffic in BOTH {
        let mut pair = Pair::protected(traffic);
        let clear = traffic.packet(b"clear").write();
        let sealed = pair.seal(&clear);
        for packet in [
            sealed,
            clear,
            vec![0x45; 30],
            traffic.to_port(ISAKMP, b"x").write(),
        ] {
            pair.b.on_wire(&packet);
        }
        assert_eq!(pair.b.counters.received.get(), 4);
        pair.b.balance(); // each of them is accounted for
    }
}

#[test]
fn step_02_isakmp_passes_unmodified() {
    for profile in [Profile::Modern, Profile::Ws2003] {
        let mut pair = Pair::new(Traffic::Host, profile, &[Action::Discard]);
        for (port, data) in [(ISAKMP, &b"ike"[..]), (NAT_T, b"\0\0\0\0ike")] {
            let packet = Traffic::Host.to_port(port, data).write();
            pair.b.on_wire(&packet);
            assert_eq!(pair.arrived(), [packet]);
        }
        assert_quiet(&pair.b);
    }
    // Its twin is nothing special: what goes through to others is subject to their policy.
    let mut pair = Pair::new(Traffic::Transit, Profile::Modern, &[Action::Discard]);
    pair.b
        .on_wire(&Traffic::Transit.to_port(ISAKMP, b"ike").write());
    assert_discarded(&mut pair.b, DropReason::PolicyDiscard, &[]);
}

/// A pair whose A has its outbound SA, and whose B its inbound SA, on a NIC; and a packet as A's NIC gets it: with all
/// headers, and in clear.
fn offloaded(
    traffic: Traffic,
    nics: &[RefCell<FakeNic>; 2],
) -> (Pair, [Offers<Driver<'_>>; 2], Vec<u8>) {
    let mut pair = Pair::protected(traffic);
    let [a, b] = nics;
    let mut offers = [Offers::new(Driver(a)), Offers::new(Driver(b))];
    let first = traffic.packet(b"first").write();
    for gateway in [&mut pair.a, &mut pair.b] {
        gateway.apply(Command::OfferSas(true));
    }
    let sealed = pair.seal(&first);
    pair.b.on_wire(&sealed);
    assert_eq!(pair.arrived(), [traffic.arrived(&first, 2)], "in software");
    for (gateway, (offers, nic)) in [&mut pair.a, &mut pair.b]
        .into_iter()
        .zip(offers.iter_mut().zip(nics))
    {
        drive(gateway, offers);
        nic.borrow_mut().work();
        assert_eq!(drive(gateway, offers), [""; 0]);
    }
    let blank = pair.seal(&traffic.packet(b"second").write());
    (pair, offers, blank)
}

fn nics() -> [RefCell<FakeNic>; 2] {
    [(); 2].map(|()| RefCell::new(FakeNic::new(Fits::default())))
}

fn session(nic: &RefCell<FakeNic>) -> Session {
    *nic.borrow().holds.first().unwrap()
}

#[test]
fn step_03_status_of_the_nic_is_looked_at() {
    for traffic in BOTH {
        let nics = nics();
        let (mut pair, offers, blank) = offloaded(traffic, &nics);
        let own = session(&nics[1]);
        assert_eq!(offers[1].state(own), Some(&State::Active));
        pair.b.by_nic(&blank, HardwareStatus::Opened);
        let second = traffic.packet(b"second").write();
        assert_eq!(pair.arrived(), [traffic.arrived(&second, 2)]);
        assert_quiet(&pair.b);
        // A packet of which it says nothing is opened in software.
        remove(
            &mut pair.a,
            SaSide::Outbound(OUT as u32),
            &mut Offers::new(Driver(&nics[0])),
        );
        pair.a.with_outbound(OUT, |sa| sa.sequence = 9);
        let third = traffic.packet(b"third").write();
        let sealed = pair.seal(&third);
        pair.b.by_nic(&sealed, HardwareStatus::Untouched);
        assert_eq!(pair.arrived(), [traffic.arrived(&third, 2)]);
        assert_quiet(&pair.b);
    }
}

#[test]
fn step_04_bad_hardware_status_is_logged_and_discarded() {
    for traffic in BOTH {
        let nics = nics();
        let (mut pair, _, blank) = offloaded(traffic, &nics);
        let spi = pair.b.site.sas[IN].spi;
        let told = Event::CryptoFailure {
            sa: SaSide::Inbound(IN as u32),
            spi,
            source: "192.0.2.1".parse::<std::net::IpAddr>().unwrap().into(),
            reason: DropReason::OffloadFailure,
        };
        pair.b.by_nic(&blank, HardwareStatus::Failed);
        assert_discarded(&mut pair.b, DropReason::OffloadFailure, &[told]);
        assert_eq!(pair.b.sas[IN].drops.get(DropReason::OffloadFailure), 1);
        // Opened with the keys of an SA that is gone, or never was, proves nothing.
        pair.b.with_inbound(IN, |_| {});
        pair.b.by_nic(&blank, HardwareStatus::Opened);
        pair.b.assert_dropped(DropReason::OffloadFailure, 1);
    }
}

#[test]
fn step_05_ah_and_esp_are_told_from_clear_packets() {
    for traffic in BOTH {
        let nat = UdpEncapsulation {
            source_port: NAT_T,
            destination_port: NAT_T,
        };
        for (transform, udp, protocol) in
            [(GCM, None, ESP), (AH_SHA2, None, AH), (GCM, Some(nat), 17)]
        {
            let mut sites = Sites::default();
            sites.protect(
                traffic.selector(),
                &[(transform, traffic.mode())],
                V4_ENDS,
                |sa| sa.udp = udp,
            );
            let mut pair = Pair::build(traffic, Profile::Modern, sites);
            let clear = traffic.packet(b"x").write();
            let sealed = pair.seal(&clear);
            assert_eq!(sealed[9], protocol);
            pair.b.on_wire(&sealed);
            assert_eq!(pair.arrived(), [traffic.arrived(&clear, 2)]);
            assert_eq!(pair.b.sas[IN].packets.get(), 1);
            // It did not meet the filters as a clear packet.
            assert_eq!(pair.b.hits[0].packets.get(), 0);
            pair.b.on_wire(&clear);
            assert_eq!(pair.b.hits[0].packets.get(), 1);
            assert_discarded(&mut pair.b, DropReason::ProtectedExpected, &[]);
        }
    }
}

#[test]
fn step_06_clear_packets_are_held_against_the_filters() {
    for traffic in BOTH {
        let mut pair = Pair::new(traffic, Profile::Ws2003, &[Action::Discard]);
        let packet = traffic.packet(b"x").write();
        pair.b.on_wire(&packet);
        pair.b.on_wire(&packet); // remembered, and still counted
        let hits: Vec<_> = pair
            .b
            .hits
            .iter()
            .map(|h| (h.packets.get(), h.bytes.get()))
            .collect();
        assert_eq!(hits, [(2, 2 * packet.len() as u64), (0, 0)]);
        assert_eq!(pair.b.reasons(), [(DropReason::PolicyDiscard, 2)]);
    }
}

#[test]
fn step_07_no_match_passes_in_ws2003_and_is_discarded_in_modern() {
    for traffic in BOTH {
        let packet = traffic.packet(b"x").write();
        let mut pair = Pair::new(traffic, Profile::Ws2003, &[]);
        pair.b.on_wire(&packet);
        assert_eq!(pair.arrived(), [traffic.arrived(&packet, 1)]);
        assert_quiet(&pair.b);
        let mut pair = Pair::new(traffic, Profile::Modern, &[]);
        pair.b.on_wire(&packet);
        assert_discarded(&mut pair.b, DropReason::PolicyNoMatch, &[]);
    }
}

#[test]
fn step_08_an_sa_is_looked_for_by_contents() {
    for traffic in BOTH {
        let mut pair = Pair::negotiating(traffic, ClearText::Accept);
        let packet = traffic.packet(b"x").write();
        pair.b.on_wire(&packet);
        assert_eq!(pair.arrived(), [traffic.arrived(&packet, 1)], "none for it");
        // An SA comes, and at once the same flow is another case.
        pair.establish_back(1, 0x3001);
        pair.b.on_wire(&packet);
        assert_discarded(&mut pair.b, DropReason::ProtectedExpected, &[]);
        assert_eq!(pair.b.hits[0].packets.get(), 2);
    }
}

#[test]
fn step_09_without_sa_the_action_decides() {
    for traffic in BOTH {
        let packet = traffic.packet(b"x").write();
        for (action, passes) in [
            (negotiate(ClearText::Never), false),
            (negotiate(ClearText::Accept), true),
            (Action::Bypass, true),
        ] {
            let mut pair = Pair::new(traffic, Profile::Modern, &[action]);
            pair.b.on_wire(&packet);
            assert_eq!(!pair.arrived().is_empty(), passes);
            assert_eq!(
                pair.b.io.events,
                [],
                "nobody negotiates for clear packets that come in"
            );
        }
    }
}

#[test]
fn step_10_inbound_permit_passes() {
    for traffic in BOTH {
        let packet = traffic.packet(b"x").write();
        for action in [
            Action::Bypass,
            negotiate(ClearText::Accept),
            negotiate(ClearText::FallBack),
        ] {
            let mut pair = Pair::new(traffic, Profile::Modern, &[action]);
            for n in 1..=2 {
                pair.b.on_wire(&packet);
                assert_eq!(pair.arrived(), [traffic.arrived(&packet, 1)]);
                assert_eq!(pair.b.hits[0].packets.get(), n);
            }
            assert_quiet(&pair.b);
        }
    }
}

#[test]
fn step_11_without_permit_it_is_discarded() {
    for traffic in BOTH {
        let packet = traffic.packet(b"x").write();
        for (action, reason) in [
            (Action::Discard, DropReason::PolicyDiscard),
            (negotiate(ClearText::Never), DropReason::ProtectedExpected),
        ] {
            for profile in [Profile::Modern, Profile::Ws2003] {
                let mut pair = Pair::new(traffic, profile, std::slice::from_ref(&action));
                pair.b.on_wire(&packet);
                assert_discarded(&mut pair.b, reason, &[]);
            }
        }
    }
}

#[test]
fn step_12_a_soft_sa_is_told_from_others() {
    for traffic in BOTH {
        let packet = traffic.packet(b"x").write();
        let mut pair = Pair::negotiating(traffic, ClearText::FallBack);
        pair.soft();
        pair.b.on_wire(&packet);
        assert_eq!(pair.arrived().len(), 1);
        // Beside a true SA it counts for nothing.
        pair.establish_back(1, 0x3001);
        pair.b.on_wire(&packet);
        assert_discarded(&mut pair.b, DropReason::ProtectedExpected, &[]);
    }
}

#[test]
fn step_13_soft_sa_lets_it_pass() {
    for traffic in BOTH {
        let packet = traffic.packet(b"x").write();
        let mut pair = Pair::negotiating(traffic, ClearText::FallBack);
        let [_, counters] = pair.soft();
        for n in 1..=3u64 {
            pair.b.now = 5000 * n;
            pair.b.on_wire(&packet);
            assert_eq!(pair.arrived(), [traffic.arrived(&packet, 1)]);
            assert_eq!(counters.packets.get(), n);
            assert_eq!(counters.last_used.get(), 5000 * n);
        }
        assert_quiet(&pair.b);
    }
}

#[test]
fn step_14_clear_where_an_sa_protects_is_discarded() {
    for traffic in BOTH {
        let packet = traffic.packet(b"x").write();
        // SAs of the policy, and negotiated ones, whatever the entry would accept without them.
        let mut pair = Pair::protected(traffic);
        pair.b.on_wire(&packet);
        assert_discarded(&mut pair.b, DropReason::ProtectedExpected, &[]);
        for clear in [ClearText::Never, ClearText::Accept, ClearText::FallBack] {
            let mut pair = Pair::negotiating(traffic, clear);
            pair.establish_back(1, 0x3001);
            pair.b.on_wire(&packet);
            assert_discarded(&mut pair.b, DropReason::ProtectedExpected, &[]);
        }
    }
}

#[test]
fn step_15_spi_is_read() {
    for traffic in BOTH {
        let mut pair = Pair::protected(traffic);
        let sealed = pair.seal(&traffic.packet(b"x").write());
        let spi = pair.b.site.sas[IN].spi;
        assert_eq!(sealed[20..24], spi.to_be_bytes());
        // Too short to have one.
        let stump = rig::packets::Ip::new("192.0.2.1", "192.0.2.2", ESP, vec![0, 0, 1]).write();
        pair.b.on_wire(&stump);
        assert_discarded(&mut pair.b, DropReason::EspAhMalformed, &[]);
        let stump = rig::packets::Ip::new("192.0.2.1", "192.0.2.2", AH, vec![17; 7]).write();
        pair.b.on_wire(&stump);
        pair.b.assert_dropped(DropReason::EspAhMalformed, 1);
    }
}

#[test]
fn step_16_sa_is_found_by_spi_protocol_and_destination() {
    for traffic in BOTH {
        let mut pair = Pair::protected(traffic);
        let clear = traffic.packet(b"x").write();
        let sealed = pair.seal(&clear);
        // RFC 4301 4.1: to another of our addresses, or as AH, it is another SA's.
        let elsewhere =
            rig::packets::Ip::new("192.0.2.1", "10.2.0.1", ESP, payload(&sealed).to_vec());
        pair.b.on_wire(&elsewhere.write());
        pair.b.assert_dropped(DropReason::BadSpi, 0);
        let ah = [&[17, 4, 0, 0][..], &sealed[20..28], &[0; 12]].concat();
        pair.b
            .on_wire(&rig::packets::Ip::new("192.0.2.1", "192.0.2.2", AH, ah).write());
        pair.b.assert_dropped(DropReason::BadSpi, 1);
        pair.b.on_wire(&sealed);
        assert_eq!(pair.arrived(), [traffic.arrived(&clear, 2)]);
    }
}

#[test]
fn step_17_bad_spi_is_logged_and_discarded() {
    for traffic in BOTH {
        let mut pair = Pair::protected(traffic);
        let mut sealed = pair.seal(&traffic.packet(b"x").write());
        sealed[20..24].copy_from_slice(&0xdead_beef_u32.to_be_bytes());
        pair.b.on_wire(&sealed);
        let address = |text: &str| text.parse::<std::net::IpAddr>().unwrap().into();
        let told = Event::BadSpi {
            spi: 0xdead_beef,
            protocol: ESP,
            source: address(V4_ENDS.0),
            destination: address(V4_ENDS.1),
        };
        assert_discarded(&mut pair.b, DropReason::BadSpi, &[told]);
        assert_eq!(pair.b.sas[IN].packets.get(), 0);
    }
}

#[test]
fn step_18_last_use_is_noted() {
    for traffic in BOTH {
        let mut pair = Pair::protected(traffic);
        for now in [2000, 65_000, 300_000] {
            let sealed = pair.seal(&traffic.packet(b"x").write());
            pair.b.now = now;
            pair.b.on_wire(&sealed);
            assert_eq!(pair.b.sas[IN].last_used.get(), now);
            // What is not authentic is no use of it.
            pair.b.now = now + 7;
            pair.b.on_wire(&sealed);
            assert_eq!(pair.b.sas[IN].last_used.get(), now);
        }
        assert_eq!(pair.b.sas[IN].first_used.get(), 2000);
    }
}

#[test]
fn step_19_what_the_nic_opened_is_not_opened_again() {
    for traffic in BOTH {
        let nics = nics();
        let (mut pair, mut offers, blank) = offloaded(traffic, &nics);
        let own = session(&nics[1]);
        let second = traffic.packet(b"second").write();
        // In software it is no packet: it was never encrypted.
        pair.b.by_nic(&blank, HardwareStatus::Untouched);
        pair.b.assert_dropped(DropReason::IcvMismatch, 0);
        let before = pair.b.sas[IN].packets.get();
        pair.b.by_nic(&blank, HardwareStatus::Opened);
        assert_eq!(pair.arrived(), [traffic.arrived(&second, 2)]);
        assert_eq!(pair.b.sas[IN].packets.get(), before + 1);
        // All else is as ever: the replay window, and the SA's end, after which the NIC no longer has it.
        pair.b.by_nic(&blank, HardwareStatus::Opened);
        pair.b.assert_dropped(DropReason::Replay, 0);
        remove(&mut pair.b, SaSide::Inbound(IN as u32), &mut offers[1]);
        assert_eq!(nics[1].borrow().holds.len(), 0);
        assert_eq!(offers[1].state(own), None);
    }
}

/// What the NIC says of a packet is not said of the one inside, which may be for an SA that another worker has.
#[test]
fn step_19_the_nics_word_does_not_go_along_with_what_comes_out() {
    let nics = nics();
    let (mut pair, ..) = offloaded(Traffic::Transit, &nics);
    let destination = "10.2.0.1".parse::<std::net::IpAddr>().unwrap();
    let mut index = pair.b.index(16);
    assert!(index.insert(SpiEntry {
        spi: 0x4000,
        protocol: ESP,
        destination: destination.into(),
        sa: SaRef { worker: 1, slot: 0 },
    }));
    pair.b.apply(Command::SetIndex(index));
    let inner = [&0x4000_u32.to_be_bytes()[..], &[0, 0, 0, 1], &[0x5a; 40]].concat();
    let inner = Ip::new("10.1.0.10", "10.2.0.1", ESP, inner).write();
    let blank = pair.seal(&inner);
    pair.b.by_nic(&blank, HardwareStatus::Opened);
    let [(1, Handoff::Open(packet))] = &pair.b.io.handoffs[..] else {
        panic!("{:?}: {:?}", pair.b.io.handoffs, pair.b.reasons());
    };
    assert_eq!(packet.data(), after(&inner, 1));
    assert_eq!(packet.hardware_status(), HardwareStatus::Untouched);
}

#[test]
fn step_20_verified_and_decrypted() {
    for traffic in BOTH {
        for esn in [false, true] {
            let mut pair = Pair::protected_with(traffic, |sa| sa.esn = esn);
            for n in 1..=3u64 {
                let clear = traffic.packet(&[n as u8; 100]).write();
                let sealed = pair.seal(&clear);
                assert!(
                    !sealed.windows(100).any(|w| w == [n as u8; 100]),
                    "encrypted"
                );
                pair.b.on_wire(&sealed);
                assert_eq!(pair.arrived(), [traffic.arrived(&clear, 2)]);
                assert_eq!(pair.b.sas[IN].sequence.get(), n);
                pair.b.on_wire(&sealed);
                pair.b.assert_dropped(DropReason::Replay, n - 1);
            }
        }
    }
}

#[test]
fn step_21_failure_is_logged_and_discarded() {
    for traffic in BOTH {
        let mut pair = Pair::protected(traffic);
        let clear = traffic.packet(b"x").write();
        let sealed = pair.seal(&clear);
        let mut forged = sealed.clone();
        *forged.last_mut().unwrap() ^= 1;
        pair.b.on_wire(&forged);
        let told = Event::CryptoFailure {
            sa: SaSide::Inbound(IN as u32),
            spi: pair.b.site.sas[IN].spi,
            source: "192.0.2.1".parse::<std::net::IpAddr>().unwrap().into(),
            reason: DropReason::IcvMismatch,
        };
        assert_discarded(&mut pair.b, DropReason::IcvMismatch, &[told]);
        assert_eq!(pair.b.sas[IN].drops.get(DropReason::IcvMismatch), 1);
        // A flood of them is not a flood of events, and the window has not moved.
        for _ in 0..1000 {
            pair.b.on_wire(&forged);
        }
        assert!((1..=100).contains(&pair.b.io.events.len()));
        pair.b.on_wire(&sealed);
        assert_eq!(pair.arrived(), [traffic.arrived(&clear, 2)]);
    }
}

#[test]
fn step_22_headers_and_trailer_come_off() {
    for traffic in BOTH {
        for transform in [GCM, rig::policy::CBC, AH_SHA2] {
            let mut sites = Sites::default();
            sites.protect(
                traffic.selector(),
                &[(transform, traffic.mode())],
                V4_ENDS,
                |_| {},
            );
            let mut pair = Pair::build(traffic, Profile::Modern, sites);
            // Every length of padding.
            for len in 0..20 {
                let clear = traffic.packet(&vec![7; len]).write();
                let sealed = pair.seal(&clear);
                assert!(sealed.len() > clear.len());
                pair.b.on_wire(&sealed);
                assert_eq!(pair.arrived(), [traffic.arrived(&clear, 2)]);
            }
        }
    }
}

#[test]
fn step_23_tunnelled_packet_comes_in_anew() {
    // The document's: a tunnel that ends where its traffic does. The inner packet is looked at as any that came in.
    let mut sites = Sites::default();
    sites.protect(
        Traffic::Host.selector(),
        &[(GCM, Mode::Tunnel)],
        V4_ENDS,
        |_| {},
    );
    let mut pair = Pair::build(Traffic::Host, Profile::Modern, sites);
    let clear = Traffic::Host.packet(b"x").write();
    let sealed = pair.seal(&clear);
    pair.b.on_wire(&sealed);
    assert_eq!(pair.arrived(), [clear]);
    // Its twin is forwarded: a hop less, out of the LAN. Neither leaves anything of the outer packet.
    let mut pair = Pair::protected(Traffic::Transit);
    let clear = Traffic::Transit.packet(b"x").ttl(9).write();
    let sealed = pair.seal(&clear);
    pair.b.on_wire(&sealed);
    let out = pair.b.sent(LAN);
    assert_eq!(out, [Traffic::Transit.arrived(&clear, 2)]);
    assert_eq!(out[0][8], 7);
    // An inner packet with ESP to us is opened as well, and so is found to have no SA.
    let mut sites = Sites::default();
    sites.protect(
        rig::policy::between(&["10.1.0.0/16"], &["192.0.2.2/32"]),
        &[(GCM, Mode::Tunnel)],
        V4_ENDS,
        |_| {},
    );
    let mut pair = Pair::build(Traffic::Transit, Profile::Modern, sites);
    let nested = rig::packets::Ip::new("10.1.0.10", "192.0.2.2", ESP, vec![9; 40]).write();
    let sealed = pair.seal(&nested);
    pair.b.on_wire(&sealed);
    pair.b.assert_dropped(DropReason::BadSpi, 0);
    assert!(matches!(
        pair.b.io.events[..],
        [Event::BadSpi {
            spi: 0x0909_0909,
            ..
        }]
    ));
}

#[test]
fn step_24_transport_goes_on() {
    // To our own slow path, whole; its twin, a tunnel's packet, to the LAN. Nothing else is done to either.
    for traffic in BOTH {
        let mut pair = Pair::protected(traffic);
        let clear = traffic.packet(&[3; 500]).write();
        let sealed = pair.seal(&clear);
        pair.b.on_wire(&sealed);
        assert_eq!(arrived(traffic, &mut pair.b), [traffic.arrived(&clear, 2)]);
        let c = &pair.b.counters;
        let to_us = u64::from(traffic == Traffic::Host);
        assert_eq!((c.punted.get(), c.transmitted.get()), (to_us, 1 - to_us));
        assert_quiet(&pair.b);
    }
}

/// Requirement 141: an authentic packet that its SA may not carry is discarded.
#[test]
fn packets_must_have_been_secured_according_to_policy() {
    for traffic in BOTH {
        // A believes that the SA is for everything; B agreed on port 7 only.
        let mut pair = Pair::protected(traffic);
        let mut narrow = rig::policy::mirrored(&traffic.selector());
        narrow.upper = rig::policy::port(17, &[7], &[7]);
        pair.b.with_inbound(IN, |sa| {
            sa.selectors = [portcullis_ipsec::spd::CompiledSelector::new(&narrow)].into();
        });
        let (fits, wrong) = (
            traffic.to_port(7, b"x").write(),
            traffic.to_port(8, b"x").write(),
        );
        for (packet, passes) in [(fits, true), (wrong, false)] {
            let sealed = pair.seal(&packet);
            pair.b.on_wire(&sealed);
            assert_eq!(!pair.arrived().is_empty(), passes);
        }
        assert_eq!(pair.b.reasons(), [(DropReason::SelectorMismatch, 1)]);
        assert_eq!(pair.b.sas[IN].drops.get(DropReason::SelectorMismatch), 1);
    }
}

/// Requirement 41: a server that accepts clear packets answers protected ones.
#[test]
fn a_clear_question_gets_a_protected_answer() {
    for traffic in BOTH {
        let mut pair = Pair::negotiating(traffic, ClearText::Accept);
        let (a, b) = traffic.hosts();
        pair.b.on_wire(&traffic.packet(b"question").write());
        assert_eq!(pair.arrived().len(), 1);
        let answer = udp(b, a, (7, 7), b"answer").write();
        match traffic {
            Traffic::Host => {
                let packet = portcullis_ipsec::buffer::TestBuf::new(&answer);
                pair.b
                    .inject(portcullis_ipsec::pipeline::Inject::Packet(packet));
            }
            Traffic::Transit => pair.b.on_lan(&answer),
        }
        pair.b.assert_silent();
        assert!(matches!(
            pair.b.io.events[..],
            [Event::Negotiate { child: CHILD, .. }]
        ));
        assert_eq!(pair.b.counters.held.get(), 1);
        pair.establish_back(1, 0x3001);
        pair.b.finish();
        let sent = pair.b.sent(WIRE);
        assert_eq!(sent.len(), 1);
        assert_eq!(
            (sent[0][9], &sent[0][20..24]),
            (ESP, &0x3001_u32.to_be_bytes()[..])
        );
    }
}
