//! The two gateways of [`kit::site`], A and B, over devices of all kinds.

use kit::site::{set_up_host, without_macs};
use kit::{Gateway, Netns, Scratch, veth};

/// Which gateway.
#[derive(Clone, Copy)]
pub enum Side {
    A,
    B,
}

impl Side {
    pub fn number(self) -> u8 {
        match self {
            Side::A => 1,
            Side::B => 2,
        }
    }

    pub fn other(self) -> u8 {
        3 - self.number()
    }

    /// SPI of what this gateway sends.
    pub fn spi(self) -> u32 {
        0x1000 + u32::from(self.number())
    }
}

/// What joins the gateways.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wan {
    Memif,
    AfPacket,
    AfXdp,
}

/// What joins a gateway and its host.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lan {
    Tap,
    AfPacket,
    AfXdp,
}

/// Ports, route, SAs and SPD of one gateway.
pub fn policy(side: Side, lan: &str, wan: &str) -> String {
    kit::site::policy((side.number(), side.other()), lan, wan, "")
}

/// Host to host pings in both directions over these devices; every port must have carried them.
pub fn ping(wan: Wan, lan: Lan) -> Result<(), String> {
    let scratch = Scratch::new("lab");
    let netns = [Netns::new("a"), Netns::new("b")];
    let hosts = [Netns::new("host-a"), Netns::new("host-b")];
    if wan != Wan::Memif {
        veth((&netns[0], "wan"), (&netns[1], "wan"));
    }
    let mut gateways = Vec::new();
    for (index, side) in [Side::A, Side::B].into_iter().enumerate() {
        if lan != Lan::Tap {
            veth((&netns[index], "lan"), (&hosts[index], "eth0"));
            set_up_host(&hosts[index], "eth0", side.number());
        }
        let socket = scratch.path("memif.sock");
        let role = ["server", "client"][index];
        let wan_device = match wan {
            Wan::Memif => format!(
                "net_memif0,role={role},socket={},socket-abstract=no",
                socket.display()
            ),
            Wan::AfPacket => "net_af_packet0,iface=wan".to_owned(),
            Wan::AfXdp => "net_af_xdp0,iface=wan".to_owned(),
        };
        let lan_device = match lan {
            Lan::Tap => "net_tap1,iface=eth0".to_owned(),
            Lan::AfPacket => "net_af_packet1,iface=lan".to_owned(),
            Lan::AfXdp => "net_af_xdp1,iface=lan".to_owned(),
        };
        let mut text = policy(side, &lan_device, &wan_device);
        if matches!((wan, lan), (Wan::AfPacket | Wan::AfXdp, _)) {
            text = without_macs(&text);
        }
        gateways.push(Gateway::start(Some(&netns[index]), "", &text));
        if lan == Lan::Tap {
            set_up_host(&netns[index], "eth0", side.number());
        }
    }
    let stations = if lan == Lan::Tap { &netns } else { &hosts };
    // The first packets may be lost while links come up.
    for _ in 0..50 {
        if stations[0].sh("ping -n -c 1 -W 1 10.2.0.2").is_ok() {
            break;
        }
    }
    for (station, address) in [(&stations[0], "10.2.0.2"), (&stations[1], "10.1.0.2")] {
        for size in [56, 1400] {
            station
                .sh(&format!("ping -n -c 20 -i 0.01 -w 5 -s {size} {address}"))
                .and_then(|text| match kit::replies(&text) >= 20 {
                    true => Ok(()),
                    false => Err(text),
                })
                .map_err(|e| format!("{e}\n{}\n{}", gateways[0].log(), gateways[1].log()))?;
        }
    }
    for gateway in gateways {
        for name in ["wan", "lan"] {
            let port = gateway.port(name)?;
            if port.received < 80 || port.transmitted < 80 {
                return Err(format!("{name} carried only {port:?}"));
            }
        }
        for side in [Side::A, Side::B] {
            let packets = gateway.sa_packets(side.spi())?;
            if packets < 80 {
                return Err(format!("SPI {:#x} carried only {packets}", side.spi()));
            }
        }
        gateway.stop().success()?;
    }
    Ok(())
}
