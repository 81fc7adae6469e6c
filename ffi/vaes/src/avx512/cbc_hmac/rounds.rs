//! Runs the rounds of a hash function, each with its number as a constant.

/// Runs `$body` once for each round up to `$rounds`, of which there are twenty at most.
macro_rules! each_round {
    ($t:ident of $rounds:ident => $body:block) => {
        each_round!(@tens $t $rounds $body; 0 10)
    };
    (@tens $t:ident $rounds:ident $body:block; $($ten:literal)*) => {
        $(each_round!(@ones $t $rounds $body $ten; 0 1 2 3 4 5 6 7 8 9);)*
    };
    (@ones $t:ident $rounds:ident $body:block $ten:literal; $($one:literal)*) => {
        $(if $ten + $one < $rounds {
            const $t: usize = ($ten + $one) % $rounds;
            $body
        })*
    };
}
pub(crate) use each_round;
