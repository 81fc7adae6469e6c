//! What the fuzz targets run. An ordinary test of `portcullis-ipsec` runs the same over the corpus.

pub mod bodies;
pub mod certificates;
pub mod endpoint;
#[allow(dead_code)] // the simulator's tests use all of it
#[path = "../../../ike/tests/sim/harness.rs"]
mod harness;
#[path = "../../../dataplane/ipsec/tests/rig/mod.rs"]
pub mod rig;
