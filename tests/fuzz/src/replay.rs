//! Replays a corpus, and changes to each file of it, as an ordinary test.

use std::path::Path;

/// Marsaglia's xorshift: the same numbers in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        ((self.next() >> 32) as usize) % n
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// Runs a target over the files of a folder of the repository, and over `changes` mutations of each.
pub fn replay(folder: &str, changes: usize, run: fn(&[u8])) {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let folder = workspace
        .map(|above| above.join(folder))
        .find(|folder| folder.is_dir())
        .unwrap_or_else(|| panic!("no folder {folder}"));
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
