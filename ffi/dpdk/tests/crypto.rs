//! Crypto devices in software: published vectors, order, back-pressure, and that nothing is lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use dpdk::crypto::{
    Aead, Algorithm, Auth, Cipher, CryptoConfig, CryptoDevice, CryptoQueue, Done, Job, Layout,
    Session, Sessions, Transform,
};
use dpdk::{Eal, Error};

use harness::{EAL_ARGS, Pools, pools};

const DEPTH: u32 = 512;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect()
}

fn start(name: &str, depth: u32, sessions: u32) -> (Sessions, CryptoQueue<u64>) {
    let device = CryptoDevice::open(name).expect("device");
    let config = CryptoConfig {
        queues: 1,
        depth,
        sessions,
    };
    let (sessions, mut queues) = device.start(&config).expect("start");
    (sessions, queues.pop().expect("queue"))
}

/// All that is in the device, in the order in which it comes.
fn collect(queue: &mut CryptoQueue<u64>) -> Vec<Done<u64>> {
    let (mut all, start) = (Vec::new(), Instant::now());
    while queue.in_flight() != 0 {
        let mut done = ArrayVec::<_, 32>::new();
        queue.dequeue(&mut done);
        all.extend(done);
        assert!(start.elapsed() < Duration::from_secs(5), "packets stuck");
    }
    all
}

fn one(
    pools: &Pools,
    queue: &mut CryptoQueue<u64>,
    session: &Session,
    packet: &[u8],
    layout: &Layout,
) -> (Vec<u8>, bool) {
    let job = Job::new(session, pools.packet(packet), layout, 7).expect("job");
    let mut jobs = ArrayVec::<_, 1>::from([job]);
    assert_eq!(queue.enqueue(&mut jobs), 1);
    let [done] = <[_; 1]>::try_from(collect(queue)).expect("one packet");
    assert_eq!(done.context, 7);
    (done.buf.data().to_vec(), done.ok)
}

/// A plaintext, and what it becomes; both ways, and with a digest that is wrong.
fn vector(
    pools: &Pools,
    (sessions, queue): &mut (Sessions, CryptoQueue<u64>),
    (algorithm, digest): (Algorithm<'_>, usize),
    layout: &Layout,
    (clear, sealed): (&[u8], &[u8]),
) {
    let transform = |encrypt| Transform {
        algorithm,
        encrypt,
        digest: digest as u8,
    };
    let seal = sessions.create(0, &transform(true)).expect("session");
    let open = sessions.create(0, &transform(false)).expect("session");
    let mut packet = clear.to_vec();
    packet.resize(clear.len() + digest, 0);
    assert_eq!(
        one(pools, queue, &seal, &packet, layout),
        (sealed.to_vec(), true)
    );
    let (opened, ok) = one(pools, queue, &open, sealed, layout);
    assert!(ok);
    assert_eq!(opened[..clear.len()], *clear);
    if digest != 0 {
        let mut forged = sealed.to_vec();
        *forged.last_mut().expect("byte") ^= 1;
        assert!(!one(pools, queue, &open, &forged, layout).1);
    }
}

fn vectors(pools: &Pools, device: &mut (Sessions, CryptoQueue<u64>)) {
    // The Galois/Counter Mode of Operation (McGrew, Viega), test case 3.
    let key = hex("feffe9928665731c6d6a8f9467308308");
    let clear = hex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
         1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
    );
    let sealed = hex(
        "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e\
         21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985\
         4d5c2af327cd64a62cf35abd2ba6fab4",
    );
    let mut layout = Layout {
        cipher: 0..64,
        digest: 64,
        ..Layout::default()
    };
    layout.iv[..12].copy_from_slice(&hex("cafebabefacedbaddecaf888"));
    let gcm = Algorithm::Aead {
        aead: Aead::AesGcm,
        key: &key,
        aad: 0,
    };
    vector(pools, device, (gcm, 16), &layout, (&clear, &sealed));
    // RFC 3602 4, case 1.
    let key = hex("06a9214036b8a15b512e03d534120006");
    let mut layout = Layout {
        cipher: 0..16,
        ..Layout::default()
    };
    layout
        .iv
        .copy_from_slice(&hex("3dafba429d9eb430b422da802c9fac41"));
    let sealed = hex("e353779c1079aeb82708942dbe77181a");
    let cbc = Algorithm::Cipher(Cipher::AesCbc, &key);
    vector(
        pools,
        device,
        (cbc, 0),
        &layout,
        (b"Single block msg", &sealed),
    );
    // RFC 4231 4.3 (test case 2), its last four bytes as a tail that is not in the packet, too.
    let text = b"what do ya want for nothing?";
    let digest = hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    for (clear, tail) in [(&text[..], None), (&text[..24], Some(*b"ing?"))] {
        let layout = Layout {
            auth: 0..clear.len(),
            digest: clear.len(),
            tail,
            ..Layout::default()
        };
        let hmac = Algorithm::Auth(Auth::HmacSha256, b"Jefe");
        // RFC 4868 2.1.1: the first half.
        let sealed = [clear, &digest[..16]].concat();
        vector(pools, device, (hmac, 16), &layout, (clear, &sealed));
    }
}

const CBC_SHA1: Algorithm<'_> = Algorithm::Chain {
    cipher: (Cipher::AesCbc, &[1; 16]),
    auth: (Auth::HmacSha1, &[2; 20]),
};
const NULL: Algorithm<'_> = Algorithm::Cipher(Cipher::Null, &[]);

