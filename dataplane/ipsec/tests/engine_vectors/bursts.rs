//! Two engines compute the same of every transform, at every length, alone and side by side.

use portcullis_config::{AesKey, Cipher, Integrity, Transform};
use portcullis_ipsec::engine::Engine;

use super::agreement::{Numbers, gcm_transforms, keymat, shape};
use super::*;

/// What a worker gives an engine at once.
const BURST: usize = 32;

/// Every algorithm, and each plain cipher with each integrity algorithm.
pub fn every_transform() -> Vec<Transform> {
    let keys = [AesKey::Aes128, AesKey::Aes192, AesKey::Aes256];
    let macs = [
        Integrity::HmacMd5_96,
        Integrity::HmacSha1_96,
        Integrity::HmacSha2_256_128,
        Integrity::HmacSha2_384_192,
        Integrity::HmacSha2_512_256,
        Integrity::AesXcbc96,
        Integrity::AesCmac96,
    ];
    let mut all = gcm_transforms();
    all.push(Transform::Esp(Cipher::ChaCha20Poly1305, None));
    for key in keys {
        all.extend([8, 12, 16].map(|n| Transform::Esp(Cipher::AesCcm(key, icv(n)), None)));
        all.push(Transform::Esp(Cipher::AesGmac(key), None));
        all.push(Transform::Ah(Integrity::AesGmac(key)));
    }
    for mac in macs {
        all.push(Transform::Ah(mac));
        let plain = [Cipher::TripleDesCbc, Cipher::DesCbc, Cipher::Null];
        let plain = plain.into_iter().chain(keys.map(Cipher::AesCbc));
        let plain = plain.chain(keys.map(Cipher::AesCtr));
        all.extend(plain.map(|cipher| Transform::Esp(cipher, Some(mac))));
    }
    all
}

/// A key that both engines have.
struct Keys<A: Engine, B: Engine> {
    transform: Transform,
    a: A::Key,
    b: B::Key,
}

fn keys<A: Engine, B: Engine>(
    (a, b): (&A, &B),
    transforms: &[Transform],
    numbers: &mut Numbers,
) -> Vec<Keys<A, B>> {
    let pair = |&transform| {
        let (cipher, integrity) = keymat(transform, numbers);
        Keys {
            transform,
            a: key(a, transform, &cipher, &integrity),
            b: key(b, transform, &cipher, &integrity),
        }
    };
    transforms.iter().map(pair).collect()
}

/// One packet: clear, and with what covers it.
struct Packet<'a, A: Engine, B: Engine> {
    keys: &'a Keys<A, B>,
    header: Vec<u8>,
    clear: Vec<u8>,
    high: Option<u32>,
}

fn packet<'a, A: Engine, B: Engine>(
    keys: &'a Keys<A, B>,
    length: usize,
    numbers: &mut Numbers,
) -> Packet<'a, A, B> {
    let (before, length, icv, header) = match keys.transform {
        Transform::Esp(..) => {
            let (iv, alignment, icv) = shape(keys.transform);
            // All but CBC take any length.
            let alignment = if alignment == 4 { 1 } else { alignment };
            (8 + iv, length / alignment * alignment, icv, 0)
        }
        Transform::Ah(integrity) => (12, length, integrity.icv_length(), 20),
    };
    Packet {
        keys,
        header: numbers.bytes(header),
        clear: numbers.bytes(before + length + icv),
        high: (numbers.next() & 1 == 0).then(|| numbers.next() as u32),
    }
}

/// What an engine needs beside a packet: key, transform, the header before AH, and the high half of an ESN.
type With<'a, K> = (&'a K, &'a Transform, &'a [u8], Option<u32>);

