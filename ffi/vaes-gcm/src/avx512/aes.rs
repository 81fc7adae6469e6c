//! Runs the AES rounds of several vectors side by side.

/// Runs `$body` once for each round from `$first` up to the last but one of `$rounds`, with the number of the round as
/// a constant, so that nothing is left of what a round does not need.
macro_rules! each_round {
    ($r:ident of $rounds:ident => $body:block) => {
        each_round!(@ $r of $rounds => $body; 2 3 4 5 6 7 8 9 10 11 12 13)
    };
    (@ $r:ident of $rounds:ident => $body:block; $($n:literal)*) => {
        $(if $n < $rounds {
            const $r: usize = $n;
            $body
        })*
    };
}
pub(crate) use each_round;
