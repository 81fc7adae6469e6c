//! A capture for an operator at the control socket: copies of frames on both sides of the boundary as pcapng, and the
//! keys that decrypt them. It is on only while the client reads, and never makes control wait.
//!
//! The stream is a sequence of parts, each a kind, a length of four bytes and so many bytes: `P` pcapng, `K` lines of
//! Wireshark's file `esp_sa`, `E` how it ended, in words.

mod filter;
mod pcapng;

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown};
use std::os::unix::net::UnixStream;
use std::time::SystemTime;

use portcullis_config::Side;
use portcullis_ipsec::ethernet::Frame;
use portcullis_ipsec::{InterfaceId, PacketBuf};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::control::Control;
use crate::events::Event;
use crate::key_log::esp_line;
use crate::worker::Captured;
use filter::Filter;

/// Bytes that a client may be behind; what finds no room is lost, and counted.
const BUFFER: usize = 8 << 20;
/// SAs whose keys a client gets: more than anyone looks at.
const MOST_KEYS: usize = 10_000;
/// Milliseconds that a client has to read what is left when it ends the capture.
const FAREWELL: u64 = 2000;

/// What an operator wants to see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// A connection, a child as `connection/child`, or an SPD entry; `None`: everything.
    pub tunnel: Option<String>,
    /// An SA.
    pub sa: Option<String>,
    /// Frames of protected interfaces: clear text.
    pub clear: bool,
    /// Frames of unprotected interfaces.
    pub protected: bool,
    /// With the keys.
    pub keys: bool,
}

/// A capture that goes on.
#[derive(Debug)]
pub struct LiveCapture {
    stream: UnixStream,
    order: Order,
    filter: Filter,
    /// What the client has not read yet. It never grows: keys leave no copy behind.
    out: Zeroizing<Vec<u8>>,
    /// How much of it has gone.
    sent: usize,
    /// SAs whose keys it has: SPI and destination.
    told: HashSet<(u32, IpAddr)>,
    packets: u64,
    lost: u64,
    /// The client has ended it, and why; what is left goes out until then.
    ending: Option<(u64, String)>,
}

impl LiveCapture {
    /// Adds a part if there is room for it.
    fn part(&mut self, kind: u8, bytes: &[u8]) -> bool {
        let length = bytes.len() + 5;
        if self.out.len() + length > BUFFER && self.sent > 0 {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
        if self.out.len() + length > BUFFER {
            return false;
        }
        self.out.push(kind);
        let count = bytes.len() as u32;
        self.out.extend_from_slice(&count.to_le_bytes());
        self.out.extend_from_slice(bytes);
        true
    }

    /// Sends what the client takes; false when it has gone.
    fn flush(&mut self) -> bool {
        while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(0) => return false,
                Ok(sent) => self.sent += sent,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        self.out.clear();
        self.sent = 0;
        true
    }

    /// True if the client has said that it wants no more.
    fn is_ended(&mut self) -> bool {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(_) => true,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }

    fn take(&mut self, captured: &Captured, interface: InterfaceId, side: Side, head: &Frame) {
        let wanted = match side {
            Side::Protected => self.order.clear,
            Side::Unprotected => self.order.protected,
        };
        let frame = captured.frame.data();
        if !wanted || !self.filter.admits(frame, head, side, captured.inbound) {
            return;
        }
        let block = pcapng::packet(interface.0, SystemTime::now(), captured.inbound, frame);
        match self.part(b'P', &block) {
            true => self.packets += 1,
            false => self.lost += 1,
        }
    }
}

impl Control {
    /// Begins a capture for the client behind `stream`.
    pub fn begin_capture(&mut self, now: u64, stream: UnixStream, order: Order) {
        let mut capture = LiveCapture {
            stream,
            order,
            filter: Filter::default(),
            out: Zeroizing::new(Vec::with_capacity(BUFFER)),
            sent: 0,
            told: HashSet::new(),
            packets: 0,
            lost: 0,
            ending: None,
        };
        if let Err(reason) = self.check_capture(&capture.order) {
            capture.part(b'E', reason.as_bytes());
            // It gets its answer at once or not at all.
            capture.flush();
            return;
        }
        let interfaces = self.installed.policy.interfaces.iter();
        let interfaces = interfaces.map(|i| (i.name.as_str(), i.side));
        capture.part(b'P', &pcapng::head(interfaces));
        self.live_capture = Some(capture);
        self.refresh_capture();
        let Some(capture) = &self.live_capture else {
            return;
        };
        let order = &capture.order;
        let event = Event::CaptureStarted {
            side: match (order.clear, order.protected) {
                (true, true) => "both",
                (true, false) => "clear",
                _ => "protected",
            }
            .into(),
            tunnel: order.tunnel.clone().or_else(|| order.sa.clone()),
            sas_with_keys: capture.told.len(),
        };
        self.raise(now, event);
        self.switch_copies(true);
    }

