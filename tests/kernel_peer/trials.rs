//! What is done with a case, and what must be seen on the wire and in the counters.

use kit::packet::{AH, Carried, ESP, UDP, carried};
use kit::{Counters, Gateway};

use crate::site::Site;
use crate::table::Ip::{V4, V6};
use crate::table::{Case, Extra, Mode, TO_GATEWAY, TO_GUEST};

/// Payload sizes of the pings that every case sends, and how many of each.
const SIZES: [u32; 3] = [56, 400, 1400];
/// Where IPv6 is inside or outside, so that no packet is too big: there the first would be lost.
const SIZES_6: [u32; 3] = [56, 400, 1300];
const COUNT: u64 = 3;

type Outcome = Result<(), String>;

/// Pings in both directions through one case's SAs, then the wire and the counters.
pub fn both_ways(site: &mut Site, gateway: &Gateway, case: &Case) -> Outcome {
    site.guest_ip(&case.guest())?;
    site.frames();
    // A packet may be lost while the gateway resolves the guest's address.
    let _ = ping_gateway(site, gateway, case, 56, 1);
    let before = gateway.drops()?;
    let sizes = match case.mode {
        Mode::Tunnel {
            outer: V4,
            inner: V4,
        }
        | Mode::Transport(V4) => SIZES,
        _ => SIZES_6,
    };
    for size in sizes {
        ping_guest(site, gateway, case, size, COUNT)?;
        ping_gateway(site, gateway, case, size, COUNT)?;
    }
    unchanged(&before, &gateway.drops()?)?;
    let directions = match case.mode {
        Mode::Tunnel { .. } => 2,
        Mode::Transport(_) => 1,
    };
    let expected = directions * sizes.len() as u64 * COUNT;
    wire(site, gateway, case, expected).map(drop)
}

/// Packets larger than the MTU: the gateway fragments before encryption, the kernel after it.
pub fn fragments(site: &mut Site, gateway: &Gateway, case: &Case) -> Outcome {
    site.guest_ip(&case.guest())?;
    site.frames();
    let inner_v6 = matches!(case.mode, Mode::Tunnel { inner: V6, .. });
    if inner_v6 {
        // The LAN host learns the MTU of the tunnel from the first packet that is lost (RFC 8201).
        let _ = site
            .lan
            .sh(&format!("ping -n -c 1 -W 1 -s 1600 {}", case.pinged().1));
    }
    let before = gateway.drops()?;
    for size in [1600, 3000, 8000] {
        ping_guest(site, gateway, case, size, COUNT)?;
        ping_gateway(site, gateway, case, size, COUNT)?;
    }
    unchanged(&before, &gateway.drops()?)?;
    let frames = wire(site, gateway, case, 2 * 3 * COUNT)?;
    let (mut ours, mut theirs) = (0, 0);
    for frame in &frames {
        if carried(frame) == Carried::LaterFragment(ESP) {
            match from_gateway(frame) {
                true => ours += 1,
                false => theirs += 1,
            }
        }
    }
    if ours != 0 {
        return Err(format!("the gateway fragmented ESP: {ours} fragments"));
    }
    if theirs == 0 && !inner_v6 {
        return Err("no fragmented ESP came from the kernel: nothing is proven".into());
    }
    Ok(())
}

