//! What the attacker sends, and what must become of it.

use kit::packet::{
    ESP, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, FRAGMENT, Ipv4, UDP, ethernet, ip_frame,
    ipv6, udp_packet,
};

use crate::forge::{
    ESP_4, ESP_6, GATEWAY, GATEWAY_6, HERE, HERE_6, HOST, LAN, Noise, PEER, PEER_4, PEER_6,
    REPLAY_4, THERE, THERE_6, UDP_4, WAN, authenticated, esp, fix_checksum, from_peer, padded,
    tunnelled, tunnelled_6,
};

/// Frames for both ports and what is expected of them.
pub struct Attack {
    pub name: &'static str,
    pub wan: Vec<Vec<u8>>,
    pub lan: Vec<Vec<u8>>,
    /// How many come out of the LAN port; `None`: any number.
    pub forwarded: Option<usize>,
    /// Reasons that may be counted, with their number where it is certain. Empty: any.
    pub drops: &'static [(&'static str, Option<u64>)],
}

impl Attack {
    fn on_wan(
        name: &'static str,
        wan: Vec<Vec<u8>>,
        forwarded: usize,
        drops: &'static [(&'static str, Option<u64>)],
    ) -> Attack {
        Attack {
            name,
            wan,
            lan: Vec::new(),
            forwarded: Some(forwarded),
            drops,
        }
    }
}

/// A good packet from the host behind the peer to ours.
fn inner() -> Vec<u8> {
    udp_packet(THERE, HERE, (1000, 2000), &[0x5a; 40])
}

fn inner_6() -> Vec<u8> {
    udp_packet(THERE_6, HERE_6, (1000, 2000), &[0x5a; 40])
}

/// All attacks.
pub fn attacks() -> Vec<Attack> {
    vec![
        good(),
        cut_frames(),
        cut_packets(),
        lying_lengths(),
        flipped_bits(),
        replayed(),
        padding(),
        next_headers(),
        lying_inner(),
        outside_selectors(),
        options(),
        extension_headers(),
        fragments(),
        garbage(),
    ]
}

/// The forger itself is right: well-formed packets pass.
fn good() -> Attack {
    let wan = vec![
        tunnelled(1, &inner()),
        tunnelled_6(1, &inner_6()),
        authenticated(1, &udp_packet("10.3.0.2", HERE, (1, 2), b"ah")),
        from_peer(
            ESP,
            &esp(
                REPLAY_4,
                1,
                &padded(&udp_packet("10.4.0.2", HERE, (1, 2), b"esp"), 4),
            ),
        ),
        in_udp(&esp(
            UDP_4,
            1,
            &padded(&udp_packet("10.5.0.2", HERE, (1, 2), b"udp"), 4),
        )),
    ];
    Attack::on_wan("good", wan, 5, &[])
}

/// An IPv4 frame with a UDP datagram to port 4500, checksum zero as RFC 3948 2.1 has it.
fn in_udp(payload: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0x11, 0x94, 0x11, 0x94];
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    from_peer(UDP, &datagram)
}

/// Frames that end at every byte, while their headers claim more.
fn cut_frames() -> Attack {
    let mut wan = Vec::new();
    for frame in [
        tunnelled(1, &inner()),
        tunnelled_6(1, &inner_6()),
        authenticated(1, &inner()),
        in_udp(&esp(UDP_4, 1, &padded(&inner(), 4))),
    ] {
        wan.extend((1..frame.len()).map(|length| frame[..length].to_vec()));
    }
    // Below 14 bytes there is no Ethernet header.
    Attack::on_wan(
        "frames cut at every length",
        wan,
        0,
        &[("ethernet-truncated", Some(4 * 13)), ("ip-malformed", None)],
    )
}

