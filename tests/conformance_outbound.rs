//! The driver's outbound processing, step by step: "How IPSec Works" (Windows Server 2003), 19 steps, for traffic of the
//! gateway itself in transport mode, and beside each its transit twin: traffic forwarded through tunnel SAs.
//!
//! | step | what the document says | test |
//! |---|---|---|
//! | 1 | the packet is handed to the driver | `step_01_each_packet_comes_to_the_driver` |
//! | 2 | ISAKMP passes unmodified | `step_02_isakmp_passes_unmodified` |
//! | 3 | no filter matches: it passes | `step_03_no_match_passes_in_ws2003_and_is_discarded_in_modern` |
//! | 4 | an SA is looked for | `step_04_an_sa_is_looked_for` |
//! | 5 | none, and to be negotiated: IKE is asked | `step_05_ike_is_asked` |
//! | 6 | it succeeds: the SA is looked up again | `step_06_success_sends_what_was_held` |
//! | 7 | it fails: discarded | `step_07_failure_discards_what_was_held` |
//! | 8 | permit passes, block discards | `step_08_permit_passes_and_all_else_is_discarded` |
//! | 9 | its last use is noted | `step_09_last_use_is_noted` |
//! | 10 | about to expire: IKE is told to rekey | `step_10_an_sa_about_to_expire_is_rekeyed` |
//! | 11 | expired: discarded | `step_11_an_expired_sa_discards` |
//! | 12 | DF: the size with all headers is computed | `step_12_size_is_computed_with_all_headers` |
//! | 13 | too big for the path: told, discarded | `step_13_too_big_is_told_and_discarded` |
//! | 14 | blank headers and trailer are built | `step_14_blank_headers_and_trailer_are_built` |
//! | 15 | offloaded? | `step_15_only_what_the_nic_has_is_left_to_it` |
//! | 16 | yes: marked, and sent blank | `step_16_offloaded_packet_is_marked_and_sent_blank` |
//! | 17 | not yet: the NIC is asked, nobody waits | `step_17_the_nic_is_asked_once_and_not_waited_for` |
//! | 18 | no: computed in software | `step_18_all_else_is_computed_in_software` |
//! | 19 | sent | `step_19_the_packet_is_sent` |

use std::cell::RefCell;

use portcullis_config::{Action, Bundle, ClearText, Df, Lifetimes, Limits};
use portcullis_ipsec::DropReason;
use portcullis_ipsec::buffer::TestBuf;
use portcullis_ipsec::command::{Command, Negotiated};
use portcullis_ipsec::offload::offers::{Offers, State};
use portcullis_ipsec::offload::{Fits, HardwareStatus, Offload};
use portcullis_ipsec::pipeline::{Event, Inject, SaSide};

mod conformance;
#[path = "../dataplane/ipsec/tests/rig/mod.rs"]
mod rig;

use conformance::nic::{Driver, FakeNic, drive, remove};
use conformance::{BOTH, CHILD, IN, OUT, Pair, Profile, Traffic, assert_discarded, assert_quiet};
use rig::packets::{Ip, payload};
use rig::policy::{CBC, GCM, Sites, V4_ENDS};
use rig::{LAN, WIRE};

/// RFC 2408 2.5.1.
const ISAKMP: u16 = 500;
/// RFC 4303 2.
const ESP: u8 = 50;
/// An IPv4 header.
const IPV4: usize = 20;
/// A's outbound SA.
const SIDE: SaSide = SaSide::Outbound(OUT as u32);

fn limits(packets: u64) -> Limits {
    Limits {
        packets: Some(packets),
        ..Limits::default()
    }
}

fn hard(limits: Limits) -> Lifetimes {
    Lifetimes::new(Limits::default(), limits)
}

/// SPI of a sealed packet.
fn spi(packet: &[u8]) -> u32 {
    assert_eq!(packet[9], ESP);
    u32::from_be_bytes(packet[20..24].try_into().unwrap())
}

fn inject(pair: &mut Pair, packet: &[u8], exempt: bool) {
    let packet = TestBuf::new(packet);
    pair.a.inject(match exempt {
        true => Inject::Exempt(packet),
        false => Inject::Packet(packet),
    });
}