/// Source address of the outer header is the gateway's, 10.99.0.1 or fd99::1.
fn from_gateway(frame: &[u8]) -> bool {
    frame.get(26..30) == Some(&[10, 99, 0, 1])
        || frame.get(22..38) == Some(&[0xfd, 0x99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
}

/// The inner MTU of AES-GCM in a 1500 byte IPv4 packet: 20 bytes outer header, 8 ESP header, 8 IV, 16 ICV; of the
/// 1448 that are left, a multiple of 4, two are the trailer (RFC 4303 2, RFC 4106 3).
pub fn path_mtu_4(site: &mut Site, gateway: &Gateway, case: &Case) -> Outcome {
    path_mtu(site, gateway, case, 1446, 20 + 8)
}

/// As [`path_mtu_4`], with the outer header of IPv6: 40 bytes.
pub fn path_mtu_6(site: &mut Site, gateway: &Gateway, case: &Case) -> Outcome {
    path_mtu(site, gateway, case, 1426, 40 + 8)
}

/// Too big with DF: the sender hears the MTU that is left inside the tunnel, and just that size passes.
fn path_mtu(site: &mut Site, gateway: &Gateway, case: &Case, mtu: u32, headers: u32) -> Outcome {
    site.guest_ip(&case.guest())?;
    let (_, guest) = case.pinged();
    let too_big = format!(
        "ping -n -c 2 -i 0.2 -W 1 -M do -s {} {guest}",
        1500 - headers
    );
    let text = site.lan.sh(&too_big).unwrap_or_else(|e| e);
    // "Frag needed and DF set (mtu = N)" in IPv4, "Packet too big: mtu=N" in IPv6.
    let told = text.contains(&format!("mtu = {mtu})")) || text.contains(&format!("mtu={mtu}"));
    if !told {
        return Err(format!("expected an MTU of {mtu}\n{text}"));
    }
    site.frames();
    let fits = format!(
        "ping -n -c {COUNT} -i 0.05 -w 5 -M do -s {} {guest}",
        mtu - headers
    );
    let result = site.lan.sh(&fits);
    judge(site, gateway, &fits, result, COUNT)?;
    let frames = site.frames();
    let largest = frames.iter().map(Vec::len).max().unwrap_or(0);
    if largest != 14 + 1500 {
        return Err(format!("largest frame has {largest} bytes, not 1514"));
    }
    Ok(())
}

/// The kernel's sequence number crosses 2^32: the gateway infers the high half (RFC 4303 A2).
pub fn crosses_2_32(site: &mut Site, gateway: &Gateway, case: &Case) -> Outcome {
    site.guest_ip(&case.guest())?;
    let before = gateway.drops()?;
    ping_gateway(site, gateway, case, 56, COUNT)?;
    // A receiver accepts a step forward below 2^32; two of them lead to the edge.
    for sent in [0x7fff_fff0, 0xffff_fff0] {
        let lines = format!("{}{}", case.guest_forget(), case.guest_states(sent));
        site.guest_ip(&lines)?;
        ping_gateway(site, gateway, case, 56, 40)?;
    }
    let states = site.guest.sh("ip -s xfrm state")?;
    if !states.contains("oseq-hi 0x1") {
        return Err(format!("the kernel did not cross 2^32\n{states}"));
    }
    unchanged(&before, &gateway.drops()?)
}

/// Packets in clear that an SPD entry wants protected are dropped and counted (RFC 4301 5.2).
pub fn clear_text(site: &mut Site, gateway: &Gateway, case: &Case) -> Outcome {
    const REASON: &str = "clear-but-must-be-protected";
    let address = case.guest();
    let address = address.lines().next().unwrap_or_default();
    site.guest_ip(address)?;
    let before = gateway.drops()?;
    let (lan, guest) = case.pinged();
    let line = format!("ping -n -c {COUNT} -i 0.03 -W 1 -I {guest} {lan}");
    if let Ok(text) = site.guest.sh(&line) {
        return Err(format!("answered in clear\n{text}"));
    }
    let mut expected = before;
    *expected.entry(REASON.to_owned()).or_default() += COUNT;
    unchanged(&expected, &gateway.drops()?)
}

/// The frames since the last look, checked. What is under way may change counters between the looks at both.
fn wire(
    site: &mut Site,
    gateway: &Gateway,
    case: &Case,
    at_least: u64,
) -> Result<Vec<Vec<u8>>, String> {
    let mut frames = Vec::new();
    let mut result = Ok(());
    for _ in 0..10 {
        frames.extend(site.frames());
        result = check_wire(gateway, case, &frames, at_least);
        if result.is_ok() {
            break;
        }
    }
    result.map(|()| frames)
}

/// Every frame is protected, and each SA's packet counter is what was seen on the wire.
fn check_wire(gateway: &Gateway, case: &Case, frames: &[Vec<u8>], at_least: u64) -> Outcome {
    let outermost = case.layers.len() - 1;
    for direction in [TO_GUEST, TO_GATEWAY] {
        let spi = case.spi(direction, outermost);
        let mut seen = 0;
        for frame in frames {
            match carried(frame) {
                Carried::Clear(what) => return Err(format!("in clear on the wire: {what}")),
                Carried::Protected(_, found) if case.extra != Extra::Udp => {
                    seen += u64::from(found == spi);
                }
                Carried::EspInUdp(found) if case.extra == Extra::Udp => {
                    seen += u64::from(found == spi);
                }
                Carried::Protected(protocol, _) => {
                    return Err(format!("protocol {protocol} outside of UDP"));
                }
                Carried::EspInUdp(_) => return Err("ESP in UDP is not asked for".into()),
                Carried::LaterFragment(ESP | AH) | Carried::Resolution => {}
                Carried::LaterFragment(UDP) if case.extra == Extra::Udp => {}
                Carried::LaterFragment(protocol) => {
                    return Err(format!("fragment of protocol {protocol} in clear"));
                }
            }
        }
        if seen < at_least {
            return Err(format!(
                "SPI {spi:#x}: {seen} packets on the wire, expected {at_least}"
            ));
        }
        for index in 0..=outermost {
            let spi = case.spi(direction, index);
            let counted = gateway.sa_packets(spi)?;
            if counted != seen {
                return Err(format!(
                    "SPI {spi:#x}: {seen} on the wire, {counted} counted"
                ));
            }
        }
    }
    Ok(())
}

/// LAN host to guest, in tunnel mode; there is no LAN host in transport mode.
fn ping_guest(site: &mut Site, gateway: &Gateway, case: &Case, size: u32, count: u64) -> Outcome {
    if let Mode::Transport(_) = case.mode {
        return Ok(());
    }
    let (_, guest) = case.pinged();
    let line = ping(&guest, size, count);
    let result = site.lan.sh(&line);
    judge(site, gateway, &line, result, count)
}

/// Guest to LAN host, or in transport mode to the gateway.
fn ping_gateway(site: &mut Site, gateway: &Gateway, case: &Case, size: u32, count: u64) -> Outcome {
    let (lan, guest) = case.pinged();
    let line = ping(&format!("-I {guest} {lan}"), size, count);
    let result = site.guest.sh(&line);
    judge(site, gateway, &line, result, count)
}

/// A ping whose IPv4 packets may be fragmented, until `count` replies are there. With a limit for each reply (-W)
/// instead, ping would give up after two round trip times, which vary much on a busy machine.
fn ping(rest: &str, size: u32, count: u64) -> String {
    format!("ping -n -c {count} -i 0.03 -w 5 -M dont -s {size} {rest}")
}

/// All replies, or an error with what both sides counted.
fn judge(
    site: &mut Site,
    gateway: &Gateway,
    line: &str,
    result: Result<String, String>,
    count: u64,
) -> Outcome {
    let text = result.unwrap_or_else(|e| e);
    if kit::replies(&text) >= count {
        return Ok(());
    }
    let guest = site
        .guest
        .sh("awk '$2 != 0' /proc/net/xfrm_stat")
        .unwrap_or_else(|e| e);
    Err(format!(
        "{line}\n{text}\ngateway drops: {:?}\nguest: {guest}\n{}",
        gateway.drops(),
        gateway
            .log()
            .rsplit("portcullis: running")
            .next()
            .unwrap_or_default()
    ))
}

/// No drop counter moved, but for the multicast listener reports that a guest sends when it gets an address
/// (RFC 3810): they are not forwarded.
fn unchanged(before: &Counters, after: &Counters) -> Outcome {
    let moved: Vec<_> = after
        .iter()
        .filter(|(name, _)| *name != "multicast")
        .filter(|(name, count)| before.get(*name).copied().unwrap_or(0) != **count)
        .collect();
    if moved.is_empty() {
        Ok(())
    } else {
        Err(format!("unexpected drops: {moved:?}, before: {before:?}"))
    }
}
