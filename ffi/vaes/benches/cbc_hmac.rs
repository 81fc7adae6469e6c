//! TSC cycles a packet of AES-CBC with HMAC, beside ipsec-mb's in the same run: `cargo bench -p vaes --bench cbc_hmac`.
//! Each figure is the best of many rounds, in turn, since machines are noisy. `-- SUBSTRING` picks cases.

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

    use ipsec_mb::{Cipher, CipherJob, CipherKey, KeyLength, Mac, MacJob, MacKey, Manager};
    use vaes::cbc_hmac::{Kernel, Key};
    use vaes::{EspPacket, Hash};

    const ROUNDS: usize = 1000;
    const HEADER: usize = 24;
    /// From packet to packet, and where in its buffer one begins, as in those of a network driver.
    const STRIDE: usize = 2432;
    const HEADROOM: usize = 162;

    fn now() -> u64 {
        // SAFETY: reads a register that every x86-64 CPU has.
        unsafe { _rdtsc() }
    }

    struct Bench {
        kernel: Kernel,
        key: Key,
        manager: Manager,
        cipher: CipherKey,
        mac: MacKey,
    }

    impl Bench {
        fn new(hash: Hash) -> Self {
            let (kernel, manager) = (Kernel::new().unwrap(), Manager::new().unwrap());
            let (aes, auth) = ([7; 16], vec![9; hash.bytes()]);
            let mac = match hash {
                Hash::Sha1 => Mac::HmacSha1,
                Hash::Sha256 => Mac::HmacSha256,
            };
            Bench {
                key: kernel.key(hash, &aes, &auth).unwrap(),
                cipher: manager
                    .cipher_key(Cipher::AesCbc(KeyLength::Aes128), &aes)
                    .unwrap(),
                mac: manager.mac_key(mac, &auth).unwrap(),
                kernel,
                manager,
            }
        }

        fn kernel(
            &self,
            packets: &mut [&mut [u8]],
            run: impl Fn(&Kernel, &mut [EspPacket<'_, Key>]),
        ) {
            let packet = |packet| EspPacket {
                key: &self.key,
                packet,
                sequence_high: None,
                ok: false,
            };
            let mut packets: Vec<_> = packets.iter_mut().map(|p| packet(&mut **p)).collect();
            run(&self.kernel, &mut packets);
            assert!(packets.iter().all(|packet| packet.ok));
        }

        fn cipher(&mut self, packets: &mut [&mut [u8]], end: usize, seal: bool) {
            let mut oks = vec![false; packets.len()];
            let mut jobs = Vec::new();
            for (packet, ok) in packets.iter_mut().zip(&mut oks) {
                jobs.push(CipherJob {
                    key: &self.cipher,
                    iv: *packet[8..].first_chunk().unwrap(),
                    data: &mut packet[HEADER..end],
                    ok,
                });
            }
            match seal {
                true => self.manager.encrypt(&mut jobs),
                false => self.manager.decrypt(&mut jobs),
            }
        }

        fn mac(&mut self, packets: &[&mut [u8]], end: usize) {
            let (mut oks, mut tags) = (vec![false; packets.len()], vec![[0; 32]; packets.len()]);
            let mut jobs = Vec::new();
            for (packet, (ok, tag)) in packets.iter().zip(oks.iter_mut().zip(&mut tags)) {
                jobs.push(MacJob {
                    key: &self.mac,
                    data: &packet[..end],
                    tag,
                    ok,
                });
            }
            self.manager.mac(&mut jobs);
        }

        /// The least cycles a packet: seal, the library's, open, the library's.
        fn best(&mut self, packets: &mut [&mut [u8]], end: usize) -> [f64; 4] {
            let mut best = [u64::MAX; 4];
            for _ in 0..ROUNDS {
                let start = now();
                self.kernel(packets, Kernel::seal);
                let sealed = now();
                self.kernel(packets, Kernel::open);
                let opened = now();
                self.cipher(packets, end, true);
                self.mac(packets, end);
                let sealed_mb = now();
                self.mac(packets, end);
                self.cipher(packets, end, false);
                let times = [
                    sealed - start,
                    sealed_mb - opened,
                    opened - sealed,
                    now() - sealed_mb,
                ];
                for (best, time) in best.iter_mut().zip(times) {
                    *best = time.min(*best);
                }
            }
            best.map(|cycles| cycles as f64 / packets.len() as f64)
        }
    }

    pub(crate) fn main() {
        let only = std::env::args().skip(1).find(|a| !a.starts_with('-'));
        println!("TSC cycles a packet, AES-128");
        println!(
            "{:<22} {:>17} {:>17}",
            "hash-payload-burst", "seal  (ipsec-mb)", "open  (ipsec-mb)"
        );
        for hash in Hash::ALL {
            let mut bench = Bench::new(hash);
            for payload in [80, 528, 1440] {
                for burst in [32, 24, 16, 8, 4, 2, 1] {
                    let name = format!("{hash:?}-{payload}-{burst}");
                    if only.as_ref().is_some_and(|only| !name.contains(only)) {
                        continue;
                    }
                    let mut area = vec![1; STRIDE * (burst + 2)];
                    let skip = area.as_ptr().align_offset(4096) % STRIDE + HEADROOM;
                    let end = HEADER + payload;
                    let packet = |buffer| <[u8]>::split_at_mut(buffer, end + hash.icv_bytes()).0;
                    let buffers = area[skip..].chunks_exact_mut(STRIDE).take(burst);
                    let mut packets: Vec<_> = buffers.map(packet).collect();
                    let [seal, seal_mb, open, open_mb] = bench.best(&mut packets, end);
                    println!(
                        "{name:<22} {seal:>8.0} ({seal_mb:>6.0}) {open:>8.0} ({open_mb:>6.0})"
                    );
                }
            }
        }
    }
}