#[test]
fn step_01_each_packet_comes_to_the_driver() {
    for traffic in BOTH {
        let mut pair = Pair::protected(traffic);
        for n in 1..=3 {
            pair.send(&traffic.packet(b"x").write());
            let c = &pair.a.counters;
            assert_eq!(c.received.get() + c.injected.get(), n);
            assert_eq!(pair.a.hits[0].packets.get(), n);
        }
        pair.a.balance(); // each of them is accounted for
    }
}

#[test]
fn step_02_isakmp_passes_unmodified() {
    for profile in [Profile::Modern, Profile::Ws2003] {
        let mut pair = Pair::new(Traffic::Host, profile, &[Action::Discard]);
        let packet = Traffic::Host.to_port(ISAKMP, b"ike").write();
        inject(&mut pair, &packet, true);
        assert_eq!(pair.a.sent(WIRE), [packet]);
        assert_quiet(&pair.a);
    }
    // Its twin is nothing special: others' ISAKMP is protected as their policy says (requirement 47).
    let mut pair = Pair::protected(Traffic::Transit);
    let packet = Traffic::Transit.to_port(ISAKMP, b"ike").write();
    let sealed = pair.seal(&packet);
    pair.b.on_wire(&sealed);
    assert_eq!(pair.arrived(), [Traffic::Transit.arrived(&packet, 2)]);
}

#[test]
fn step_03_no_match_passes_in_ws2003_and_is_discarded_in_modern() {
    for traffic in BOTH {
        let packet = traffic.packet(b"x").write();
        let mut pair = Pair::new(traffic, Profile::Ws2003, &[]);
        assert_eq!(pair.seal(&packet), traffic.arrived(&packet, 1));
        assert_quiet(&pair.a);
        let mut pair = Pair::new(traffic, Profile::Modern, &[]);
        pair.send(&packet);
        assert_discarded(&mut pair.a, DropReason::PolicyNoMatch, &[]);
    }
}

#[test]
fn step_04_an_sa_is_looked_for() {
    for traffic in BOTH {
        // The first entry that matches has one; the second would have another.
        let mut sites = Sites::default();
        for _ in 0..2 {
            sites.protect(
                traffic.selector(),
                &[(GCM, traffic.mode())],
                V4_ENDS,
                |_| {},
            );
        }
        let mut pair = Pair::build(traffic, Profile::Modern, sites);
        let first = pair.a.site.sas[OUT].spi;
        assert_eq!(spi(&pair.seal(&traffic.packet(b"x").write())), first);
        assert_eq!(pair.a.sas[OUT].packets.get(), 1);
        assert_eq!(pair.a.hits[1].packets.get(), 0);
        assert_quiet(&pair.a);
    }
}

#[test]
fn step_05_ike_is_asked() {
    for traffic in BOTH {
        for clear in [ClearText::Never, ClearText::Accept, ClearText::FallBack] {
            let mut pair = Pair::negotiating(traffic, clear);
            let packet = traffic.packet(b"x").write();
            pair.send(&packet);
            pair.a.assert_silent();
            let (source, destination) = traffic.hosts();
            let address = |text: &str| text.parse::<std::net::IpAddr>().unwrap().into();
            let asked = Event::Negotiate {
                child: CHILD,
                source: address(source),
                destination: address(destination),
                protocol: 17,
            };
            assert_eq!(pair.a.io.events, [asked]);
            assert_eq!(pair.a.counters.held.get(), 1);
            // Requirement 133: of several to one destination the last is kept, and IKE is asked once.
            pair.send(&packet);
            pair.send(&packet);
            assert_eq!(pair.a.io.events, [asked]);
            assert_eq!(pair.a.counters.held.get(), 1);
            assert_eq!(pair.a.reasons(), [(DropReason::HeldReplaced, 2)]);
        }
    }
}

#[test]
fn step_06_success_sends_what_was_held() {
    for traffic in BOTH {
        let mut pair = Pair::negotiating(traffic, ClearText::Never);
        for data in [b"one", b"two"] {
            pair.send(&traffic.packet(data).write());
        }
        pair.establish(3, 0x4001);
        pair.a.finish();
        let sent = pair.a.sent(WIRE);
        assert_eq!(sent.iter().map(|p| spi(p)).collect::<Vec<_>>(), [0x4001]);
        pair.b.on_wire(&sent[0]);
        let last = traffic.packet(b"two").write();
        assert_eq!(pair.arrived(), [traffic.arrived(&last, 2)]);
        assert_eq!(pair.a.counters.held.get(), 0);
    }
}

