//! Ethernet devices, virtual or not.

use std::cell::Cell;
use std::ffi::{CStr, c_int};
use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;

use dpdk_sys as sys;

use crate::eal::Runtime;
use crate::error::{Error, c_string};
use crate::mempool::Mempool;
use crate::queue::{RxQueue, TxQueue};
use crate::security::Security;

/// A device that is ours. Stopped and closed when dropped.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) id: u16,
    /// The device on its bus, if we plugged it in and so unplug it.
    plugged: Option<*mut sys::rte_device>,
    pub(crate) runtime: Arc<Runtime>,
}

// SAFETY: the pointer is used in `drop` only, under the runtime's lock.
unsafe impl Send for Open {}
// SAFETY: as above.
unsafe impl Sync for Open {}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.runtime.state();
        // SAFETY: the port is ours, and neither queue nor control handle is left to use it. Stopping one
        // that was not started does nothing. What goes wrong here, nobody could mend.
        unsafe {
            sys::rte_eth_dev_stop(self.id);
            sys::rte_eth_dev_close(self.id);
            if let Some(device) = self.plugged {
                sys::rte_dev_remove(device);
            }
        }
        state.open_ports.retain(|&id| id != self.id);
    }
}

/// An Ethernet (MAC) address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// What a device is and can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The EAL's name for it: that of the virtual device, or the PCI address.
    pub name: String,
    /// The driver's name, such as `net_ring`.
    pub driver: String,
    /// Most receive queues.
    pub max_rx_queues: u16,
    /// Most transmit queues.
    pub max_tx_queues: u16,
    /// Least MTU.
    pub min_mtu: u16,
    /// Greatest MTU, if the receive buffers allow it.
    pub max_mtu: u16,
    /// It may have inline crypto, both ways.
    pub security: bool,
    scatter: bool,
    rss: u64,
}

/// How to run a port.
#[derive(Clone, Debug)]
pub struct PortConfig {
    /// Receive queues.
    pub rx_queues: u16,
    /// Transmit queues.
    pub tx_queues: u16,
    /// Descriptors of each queue; the driver may adjust it.
    pub descriptors: u16,
    /// Largest packet without its Ethernet header.
    pub mtu: u16,
    /// Where the driver takes receive buffers from.
    pub pool: Mempool,
    /// Where packets are copied that are longer than one buffer of `pool`.
    pub jumbo: Mempool,
    /// Inline crypto is wanted, where the device has it.
    pub security: bool,
}

/// A device that is open and not started.
#[derive(Debug)]
pub struct Device {
    open: Open,
    info: DeviceInfo,
}

impl Device {
    /// Opens a device that the EAL found on a bus or was given as `--vdev`.
    pub fn open(name: &str) -> Result<Device, Error> {
        let runtime = Runtime::current()?;
        Device::claim(runtime, name, false)
    }

    /// Makes the EAL find one more device, such as `net_ring1` or a PCI address with options, and opens it.
    ///
    /// Such a device is unplugged when it is dropped, and so may be tried again: a `net_memif` client does not
    /// start before its server is there. One that the EAL was given as `--vdev` is gone once it is closed.
    pub fn hotplug(devargs: &str) -> Result<Device, Error> {
        let runtime = Runtime::current()?;
        let arguments = c_string(devargs)?;
        let state = runtime.state();
        // SAFETY: the EAL runs, and the string is copied. The lock keeps other changes out.
        Error::check("rte_dev_probe", unsafe {
            sys::rte_dev_probe(arguments.as_ptr())
        })?;
        drop(state);
        let name = devargs.split(',').next().unwrap_or(devargs);
        Device::claim(runtime, name, true)
    }

    fn claim(runtime: Arc<Runtime>, name: &str, plugged: bool) -> Result<Device, Error> {
        let text = c_string(name)?;
        let mut id = 0;
        let mut state = runtime.state();
        // SAFETY: the EAL runs; the name is a C string, and id outlives the call.
        if unsafe { sys::rte_eth_dev_get_port_by_name(text.as_ptr(), &mut id) } != 0 {
            return Err(Error::NoSuchDevice(name.to_owned()));
        }
        if state.open_ports.contains(&id) {
            return Err(Error::InUse(name.to_owned()));
        }
        state.open_ports.push(id);
        drop(state);
        let mut open = Open {
            id,
            plugged: None,
            runtime,
        };
        let mut raw = sys::rte_eth_dev_info::default();
        // SAFETY: the port exists, and raw outlives the call.
        Error::check("rte_eth_dev_info_get", unsafe {
            sys::rte_eth_dev_info_get(id, &mut raw)
        })?;
        open.plugged = plugged.then_some(raw.device);
        let info = DeviceInfo::new(name, &raw);
        Ok(Device { open, info })
    }

