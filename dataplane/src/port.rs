//! From the policy's interfaces to device ports, and from ports to the workers' queues.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use dpdk::{MacAddress, Port, PortConfig, RxQueue, TxQueue};
use portcullis_config::{Interface, Policy};
use portcullis_ipsec::InterfaceId;
use portcullis_ipsec::pipeline::PortInterfaces;

use crate::eal::{Pools, device_name, what_it_lacks};
use crate::offload::Device;
use crate::worker::{PortCounters, WorkerPort};
use crate::{Error, fib, offload};

/// Descriptors of a queue, unless the driver wants another number.
const DESCRIPTORS: u16 = 1024;
/// Bytes of a VLAN tag.
const TAG: u16 = 4;

/// A started port: control's end.
#[derive(Debug)]
pub struct GatewayPort {
    /// Name in the policy.
    pub name: String,
    /// Handle.
    pub port: Port,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Each worker's counters.
    pub counters: Vec<Arc<PortCounters>>,
    /// Workers copy its frames.
    pub capture: Arc<AtomicBool>,
    /// Reads a file that ends.
    pub finite: bool,
    /// Its inline crypto, if it has any and the policy wants it; control takes it.
    pub device: Option<Device>,
}

/// All ports, and which interface is on which.
#[derive(Debug)]
pub struct Ports {
    /// Control's ends.
    pub ports: Vec<GatewayPort>,
    /// Port of each interface.
    pub interface_port: Vec<u16>,
    /// Interfaces behind each port.
    pub interfaces: Vec<PortInterfaces>,
}

/// A port whose device reads a capture file once.
fn reads_file(device: &str) -> bool {
    device.starts_with("net_pcap")
        && device.contains("rx_pcap=")
        && !device.contains("infinite_rx=1")
}

impl Ports {
    /// Opens and starts every device of the policy, and deals its queues to the workers: each worker has one of
    /// each kind where the device has enough; otherwise they are dealt in turn, beginning with another worker
    /// for each port, and frames for a port without own transmit queue go over a worker that has one.
    pub fn start(policy: &Policy, pools: &Pools) -> Result<(Ports, Vec<Vec<WorkerPort>>), Error> {
        let mut ports = Ports {
            ports: Vec::new(),
            interface_port: Vec::new(),
            interfaces: Vec::new(),
        };
        let workers = usize::from(policy.runtime.workers);
        let mut dealt: Vec<Vec<WorkerPort>> = (0..workers).map(|_| Vec::new()).collect();
        let mut by_device = HashMap::new();
        for (index, interface) in policy.interfaces.iter().enumerate() {
            let next = by_device.len();
            let port = *by_device.entry(interface.device.as_str()).or_insert(next);
            ports.interface_port.push(port as u16);
            if port == next {
                ports.interfaces.push(PortInterfaces::default());
                ports.start_port(policy, interface, pools, &mut dealt)?;
            }
            if let Some(behind) = ports.interfaces.get_mut(port) {
                let id = InterfaceId(index as u16);
                match interface.vlan {
                    None => behind.untagged = Some(id),
                    Some(vlan) => behind.vlans.push((vlan, id)),
                }
            }
        }
        Ok((ports, dealt))
    }