    fn check_capture(&self, order: &Order) -> Result<(), String> {
        if self.live_capture.is_some() {
            return Err("another capture is under way".into());
        }
        let (filter, _) = Filter::new(self, order);
        match (&order.tunnel, &order.sa) {
            (Some(name), _) if filter.is_empty() => Err(format!("there is no tunnel `{name}`")),
            (_, Some(name)) if filter.is_empty() => Err(format!("there is no SA `{name}`")),
            _ => Ok(()),
        }
    }

    /// Workers copy the frames of all ports, or of those with a capture file only.
    fn switch_copies(&self, on: bool) {
        for (port, file) in self.ports.ports.iter().zip(&self.captures) {
            port.capture
                .store(on || file.is_some(), std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// SAs have come or gone: the filter follows, and the client gets the keys of new ones.
    pub fn refresh_capture(&mut self) {
        let Some(mut capture) = self.live_capture.take() else {
            return;
        };
        let (filter, sas) = Filter::new(self, &capture.order);
        capture.filter = filter;
        if capture.order.keys {
            for sa in sas.into_iter().take(MOST_KEYS) {
                let name = (sa.spi, sa.destination);
                if capture.told.contains(&name) || capture.told.len() >= MOST_KEYS {
                    continue;
                }
                if let Some(line) = esp_line(sa) {
                    if capture.part(b'K', line.as_bytes()) {
                        capture.told.insert(name);
                    }
                }
            }
        }
        self.live_capture = Some(capture);
    }

    /// Goes on with the capture, if there is one.
    pub fn advance_capture(&mut self, now: u64) {
        let Some(capture) = &mut self.live_capture else {
            return;
        };
        if capture.ending.is_none() && capture.is_ended() {
            let (packets, lost) = (capture.packets, capture.lost);
            let words = format!("{packets} packets, {lost} lost");
            capture.ending = Some((now + FAREWELL, "the client ended it".into()));
            capture.part(b'E', words.as_bytes());
        }
        let there = capture.flush();
        let over = match &capture.ending {
            Some((until, _)) => capture.out.is_empty() || *until <= now,
            None => false,
        };
        if there && !over {
            return;
        }
        self.end_capture(now, "the client has gone");
    }

    fn end_capture(&mut self, now: u64, otherwise: &str) {
        let Some(capture) = self.live_capture.take() else {
            return;
        };
        self.switch_copies(false);
        // The client sees the end of the stream.
        drop(capture.stream.shutdown(Shutdown::Both));
        let reason = capture.ending.map(|(_, reason)| reason);
        let event = Event::CaptureEnded {
            packets: capture.packets,
            lost: capture.lost,
            reason: reason.unwrap_or_else(|| otherwise.to_owned()),
        };
        self.raise(now, event);
    }

    /// A copy of a frame for the capture, if there is one.
    pub fn show_capture(&mut self, captured: &Captured) {
        let Some(capture) = self.live_capture.as_mut().filter(|c| c.ending.is_none()) else {
            return;
        };
        let Ok(head) = Frame::parse(captured.frame.data()) else {
            return;
        };
        let behind = self.ports.interfaces.get(usize::from(captured.port));
        let interface = behind.and_then(|behind| match head.vlan {
            None => behind.untagged,
            Some(vlan) => {
                let mut vlans = behind.vlans.iter();
                vlans
                    .find(|(id, _)| *id == vlan)
                    .map(|(_, interface)| *interface)
            }
        });
        let Some(interface) = interface else { return };
        if let Some(known) = self.fib.interface(interface) {
            capture.take(captured, interface, known.side, &head);
        }
    }
}