    /// What it is and can.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Configures and starts it. The queues are in order of their numbers.
    pub fn start(self, config: &PortConfig) -> Result<(Port, Vec<RxQueue>, Vec<TxQueue>), Error> {
        self.info.check(config)?;
        self.configure(config)?;
        // SAFETY: the port is ours, configured, and all its queues are set up.
        Error::check("rte_eth_dev_start", unsafe {
            sys::rte_eth_dev_start(self.open.id)
        })?;

        let open = Arc::new(self.open);
        let rx = (0..config.rx_queues)
            .map(|queue| RxQueue {
                port: open.clone(),
                queue,
                jumbo: config.jumbo.clone(),
                lost: 0,
            })
            .collect();
        let tx = (0..config.tx_queues)
            .map(|queue| TxQueue {
                port: open.clone(),
                queue,
            })
            .collect();
        Ok((
            Port {
                open,
                info: self.info,
                secures: config.security,
                _not_sync: PhantomData,
            },
            rx,
            tx,
        ))
    }

    fn configure(&self, config: &PortConfig) -> Result<(), Error> {
        let id = self.open.id;
        let mut conf = sys::rte_eth_conf::default();
        conf.rxmode.mtu = u32::from(config.mtu);
        if self.info.scatter && config.mtu > config.pool.data_room().saturating_sub(FRAME_OVERHEAD)
        {
            conf.rxmode.offloads |= sys::SHIM_RX_OFFLOAD_SCATTER;
        }
        if config.security && self.info.security {
            conf.rxmode.offloads |= sys::SHIM_RX_OFFLOAD_SECURITY;
            conf.txmode.offloads |= sys::SHIM_TX_OFFLOAD_SECURITY;
        }
        if config.rx_queues > 1 && self.info.rss != 0 {
            conf.rxmode.mq_mode = sys::SHIM_MQ_RX_RSS;
            conf.rx_adv_conf.rss_conf.rss_hf = self.info.rss & sys::SHIM_RSS_HASH;
        }
        let (mut rx, mut tx) = (config.descriptors, config.descriptors);
        // SAFETY: the port is ours and not started; conf and the counts outlive the calls. A null queue
        // configuration means the driver's default. The pool lives as long as the EAL.
        unsafe {
            let code = sys::rte_eth_dev_configure(id, config.rx_queues, config.tx_queues, &conf);
            Error::check("rte_eth_dev_configure", code)?;
            let code = sys::rte_eth_dev_adjust_nb_rx_tx_desc(id, &mut rx, &mut tx);
            Error::check("rte_eth_dev_adjust_nb_rx_tx_desc", code)?;
            let socket = sys::rte_eth_dev_socket_id(id) as u32;
            for queue in 0..config.rx_queues {
                let code = sys::rte_eth_rx_queue_setup(
                    id,
                    queue,
                    rx,
                    socket,
                    ptr::null(),
                    config.pool.raw(),
                );
                Error::check("rte_eth_rx_queue_setup", code)?;
            }
            for queue in 0..config.tx_queues {
                let code = sys::rte_eth_tx_queue_setup(id, queue, tx, socket, ptr::null());
                Error::check("rte_eth_tx_queue_setup", code)?;
            }
            // Drivers over a kernel interface set its MTU here; others took it with the configuration.
            match Error::check(
                "rte_eth_dev_set_mtu",
                sys::rte_eth_dev_set_mtu(id, config.mtu),
            ) {
                Err(error) if !error.is_unsupported() => Err(error),
                _ => Ok(()),
            }
        }
    }
}

/// What a frame has beyond its MTU: Ethernet header and check sequence.
const FRAME_OVERHEAD: u16 = sys::SHIM_ETHER_OVERHEAD as u16;

impl DeviceInfo {
    fn new(name: &str, raw: &sys::rte_eth_dev_info) -> DeviceInfo {
        // SAFETY: the driver's name is a constant C string.
        let driver = unsafe { CStr::from_ptr(raw.driver_name) };
        // As ethdev itself reckons: a driver that limits the MTU tells its own overhead by it.
        let overhead = match raw.max_rx_pktlen.checked_sub(u32::from(raw.max_mtu)) {
            Some(overhead) if raw.max_mtu != u16::MAX => overhead,
            _ => sys::SHIM_ETHER_OVERHEAD,
        };
        let longest = raw.max_rx_pktlen.saturating_sub(overhead);
        DeviceInfo {
            name: name.to_owned(),
            driver: driver.to_string_lossy().into_owned(),
            max_rx_queues: raw.max_rx_queues,
            max_tx_queues: raw.max_tx_queues,
            min_mtu: raw.min_mtu,
            max_mtu: raw.max_mtu.min(u16::try_from(longest).unwrap_or(u16::MAX)),
            security: raw.rx_offload_capa & sys::SHIM_RX_OFFLOAD_SECURITY != 0
                && raw.tx_offload_capa & sys::SHIM_TX_OFFLOAD_SECURITY != 0,
            scatter: raw.rx_offload_capa & sys::SHIM_RX_OFFLOAD_SCATTER != 0,
            rss: raw.flow_type_rss_offloads,
        }
    }

