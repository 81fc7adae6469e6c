//! Replays the corpus of the fuzz targets, and thousands of changes to each file of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(unreachable_pub)] // public for the fuzz targets
#[path = "../../../tests/fuzz/src/bodies.rs"]
mod bodies;
#[allow(unreachable_pub)] // as above
#[path = "../../../tests/fuzz/src/replay.rs"]
mod replay;
mod rig;

use replay::replay;

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