/// Gives an engine the ESP packets of a burst together, and the AH packets.
fn run<E: Engine>(
    e: &mut E,
    packets: &[With<'_, E::Key>],
    bytes: &mut [Vec<u8>],
    seals: bool,
) -> Vec<bool> {
    let (mut esp, mut ah) = (Vec::new(), Vec::new());
    let mut ok = vec![false; packets.len()];
    for (index, (packet, bytes)) in packets.iter().zip(bytes).enumerate() {
        let &(key, transform, header, sequence_high) = packet;
        let packet = bytes.as_mut_slice();
        // What was there before must not show.
        let ok = index % 2 == 0;
        match transform {
            Transform::Esp(..) => esp.push((
                index,
                EspJob {
                    key,
                    packet,
                    sequence_high,
                    ok,
                },
            )),
            Transform::Ah(_) => ah.push((
                index,
                AhJob {
                    key,
                    header,
                    packet,
                    sequence_high,
                    ok,
                },
            )),
        }
    }
    let (places, mut jobs): (Vec<_>, Vec<_>) = esp.into_iter().unzip();
    if seals {
        e.seal(&mut jobs)
    } else {
        e.open(&mut jobs)
    }
    places
        .iter()
        .zip(&jobs)
        .for_each(|(i, job)| ok[*i] = job.ok);
    let (places, mut jobs): (Vec<_>, Vec<_>) = ah.into_iter().unzip();
    if seals {
        e.sign(&mut jobs)
    } else {
        e.verify(&mut jobs)
    }
    places
        .iter()
        .zip(&jobs)
        .for_each(|(i, job)| ok[*i] = job.ok);
    ok
}

/// Seals and opens a burst by both engines; some packets are changed on the way and must be refused, and only they.
fn check<A: Engine, B: Engine>(
    (a, b): (&mut A, &mut B),
    packets: &[Packet<'_, A, B>],
    numbers: &mut Numbers,
) {
    let clear: Vec<_> = packets.iter().map(|p| p.clear.clone()).collect();
    let of_a: Vec<_> = packets
        .iter()
        .map(|p| (&p.keys.a, &p.keys.transform, &p.header[..], p.high))
        .collect();
    let of_b: Vec<_> = packets
        .iter()
        .map(|p| (&p.keys.b, &p.keys.transform, &p.header[..], p.high))
        .collect();
    let (mut by_a, mut by_b) = (clear.clone(), clear.clone());
    assert!(run(a, &of_a, &mut by_a, true).iter().all(|ok| *ok));
    assert!(run(b, &of_b, &mut by_b, true).iter().all(|ok| *ok));
    for (packet, (a, b)) in packets.iter().zip(by_a.iter().zip(&by_b)) {
        assert_eq!(a, b, "{:?}, {} bytes", packet.keys.transform, a.len());
    }
    let changed: Vec<_> = packets.iter().map(|_| numbers.next() % 4 == 0).collect();
    for (bytes, _) in by_a
        .iter_mut()
        .zip(&changed)
        .filter(|(_, changed)| **changed)
    {
        let byte = numbers.next() as usize % bytes.len();
        bytes[byte] ^= 1 << (numbers.next() % 8);
    }
    let ok = run(a, &of_a, &mut by_a, false);
    for (index, packet) in packets.iter().enumerate() {
        let (transform, length) = (packet.keys.transform, clear[index].len());
        assert_ne!(ok[index], changed[index], "{transform:?}, {length} bytes");
        if ok[index] && transform.protocol() == 50 {
            let end = length - transform.icv_length();
            assert_eq!(
                by_a[index][..end],
                clear[index][..end],
                "{transform:?}, {length} bytes"
            );
        }
    }
}

/// Each transform by itself, in bursts that have every length up to `longest` in some order.
pub fn agree_at_every_length<A: Engine, B: Engine>(a: &mut A, b: &mut B, longest: usize) {
    let mut numbers = Numbers::seeded(0x6a09_e667_f3bc_c908);
    let all = keys((&*a, &*b), &every_transform(), &mut numbers);
    // A step that has no divisor in common with it goes through all lengths.
    let count = longest + 1;
    let step = (101..)
        .find(|step| count % step != 0 && is_prime(*step))
        .unwrap();
    for keys in &all {
        let lengths: Vec<_> = (0..count).map(|i| i * step % count).collect();
        for lengths in lengths.chunks(BURST) {
            let packets: Vec<_> = lengths
                .iter()
                .map(|length| packet(keys, *length, &mut numbers))
                .collect();
            check((&mut *a, &mut *b), &packets, &mut numbers);
        }
    }
}

fn is_prime(n: usize) -> bool {
    (2..n).all(|divisor| n % divisor != 0)
}

/// Bursts of any size, of packets of any length, of one to five transforms.
pub fn agree_on_any_mix<A: Engine, B: Engine>(a: &mut A, b: &mut B, bursts: usize) {
    let mut numbers = Numbers::seeded(0xbb67_ae85_84ca_a73b);
    let all = keys((&*a, &*b), &every_transform(), &mut numbers);
    for _ in 0..bursts {
        let some: Vec<_> = (0..=numbers.next() % 5)
            .map(|_| &all[numbers.next() as usize % all.len()])
            .collect();
        let packets: Vec<_> = (0..=numbers.next() as usize % (2 * BURST + 5))
            .map(|_| {
                let keys = some[numbers.next() as usize % some.len()];
                let length = numbers.next() as usize % [65, 600, 1601][numbers.next() as usize % 3];
                packet(keys, length, &mut numbers)
            })
            .collect();
        check((&mut *a, &mut *b), &packets, &mut numbers);
    }
}
