//! Two endpoints against each other on a virtual clock.
#![allow(missing_docs)]

mod attacker;
mod establish;
mod harness;
mod life;
mod lying;
mod nat;
mod rekey;
mod storms;
mod weather;
