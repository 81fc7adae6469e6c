//! The gateway: DPDK workers, the slow-path thread that feeds them, and what an operator sees of both.

pub mod capture;
pub mod cli;
pub mod control;
mod cycles;
pub mod eal;
pub mod engine;
mod error;
pub mod fib;
pub mod gateway;
pub mod install;
pub mod packet;
pub mod port;
pub mod prepare;
mod punt;
pub mod rates;
pub mod reclaim;
pub mod reload;
pub mod report;
pub mod ring;
pub mod socket;
pub mod status;
pub mod totals;
pub mod worker;

pub use error::Error;
