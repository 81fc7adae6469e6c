//! Two endpoints against each other.

mod establish;
mod harness;
mod weather;