#[test]
fn step_07_failure_discards_what_was_held() {
    for traffic in BOTH {
        let packet = traffic.packet(b"x").write();
        for clear in [ClearText::Never, ClearText::Accept, ClearText::FallBack] {
            let mut pair = Pair::negotiating(traffic, clear);
            pair.send(&packet);
            pair.a.io.events.clear();
            pair.a.apply(Command::Negotiated(Negotiated::Refuse(CHILD)));
            pair.a.finish();
            assert_discarded(&mut pair.a, DropReason::NotNegotiated, &[]);
            assert_eq!(pair.a.counters.held.get(), 0);
        }
        // Where control falls back, the failure has another end: what was held goes in clear, and what follows.
        let mut pair = Pair::negotiating(traffic, ClearText::FallBack);
        pair.send(&packet);
        pair.a.io.events.clear();
        let [counters, _] = pair.soft();
        pair.a.now += 10;
        pair.a.finish();
        assert_eq!(pair.a.sent(WIRE), [traffic.arrived(&packet, 1)]);
        assert_eq!(pair.seal(&packet), traffic.arrived(&packet, 1));
        assert_eq!(
            (counters.packets.get(), counters.last_used.get()),
            (2, pair.a.now)
        );
        assert_quiet(&pair.a);
        // Until there is an SA.
        pair.establish(3, 0x4001);
        assert_eq!(spi(&pair.seal(&packet)), 0x4001);
        assert_eq!(counters.packets.get(), 2);
    }
}

#[test]
fn step_08_permit_passes_and_all_else_is_discarded() {
    for traffic in BOTH {
        let packet = traffic.packet(b"x").write();
        let mut pair = Pair::new(traffic, Profile::Modern, &[Action::Bypass]);
        assert_eq!(pair.seal(&packet), traffic.arrived(&packet, 1));
        assert_quiet(&pair.a);
        let mut pair = Pair::new(traffic, Profile::Ws2003, &[Action::Discard]);
        pair.send(&packet);
        assert_discarded(&mut pair.a, DropReason::PolicyDiscard, &[]);
        // Protect, with SAs by hand, and there is none for this direction.
        let none = Action::Protect {
            outbound: Bundle::new(),
            inbound: Bundle::new(),
        };
        let mut pair = Pair::new(traffic, Profile::Ws2003, &[none]);
        pair.send(&packet);
        pair.a.assert_dropped(DropReason::NoSa, 0);
        assert!(matches!(
            pair.a.io.events[..],
            [Event::Acquire { entry: 0, .. }]
        ));
    }
}

#[test]
fn step_09_last_use_is_noted() {
    for traffic in BOTH {
        let mut pair = Pair::protected(traffic);
        for now in [2000, 65_000, 300_000] {
            pair.a.now = now;
            pair.seal(&traffic.packet(b"x").write());
            assert_eq!(pair.a.sas[OUT].last_used.get(), now);
        }
        assert_eq!(pair.a.sas[OUT].first_used.get(), 2000);
    }
}

#[test]
fn step_10_an_sa_about_to_expire_is_rekeyed() {
    for traffic in BOTH {
        let mut pair = Pair::protected_with(traffic, |sa| {
            sa.lifetimes = Lifetimes::new(limits(2), limits(9))
        });
        for n in 1..=4 {
            let clear = traffic.packet(&[n]).write();
            let sealed = pair.seal(&clear); // it goes all the same
            let told: &[Event] = if n > 2 {
                &[Event::SoftExpire(SIDE)]
            } else {
                &[]
            };
            assert_eq!(pair.a.io.events, told, "once");
            pair.b.on_wire(&sealed);
            assert_eq!(pair.arrived(), [traffic.arrived(&clear, 2)]);
        }
        assert_eq!(pair.a.reasons(), []);
    }
}

#[test]
fn step_11_an_expired_sa_discards() {
    for traffic in BOTH {
        let packet = traffic.packet(b"x").write();
        let mut pair = Pair::protected_with(traffic, |sa| sa.lifetimes = hard(limits(1)));
        pair.seal(&packet);
        assert_quiet(&pair.a);
        pair.send(&packet);
        assert_discarded(
            &mut pair.a,
            DropReason::SaExpired,
            &[Event::HardExpire(SIDE)],
        );
        assert_eq!(pair.a.sas[OUT].packets.get(), 1);
        // By time as well, and by the last sequence number (RFC 4303 3.3.3).
        let mut pair = Pair::protected_with(traffic, |sa| {
            sa.lifetimes = hard(Limits {
                seconds: Some(60),
                ..Limits::default()
            });
        });
        pair.a.now += 60_000;
        pair.send(&packet);
        assert_discarded(
            &mut pair.a,
            DropReason::SaExpired,
            &[Event::HardExpire(SIDE)],
        );
        let mut pair = Pair::protected(traffic);
        pair.a
            .with_outbound(OUT, |sa| sa.sequence = u32::MAX.into());
        pair.send(&packet);
        assert_discarded(
            &mut pair.a,
            DropReason::SequenceOverflow,
            &[Event::HardExpire(SIDE)],
        );
    }
}

