//! Two ports, what is sent at them, and what comes back.

use std::collections::VecDeque;
use std::error::Error;

use arrayvec::ArrayVec;
use dpdk::{Device, Mbuf, Mempool, Port, PortConfig, RxQueue, TxQueue, thread};

use crate::frames::{Seen, Side, arp, ike, ping, see};

const BURST: usize = 32;
/// Bytes of a frame that differ from what a fresh buffer holds; the rest of the payload is whatever it held before.
const WRITTEN: usize = 64;
/// Seconds after which a packet that has not come will not come.
const PATIENCE: f64 = 0.5;
/// Seconds between two rounds of questions.
const QUESTIONS: f64 = 0.01;

/// What happened in one load.
#[derive(Debug, Default)]
pub(crate) struct Phase {
    /// Packets that were due.
    pub(crate) offered: u64,
    /// Those the port had room for.
    pub(crate) accepted: u64,
    /// Those that came back sealed.
    pub(crate) sealed: u64,
    /// Those of them that came before the load ended.
    pub(crate) received_in_time: u64,
    /// Ticks from being sent to being received.
    pub(crate) times: Vec<u64>,
    /// Ticks of the longest time in which this thread did not look.
    pub(crate) longest_pause: u64,
    pub(crate) arp_asked: u64,
    pub(crate) arp_answered: u64,
    pub(crate) pings: u64,
    pub(crate) pongs: u64,
    pub(crate) ike_sent: u64,
}

struct Wire {
    port: Port,
    rx: RxQueue,
    tx: TxQueue,
    /// What must not be lost on the way to the gateway.
    questions: VecDeque<Vec<u8>>,
    accepted: u64,
}

/// The hosts of both sides.
pub(crate) struct Hosts {
    pool: Mempool,
    lan: Wire,
    wan: Wire,
    asks: bool,
    /// When questions were last asked, and how often.
    asked: (u64, u16),
}

impl Wire {
    fn connect(
        name: &str,
        socket: &str,
        pool: &Mempool,
        jumbo: &Mempool,
    ) -> Result<Wire, Box<dyn Error>> {
        let device = Device::hotplug(&format!(
            "{name},role=client,id=0,socket={socket},socket-abstract=no"
        ))?;
        let config = PortConfig {
            rx_queues: 1,
            tx_queues: 1,
            descriptors: 1024,
            mtu: 1500,
            pool: pool.clone(),
            jumbo: jumbo.clone(),
            security: false,
        };
        let (port, mut rx, mut tx) = device.start(&config)?;
        let (rx, tx) = rx.pop().zip(tx.pop()).ok_or("no queue")?;
        let mut wire = Wire {
            port,
            rx,
            tx,
            questions: VecDeque::new(),
            accepted: 0,
        };
        wire.await_link()?;
        Ok(wire)
    }