/// ESP and AH that end at every byte, in IP packets that say so.
fn cut_packets() -> Attack {
    let mut wan = Vec::new();
    let full = esp(ESP_4, 1, &padded(&inner(), 4));
    let full_6 = esp(ESP_6, 1, &padded(&inner_6(), 41));
    for length in 0..full.len() {
        wan.push(from_peer(ESP, &full[..length]));
    }
    for length in 0..full_6.len() {
        wan.push(ip_frame(
            WAN,
            PEER,
            &ipv6(PEER_6, GATEWAY_6, ESP, &full_6[..length]),
        ));
    }
    let whole = authenticated(1, &inner());
    for length in 0..whole.len() - 34 {
        wan.push(from_peer(kit::packet::AH, &whole[34..34 + length]));
    }
    Attack::on_wan(
        "packets cut at every length",
        wan,
        0,
        &[("esp-ah-malformed", None), ("icv-mismatch", None)],
    )
}

/// Length and version fields that lie, checksums right.
fn lying_lengths() -> Attack {
    let mut wan = Vec::new();
    let frame = tunnelled(1, &inner());
    let honest = frame.len() - 14;
    for length in (0..honest)
        .chain(honest + 1..honest + 64)
        .chain([0x7fff, 0x8000, 0xffff])
    {
        let mut lie = frame.clone();
        lie[16..18].copy_from_slice(&(length as u16).to_be_bytes());
        fix_checksum(&mut lie);
        wan.push(lie);
    }
    for first in (0..=255).filter(|&first| first != 0x45) {
        let mut lie = frame.clone();
        lie[14] = first;
        fix_checksum(&mut lie);
        wan.push(lie);
    }
    let frame = tunnelled_6(1, &inner_6());
    let honest = frame.len() - 54;
    for length in (0..honest).chain([honest + 1, honest + 8, 0x7fff, 0xffff]) {
        let mut lie = frame.clone();
        lie[18..20].copy_from_slice(&(length as u16).to_be_bytes());
        wan.push(lie);
    }
    let frame = authenticated(1, &inner());
    for words in (0..=255).filter(|&words| words != (12 + 16) / 4 - 2) {
        let mut lie = frame.clone();
        lie[35] = words;
        wan.push(lie);
    }
    let frame = in_udp(&esp(UDP_4, 1, &padded(&inner(), 4)));
    let honest = frame.len() - 34;
    for length in (0..honest).chain([honest + 1, 0xffff]) {
        let mut lie = frame.clone();
        lie[38..40].copy_from_slice(&(length as u16).to_be_bytes());
        wan.push(lie);
    }
    Attack::on_wan(
        "lengths that lie",
        wan,
        0,
        &[
            ("ip-malformed", None),
            ("ip-option", None),
            ("esp-ah-malformed", None),
            ("icv-mismatch", None),
            ("bad-spi", None),
            ("nat-keepalive", None),
            ("ipv6-extension-header", None), // version 6 where the Ethernet header says 4
        ],
    )
}

/// Every bit behind the IP header flipped: nothing gets through, and the SPI decides about the reason.
fn flipped_bits() -> Attack {
    let frame = tunnelled(1, &inner());
    let mut wan = Vec::new();
    for bit in 0..(frame.len() - 34) * 8 {
        let mut flipped = frame.clone();
        flipped[34 + bit / 8] ^= 1 << (bit % 8);
        wan.push(flipped);
    }
    Attack::on_wan(
        "every bit flipped",
        wan,
        0,
        &[("bad-spi", Some(32)), ("icv-mismatch", None)],
    )
}

/// A window of 64 packets (RFC 4303 3.4.3): 65 is right of it, then 1 is left of it, 2 to 64 are inside.
fn replayed() -> Attack {
    let sent = |sequence| {
        let inner = udp_packet("10.4.0.2", HERE, (1, 2), b"replay");
        from_peer(ESP, &esp(REPLAY_4, sequence, &padded(&inner, 4)))
    };
    let mut wan = vec![sent(0), sent(65), sent(65), sent(1), sent(2), sent(2)];
    wan.extend((3..=64).map(sent));
    wan.extend((2..=65).map(sent));
    wan.extend([sent(0xffff_ffff), sent(0xffff_ffff), sent(66)]);
    // Good: 65, 2 to 64, the last. Twice: 65, 2, all of 2 to 65, the last. Old: 0, 1 and 66.
    Attack::on_wan(
        "replayed",
        wan,
        1 + 63 + 1,
        &[
            ("replay-duplicate", Some(1 + 1 + 64 + 1)),
            ("replay-too-old", Some(3)),
        ],
    )
}

