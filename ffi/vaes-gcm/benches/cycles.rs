//! TSC cycles a packet, beside ipsec-mb's in the same run: `cargo bench -p vaes-gcm`. Each figure is the best of many
//! rounds, in turn, since machines are noisy.

#[cfg(target_arch = "x86_64")]
fn main() {
    x86_64::main();
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::x86_64::_rdtsc;

    use ipsec_mb::{GcmJob, GcmKey, Manager};
    use vaes_gcm::{EspPacket, Kernel, Key};

    const BURST: usize = 32;
    const HEADER: usize = 16;
    const ICV: usize = 16;
    /// Inner packets of 64, 576 and 1 420 bytes, 7:4:1, in an order without runs.
    const IMIX: [usize; 12] = [68, 580, 68, 68, 1424, 580, 68, 68, 580, 68, 580, 68];

    /// A workload, and where its packets are.
    struct Load {
        keys: Vec<[u8; 32]>,
        key_len: usize,
        packets: Vec<Vec<u8>>,
        esn: bool,
    }

    impl Load {
        fn new(sizes: &[usize], keys: usize, key_len: usize) -> Self {
            let count = BURST.max(keys).next_multiple_of(BURST);
            Load {
                keys: (0..keys).map(key_bytes).collect(),
                key_len,
                packets: (0..count)
                    .map(|i| vec![i as u8; HEADER + sizes[i % sizes.len()] + ICV])
                    .collect(),
                esn: false,
            }
        }

        fn rounds(&self) -> usize {
            (40_000 / self.packets.len()).max(8)
        }
    }

    fn key_bytes(i: usize) -> [u8; 32] {
        let mut key = [0x5a; 32];
        key[..8].copy_from_slice(&(i as u64).to_le_bytes());
        key
    }

    /// Runs all bursts of a load `rounds` times; the least cycles a packet.
    fn best(load: &mut Load, mut burst: impl FnMut(usize, &mut [Vec<u8>])) -> f64 {
        let mut least = u64::MAX;
        for _ in 0..load.rounds() {
            let start = now();
            for (i, packets) in load.packets.chunks_mut(BURST).enumerate() {
                burst(i * BURST, packets);
            }
            least = least.min(now() - start);
        }
        least as f64 / load.packets.len() as f64
    }

    fn now() -> u64 {
        // SAFETY: reads a register that every x86-64 CPU has.
        unsafe { _rdtsc() }
    }

    fn fast(kernel: &Kernel, load: &mut Load, seal: bool) -> f64 {
        let expand = |key: &[u8; 32]| kernel.key(&key[..load.key_len], [1; 4], ICV).unwrap();
        let keys: Vec<Key> = load.keys.iter().map(expand).collect();
        let esn = load.esn.then_some(7);
        best(load, |first, packets| {
            let mut burst = arrayvec(packets, |i, packet| EspPacket {
                key: &keys[(first + i) % keys.len()],
                packet,
                sequence_high: esn,
                ok: false,
            });
            if seal {
                kernel.seal(&mut burst);
            } else {
                kernel.open(&mut burst);
            }
        })
    }

    fn ipsec_mb(manager: &mut Manager, load: &mut Load, seal: bool) -> f64 {
        let expand = |key: &[u8; 32]| manager.gcm_key(&key[..load.key_len]).unwrap();
        let keys: Vec<GcmKey> = load.keys.iter().map(expand).collect();
        best(load, |first, packets| {
            let mut ok = [false; BURST];
            let mut ok = ok.iter_mut();
            let mut burst = arrayvec(packets, |i, packet| {
                let (aad, rest) = packet.split_at_mut(8);
                let (iv, rest) = rest.split_at_mut(8);
                let (data, tag) = rest.split_at_mut(rest.len() - ICV);
                let mut nonce = [1; 12];
                nonce[4..].copy_from_slice(iv);
                GcmJob {
                    key: &keys[(first + i) % keys.len()],
                    nonce,
                    aad,
                    data,
                    tag,
                    ok: ok.next().unwrap(),
                }
            });
            if seal {
                manager.seal(&mut burst);
            } else {
                manager.open(&mut burst);
            }
        })
    }

    /// An array of what `make` makes of each packet.
    fn arrayvec<'p, T>(
        packets: &'p mut [Vec<u8>],
        mut make: impl FnMut(usize, &'p mut [u8]) -> T,
    ) -> [T; BURST] {
        let packets: &mut [Vec<u8>; BURST] = packets.try_into().unwrap();
        let mut i = 0;
        packets.each_mut().map(|packet| {
            i += 1;
            make(i - 1, packet)
        })
    }

    pub(crate) fn main() {
        let kernel = Kernel::new().unwrap();
        let mut manager = Manager::new().unwrap();
        println!("TSC cycles a packet, bursts of {BURST}");
        println!("{:<24} {:>6} {:>17} {:>17}", "payload", "keys", "seal  (ipsec-mb)", "open  (ipsec-mb)");
        let quick = std::env::args().any(|a| a == "--quick");
        for key_len in if quick { vec![16] } else { vec![16, 24, 32] } {
            for (name, sizes) in [("44", &[44][..]), ("68", &[68]), ("128", &[128]), ("200", &[200]), ("516", &[516]), ("1424", &[1424]), ("IMIX", &IMIX), ("9000", &[9000])] {
                for keys in [1, 32, 1000] {
                    let mut load = Load::new(sizes, keys, key_len);
                    let mut cycles = [f64::MAX; 4];
                    for _ in 0..3 {
                        cycles[0] = cycles[0].min(fast(&kernel, &mut load, true));
                        cycles[1] = cycles[1].min(ipsec_mb(&mut manager, &mut load, true));
                        cycles[2] = cycles[2].min(fast(&kernel, &mut load, false));
                        cycles[3] = cycles[3].min(ipsec_mb(&mut manager, &mut load, false));
                    }
                    let [seal, seal_mb, open, open_mb] = cycles;
                    println!(
                        "AES-{:<3} {name:<16} {keys:>6} {seal:>8.1} ({seal_mb:>6.1}) {open:>8.1} ({open_mb:>6.1})",
                        key_len * 8
                    );
                }
            }
        }
    }
}
