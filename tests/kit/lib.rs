//! What the proofs share: gateways as processes, network namespaces, a Linux kernel as IPsec peer, capture files.
//!
//! Nothing here knows how Portcullis works inside: the proofs drive the released binary from outside, and what
//! they expect of a packet is restated from the RFCs.

mod cases;
mod gateway;
mod netns;
pub mod packet;
pub mod pcap;
mod process;
mod require;
mod scratch;
pub mod site;
mod uml;

pub use cases::Cases;
pub use gateway::{Counters, Drained, Gateway, PortCounters, balance, binary};
pub use netns::{Netns, veth};
pub use process::{Process, output, replies, run};
pub use require::{Need, available, python};
pub use scratch::Scratch;
pub use uml::{Guest, GuestNic};
