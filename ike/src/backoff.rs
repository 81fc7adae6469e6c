//! How long to wait before what has failed is tried again.

use std::time::Duration;

/// The first wait, and how often it may double: 5, 10, 20, 40, 80 seconds, and so on with the last.
const FIRST: Duration = Duration::from_secs(5);
const DOUBLED: u32 = 4;

/// The wait after so many failures, one or more.
pub(crate) fn wait(failures: u32) -> Duration {
    FIRST * 2_u32.pow(failures.saturating_sub(1).min(DOUBLED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_a_limit() {
        let waits = [1, 2, 3, 4, 5, 6, u32::MAX].map(|failures| wait(failures).as_secs());
        assert_eq!(waits, [5, 10, 20, 40, 80, 80, 80]);
    }
}
