//! The policy's interfaces, routes and SPD in the form that workers use.

use std::sync::Arc;

use portcullis_config::{Action, Interface, Policy};
use portcullis_ipsec::InterfaceId;
pub use portcullis_ipsec::fib::Fib;
use portcullis_ipsec::fib::{self, Hop};
use portcullis_ipsec::spd::{EntryAction, Spd, Tree};

/// RFC 3948 2: where UDP-encapsulated ESP comes in.
const ESP_UDP_PORT: u16 = 4500;

/// An interface of the policy with the MAC address of its port.
pub fn interface(interface: &Interface, mac: [u8; 6]) -> fib::Interface {
    fib::Interface {
        side: interface.side,
        mac: interface.mac.unwrap_or(mac),
        vlan: interface.vlan,
        mtu: interface.mtu,
        addresses: interface.addresses.clone(),
    }
}

/// The routing table of a policy, for these ports with the addresses that it gives them.
pub fn build(policy: &Policy, ports: &[fib::Interface]) -> Fib {
    let with_addresses = |(port, interface): (&fib::Interface, &Interface)| fib::Interface {
        addresses: interface.addresses.clone(),
        ..port.clone()
    };
    let interfaces = ports.iter().zip(&policy.interfaces);
    let interfaces = interfaces.map(with_addresses).collect();
    let routes: Vec<_> = policy
        .routes
        .iter()
        .map(|route| {
            let hop = Hop {
                interface: InterfaceId(route.interface as u16),
                via: route.via.map(Into::into),
            };
            (route.destination, hop)
        })
        .collect();
    Fib::new(interfaces, &routes)
}

/// The SPD of a policy.
pub fn spd(policy: &Policy) -> Arc<Spd<Tree>> {
    let action = |action: &Action| match action {
        Action::Discard => EntryAction::Discard,
        Action::Bypass => EntryAction::Bypass,
        Action::Protect { .. } | Action::Negotiate { .. } => EntryAction::Protect,
    };
    let entries: Vec<_> = policy
        .spd
        .iter()
        .map(|entry| {
            let selector = &*entry.selector;
            (selector, entry.direction, action(&entry.action))
        })
        .collect();
    Arc::new(Spd::new(&entries))
}

/// The UDP ports on which ESP may come in.
pub fn esp_udp_ports(policy: &Policy) -> Arc<[u16]> {
    let configured = policy
        .sas
        .iter()
        .filter_map(|sa| sa.udp.map(|udp| udp.destination_port));
    let mut ports: Vec<u16> = configured.chain([ESP_UDP_PORT]).collect();
    ports.sort_unstable();
    ports.dedup();
    ports.into()
}
