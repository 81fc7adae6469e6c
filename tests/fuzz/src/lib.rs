//! What the fuzz targets run. An ordinary test of `portcullis-ipsec` runs the same over the corpus.

pub mod bodies;
#[path = "../../../dataplane/ipsec/tests/rig/mod.rs"]
pub mod rig;
