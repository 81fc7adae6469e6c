//! The anti-replay window against a model that remembers everything (RFC 4303 3.4.3, appendix A).

use std::collections::HashSet;

use portcullis_ipsec::DropReason;
use portcullis_ipsec::replay::ReplayWindow;

use crate::rig::packets::{Dice, echo};
use crate::rig::policy::{GCM, tunnel, tunnel_with};
use crate::rig::{LAN, WIRE};

/// What RFC 4303 says, with unlimited memory.
struct Model {
    seen: HashSet<u64>,
    top: u64,
    size: u64,
}

impl Model {
    fn new(size: u64, top: u64) -> Self {
        let seen = HashSet::new();
        Model { seen, top, size }
    }

    fn verdict(&self, sequence: u64) -> Result<(), DropReason> {
        if sequence > self.top {
            Ok(())
        } else if sequence == 0 || sequence + self.size <= self.top {
            Err(DropReason::ReplayOld)
        } else if self.seen.contains(&sequence) {
            Err(DropReason::Replay)
        } else {
            Ok(())
        }
    }

    fn track(&mut self, sequence: u64) {
        self.seen.insert(sequence);
        self.top = self.top.max(sequence);
    }

    /// RFC 4303 A2.1: of the 64 bit numbers with this low half, the one that is in the window, or else the next
    /// one above it.
    fn extend(&self, low: u32) -> u64 {
        let left = (self.top + 1).saturating_sub(self.size);
        let candidate = left & !0xffff_ffff | u64::from(low);
        if candidate < left {
            candidate + (1 << 32)
        } else {
            candidate
        }
    }
}

#[track_caller]
fn step(window: &mut ReplayWindow, model: &mut Model, claimed: u64, sequence: u64, genuine: bool) {
    let checked = window.check(claimed as u32);
    let expected = model.verdict(sequence);
    assert_eq!(
        checked,
        expected.map(|()| sequence),
        "{sequence:#x} at top {:#x}",
        model.top
    );
    assert_eq!(window.top(), model.top, "checking changes nothing");
    if checked.is_ok() && genuine {
        assert_eq!(window.track(sequence), Ok(()));
        model.track(sequence);
        assert_eq!(
            window.track(sequence),
            Err(DropReason::Replay),
            "twice in a burst"
        );
    }
    assert_eq!(window.top(), model.top);
}

#[test]
fn random_walks_agree_with_the_model() {
    let mut dice = Dice(11);
    for size in [64u32, 128, 1024, 65536] {
        for start in [
            0,
            1,
            63,
            u64::from(u32::MAX) - 300,
            (7 << 32) - 70_000,
            (7 << 32) + 10,
        ] {
            let mut window = ReplayWindow::starting_at(size, true, start);
            let mut model = Model::new(size.into(), start);
            for _ in 0..20_000 {
                let w = u64::from(size);
                let near = match dice.below(10) {
                    0 => dice.next() % (3 * w),
                    1 => w + dice.next() % 4,
                    2 => 1 << 20,
                    3 => dice.next() % (1 << 31),
                    _ => dice.next() % 8,
                };
                let sequence = match dice.below(3) {
                    0 => model.top.saturating_sub(near % (2 * w)),
                    _ => model.top + near,
                };
                // What the wire carries is read as the model reads it.
                let sequence = model.extend(sequence as u32);
                step(
                    &mut window,
                    &mut model,
                    sequence,
                    sequence,
                    dice.below(8) != 0,
                );
            }
        }
    }
}

#[test]
fn without_esn_numbers_are_what_they_are() {
    let mut dice = Dice(12);
    for start in [0, u64::from(u32::MAX) - 200] {
        let mut window = ReplayWindow::starting_at(64, false, start);
        let mut model = Model::new(64, start);
        for _ in 0..50_000 {
            let sequence = (model.top + dice.next() % 4).saturating_sub(dice.next() % 80);
            let sequence = sequence.min(u32::MAX.into());
            step(&mut window, &mut model, sequence, sequence, true);
        }
    }
}

/// Every sequence of four numbers out of a small space, at the start and around 2^32.
#[test]
fn small_windows_exhaustively() {
    for (start, extended) in [(0, false), (0, true), (u64::from(u32::MAX) - 3, true)] {
        let space: Vec<u64> = [0, 1, 2, 3, 4, 5, 63, 64, 65, 66, 67, 68, 127, 128, 129, 130]
            .iter()
            .map(|n| start + n)
            .collect();
        let count = space.len();
        for walk in 0..count.pow(4) {
            let mut window = ReplayWindow::starting_at(64, extended, start);
            let mut model = Model::new(64, start);
            for digit in 0..4 {
                let sequence = space[walk / count.pow(digit) % count];
                let sequence = if extended {
                    model.extend(sequence as u32)
                } else {
                    sequence
                };
                step(&mut window, &mut model, sequence, sequence, true);
            }
        }
    }
}

