//! The anti-replay window (RFC 4303 3.4.3, appendix A; bitmap ring after RFC 6479).
//!
//! [`check`](ReplayWindow::check) before authentication changes nothing and only says what the 64 bit sequence
//! number would be if the packet is genuine; [`track`](ReplayWindow::track) after authentication records it.

use crate::DropReason;

/// A window of W packets, W a power of two from 64 to 65536.
#[derive(Debug)]
pub struct ReplayWindow {
    /// Highest sequence number authenticated.
    top: u64,
    /// W.
    size: u64,
    /// ESN: 64 bit numbers of which the wire carries the low half.
    extended: bool,
    /// Ring of 2 W bits: what lies between the window and the next lap is always known to be clear.
    words: Box<[u64]>,
}

impl ReplayWindow {
    /// Asks for the memory where the next packet's bit is.
    #[inline]
    pub fn prefetch(&self) {
        if let Some(word) = self.words.get(self.index(self.top)) {
            prefetch::soon(word);
        }
    }

    /// A window of `size` packets; sizes that are no power of two from 64 to 65536 are rounded into that.
    pub fn new(size: u32, extended: bool) -> Self {
        let size = size.clamp(64, 65536).next_power_of_two();
        ReplayWindow {
            top: 0,
            size: u64::from(size),
            extended,
            words: vec![0; size as usize / 32].into_boxed_slice(),
        }
    }

    /// The same, with `top` as the highest number already received.
    pub fn starting_at(size: u32, extended: bool, top: u64) -> Self {
        ReplayWindow {
            top,
            ..Self::new(size, extended)
        }
    }

    /// Becomes the window of the same packets with another size. What the old window has forgotten counts as
    /// received.
    pub fn take_over(&mut self, old: &ReplayWindow) {
        self.top = old.top;
        let top = old.top >> 6;
        for back in 0..self.words.len() as u64 {
            let Some(word) = top.checked_sub(back) else {
                break;
            };
            let index = self.index(word << 6);
            let known = back < old.words.len() as u64;
            if let Some(w) = self.words.get_mut(index) {
                *w = if known { old.word(word << 6) } else { u64::MAX };
            }
        }
    }

    /// Highest sequence number authenticated so far.
    pub fn top(&self) -> u64 {
        self.top
    }

    /// The full sequence number that the 32 bits on the wire stand for (RFC 4303 appendix A2.2).
    fn extend(&self, low: u32) -> u64 {
        if !self.extended {
            return u64::from(low);
        }
        let (high, top_low) = (self.top >> 32, self.top as u32);
        let edge = top_low.wrapping_sub(self.size as u32 - 1);
        let high = if u64::from(top_low) >= self.size - 1 {
            // Case A: the window lies in one subspace; what is left of it belongs to the next.
            if low >= edge { high } else { high + 1 }
        } else {
            // Case B: it straddles two; there is none before the first.
            if low >= edge {
                high.saturating_sub(1)
            } else {
                high
            }
        };
        high << 32 | u64::from(low)
    }

    /// Says which sequence number the packet claims, or why it cannot be accepted. Changes nothing.
    #[inline]
    pub fn check(&self, low: u32) -> Result<u64, DropReason> {
        let sequence = self.extend(low);
        self.admits(sequence)?;
        Ok(sequence)
    }

    #[inline]
    fn admits(&self, sequence: u64) -> Result<(), DropReason> {
        if sequence > self.top {
            return Ok(());
        }
        // RFC 4303 3.4.3: the first number is 1; left of the window is refused.
        if sequence == 0 || self.top - sequence >= self.size {
            return Err(DropReason::ReplayOld);
        }
        if self.word(sequence) >> (sequence & 63) & 1 != 0 {
            return Err(DropReason::Replay);
        }
        Ok(())
    }

    fn index(&self, sequence: u64) -> usize {
        (sequence >> 6) as usize & (self.words.len() - 1)
    }

    fn word(&self, sequence: u64) -> u64 {
        self.words
            .get(self.index(sequence))
            .copied()
            .unwrap_or(u64::MAX)
    }

    /// Records an authenticated packet; refuses one that another packet of the same burst was before.
    #[inline]
    pub fn track(&mut self, sequence: u64) -> Result<(), DropReason> {
        self.admits(sequence)?;
        if sequence > self.top {
            let (from, to) = (self.top >> 6, sequence >> 6);
            let laps = (to - from).min(self.words.len() as u64);
            for word in to + 1 - laps..=to {
                let index = self.index(word << 6);
                if let Some(w) = self.words.get_mut(index) {
                    *w = 0;
                }
            }
            self.top = sequence;
        }
        let index = self.index(sequence);
        if let Some(w) = self.words.get_mut(index) {
            *w |= 1 << (sequence & 63);
        }
        Ok(())
    }
}