    /// The greatest MTU with receive buffers from `pool`.
    ///
    /// `net_af_xdp` receives into one buffer, the first 256 bytes of which the kernel keeps for XDP programs
    /// (XDP_PACKET_HEADROOM). Neither tells about frames that do not fit the rest: they vanish.
    pub fn max_mtu_with(&self, pool: &Mempool) -> u16 {
        let room = match self.driver.as_str() {
            "net_af_xdp" => pool.data_room().saturating_sub(256 + FRAME_OVERHEAD),
            _ => u16::MAX,
        };
        self.max_mtu.min(room)
    }

    fn check(&self, config: &PortConfig) -> Result<(), Error> {
        let queues = [
            ("RX", config.rx_queues, self.max_rx_queues),
            ("TX", config.tx_queues, self.max_tx_queues),
        ];
        for (direction, asked, max) in queues {
            if !(1..=max).contains(&asked) {
                return Err(Error::Queues {
                    device: self.name.clone(),
                    direction,
                    asked,
                    max,
                });
            }
        }
        let (asked, min, max) = (config.mtu, self.min_mtu, self.max_mtu_with(&config.pool));
        if !(min..=max).contains(&asked) {
            return Err(Error::Mtu {
                device: self.name.clone(),
                asked,
                min,
                max,
            });
        }
        Ok(())
    }
}

/// Counters of a port since it started, as far as its driver counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Packets received.
    pub ipackets: u64,
    /// Packets sent.
    pub opackets: u64,
    /// Bytes received.
    pub ibytes: u64,
    /// Bytes sent.
    pub obytes: u64,
    /// Packets lost because we did not fetch them in time.
    pub imissed: u64,
    /// Packets received with errors.
    pub ierrors: u64,
    /// Packets that could not be sent.
    pub oerrors: u64,
    /// Packets lost because the pool was empty.
    pub rx_nombuf: u64,
}

/// Control of a started port; one thread at a time, which need not be the one that polls.
#[derive(Debug)]
pub struct Port {
    open: Arc<Open>,
    info: DeviceInfo,
    secures: bool,
    _not_sync: PhantomData<Cell<()>>,
}

impl Port {
    /// What the device is and can.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Its inline crypto, with place for so many sessions, if it has any and was started with it.
    pub fn security(&self, sessions: u32) -> Result<Option<Security>, Error> {
        match self.secures && self.info.security {
            true => Security::open(self.open.clone(), sessions).map(Some),
            false => Ok(None),
        }
    }

    /// Its address.
    pub fn mac(&self) -> Result<MacAddress, Error> {
        let mut address = sys::rte_ether_addr::default();
        // SAFETY: the port is open; the address outlives the call.
        Error::check("rte_eth_macaddr_get", unsafe {
            sys::rte_eth_macaddr_get(self.open.id, &mut address)
        })?;
        Ok(MacAddress(address.addr_bytes))
    }

    /// Changes its address.
    pub fn set_mac(&self, MacAddress(addr_bytes): MacAddress) -> Result<(), Error> {
        let mut address = sys::rte_ether_addr { addr_bytes };
        // SAFETY: the port is open; the address is copied.
        let code = unsafe { sys::rte_eth_dev_default_mac_addr_set(self.open.id, &mut address) };
        Error::check("rte_eth_dev_default_mac_addr_set", code).map(drop)
    }

    /// Receives frames to any address, or no more.
    pub fn set_promiscuous(&self, on: bool) -> Result<(), Error> {
        self.switch(
            "rte_eth_promiscuous",
            on,
            sys::rte_eth_promiscuous_enable,
            sys::rte_eth_promiscuous_disable,
        )
    }

    /// Receives frames to any multicast address, or no more.
    pub fn set_allmulticast(&self, on: bool) -> Result<(), Error> {
        self.switch(
            "rte_eth_allmulticast",
            on,
            sys::rte_eth_allmulticast_enable,
            sys::rte_eth_allmulticast_disable,
        )
    }

    fn switch(
        &self,
        call: &'static str,
        on: bool,
        enable: unsafe extern "C" fn(u16) -> c_int,
        disable: unsafe extern "C" fn(u16) -> c_int,
    ) -> Result<(), Error> {
        let function = if on { enable } else { disable };
        // SAFETY: both take the number of an open port, which this is.
        Error::check(call, unsafe { function(self.open.id) }).map(drop)
    }

    /// True if the link is up.
    pub fn is_link_up(&self) -> Result<bool, Error> {
        // SAFETY: the port is open.
        Error::check("rte_eth_link_get_nowait", unsafe {
            sys::shim_link_up(self.open.id)
        })
        .map(|up| up == 1)
    }

    /// Its counters.
    pub fn stats(&self) -> Result<PortStats, Error> {
        let mut raw = sys::rte_eth_stats::default();
        // SAFETY: the port is open; raw outlives the call.
        Error::check("rte_eth_stats_get", unsafe {
            sys::rte_eth_stats_get(self.open.id, &mut raw)
        })?;
        Ok(PortStats {
            ipackets: raw.ipackets,
            opackets: raw.opackets,
            ibytes: raw.ibytes,
            obytes: raw.obytes,
            imissed: raw.imissed,
            ierrors: raw.ierrors,
            oerrors: raw.oerrors,
            rx_nombuf: raw.rx_nombuf,
        })
    }
}
