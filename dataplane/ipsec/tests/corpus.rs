//! Replays the corpus of the fuzz targets, and thousands of changes to each file of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(unreachable_pub)] // public for the fuzz targets
#[path = "../../../tests/fuzz/src/bodies.rs"]
mod bodies;
mod rig;

use std::path::Path;

use rig::packets::Dice;

/// Runs a target over the files of a folder, and over `changes` mutations of each.
fn replay(folder: &str, changes: usize, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(folder);
    let entries = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    assert!(!files.is_empty(), "no corpus in {}", folder.display());
    for (n, file) in files.iter().enumerate() {
        let seed = std::fs::read(file).unwrap();
        run(&seed);
        let mut dice = Dice(n as u64 + 1);
        for _ in 0..changes {
            run(&mutated(&seed, &mut dice));
        }
    }
}

/// A few changes at random: bits, bytes, runs of bytes gone, doubled or moved.
fn mutated(seed: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut out = seed.to_vec();
    for _ in 0..1 + dice.below(6) {
        let len = out.len();
        if len < 4 {
            return out;
        }
        let (at, run) = (dice.below(len), 1 + dice.below(8));
        let end = (at + run).min(len);
        match dice.below(6) {
            0 => out[at] ^= 1 << dice.below(8),
            1 => out[at] = dice.next() as u8,
            2 => out[at] = dice.pick(&[0, 1, 0x7f, 0x80, 0xff, 44, 50, 51]),
            3 => drop(out.drain(at..end)),
            4 => {
                let copy = out[at..end].to_vec();
                let to = dice.below(len);
                out.splice(to..to, copy);
            }
            _ => out.truncate(len - dice.below(len / 4 + 1)),
        }
    }
    out
}

#[test]
fn inbound() {
    replay("tests/fuzz/corpus/inbound", 300, bodies::inbound);
}

#[test]
fn outbound() {
    replay("tests/fuzz/corpus/outbound", 300, bodies::outbound);
}

#[test]
fn policy() {
    replay("tests/fuzz/corpus/policy", 1000, bodies::policy);
    replay("config/examples", 500, bodies::policy);
}
