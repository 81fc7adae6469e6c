//! How DPDK is started for a policy: cores, memory, devices.

use std::collections::BTreeSet;
use std::path::Path;

use dpdk::{Eal, Mempool};
use portcullis_config::Policy;

use crate::Error;
use crate::engine::cryptodev::CryptoDevices;

/// Buffers for what does not fit one of the usual size: reassembled packets, jumbo frames.
const JUMBO_BUFFERS: u32 = 511;
/// Free buffers that a worker keeps to itself.
const POOL_CACHE: u32 = 256;
/// What an mbuf has beside data and headroom, and the pool's own needs, generously.
const MBUF_OVERHEAD: u64 = 320;
/// What a crypto device needs for each packet in it, and for each session, generously.
const CRYPTO_OPERATION: u64 = 1024;
const CRYPTO_SESSION: u64 = 8192;
/// Memory for devices, in bytes.
const DEVICE_MEMORY: u64 = 96 << 20;

/// The pools that all workers share.
#[derive(Clone, Debug)]
pub struct Pools {
    /// Buffers of the usual size.
    pub packets: Mempool,
    /// Buffers of the largest size.
    pub jumbo: Mempool,
}

impl Pools {
    /// Makes the pools of a policy.
    pub fn new(policy: &Policy) -> Result<Pools, Error> {
        let runtime = &policy.runtime;
        // A cache keeps half as many again as it is said to hold: what an idle worker keeps must leave enough to others.
        let cache = POOL_CACHE.min(runtime.mbufs / (4 * u32::from(runtime.workers.max(1))));
        Ok(Pools {
            packets: Mempool::new("packets", runtime.mbufs, cache, runtime.mbuf_size)?,
            jumbo: Mempool::new("jumbo", JUMBO_BUFFERS, 0, Mempool::MAX_DATA_ROOM)?,
        })
    }

    /// Buffers that are out.
    pub fn in_use(&self) -> u32 {
        self.packets.in_use() + self.jumbo.in_use()
    }
}

/// Bytes of memory the pools and devices of a policy need.
fn memory(policy: &Policy) -> u64 {
    let headroom = u64::from(Mempool::HEADROOM);
    let bytes =
        |count: u32, size: u16| u64::from(count) * (u64::from(size) + headroom + MBUF_OVERHEAD);
    bytes(policy.runtime.mbufs, policy.runtime.mbuf_size)
        + bytes(JUMBO_BUFFERS, Mempool::MAX_DATA_ROOM)
        + DEVICE_MEMORY
        + crypto_memory(policy)
}

/// Of those, what crypto devices need for sessions and for packets in them.
fn crypto_memory(policy: &Policy) -> u64 {
    let runtime = &policy.runtime;
    let packets = u64::from(runtime.workers) * u64::from(runtime.crypto_queue);
    let sessions = CryptoDevices::sessions(policy.sas.len());
    let each = packets * CRYPTO_OPERATION + u64::from(sessions) * CRYPTO_SESSION;
    runtime.crypto_devices.len() as u64 * each
}

/// Name of a device, by which DPDK finds it.
pub fn device_name(device: &str) -> &str {
    device.split(',').next().unwrap_or(device)
}

fn is_virtual(device: &str) -> bool {
    ["net_", "eth_", "crypto_"]
        .iter()
        .any(|kind| device.starts_with(kind))
}

/// The EAL's arguments for a policy. `cores` are those that the process may use: control, and workers that are
/// not pinned, run on any of them.
fn arguments(policy: &Policy, cores: &[usize]) -> Vec<String> {
    let list = cores
        .iter()
        .map(usize::to_string)
        .collect::<Vec<_>>()
        .join(",");
    let mut args = vec![format!("--lcores=0@({list})"), "--no-telemetry".into()];
    let bytes = memory(policy);
    if policy.runtime.eal.iter().any(|arg| arg == "--no-huge") {
        // The operator has decided about memory.
        args.push("--no-shconf".into());
    } else if dpdk::free_hugepage_bytes() > bytes {
        args.push("--in-memory".into());
    } else {
        args.extend([
            "--no-huge".into(),
            "--no-shconf".into(),
            "-m".into(),
            (bytes >> 20).to_string(),
        ]);
    }
    let ports = policy.interfaces.iter().map(|i| &i.device);
    let devices: BTreeSet<&str> = ports
        .chain(&policy.runtime.crypto_devices)
        .map(String::as_str)
        .collect();
    if devices.iter().all(|d| is_virtual(d)) {
        args.push("--no-pci".into());
    }
    for device in devices {
        match is_virtual(device) {
            true => args.push(format!("--vdev={device}")),
            false => args.extend(["-a".into(), device.into()]),
        }
    }
    // DPDK's own notices belong into a debugging session, not on an operator's terminal.
    if !policy
        .runtime
        .eal
        .iter()
        .any(|a| a.starts_with("--log-level"))
    {
        args.push("--log-level=error".into());
    }
    args.extend(policy.runtime.eal.iter().cloned());
    args
}

/// What a device may lack that DPDK knows of and has not made.
pub fn what_it_lacks(device: &str) -> String {
    if !is_virtual(device) {
        return ": is it in this machine, and bound to vfio-pci? See `dpdk-devbind.py --status`"
            .into();
    }
    let mut options = device.split(',').skip(1);
    let iface = options.find_map(|option| option.strip_prefix("iface="));
    // A tap makes its interface; these two take one that is there.
    let taken = iface.filter(|_| device.starts_with("net_af_"));
    match taken.filter(|name| !Path::new("/sys/class/net").join(name).exists()) {
        Some(name) => format!(": there is no network interface {name}"),
        None => {
            ": DPDK says why; devices other than files need root, or CAP_NET_ADMIN and CAP_NET_RAW"
                .into()
        }
    }
}

/// Starts DPDK.
pub fn start(policy: &Policy, cores: &[usize]) -> Result<Eal, Error> {
    let args = arguments(policy, cores);
    tracing::debug!(args = args.join(" "), "starting DPDK");
    Ok(Eal::init(args)?)
}

#[cfg(test)]
mod tests {
    use super::what_it_lacks;

    #[test]
    fn a_missing_device_is_told_from_a_missing_interface() {
        let lacks = |device: &str, what: &str| {
            let said = what_it_lacks(device);
            assert!(said.contains(what), "{device}: {said}");
        };
        lacks("0000:3b:00.0", "vfio-pci");
        lacks(
            "net_af_packet0,iface=nothere0",
            "no network interface nothere0",
        );
        lacks("net_af_packet0,qpairs=1,iface=lo", "CAP_NET_RAW");
        lacks("net_tap0,iface=nothere0", "CAP_NET_ADMIN");
    }
}
