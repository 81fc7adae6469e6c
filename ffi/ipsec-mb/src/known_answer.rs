//! Known answers, computed by OpenSSL 3: every key length, with different key, nonce and data in each lane, in
//! one burst, since libraries of this kind have been known to mix lanes up.

use crate::{Error, GcmJob, KeyLength, Manager};

struct Case {
    key: usize,
    aad: usize,
    data: usize,
    tag: u128,
}

const fn case(key: usize, aad: usize, data: usize, tag: u128) -> Case {
    Case {
        key,
        aad,
        data,
        tag,
    }
}

#[rustfmt::skip]
const CASES: [Case; 24] = [
    case(16, 8, 0, 0xc9fe52c3aa792f31aeb16afbc9b49702),
    case(24, 12, 1, 0x3458344ee2253090e3d8f0af1a076d7c),
    case(32, 0, 15, 0xc02dfe103c2a8ad15060bec660ac8ab8),
    case(16, 20, 16, 0x164b80446a8610e8ec2ff983d130f09b),
    case(24, 8, 17, 0xe282e3ba8d507611948373fe4f0e8434),
    case(32, 12, 48, 0xb69119054f257151a2f25695cee7ae03),
    case(16, 0, 64, 0xb55614d2e3b14fa740ad2cf243935d94),
    case(24, 20, 68, 0x2e905f01ed8a29e5137674e6450a69df),
    case(32, 8, 127, 0xfcc9f0f76d170bc8b200012b4659d36c),
    case(16, 12, 128, 0x64278a4dc4001aaf5416fdc7ea73845e),
    case(24, 0, 255, 0xd0cbca9f1b74354abfa86c7860b890a5),
    case(32, 20, 256, 0xfeaabf7ae9c1fe479f30c4a7d7cf29bc),
    case(16, 8, 300, 0xfe56f16165e0a15a419dfa7b956cd395),
    case(24, 12, 511, 0x045a958c27fea9f612d29c37121ce2d1),
    case(32, 0, 512, 0xd6933d2482c5297129f78a31a6e4fe85),
    case(16, 20, 513, 0x3df9655120daea8ef93921a1a5f64125),
    case(24, 8, 767, 0x6fdecfbe3a72a19e856fc91f36594c58),
    case(32, 12, 768, 0xaf441a8d8d8876a45c85a4416c445812),
    case(16, 0, 1000, 0x51e2d2c00eb6cb99dd7312c0f60a4aef),
    case(24, 20, 1024, 0xe6d5580a8bdd691e7b37583f17f2c632),
    case(32, 8, 1280, 0x6f9c173ab7e13de299024169abeb102e),
    case(16, 12, 1424, 0xd5736a503ba1d96b6e4ca1945c663a32),
    case(24, 0, 1500, 0xb3d5dd313bc411a466a1637aaf2072ca),
    case(32, 20, 2048, 0x307b35dac5094c3a71edddf7f4f6bda2),
];

/// The `stream`th input of a lane: bytes that no other lane has at this place.
fn input(lane: usize, stream: usize, length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| (lane * 31 + stream * 59 + i * 7 + (i >> 8) * 3 + 1) as u8)
        .collect()
}

/// One lane's inputs and outputs.
struct Lane {
    key: crate::GcmKey,
    length: KeyLength,
    nonce: [u8; 12],
    aad: Vec<u8>,
    data: Vec<u8>,
    tag: [u8; 16],
    ok: bool,
}

/// Seals all lanes at once, opens them, and opens them with a wrong tag.
pub(crate) fn check(manager: &mut Manager) -> Result<(), Error> {
    let mut lanes = Vec::new();
    for (lane, case) in CASES.iter().enumerate() {
        let key = manager
            .gcm_key(&input(lane, 0, case.key))
            .ok_or(Error::KnownAnswer(KeyLength::Aes128))?;
        let mut nonce = [0; 12];
        nonce.copy_from_slice(&input(lane, 1, 12));
        lanes.push(Lane {
            length: key.length(),
            key,
            nonce,
            aad: input(lane, 2, case.aad),
            data: input(lane, 3, case.data),
            tag: [0; 16],
            ok: false,
        });
    }

    run(&mut lanes, |jobs| manager.seal(jobs));
    expect(&lanes, |lane, case, _| {
        lane.ok && lane.tag == case.tag.to_be_bytes()
    })?;
    run(&mut lanes, |jobs| manager.open(jobs));
    expect(&lanes, |lane, case, i| {
        lane.ok && lane.data == input(i, 3, case.data)
    })?;
    run(&mut lanes, |jobs| manager.seal(jobs));
    for lane in &mut lanes {
        lane.tag[15] ^= 1;
    }
    run(&mut lanes, |jobs| manager.open(jobs));
    expect(&lanes, |lane, _, _| !lane.ok)
}

fn run(lanes: &mut [Lane], operation: impl FnOnce(&mut [GcmJob<'_>])) {
    let mut jobs: Vec<_> = lanes
        .iter_mut()
        .map(|lane| GcmJob {
            key: &lane.key,
            nonce: lane.nonce,
            aad: &lane.aad,
            data: &mut lane.data,
            tag: &mut lane.tag,
            ok: &mut lane.ok,
        })
        .collect();
    operation(&mut jobs);
}

fn expect(lanes: &[Lane], right: impl Fn(&Lane, &Case, usize) -> bool) -> Result<(), Error> {
    for (i, (lane, case)) in lanes.iter().zip(&CASES).enumerate() {
        if !right(lane, case, i) {
            return Err(Error::KnownAnswer(lane.length));
        }
    }
    Ok(())
}