/// A pair with this much room on the wire.
fn with_mtu(traffic: Traffic, mtu: u16) -> Pair {
    let mut sites = Sites::default();
    sites.protect(
        traffic.selector(),
        &[(GCM, traffic.mode())],
        V4_ENDS,
        |_| {},
    );
    sites.mtu(mtu, 1500);
    Pair::build(traffic, Profile::Modern, sites)
}

fn df(traffic: Traffic, len: usize) -> Vec<u8> {
    let packet = traffic.packet(&vec![1; len - IPV4 - 8]).df().write();
    assert_eq!(packet.len(), len);
    packet
}

#[test]
fn step_12_size_is_computed_with_all_headers() {
    for traffic in BOTH {
        for mtu in [1500, 1400, 1281] {
            let mut pair = with_mtu(traffic, mtu);
            let mut fits = 0;
            for len in usize::from(mtu) - 80..=usize::from(mtu) {
                pair.send(&df(traffic, len));
                let sent = pair.a.sent(WIRE);
                assert!(sent.iter().all(|packet| packet.len() <= mtu.into()));
                if sent.len() == 1 {
                    // Next header, pad length and the padding are inside what is counted by fours.
                    let inside = if traffic == Traffic::Host {
                        len - IPV4
                    } else {
                        len
                    };
                    let padded = (inside + 2).div_ceil(4) * 4;
                    assert_eq!(sent[0].len(), IPV4 + 8 + 8 + padded + 16);
                    fits = len;
                }
                pair.a.io.punts.clear();
                pair.a.sent(LAN);
            }
            let inside = (usize::from(mtu) - IPV4 - 8 - 8 - 16) / 4 * 4 - 2;
            let expected = if traffic == Traffic::Host {
                inside + IPV4
            } else {
                inside
            };
            assert_eq!(fits, expected, "the longest that fits, {mtu}");
        }
    }
}

#[test]
fn step_13_too_big_is_told_and_discarded() {
    // The document's host: its stack has the packet back. Here that is control, which sends what it makes in pieces.
    let mut pair = with_mtu(Traffic::Host, 1400);
    pair.send(&df(Traffic::Host, 1390));
    assert_discarded(&mut pair.a, DropReason::TooBig, &[]);
    // Its twin: the sender is told what fits (RFC 1191 4), by the interface that it sent to.
    let mut pair = with_mtu(Traffic::Transit, 1400);
    let packet = df(Traffic::Transit, 1390);
    pair.send(&packet);
    let told = pair.a.sent(LAN);
    assert_eq!(told.len(), 1);
    let fits = (1400 - IPV4 - 8 - 8 - 16) / 4 * 4 - 2;
    let message = payload(&told[0]);
    assert_eq!(
        message[..2],
        [3, 4],
        "destination unreachable, fragmentation needed"
    );
    assert_eq!(message[6..8], (fits as u16).to_be_bytes());
    // RFC 1812 4.3.2.3: as it was, but for the hop that was taken before.
    assert_eq!(message[8..36], Traffic::Transit.arrived(&packet, 1)[..28]);
    assert_eq!(
        (&told[0][12..16], &told[0][16..20]),
        (&[10, 1, 0, 1][..], &[10, 1, 0, 10][..])
    );
    assert_eq!(pair.a.reasons(), [(DropReason::TooBig, 1)]);
    assert_eq!(pair.a.sent(WIRE), [[0; 0]; 0]);
    assert_eq!(
        pair.a.sas[OUT].packets.get(),
        0,
        "no sequence number is lost"
    );
    // The sender heeds it.
    assert_eq!(pair.seal(&df(Traffic::Transit, fits)).len(), 1400);
    // Without DF, or where the policy clears it, it is cut.
    let free = Traffic::Transit.packet(&[1; 1360]).write();
    pair.send(&free);
    assert_eq!(pair.a.sent(WIRE).len(), 2);
    let mut sites = Sites::default();
    sites.protect(
        Traffic::Transit.selector(),
        &[(GCM, Traffic::Transit.mode())],
        V4_ENDS,
        |sa| sa.df = Df::Clear,
    );
    sites.mtu(1400, 1500);
    let mut pair = Pair::build(Traffic::Transit, Profile::Modern, sites);
    pair.send(&packet);
    assert_eq!(pair.a.sent(WIRE).len(), 2);
}