    fn start_port(
        &mut self,
        policy: &Policy,
        first: &Interface,
        pools: &Pools,
        dealt: &mut [Vec<WorkerPort>],
    ) -> Result<(), Error> {
        let failed = |error| Error::Port {
            port: first.name.clone(),
            error,
        };
        let on_port = || {
            policy
                .interfaces
                .iter()
                .filter(|i| i.device == first.device)
        };
        let device =
            dpdk::Device::open(device_name(&first.device)).map_err(|error| match error {
                dpdk::Error::NoSuchDevice(device) => Error::NoDevice {
                    port: first.name.clone(),
                    device,
                    hint: what_it_lacks(&first.device),
                },
                error => failed(error),
            })?;
        let workers = policy.runtime.workers;
        let room = |i: &Interface| i.mtu.saturating_add(if i.vlan.is_some() { TAG } else { 0 });
        let config = PortConfig {
            rx_queues: device.info().max_rx_queues.clamp(1, workers),
            tx_queues: device.info().max_tx_queues.clamp(1, workers),
            descriptors: DESCRIPTORS,
            mtu: on_port().map(room).max().unwrap_or(first.mtu),
            pool: pools.packets.clone(),
            jumbo: pools.jumbo.clone(),
            security: offload::is_wanted(&policy.runtime),
        };
        let (port, rx, tx) = device.start(&config).map_err(failed)?;
        let inline = offload::open(&port, &first.name, config.tx_queues, workers);
        let mac = set_up_addresses(&port, first.mac).map_err(failed)?;
        let finite = reads_file(&first.device);
        let capture = Arc::new(AtomicBool::new(on_port().any(|i| i.capture.is_some())));
        let counters = self.deal(rx, tx, &capture, finite, dealt);
        self.ports.push(GatewayPort {
            name: first.name.clone(),
            port,
            mac,
            counters,
            capture,
            finite,
            device: inline,
        });
        Ok(())
    }

    fn deal(
        &self,
        rx: Vec<RxQueue>,
        tx: Vec<TxQueue>,
        capture: &Arc<AtomicBool>,
        finite: bool,
        dealt: &mut [Vec<WorkerPort>],
    ) -> Vec<Arc<PortCounters>> {
        let (workers, offset, tx_queues) = (dealt.len(), self.ports.len(), tx.len());
        let mut rx: Vec<_> = rx.into_iter().map(Some).collect();
        let mut tx: Vec<_> = tx.into_iter().map(Some).collect();
        let mut counters = Vec::new();
        for (worker, ports) in dealt.iter_mut().enumerate() {
            // Queue q belongs to worker (q + offset) modulo the number of workers.
            let queue = (worker + workers - offset % workers) % workers;
            let own = Arc::new(PortCounters::default());
            counters.push(own.clone());
            ports.push(WorkerPort {
                rx: rx.get_mut(queue).and_then(Option::take),
                tx: tx.get_mut(queue).and_then(Option::take),
                tx_worker: ((queue % tx_queues.max(1) + offset) % workers) as u16,
                capture: capture.clone(),
                finite,
                pending: arrayvec::ArrayVec::new(),
                counters: own,
            });
        }
        counters
    }
}

/// Gives the port its MAC address and has it take in group addresses; what the device cannot filter the
/// pipeline does.
fn set_up_addresses(port: &Port, mac: Option<[u8; 6]>) -> Result<[u8; 6], dpdk::Error> {
    if let Err(error) = port.set_allmulticast(true) {
        tracing::debug!(%error, "the device has no filter for multicast");
    }
    let Some(mac) = mac else {
        return port.mac().map(|mac| mac.0);
    };
    if port.set_mac(MacAddress(mac)).is_err() {
        if let Err(error) = port.set_promiscuous(true) {
            tracing::debug!(%error, "the device takes in all frames or none of a foreign address");
        }
    }
    Ok(mac)
}

impl Ports {
    /// The port of an interface.
    pub fn port_of(&self, interface: InterfaceId) -> Option<usize> {
        let port = self.interface_port.get(usize::from(interface.0))?;
        Some(usize::from(*port))
    }

    /// The interfaces on a port.
    pub fn interfaces_of(&self, port: usize) -> Vec<InterfaceId> {
        let all = (0..).map(InterfaceId).zip(&self.interface_port);
        let on_port = all.filter(|(_, of)| usize::from(**of) == port);
        on_port.map(|(id, _)| id).collect()
    }

    /// The interfaces as workers see them.
    pub fn fib_interfaces(&self, policy: &Policy) -> Vec<portcullis_ipsec::fib::Interface> {
        let of_port = |index: usize| {
            let port = self.interface_port.get(index).copied().unwrap_or_default();
            self.ports.get(usize::from(port)).map_or([0; 6], |p| p.mac)
        };
        policy
            .interfaces
            .iter()
            .enumerate()
            .map(|(i, interface)| fib::interface(interface, of_port(i)))
            .collect()
    }
}