/// Pad lengths and pad bytes that are wrong (RFC 4303 2.4).
fn padding() -> Attack {
    const PAD: u8 = 18;
    let inner = inner();
    let with = |pad: &[u8], length: u8| {
        let payload = [&inner[..], pad, &[length, 4]].concat();
        from_peer(ESP, &esp(ESP_4, 1, &payload))
    };
    let right: Vec<u8> = (1..=PAD).collect();
    // Two are good: 18, and 0, which makes all of it traffic flow confidentiality padding (RFC 4303 2.7).
    let mut wan: Vec<_> = (0..=255).map(|length| with(&right, length)).collect();
    for at in 0..right.len() {
        let mut wrong = right.clone();
        wrong[at] ^= 0x80;
        wan.push(with(&wrong, PAD));
    }
    Attack::on_wan(
        "padding",
        wan,
        2,
        &[("esp-padding-invalid", Some(254 + PAD as u64))],
    )
}

/// Every next header around an IPv4 packet: 4 is good, 59 a dummy (RFC 4303 2.6), the others lie.
fn next_headers() -> Attack {
    let wan = (0..=255)
        .map(|next| from_peer(ESP, &esp(ESP_4, 1, &padded(&inner(), next))))
        .collect();
    Attack::on_wan(
        "next header that lies",
        wan,
        1,
        &[
            ("esp-dummy-packet", Some(1)),
            ("next-header-invalid", Some(253)),
            ("inner-malformed", Some(1)),
        ],
    )
}

/// Inner headers that lie: cut at every length, length, version and header length fields.
fn lying_inner() -> Attack {
    let (inner, inner_6) = (inner(), inner_6());
    let mut wan = Vec::new();
    for length in 0..inner.len() {
        wan.push(tunnelled(1, &inner[..length]));
    }
    for length in 0..inner_6.len() {
        wan.push(tunnelled_6(1, &inner_6[..length]));
    }
    let mut lie = |at: usize, value: u16| {
        let mut packet = inner.clone();
        packet[at..at + 2].copy_from_slice(&value.to_be_bytes());
        let frame = tunnelled(1, &packet);
        wan.push(frame);
    };
    for length in 0..20 {
        lie(2, length);
    }
    for length in [inner.len() as u16 + 1, 0x7fff, 0xffff] {
        lie(2, length);
    }
    for first in (0_u16..=255).filter(|first| !(0x45..=0x4f).contains(first)) {
        lie(0, first << 8);
    }
    Attack::on_wan(
        "inner packet that lies",
        wan,
        0,
        &[("inner-malformed", None)],
    )
}

/// Well-formed packets that the SA is not for (RFC 4301 5.2 step 4).
fn outside_selectors() -> Attack {
    let mut wan = Vec::new();
    for (source, destination) in [
        ("10.2.1.0", HERE),
        ("10.1.255.255", HERE),
        ("10.1.0.2", HERE),
        ("10.3.0.2", HERE),
        (THERE, "10.1.1.0"),
        (THERE, "10.0.255.255"),
        (THERE, "10.2.0.3"),
        (THERE, "10.99.0.1"),
        (THERE, "10.99.0.2"),
    ] {
        let packet = udp_packet(source, destination, (1000, 2000), b"outside");
        wan.push(tunnelled(1, &packet));
        wan.push(authenticated(1, &packet));
    }
    wan.push(authenticated(1, &inner()));
    wan.push(tunnelled_6(
        1,
        &udp_packet("fd03::2", HERE_6, (1, 2), b"outside"),
    ));
    wan.push(tunnelled_6(
        1,
        &udp_packet(THERE_6, "fd01:0:0:1::2", (1, 2), b"outside"),
    ));
    // The one packet of the AH SA's network among them is good.
    Attack::on_wan(
        "inner packet outside the selectors",
        wan,
        1,
        &[("selector-mismatch", Some(2 * 9 + 3 - 1))],
    )
}