/// A NIC, and A with its first packet sent.
struct Offloading<'a> {
    pair: Pair,
    nic: &'a RefCell<FakeNic>,
    offers: Offers<Driver<'a>>,
}

impl<'a> Offloading<'a> {
    fn new(
        traffic: Traffic,
        nic: &'a RefCell<FakeNic>,
        change: impl Fn(&mut portcullis_config::SaConfig),
    ) -> Self {
        let mut pair = Pair::protected_with(traffic, change);
        pair.a.apply(Command::OfferSas(true));
        let mut new = Offloading {
            pair,
            nic,
            offers: Offers::new(Driver(nic)),
        };
        assert!(!new.is_blank(b"the first"), "in software");
        new
    }

    /// Control looks at its rings.
    fn drive(&mut self) -> Vec<String> {
        drive(&mut self.pair.a, &mut self.offers)
    }

    /// The NIC comes to an end with all that it was asked.
    fn settle(&mut self) -> Vec<String> {
        let mut refused = self.drive();
        self.nic.borrow_mut().work();
        refused.extend(self.drive());
        refused
    }

    /// Sends a packet. True if it left for the NIC to cipher; otherwise B has opened it.
    fn is_blank(&mut self, data: &[u8]) -> bool {
        self.is_blank_packet(&self.pair.traffic.packet(data).write())
    }

    fn is_blank_packet(&mut self, packet: &[u8]) -> bool {
        let sent = self.pair.seal(packet);
        let marked = std::mem::take(&mut self.pair.a.io.marked);
        if marked.is_empty() {
            self.pair.b.on_wire(&sent);
            let arrived = self.pair.arrived();
            assert_eq!(
                arrived,
                [self.pair.traffic.arrived(packet, 2)],
                "{:?}",
                self.pair.b.reasons()
            );
            return false;
        }
        assert!(
            self.nic.borrow().holds.contains(&marked[0]),
            "the NIC knows it"
        );
        true
    }
}

fn nic() -> RefCell<FakeNic> {
    RefCell::new(FakeNic::new(Fits::default()))
}

#[test]
fn step_14_blank_headers_and_trailer_are_built() {
    for traffic in BOTH {
        let nic = nic();
        let mut a = Offloading::new(traffic, &nic, |_| {});
        a.settle();
        let clear = traffic.packet(b"as it is").write();
        let blank = a.pair.seal(&clear);
        // What software would have made, but for the cipher: same length, same headers, sequence number and IV.
        assert_eq!(spi(&blank), a.pair.a.site.sas[OUT].spi);
        assert_eq!(blank[24..28], 2_u32.to_be_bytes());
        let inside = match traffic {
            Traffic::Host => payload(&clear).to_vec(),
            Traffic::Transit => traffic.arrived(&clear, 1),
        };
        let trailer = IPV4 + 8 + 8 + inside.len();
        assert_eq!(blank[IPV4 + 16..trailer], inside);
        let end = blank.len() - 16;
        let padding = end - 2 - trailer;
        let expected: Vec<u8> = (1..=padding as u8).collect();
        assert_eq!(blank[trailer..end - 2], expected, "RFC 4303 2.4");
        let next = if traffic == Traffic::Host { 17 } else { 4 };
        assert_eq!(blank[end - 2..end], [padding as u8, next]);
        assert_eq!((end - IPV4 - 16) % 4, 0);
    }
}

