//! Known answers, computed by OpenSSL 3: every key length, with and without ESN, with different key, nonce and data in
//! each lane, in one burst, since what works on many packets at once may mix them up.

use super::{Form, Kernel};
use crate::{EspPacket, Unsupported};

const NAME: &str = "AES-GCM";

struct Case {
    key: usize,
    esn: bool,
    icv: usize,
    payload: usize,
    tag: u128,
}

const fn case(key: usize, esn: bool, icv: usize, payload: usize, tag: u128) -> Case {
    Case {
        key,
        esn,
        icv,
        payload,
        tag,
    }
}

#[rustfmt::skip]
const CASES: [Case; 32] = [
    case(16, false, 16, 0, 0xd797dfafb7915b65d2455c05ddd80776),
    case(24, false, 16, 1, 0xeebe711344944c951a91ce99b2d84b00),
    case(32, false, 12, 15, 0x034ab743f844e013689a03cc596cc4c6),
    case(16, true, 12, 16, 0xe7236b56796446457ff9e6ea6a100229),
    case(24, true, 8, 17, 0x30acf4a8aa4135e574ca49f2d154da60),
    case(32, true, 8, 44, 0x0aa78e65d6af6d9ca7c21b1204853f26),
    case(16, false, 16, 48, 0x44cf29d1f0a275f028d391a9a66b8017),
    case(24, false, 16, 68, 0x034868e8b262c00a6a312ed87ab05229),
    case(32, false, 12, 96, 0x8f333d5915832ccdb546e8373c54d475),
    case(16, true, 12, 111, 0x3b3f750fd6ca974f90215a355f442a81),
    case(24, true, 8, 112, 0xdc4ebfac58b8dbe78f621e4207a6a4f4),
    case(32, true, 8, 113, 0x34f76c77cc1500a4d1245a09a74724c3),
    case(16, false, 16, 128, 0xaf479f96dc48e893248d1436cede8165),
    case(24, false, 16, 239, 0xf607a5db9f914d5b39ae913921809ee1),
    case(32, false, 12, 240, 0xb65f7baf268bda6d90af431373fa530f),
    case(16, true, 12, 241, 0x7c56299ba8581bf5c1e6b1e42612118a),
    case(24, true, 8, 300, 0x7fc556c950fc1332ae72f9843daeb476),
    case(32, true, 8, 512, 0x3e4c231d44f1dfc45c4e1e92062821d0),
    case(16, false, 16, 580, 0x3f5b5cd3842dc57e16bdbc913a81ac10),
    case(24, false, 16, 767, 0x7a2796b5bc00ffcade131696261af1f2),
    case(32, false, 12, 1000, 0x8e779211138d82158c908109acd11839),
    case(16, true, 12, 1424, 0x6b022b9168dc48abc6649cd4e4c0300e),
    case(24, true, 8, 1504, 0xce97bad73021bae77f75427fc5ebc883),
    case(32, true, 8, 1505, 0x78fc4d39c7179d0a23acc9e4c0b36956),
    case(16, false, 16, 2048, 0xb707c614d1899d8bfab1e781fe9c8068),
    case(24, false, 16, 9000, 0x97a092906b35a884266f666571403daa),
    case(32, false, 12, 330, 0xc3a1b3c7d53a9ab83c9afa6c0eb31cd3),
    case(16, true, 12, 400, 0xec511c6537275bde4c126edb4c1a8cb3),
    case(24, true, 8, 490, 0x4ffd0bc2c87092522c328061c39e2236),
    case(32, true, 8, 640, 0xc7df8bec6e0a009bb64f6ba5db4535cd),
    case(16, false, 16, 752, 0x6c72adc4ff20fbe0fc788a0f8ebefe11),
    case(24, false, 16, 860, 0x456b3f81b3ef70bb54000dcc6f223559),
];

/// SPI, sequence number and IV.
const HEADER: usize = 16;