/// IPv4 options, outside and inside: the list well formed or not, source routes among it.
fn options() -> Attack {
    let mut wan = Vec::new();
    let packet = esp(ESP_4, 1, &padded(&inner(), 4));
    for kind in 0..=255_u8 {
        for length in [0, 1, 2, 4, 8, 39, 40, 41, 255] {
            let mut header = Ipv4::new(PEER_4, GATEWAY, ESP);
            header.options = vec![0; 40];
            header.options[..3].copy_from_slice(&[kind, length, 4]);
            wan.push(ip_frame(WAN, PEER, &header.packet(&packet)));
            let mut header = Ipv4::new(THERE, HERE, UDP);
            header.options = vec![kind, length, 4, 0];
            wan.push(tunnelled(1, &header.packet(&inner()[20..])));
        }
    }
    Attack {
        name: "options",
        wan,
        lan: Vec::new(),
        forwarded: None,
        drops: &[
            ("ip-option", None),
            ("inner-malformed", None),
            ("ip-malformed", None),
        ],
    }
}

/// Chains of IPv6 extension headers in front of ESP: long, cut, looping in kind, of lying length.
fn extension_headers() -> Attack {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const DESTINATION: u8 = 60;
    let mut wan = Vec::new();
    let sealed = esp(ESP_6, 1, &padded(&inner_6(), 41));
    for kind in [
        HOP_BY_HOP,
        ROUTING,
        DESTINATION,
        FRAGMENT,
        135,
        139,
        140,
        253,
    ] {
        for count in 1..=24 {
            let mut payload = Vec::new();
            for index in 1..=count {
                let next = if index == count { ESP } else { kind };
                payload.extend([next, 0, 1, 4, 0, 0, 0, 0]);
            }
            payload.extend(&sealed);
            wan.push(ip_frame(
                WAN,
                PEER,
                &ipv6(PEER_6, GATEWAY_6, kind, &payload),
            ));
        }
        for length in 0..=255 {
            let payload = [&[ESP, length, 1, 4, 0, 0, 0, 0], &sealed[..]].concat();
            wan.push(ip_frame(
                WAN,
                PEER,
                &ipv6(PEER_6, GATEWAY_6, kind, &payload),
            ));
        }
        for cut in 0..8 {
            wan.push(ip_frame(
                WAN,
                PEER,
                &ipv6(PEER_6, GATEWAY_6, kind, &[ESP, 0, 1, 4, 0, 0, 0, 0][..cut]),
            ));
        }
    }
    Attack {
        name: "extension headers",
        wan,
        lan: Vec::new(),
        forwarded: None,
        drops: &[],
    }
}

