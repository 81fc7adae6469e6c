//! Two endpoints against each other.

mod attacker;
mod establish;
mod harness;
mod storms;