#[test]
fn step_15_only_what_the_nic_has_is_left_to_it() {
    for traffic in BOTH {
        let nic = nic();
        // Algorithms that it lacks, ESP in UDP, a soft SA: never asked, or refused at once and for good.
        let mut sites = Sites::default();
        sites.protect(
            traffic.selector(),
            &[(CBC, traffic.mode())],
            V4_ENDS,
            |_| {},
        );
        let mut pair = Pair::build(traffic, Profile::Modern, sites);
        pair.a.apply(Command::OfferSas(true));
        let mut offers = Offers::new(Driver(&nic));
        pair.seal(&traffic.packet(b"x").write());
        assert_eq!(
            drive(&mut pair.a, &mut offers),
            ["the device does not have its algorithms"]
        );
        let mut a = Offloading::new(traffic, &nic, |sa| {
            sa.udp = Some(portcullis_config::UdpEncapsulation {
                source_port: 4500,
                destination_port: 4500,
            });
        });
        assert_eq!(a.settle(), ["the device does not do ESP in UDP"]);
        assert!(!a.is_blank(b"x"));
        let mut pair = Pair::negotiating(traffic, ClearText::FallBack);
        pair.a.apply(Command::OfferSas(true));
        pair.soft();
        pair.seal(&traffic.packet(b"x").write());
        assert_eq!(pair.a.io.events, []);
        assert_eq!(nic.borrow().count, 0);
        // Packets with IP options, unless it has them as well. In a tunnel it sees none.
        for ip_options in [false, true] {
            let fits = Fits {
                ip_options,
                ..Fits::default()
            };
            let nic = RefCell::new(FakeNic::new(fits));
            let mut a = Offloading::new(traffic, &nic, |_| {});
            assert_eq!(a.settle(), [""; 0]);
            let packet = Ip::options(traffic.packet(b"x"), &[1; 4]).write();
            assert_eq!(
                a.is_blank_packet(&packet),
                ip_options || traffic == Traffic::Transit
            );
            assert!(a.is_blank(b"no options"));
        }
    }
}

#[test]
fn step_16_offloaded_packet_is_marked_and_sent_blank() {
    for traffic in BOTH {
        let nic = nic();
        let mut a = Offloading::new(traffic, &nic, |_| {});
        a.settle();
        for n in 2..=5u64 {
            assert!(a.is_blank(b"x"));
            let c = &a.pair.a.sas[OUT];
            assert_eq!(
                (c.packets.get(), c.sequence.get()),
                (n, n),
                "counted as ever"
            );
        }
        assert_quiet(&a.pair.a);
        // Removed from the worker, it is removed from the NIC.
        remove(&mut a.pair.a, SIDE, &mut a.offers);
        assert_eq!(nic.borrow().holds.len(), 0);
    }
}

#[test]
fn step_17_the_nic_is_asked_once_and_not_waited_for() {
    for traffic in BOTH {
        let nic = nic();
        let mut a = Offloading::new(traffic, &nic, |_| {});
        for _ in 0..3 {
            assert!(!a.is_blank(b"meanwhile"));
            a.drive();
        }
        assert_eq!(nic.borrow().count, 1);
        nic.borrow_mut().work();
        assert!(!a.is_blank(b"control has not looked"));
        a.drive();
        assert!(a.is_blank(b"now"));
        // Refused, it is never asked again; control knows why.
        let refusing = RefCell::new(FakeNic::new(Fits::default()));
        refusing.borrow_mut().refusal = Some("no room".into());
        let mut a = Offloading::new(traffic, &refusing, |_| {});
        let Event::OffloadWanted { session, .. } = a.pair.a.io.events[0] else {
            panic!("{:?}", a.pair.a.io.events);
        };
        assert_eq!(a.settle(), ["no room"]);
        assert_eq!(
            a.offers.state(session),
            Some(&State::Failed("no room".into()))
        );
        for _ in 0..3 {
            assert!(!a.is_blank(b"software"));
            assert_eq!(a.settle(), [""; 0]);
        }
        assert_eq!(refusing.borrow().count, 1);
        // A full ring to control is no answer: it is asked by a later packet.
        let nic = self::nic();
        let mut pair = Pair::protected(traffic);
        pair.a.apply(Command::OfferSas(true));
        pair.a.io.deaf = true;
        pair.seal(&traffic.packet(b"x").write());
        pair.a.io.deaf = false;
        pair.seal(&traffic.packet(b"x").write());
        drive(&mut pair.a, &mut Offers::new(Driver(&nic)));
        assert_eq!(nic.borrow().count, 1);
    }
}