/// Fragments that overlap, repeat, leave holes, are too long, or never complete.
fn fragments() -> Attack {
    let packet = esp(
        ESP_4,
        1,
        &padded(&udp_packet(THERE, HERE, (1, 2), &[7; 600]), 4),
    );
    let mut wan = Vec::new();
    let mut piece = |id: u16, from: usize, to: usize, more: bool| {
        let mut header = Ipv4::new(PEER_4, GATEWAY, ESP);
        header.id = id;
        header.fragment = u16::from(more) << 13 | (from / 8) as u16;
        wan.push(ip_frame(WAN, PEER, &header.packet(&packet[from..to])));
    };
    let end = packet.len();
    // Two that are good, in order and not.
    piece(1, 0, 320, true);
    piece(1, 320, end, false);
    piece(2, 320, end, false);
    piece(2, 0, 320, true);
    // Overlaps: by a part, inside, around.
    piece(3, 0, 320, true);
    piece(3, 312, end, false);
    piece(4, 0, 480, true);
    piece(4, 160, 320, true);
    piece(4, 480, end, false);
    piece(5, 160, 320, true);
    piece(5, 0, 480, true);
    piece(5, 480, end, false);
    // Length not a multiple of 8, two different ends, nothing inside.
    piece(6, 0, 321, true);
    piece(7, 0, 320, false);
    piece(7, 320, end, false);
    piece(8, 320, 320, true);
    // Never complete.
    for id in 100..400 {
        piece(id, 0, 320, true);
    }
    // Beyond 65535 bytes.
    for offset in [0x1fff, 0x1ff0] {
        let mut header = Ipv4::new(PEER_4, GATEWAY, ESP);
        header.id = 500 + offset;
        header.fragment = offset;
        wan.push(ip_frame(WAN, PEER, &header.packet(&[0; 640])));
    }
    // IPv6: atomic, overlapping, never complete.
    for (id, offset_and_more) in [(1_u32, 0_u16), (2, 1), (2, 8), (3, 0xfff8), (4, 1)] {
        let mut payload = vec![ESP, 0];
        payload.extend(offset_and_more.to_be_bytes());
        payload.extend(id.to_be_bytes());
        payload.extend(&packet[..320]);
        wan.push(ip_frame(
            WAN,
            PEER,
            &ipv6(PEER_6, GATEWAY_6, FRAGMENT, &payload),
        ));
    }
    Attack {
        name: "fragments",
        wan,
        lan: Vec::new(),
        forwarded: Some(2),
        drops: &[
            ("fragment-invalid", None),
            ("fragment-timeout", None),
            ("fragment-table-full", None),
            ("icv-mismatch", None),
            ("bad-spi", None),
        ],
    }
}

/// Noise behind every kind of header, and good frames with some bytes changed, on both ports.
fn garbage() -> Attack {
    let mut noise = Noise(0x0123_4567_89ab_cdef);
    let seeds = [
        tunnelled(1, &inner()),
        tunnelled_6(1, &inner_6()),
        authenticated(1, &inner()),
        in_udp(&esp(UDP_4, 1, &padded(&inner(), 4))),
        ip_frame(
            WAN,
            PEER,
            &udp_packet(PEER_4, GATEWAY, (500, 500), b"clear"),
        ),
        ip_frame(LAN, HOST, &udp_packet(HERE, THERE, (1000, 2000), &[1; 100])),
        ip_frame(
            LAN,
            HOST,
            &udp_packet(HERE_6, THERE_6, (1000, 2000), &[1; 100]),
        ),
        ip_frame(
            LAN,
            HOST,
            &kit::packet::echo(HERE, "10.1.0.1", false, [0; 4], &[3; 60]),
        ),
    ];
    let mut frames: [Vec<Vec<u8>>; 2] = [Vec::new(), Vec::new()];
    for round in 0..6000 {
        let mut frame = seeds[noise.below(seeds.len())].clone();
        for _ in 0..noise.below(4) + 1 {
            let at = noise.below(frame.len());
            frame[at] = noise.next() as u8;
        }
        if noise.below(4) == 0 {
            frame.truncate(noise.below(frame.len()).max(1));
        }
        frames[round % 2].push(frame);
    }
    for round in 0..4000 {
        let body: Vec<u8> = (0..noise.below(200)).map(|_| noise.next() as u8).collect();
        let kind = [
            ETHERTYPE_IPV4,
            ETHERTYPE_IPV6,
            ETHERTYPE_ARP,
            0x8100,
            0x88a8,
            0x86de,
        ][noise.below(6)];
        let to = [
            WAN,
            LAN,
            [0xff; 6],
            [0x33, 0x33, 0, 0, 0, 1],
            [1, 0, 0x5e, 0, 0, 1],
            HOST,
        ][noise.below(6)];
        frames[round % 2].push(ethernet(to, PEER, kind, &body));
    }
    let [wan, lan] = frames;
    Attack {
        name: "garbage",
        wan,
        lan,
        forwarded: None,
        drops: &[],
    }
}