/// In a window of 64 every pair of distances.
#[test]
fn every_place_in_the_window_counts_once() {
    for jump in 0..200u64 {
        let mut window = ReplayWindow::new(64, false);
        let mut model = Model::new(64, 0);
        let top = 100;
        for sequence in (1..=top).chain([top + jump]).chain(1..=top + jump + 2) {
            step(&mut window, &mut model, sequence, sequence, true);
        }
    }
}

#[test]
fn the_end_of_all_numbers() {
    let mut window = ReplayWindow::starting_at(64, true, u64::MAX - 2);
    assert_eq!(window.check(u32::MAX), Ok(u64::MAX));
    window.track(u64::MAX).unwrap();
    assert_eq!(window.check(u32::MAX), Err(DropReason::Replay));
    assert!(window.check(0).is_err(), "there is no next epoch");
    assert_eq!(window.check(u32::MAX - 1), Ok(u64::MAX - 1));
}

/// Through the pipeline, duplicates in one burst and in another.
#[test]
fn duplicates_do_not_come_through() {
    let (mut a, mut b) = tunnel(GCM);
    let sent: Vec<_> = (0..8)
        .map(|i| echo("10.1.0.10", "10.2.0.20", &[i]).write())
        .collect();
    a.receive(LAN, &sent);
    let wire = a.sent(WIRE);
    let doubled: Vec<_> = wire.iter().flat_map(|p| [p.clone(), p.clone()]).collect();
    b.receive(WIRE, &doubled);
    assert_eq!(b.sent(LAN).len(), 8);
    assert_eq!(b.drops(DropReason::Replay), 8);
    b.receive(WIRE, &wire);
    assert!(b.sent(LAN).is_empty());
    assert_eq!(b.drops(DropReason::Replay), 16);
    assert_eq!(b.sas[0].drops.get(DropReason::Replay), 16);
    // Left of the window.
    a.with_outbound(0, |sa| sa.sequence = 5000);
    a.on_lan(&sent[0]);
    b.receive(WIRE, &a.sent(WIRE));
    assert_eq!(b.sent(LAN).len(), 1);
    b.receive(WIRE, &wire[..1]);
    b.assert_dropped(DropReason::ReplayOld, 0);
    // Where the policy turned the check off.
    let (mut a, mut b) = tunnel_with(GCM, |sa| sa.replay_window = None);
    a.on_lan(&sent[0]);
    let wire = a.sent(WIRE);
    b.receive(WIRE, &[wire[0].clone(), wire[0].clone()]);
    assert_eq!(b.sent(LAN).len(), 2);
}

/// A window of another size knows what the one before knew, and takes for received what that had forgotten.
#[test]
fn another_size_forgets_nothing() {
    let mut dice = Dice(17);
    for (before, after) in [(64, 1024), (1024, 64), (128, 128), (4096, 512), (64, 65536)] {
        for start in [0, 40, 5000, (3 << 32) - 20] {
            let mut old = ReplayWindow::starting_at(before, true, start);
            let mut model = Model::new(before.into(), start);
            for _ in 0..3000 {
                let back = dice.next() % u64::from(before / 2);
                let sequence = (model.top + dice.next() % 4).saturating_sub(back);
                if model.verdict(sequence).is_ok() {
                    assert_eq!(old.track(sequence), Ok(()));
                    model.track(sequence);
                }
            }
            let mut new = ReplayWindow::new(after, true);
            new.take_over(&old);
            assert_eq!(new.top(), model.top);
            let both = u64::from(before.min(after));
            for sequence in model.top.saturating_sub(200_000)..model.top + 10 {
                let passes = new.track(sequence).is_ok();
                if model.seen.contains(&sequence) || sequence == 0 {
                    assert!(!passes, "{sequence} of {} once more", model.top);
                } else if sequence + both > model.top {
                    assert!(passes, "{sequence} of {} never came", model.top);
                } else if sequence + 2 * u64::from(before) + 64 < model.top {
                    assert!(!passes, "{sequence} of {}: nobody knows", model.top);
                }
                if sequence > model.top {
                    break;
                }
            }
        }
    }
}