/// The `stream`th input of a lane: bytes that no other lane has at this place.
fn input(lane: usize, stream: usize, length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| (lane * 31 + stream * 59 + i * 7 + (i >> 8) * 3 + 1) as u8)
        .collect()
}

fn word(lane: usize, stream: usize) -> [u8; 4] {
    let mut word = [0; 4];
    word.copy_from_slice(&input(lane, stream, 4));
    word
}

/// One lane's inputs and outputs.
struct Lane<F> {
    case: &'static Case,
    key: F,
    sequence_high: Option<u32>,
    packet: Vec<u8>,
    payload: Vec<u8>,
    ok: bool,
}

impl<F: Form> Lane<F> {
    fn new(kernel: &Kernel, lane: usize, case: &'static Case) -> Option<Self> {
        let payload = input(lane, 4, case.payload);
        let mut packet = input(lane, 2, HEADER);
        packet.extend(&payload);
        packet.resize(packet.len() + case.icv, 0);
        Some(Lane {
            case,
            key: kernel.key(&input(lane, 0, case.key), word(lane, 1), case.icv)?,
            sequence_high: case.esn.then(|| u32::from_be_bytes(word(lane, 3))),
            packet,
            payload,
            ok: false,
        })
    }

    fn payload_is_clear(&self) -> bool {
        self.packet.get(HEADER..HEADER + self.payload.len()) == Some(&self.payload)
    }

    fn icv_is_right(&self) -> bool {
        self.packet.get(HEADER + self.payload.len()..)
            == self.case.tag.to_be_bytes().get(..self.case.icv)
    }
}

/// Seals all lanes at once, opens them, and opens them with wrong ICVs in every other one.
pub(crate) fn check<F: Form>(kernel: &Kernel) -> Result<(), Unsupported> {
    let mut lanes = Vec::new();
    for (i, case) in CASES.iter().enumerate() {
        let lane = Lane::<F>::new(kernel, i, case);
        lanes.push(lane.ok_or(Unsupported::KnownAnswer(NAME, case.key * 8))?);
    }
    run(&mut lanes, |packets| kernel.seal(packets));
    expect(&lanes, |lane| lane.ok && lane.icv_is_right())?;
    run(&mut lanes, |packets| kernel.open(packets));
    expect(&lanes, |lane| lane.ok && lane.payload_is_clear())?;
    for wrong in [0, 1] {
        run(&mut lanes, |packets| kernel.seal(packets));
        for lane in lanes.iter_mut().skip(wrong).step_by(2) {
            if let Some(last) = lane.packet.last_mut() {
                *last ^= 1;
            }
        }
        run(&mut lanes, |packets| kernel.open(packets));
        let every_other = |first| lanes.iter().skip(first).step_by(2);
        expect(every_other(wrong), |lane| !lane.ok)?;
        expect(every_other(1 - wrong), |lane| {
            lane.ok && lane.payload_is_clear()
        })?;
    }
    Ok(())
}

fn run<F>(lanes: &mut [Lane<F>], operation: impl FnOnce(&mut [EspPacket<'_, F>])) {
    let mut packets: Vec<_> = lanes
        .iter_mut()
        .map(|lane| EspPacket {
            key: &lane.key,
            packet: &mut lane.packet,
            sequence_high: lane.sequence_high,
            ok: false,
        })
        .collect();
    operation(&mut packets);
    let results: Vec<_> = packets.iter().map(|packet| packet.ok).collect();
    for (lane, ok) in lanes.iter_mut().zip(results) {
        lane.ok = ok;
    }
}

fn expect<'a, F: 'a>(
    lanes: impl IntoIterator<Item = &'a Lane<F>>,
    right: impl Fn(&Lane<F>) -> bool,
) -> Result<(), Unsupported> {
    match lanes.into_iter().find(|lane| !right(lane)) {
        Some(wrong) => Err(Unsupported::KnownAnswer(NAME, wrong.case.key * 8)),
        None => Ok(()),
    }
}
