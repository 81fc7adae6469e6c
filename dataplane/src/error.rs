//! What can go wrong between a valid policy and a running gateway.

use std::path::PathBuf;

use portcullis_ipsec::engine::KeyError;

/// An error of the gateway.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// DPDK did not start.
    #[error("DPDK: {0}")]
    Dpdk(#[from] dpdk::Error),
    /// A device did not start.
    #[error("port {port}: {error}")]
    Port {
        /// Port of the policy.
        port: String,
        /// Why.
        error: dpdk::Error,
    },
    /// No engine takes the key.
    #[error("SA {sa}: no crypto engine takes its key: {error:?}")]
    Key {
        /// SA of the policy.
        sa: String,
        /// Why.
        error: KeyError,
    },
    /// SAs are shared among bundles in a way that no order of processing has.
    #[error("{0}: its SAs are part of another bundle too; give each bundle its own")]
    Bundle(String),
    /// An SA that counts from 1 has the key of one that went.
    #[error(
        "SA {0}: its key was that of an SA that goes: every nonce would be used twice (RFC 4106 2)"
    )]
    KeyAgain(String),
    /// Files and sockets.
    #[error("{what}: {error}")]
    Io {
        /// What was tried, on what.
        what: String,
        /// Why not.
        error: std::io::Error,
    },
    /// DPDK has not made a device.
    #[error("port {port}: there is no device {device}{hint}")]
    NoDevice {
        /// Port of the policy.
        port: String,
        /// Its device, as DPDK calls it.
        device: String,
        /// What to look at.
        hint: String,
    },
    /// Nobody listens at the control socket.
    #[error(
        "no gateway listens at {}: is it running, with this `control-socket`? (`--socket` names another)",
        .0.display()
    )]
    NoGateway(PathBuf),
    /// The control socket is another user's.
    #[error("the gateway at {} answers only root and the user it runs as", .0.display())]
    NotAllowed(PathBuf),
    /// Two gateways cannot have one control socket.
    #[error("another gateway runs already: it listens at {}", .0.display())]
    Running(PathBuf),
    /// A worker's thread could not be set up.
    #[error("worker {0} did not start")]
    Worker(usize),
    /// A worker's thread is gone.
    #[error("worker {0} has ended; so does the gateway")]
    WorkerEnded(usize),
    /// No randomness.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    /// `--drain` without a capture file to read.
    #[error("--drain: no port reads a capture file (net_pcap with rx_pcap, without infinite_rx)")]
    NothingToDrain,
}
