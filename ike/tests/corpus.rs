//! Replays the corpus of the fuzz targets, and thousands of changes to each file of it.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(unreachable_pub)] // public for the fuzz targets
#[path = "../../tests/fuzz/src/certificates.rs"]
mod certificates;
#[allow(unreachable_pub)] // as above
#[path = "../../tests/fuzz/src/endpoint.rs"]
mod endpoint;
#[allow(dead_code)] // the simulator's tests use all of it
#[path = "sim/harness.rs"]
mod harness;
#[allow(unreachable_pub)] // as above
#[path = "../../tests/fuzz/src/replay.rs"]
mod replay;

#[test]
fn certificates() {
    replay::replay(
        "tests/fuzz/corpus/ike_certificates",
        2000,
        certificates::certificates,
    );
}

#[test]
fn endpoints() {
    replay::replay("tests/fuzz/corpus/ike_endpoint", 15, endpoint::endpoint);
}
