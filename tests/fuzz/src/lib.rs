//! What the fuzz targets run. An ordinary test of `portcullis-ipsec` runs the same over the corpus.

pub mod bodies;
pub mod certificates;
#[path = "../../../dataplane/ipsec/tests/rig/mod.rs"]
pub mod rig;