/// 100 000 packets of one session come back in the order in which they went in.
fn order(pools: &Pools, device: &mut (Sessions, CryptoQueue<u64>), algorithm: Algorithm<'_>) {
    const PACKETS: u64 = 100_000;
    let (sessions, queue) = device;
    let transform = Transform {
        algorithm,
        encrypt: true,
        digest: 12,
    };
    let session = sessions.create(0, &transform).expect("session");
    let (mut sent, mut expected) = (0, 0);
    while expected < PACKETS {
        let mut jobs = ArrayVec::<_, 32>::new();
        while sent + (jobs.len() as u64) < PACKETS && !jobs.is_full() {
            let number = sent + jobs.len() as u64;
            // Sizes differ, so that drivers that work on several at once would mix them up.
            let size = 16 + 16 * (number * 7 % 60) as usize;
            let layout = Layout {
                cipher: 0..size,
                auth: 0..size,
                digest: size,
                ..Layout::default()
            };
            let packet = pools.packet(&vec![0; size + 12]);
            jobs.push(Job::new(&session, packet, &layout, number).expect("job"));
        }
        sent += queue.enqueue(&mut jobs) as u64;
        let mut done = ArrayVec::<_, 32>::new();
        queue.dequeue(&mut done);
        for done in done {
            assert!(done.ok);
            assert_eq!(done.context, expected, "order");
            expected += 1;
        }
    }
    assert_eq!(queue.in_flight(), 0);
}

/// What does not fit stays with its owner, in order; sessions outlive their packets; nothing is lost.
fn limits(pools: &Pools, name: &str, algorithm: Algorithm<'_>) {
    let (sessions, mut queue) = start(name, 8, 4);
    assert!(matches!(CryptoDevice::open(name), Err(Error::InUse(_))));
    let transform = Transform {
        algorithm,
        encrypt: true,
        digest: 12,
    };
    let layout = Layout {
        cipher: 0..32,
        auth: 0..32,
        digest: 32,
        ..Layout::default()
    };
    let session = sessions.create(0, &transform).expect("session");
    let job = |number| Job::new(&session, pools.packet(&[0; 44]), &layout, number).expect("job");
    let mut jobs: ArrayVec<_, 32> = (0..20).map(job).collect();
    let taken = queue.enqueue(&mut jobs);
    assert!((1..=8).contains(&taken), "{taken}");
    assert_eq!(
        jobs.into_iter()
            .map(|job| job.into_parts().1)
            .collect::<Vec<_>>(),
        (taken as u64..20).collect::<Vec<_>>()
    );
    assert_eq!(pools.pool.in_use() as usize, taken);
    // Its packets are in the device.
    drop(session);
    assert_eq!(sessions.sweep(), 1);
    let back: Vec<u64> = collect(&mut queue)
        .iter()
        .map(|done| done.context)
        .collect();
    assert_eq!(back, (0..taken as u64).collect::<Vec<_>>());
    assert_eq!(sessions.sweep(), 0);
    // Four sessions fit, over and over.
    for _ in 0..10 {
        let four = [(); 4].map(|()| sessions.create(0, &transform).expect("session"));
        assert!(sessions.create(0, &transform).is_err());
        drop(four);
    }
    // A queue waits for its packets.
    let session = sessions.create(0, &transform).expect("session");
    let job = Job::new(&session, pools.packet(&[0; 44]), &layout, 0).expect("job");
    queue.enqueue(&mut ArrayVec::<_, 1>::from([job]));
    drop((session, queue, sessions));
    pools.assert_all_returned();
}

/// What lies outside the packet is refused before any driver sees it.
fn bounds(pools: &Pools, sessions: &Sessions) {
    let transform = Transform {
        algorithm: CBC_SHA1,
        encrypt: false,
        digest: 12,
    };
    let session = sessions.create(0, &transform).expect("session");
    let good = Layout {
        cipher: 0..32,
        auth: 0..32,
        digest: 32,
        tail: Some([0; 4]),
        ..Layout::default()
    };
    let bad = [
        Layout {
            cipher: 0..45,
            ..good.clone()
        },
        Layout {
            cipher: 44..45,
            ..good.clone()
        },
        Layout {
            auth: 44..45,
            ..good.clone()
        },
        Layout {
            digest: 33,
            ..good.clone()
        },
        Layout {
            digest: usize::MAX,
            ..good.clone()
        },
        // The tail would lie over what is not the digest.
        Layout {
            auth: 0..16,
            ..good.clone()
        },
    ];
    assert!(Job::new(&session, pools.packet(&[0; 44]), &good, 0u64).is_ok());
    for layout in bad {
        let refused = Job::new(&session, pools.packet(&[0; 44]), &layout, 0u64);
        assert!(refused.is_err(), "{layout:?}");
    }
}

#[test]
fn software_devices_cipher_in_order_and_lose_nothing() {
    let names = ["crypto_aesni_mb", "crypto_openssl", "crypto_null"];
    let devices = names.map(|name| format!("--vdev={name}"));
    let args = EAL_ARGS.iter().map(|arg| (*arg).to_owned()).chain(devices);
    let eal = Eal::init(args).expect("EAL");
    assert_eq!(CryptoDevice::names().expect("names"), names);
    let pools = pools();
    for name in ["crypto_aesni_mb", "crypto_openssl"] {
        let mut device = start(name, DEPTH, 32);
        vectors(&pools, &mut device);
        order(&pools, &mut device, CBC_SHA1);
        bounds(&pools, &device.0);
        drop(device);
        limits(&pools, name, CBC_SHA1);
    }
    let mut null = start("crypto_null", DEPTH, 32);
    order(&pools, &mut null, NULL);
    let transform = Transform {
        algorithm: CBC_SHA1,
        encrypt: true,
        digest: 12,
    };
    assert!(!null.0.supports(&transform));
    assert!(null.0.create(0, &transform).is_err());
    drop(null);
    limits(&pools, "crypto_null", NULL);
    drop((pools, eal));
}
