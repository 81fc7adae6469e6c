//! The gateway: DPDK workers, the slow-path thread that feeds them, and what an operator sees of both.

pub mod capture;
pub mod cli;
pub mod control;
mod cycles;
mod datagram;
pub mod eal;
pub mod engine;
mod error;
pub mod events;
pub mod explain;
pub mod fib;
pub mod filters;
pub mod gateway;
pub mod ike;
pub mod ike_status;
pub mod install;
pub mod key_log;
pub mod live_capture;
pub mod metrics;
pub mod negotiated;
pub mod numbers;
pub mod packet;
pub mod pool;
pub mod port;
pub mod prepare;
mod punt;
pub mod rates;
pub mod reasons;
pub mod reclaim;
pub mod reload;
pub mod report;
pub mod ring;
pub mod rule_status;
#[cfg(test)]
mod schema;
pub mod slots;
pub mod socket;
pub mod soft;
pub mod spi;
pub mod statistics;
pub mod status;
pub mod tally;
pub mod totals;
pub mod tunnels;
pub mod worker;

pub use error::Error;
