//! TSC cycles a packet, beside ipsec-mb's in the same run: `cargo bench -p vaes`. Each figure is the best of many
//! rounds, in turn, since machines are noisy.

#[cfg(target_arch = "x86_64")]
fn main() {
    x86_64::main();
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {}

#[cfg(target_arch = "x86_64")]
#[allow(clippy::unwrap_used)]
mod x86_64 {
    use std::arch::x86_64::_rdtsc;

    use ipsec_mb::{GcmJob, GcmKey, Manager};
    use std::hint::black_box;
    use vaes::EspPacket;

    use vaes::gcm::{Form, Kernel, Key, Seed};

    const BURST: usize = 32;
    const HEADER: usize = 16;
    const ICV: usize = 16;
    /// Inner packets of 64, 576 and 1 420 bytes, 7:4:1, in an order without runs.
    const IMIX: [usize; 12] = [68, 580, 68, 68, 1424, 580, 68, 68, 580, 68, 580, 68];

    /// A workload, and where its packets are.
    struct Load {
        keys: Vec<[u8; 32]>,
        key_len: usize,
        packets: Vec<Packet>,
        esn: bool,
    }

    /// A packet with room around it, as in a packet buffer of a network driver: what is near it is not another one.
    struct Packet {
        buffer: Vec<u8>,
        len: usize,
    }

    impl Packet {
        const HEADROOM: usize = 256;

        fn new(len: usize) -> Self {
            let buffer = vec![1; Self::HEADROOM + len.max(2048)];
            Packet { buffer, len }
        }

        fn bytes(&mut self) -> &mut [u8] {
            &mut self.buffer[Self::HEADROOM..][..self.len]
        }
    }

    impl Load {
        fn new(sizes: &[usize], keys: usize, key_len: usize) -> Self {
            let count = BURST.max(keys).next_multiple_of(BURST);
            Load {
                keys: (0..keys).map(key_bytes).collect(),
                key_len,
                packets: (0..count)
                    .map(|i| Packet::new(HEADER + sizes[i % sizes.len()] + ICV))
                    .collect(),
                esn: false,
            }
        }

        fn rounds(&self) -> usize {
            (400_000 / self.packets.len()).max(8)
        }
    }

    fn key_bytes(i: usize) -> [u8; 32] {
        let mut key = [0x5a; 32];
        key[..8].copy_from_slice(&(i as u64).to_le_bytes());
        key
    }

    fn now() -> u64 {
        // SAFETY: reads a register that every x86-64 CPU has.
        unsafe { _rdtsc() }
    }

    /// Runs all bursts of a load several times; the least cycles a packet.
    fn best<T>(rounds: usize, packets: &mut [T], mut run: impl FnMut(&mut [T])) -> f64 {
        let mut least = u64::MAX;
        for _ in 0..rounds {
            let start = now();
            for burst in packets.chunks_mut(BURST) {
                run(burst);
            }
            least = least.min(now() - start);
        }
        least as f64 / packets.len() as f64
    }

    fn fast<F: Form>(
        kernel: &Kernel,
        load: &mut Load,
        mut run: impl FnMut(&mut [EspPacket<'_, F>]),
    ) -> f64 {
        let expand = |key: &[u8; 32]| kernel.key(&key[..load.key_len], [1; 4], ICV).unwrap();
        let keys: Vec<F> = load.keys.iter().map(expand).collect();
        let (rounds, sequence_high) = (load.rounds(), load.esn.then_some(7));
        let packet = |(i, packet)| EspPacket {
            key: &keys[i % keys.len()],
            packet,
            sequence_high,
            ok: false,
        };
        let packets = load.packets.iter_mut().map(Packet::bytes);
        let mut packets: Vec<_> = packets.enumerate().map(packet).collect();
        best(rounds, &mut packets, |burst| run(burst))
    }

    fn expanded(kernel: &Kernel, load: &mut Load, seal: bool) -> f64 {
        fast::<Key>(kernel, load, |burst| match seal {
            true => kernel.seal(burst),
            false => kernel.open(burst),
        })
    }

    fn seeds(kernel: &Kernel, load: &mut Load, seal: bool) -> f64 {
        let mut room = kernel.room();
        fast::<Seed>(kernel, load, |burst| {
            black_box(match seal {
                true => kernel.run_seeds::<true>(burst, &mut room),
                false => kernel.run_seeds::<false>(burst, &mut room),
            });
        })
    }

    fn ipsec_mb(manager: &mut Manager, load: &mut Load, seal: bool) -> f64 {
        let expand = |key: &[u8; 32]| manager.gcm_key(&key[..load.key_len]).unwrap();
        let keys: Vec<GcmKey> = load.keys.iter().map(expand).collect();
        let rounds = load.rounds();
        let mut oks = vec![false; load.packets.len()];
        let mut jobs = Vec::new();
        for ((i, packet), ok) in load.packets.iter_mut().enumerate().zip(&mut oks) {
            let (aad, rest) = packet.bytes().split_at_mut(8);
            let (iv, rest) = rest.split_at_mut(8);
            let (data, tag) = rest.split_at_mut(rest.len() - ICV);
            let mut nonce = [1; 12];
            nonce[4..].copy_from_slice(iv);
            jobs.push(GcmJob {
                key: &keys[i % keys.len()],
                nonce,
                aad,
                data,
                tag,
                ok,
            });
        }
        best(rounds, &mut jobs, |burst| {
            if seal {
                manager.seal(burst);
            } else {
                manager.open(burst);
            }
        })
    }

    pub(crate) fn main() {
        let kernel = Kernel::new().unwrap();
        let mut manager = Manager::new().unwrap();
        println!("TSC cycles a packet, bursts of {BURST}");
        println!(
            "{:<24} {:>6} {:>26} {:>26}",
            "payload", "keys", "seal  (seed, ipsec-mb)", "open  (seed, ipsec-mb)"
        );
        let quick = std::env::args().any(|a| a == "--quick");
        for key_len in if quick { vec![16] } else { vec![16, 24, 32] } {
            let only: Vec<String> = std::env::args()
                .filter(|a| !a.starts_with('-'))
                .skip(1)
                .collect();
            for (name, sizes) in [
                ("44", &[44][..]),
                ("68", &[68]),
                ("128", &[128]),
                ("200", &[200]),
                ("516", &[516]),
                ("1424", &[1424]),
                ("IMIX", &IMIX),
                ("9000", &[9000]),
            ] {
                if !only.is_empty() && !only.iter().any(|o| o == name) {
                    continue;
                }
                for keys in [1, 32, 1000] {
                    let mut load = Load::new(sizes, keys, key_len);
                    let mut cycles = [f64::MAX; 6];
                    for _ in 0..3 {
                        for (cycles, seal) in cycles.chunks_mut(3).zip([true, false]) {
                            cycles[0] = cycles[0].min(expanded(&kernel, &mut load, seal));
                            cycles[1] = cycles[1].min(seeds(&kernel, &mut load, seal));
                            cycles[2] = cycles[2].min(ipsec_mb(&mut manager, &mut load, seal));
                        }
                    }
                    let [seal, seal_seed, seal_mb, open, open_seed, open_mb] = cycles;
                    println!(
                        "AES-{:<3} {name:<16} {keys:>6} {seal:>9.1} ({seal_seed:>6.1}, {seal_mb:>6.1}) {open:>9.1} ({open_seed:>6.1}, {open_mb:>6.1})",
                        key_len * 8
                    );
                }
            }
        }
    }
}