    fn await_link(&mut self) -> Result<(), Box<dyn Error>> {
        let begun = thread::cycles();
        while !self.port.is_link_up()? {
            if since(begun) > 10.0 {
                return Err("no gateway at the other end".into());
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Ok(())
    }

    /// Sends questions as far as there is room; the rest waits.
    fn send_questions(&mut self, pool: &Mempool) {
        while let Some(frame) = self.questions.front() {
            let mut burst = ArrayVec::<Mbuf, 1>::new();
            burst.extend(filled(pool, frame, frame.len()));
            let sent = self.tx.burst(&mut burst);
            self.accepted += sent as u64;
            if sent == 0 {
                return;
            }
            self.questions.pop_front();
        }
    }
}

/// A buffer with a frame of which `written` bytes are copied.
fn filled(pool: &Mempool, frame: &[u8], written: usize) -> Option<Mbuf> {
    let mut buf = pool.alloc()?;
    buf.append(frame.len()).ok()?;
    let (to, from) = (buf.data_mut().get_mut(..written)?, frame.get(..written)?);
    to.copy_from_slice(from);
    Some(buf)
}

fn since(begun: u64) -> f64 {
    thread::cycles().wrapping_sub(begun) as f64 / thread::cycles_hz() as f64
}

/// The packets of a load that are under way.
struct Flight {
    /// When each was sent, in the order of the sequence numbers that they will get.
    sent_at: Vec<u64>,
    /// Sequence number of the first.
    first: u32,
    phase: Phase,
}

impl Flight {
    #[inline]
    fn arrived(&mut self, frame: &[u8], now: u64) {
        match see(frame) {
            Some(Seen::Esp(number)) => {
                let index = number.wrapping_sub(self.first) as usize;
                if let Some(sent) = self.sent_at.get(index) {
                    self.phase.sealed += 1;
                    self.phase.times.push(now.wrapping_sub(*sent));
                }
            }
            Some(Seen::ArpReply) => self.phase.arp_answered += 1,
            Some(Seen::EchoReply) => self.phase.pongs += 1,
            None => {}
        }
    }
}

impl Hosts {
    /// Opens both ports, and returns when the gateway has.
    pub(crate) fn connect(lan: &str, wan: &str) -> Result<Hosts, Box<dyn Error>> {
        let pool = Mempool::new("pool", 16383, 256, 2048)?;
        let jumbo = Mempool::new("jumbo", 255, 0, 16384)?;
        Ok(Hosts {
            lan: Wire::connect("net_memif0", lan, &pool, &jumbo)?,
            wan: Wire::connect("net_memif1", wan, &pool, &jumbo)?,
            pool,
            asks: false,
            asked: (0, 0),
        })
    }

    /// Whether loads are accompanied by ARP, pings and IKE.
    pub(crate) fn ask(&mut self, asks: bool) {
        self.asks = asks;
    }

    /// Frames that the gateway's ports were given so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.lan.accepted + self.wan.accepted
    }

    /// Sends `frame` at `rate` a second for so many seconds, and waits for what comes back.
    pub(crate) fn load(
        &mut self,
        frame: &[u8],
        rate: f64,
        seconds: f64,
    ) -> Result<Phase, Box<dyn Error>> {
        let hz = thread::cycles_hz() as f64;
        let most = (rate.min(2e7) * seconds) as usize + BURST;
        let mut flight = Flight {
            sent_at: Vec::with_capacity(most),
            first: self.probe()?.wrapping_add(1),
            phase: Phase {
                times: Vec::with_capacity(most),
                ..Phase::default()
            },
        };
        // The memory is there before the clock runs.
        flight.sent_at.resize(most, 0);
        flight.sent_at.clear();
        flight.phase.times.resize(most, 0);
        flight.phase.times.clear();
        let (begun, ticks) = (thread::cycles(), (seconds * hz) as u64);
        let (per_tick, mut looked) = (rate / hz, begun);
        loop {
            let now = thread::cycles();
            let elapsed = now.wrapping_sub(begun);
            flight.phase.longest_pause = flight.phase.longest_pause.max(now.wrapping_sub(looked));
            looked = now;
            if elapsed < ticks {
                self.send_due(frame, &mut flight, (elapsed as f64 * per_tick) as u64);
                self.ask_questions(&mut flight.phase, now, hz);
            } else if flight.phase.received_in_time == 0 {
                flight.phase.received_in_time = flight.phase.sealed;
            }
            self.receive(&mut flight);
            if elapsed >= ticks && self.is_done(&flight.phase, elapsed - ticks, hz) {
                break;
            }
        }
        self.check_numbers(flight)
    }

    /// True when all answers are there, or will not come.
    fn is_done(&self, phase: &Phase, over: u64, hz: f64) -> bool {
        let all = phase.sealed == phase.accepted
            && phase.arp_answered == phase.arp_asked
            && phase.pongs == phase.pings
            && self.lan.questions.is_empty()
            && self.wan.questions.is_empty();
        all || over as f64 > PATIENCE * hz
    }

    /// Sequence numbers tell packets only if none was lost before it got one: the next must be the last plus one.
    fn check_numbers(&mut self, flight: Flight) -> Result<Phase, Box<dyn Error>> {
        let next = self.probe()?;
        let given = next.wrapping_sub(flight.first);
        let phase = flight.phase;
        // A flood of other packets has none at all.
        if phase.sealed != 0 && u64::from(given) != phase.accepted {
            return Err(format!("{} packets were sent and {given} sealed", phase.accepted).into());
        }
        Ok(phase)
    }

    fn send_due(&mut self, frame: &[u8], flight: &mut Flight, due: u64) {
        self.lan.send_questions(&self.pool);
        self.wan.send_questions(&self.pool);
        let mut burst = ArrayVec::<Mbuf, BURST>::new();
        let count = due.saturating_sub(flight.phase.offered).min(BURST as u64);
        let written = WRITTEN.min(frame.len());
        for _ in 0..count {
            burst.extend(filled(&self.pool, frame, written));
        }
        if burst.is_empty() {
            return;
        }
        flight.phase.offered += burst.len() as u64;
        let now = thread::cycles();
        let sent = self.lan.tx.burst(&mut burst);
        flight.phase.accepted += sent as u64;
        self.lan.accepted += sent as u64;
        flight.sent_at.extend(std::iter::repeat_n(now, sent));
        Mbuf::free_bulk(&mut burst);
    }

    fn ask_questions(&mut self, phase: &mut Phase, now: u64, hz: f64) {
        let (last, count) = self.asked;
        if !self.asks || (now.wrapping_sub(last) as f64) < QUESTIONS * hz {
            return;
        }
        self.asked = (now, count.wrapping_add(1));
        self.lan.questions.extend([arp(Side::Lan), ping(count)]);
        self.wan.questions.extend([arp(Side::Wan), ike()]);
        phase.arp_asked += 2;
        phase.pings += 1;
        phase.ike_sent += 1;
    }

    fn receive(&mut self, flight: &mut Flight) {
        for wire in [&mut self.wan, &mut self.lan] {
            wire.send_questions(&self.pool);
            let mut burst = ArrayVec::<Mbuf, BURST>::new();
            wire.rx.burst(&mut burst);
            let now = thread::cycles();
            for packet in &burst {
                flight.arrived(packet.data(), now);
            }
            Mbuf::free_bulk(&mut burst);
        }
    }

    /// Sends one packet through the tunnel when nothing else is under way: its sequence number.
    fn probe(&mut self) -> Result<u32, Box<dyn Error>> {
        let frame = crate::frames::data(64);
        self.lan.questions.push_back(frame);
        let begun = thread::cycles();
        let mut found = None;
        // What is left of an overload comes first.
        let mut quiet = begun;
        while found.is_none() || since(quiet) < 0.001 {
            self.lan.send_questions(&self.pool);
            for wire in [&mut self.wan, &mut self.lan] {
                let mut burst = ArrayVec::<Mbuf, BURST>::new();
                if wire.rx.burst(&mut burst) != 0 {
                    quiet = thread::cycles();
                }
                for packet in &burst {
                    if let Some(Seen::Esp(number)) = see(packet.data()) {
                        found = Some(number);
                    }
                }
            }
            if since(begun) > 5.0 {
                return Err("a packet was lost on an idle gateway".into());
            }
        }
        found.ok_or_else(|| "no sequence number".into())
    }
}
