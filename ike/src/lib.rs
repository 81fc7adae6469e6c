//! IKE.
#![forbid(unsafe_code)]
