//! The portable engine against published vectors.

mod engine_vectors;

use engine_vectors::*;
use portcullis_ipsec::engine::portable::Portable;

#[test]
fn opens_and_seals_the_packets_of_draft_mcgrew_gcm() {
    packets::draft_mcgrew_gcm(&mut Portable::new());
}

#[test]
fn opens_and_seals_the_packet_of_rfc7634() {
    packets::rfc7634_packet(&mut Portable::new());
}

#[test]
fn encrypts_as_rfc3602() {
    packets::rfc3602_cbc(&mut Portable::new());
}
