//! Replays the corpus of the fuzz targets, and thousands of changes to each file of it.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(unreachable_pub)] // public for the fuzz targets
#[path = "../../tests/fuzz/src/certificates.rs"]
mod certificates;
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