/// Requirement 158: SAs that go, or are replaced, while the NIC still thinks.
#[test]
fn step_17_answers_come_late_or_to_nobody() {
    for traffic in BOTH {
        // Gone before the answer: the NIC gives up what it has only just taken.
        let nic = nic();
        let mut a = Offloading::new(traffic, &nic, |_| {});
        a.drive();
        remove(&mut a.pair.a, SIDE, &mut a.offers);
        nic.borrow_mut().work();
        assert_eq!(nic.borrow().holds.len(), 1);
        assert_eq!(a.drive(), [""; 0]);
        assert_eq!(nic.borrow().holds.len(), 0);
        // Another SA in its slot is not taken for it, and begins in software.
        let nic = self::nic();
        let mut a = Offloading::new(traffic, &nic, |_| {});
        a.drive();
        nic.borrow_mut().work();
        a.pair.a.with_outbound(OUT, |sa| sa.sequence = 50);
        a.drive();
        assert!(!a.is_blank(b"another SA"));
        a.settle();
        assert!(a.is_blank(b"which the NIC has now"));
        // Other terms, same SA: it stays where it is.
        let config = a.pair.a.site.sas[OUT].clone();
        let altered = altered(&mut a.pair, &config);
        a.pair.a.apply(Command::AlterOutbound(OUT as u32, altered));
        assert!(a.is_blank(b"the same"));
    }
}

/// A NIC that is reset has lost its SAs: software goes on, and it is not asked for them again.
#[test]
fn step_18_what_the_nic_has_lost_is_computed_in_software() {
    for traffic in BOTH {
        let nic = nic();
        let mut a = Offloading::new(traffic, &nic, |_| {});
        a.settle();
        assert!(a.is_blank(b"x"));
        nic.borrow_mut().reset = true;
        assert_eq!(a.settle(), ["the device was reset or removed"]);
        for _ in 0..3 {
            assert!(!a.is_blank(b"x"));
            assert_eq!(a.settle(), [""; 0]);
        }
        assert_eq!(nic.borrow().count, 1);
        remove(&mut a.pair.a, SIDE, &mut a.offers);
    }
}

fn altered(
    pair: &mut Pair,
    config: &portcullis_config::SaConfig,
) -> Box<portcullis_ipsec::sa::OutboundSa<portcullis_ipsec::engine::portable::Key>> {
    use portcullis_ipsec::engine::Engine;
    let portable = portcullis_ipsec::engine::portable::Portable;
    let key = portable.key(config.transform, &config.cipher_key, &config.integrity_key);
    let counters = pair.a.sas[OUT].clone();
    let sa = portcullis_ipsec::sa::OutboundSa::new(config, key.unwrap(), pair.a.now, counters);
    assert_eq!(sa.offload, Offload::Software);
    Box::new(sa)
}

#[test]
fn step_18_all_else_is_computed_in_software() {
    for traffic in BOTH {
        // Without a NIC nobody is asked.
        let mut pair = Pair::protected(traffic);
        let clear = traffic.packet(&[5; 64]).write();
        let sealed = pair.seal(&clear);
        assert!(!sealed.windows(64).any(|w| w == [5; 64]), "encrypted");
        assert_eq!(pair.a.io.marked, []);
        assert_quiet(&pair.a);
        pair.b.on_wire(&sealed);
        assert_eq!(pair.arrived(), [traffic.arrived(&clear, 2)]);
        // Nor where there no longer is one.
        let nic = nic();
        let mut a = Offloading::new(traffic, &nic, |_| {});
        a.settle();
        assert!(a.is_blank(b"x"));
        a.pair.a.apply(Command::OfferSas(false));
        assert!(!a.is_blank(b"x"));
    }
}

#[test]
fn step_19_the_packet_is_sent() {
    for traffic in BOTH {
        let mut pair = Pair::protected(traffic);
        pair.send(&traffic.packet(b"x").write());
        let frames = std::mem::take(&mut pair.a.io.frames);
        assert_eq!(frames.len(), 1);
        let (interface, frame) = &frames[0];
        assert_eq!(*interface, WIRE);
        // To B's MAC address, from our own, IPv4.
        assert_eq!(frame[..6], [2, 9, 9, 9, 9, 2]);
        assert_eq!(frame[6..12], pair.a.site.mac(WIRE));
        assert_eq!(frame[12..14], [8, 0]);
        assert_eq!(pair.a.counters.transmitted.get(), 1);
        pair.b.by_nic(&frame[14..], HardwareStatus::Untouched);
        assert_eq!(pair.arrived().len(), 1);
        assert_eq!(pair.b.sas[IN].packets.get(), 1);
    }
}
