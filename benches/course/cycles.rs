//! Criterion's measure here: cycles of the time stamp counter, which are the same whatever the clock of the core.

use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter};

/// Cycles.
pub struct Cycles;

impl Measurement for Cycles {
    type Intermediate = u64;
    type Value = u64;

    fn start(&self) -> u64 {
        dpdk::thread::cycles()
    }

    fn end(&self, started: u64) -> u64 {
        dpdk::thread::cycles().wrapping_sub(started)
    }

    fn add(&self, a: &u64, b: &u64) -> u64 {
        a + b
    }

    fn zero(&self) -> u64 {
        0
    }

    fn to_f64(&self, value: &u64) -> f64 {
        *value as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &Formatter
    }
}

/// Where elements are told, they are packets or lookups: each one's share.
struct Formatter;

impl ValueFormatter for Formatter {
    fn scale_values(&self, _: f64, _: &mut [f64]) -> &'static str {
        "cycles"
    }

    fn scale_throughputs(&self, _: f64, per: &Throughput, values: &mut [f64]) -> &'static str {
        match per {
            Throughput::Elements(count) => {
                values.iter_mut().for_each(|value| *value /= *count as f64);
                "cycles each"
            }
            _ => "cycles",
        }
    }

    fn scale_for_machines(&self, _: &mut [f64]) -> &'static str {
        "cycles"
    }
}
