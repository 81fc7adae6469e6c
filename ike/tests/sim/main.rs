//! Two endpoints against each other on a virtual clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests, which may

mod attacker;
mod certificates;
mod change;
mod establish;
mod harness;
mod life;
mod lifetime;
mod lying;
mod many;
mod nat;
mod refused;
mod rekey;
mod road_warrior;
mod rules;
mod storms;
mod users;
mod weather;
