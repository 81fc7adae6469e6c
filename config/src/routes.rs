//! Reads static routes and neighbours.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::address::{self, family};
use crate::ports::{Interfaces, is_on_link};
use crate::reader::Section;
use crate::reference::{NEIGHBOR, ROUTE};
use crate::{Neighbor, Route};

/// Reads every `[[neighbor]]`.
pub(crate) fn read_neighbors(root: Section<'_>, interfaces: &Interfaces<'_>) -> Vec<Neighbor> {
    let mut lines = HashMap::new();
    let read = |section| {
        let neighbor = read_neighbor(section, interfaces)?;
        let place = (neighbor.address, neighbor.interface);
        if let Some(first) = lines.insert(place, section.line()) {
            let message = format!("the neighbour is given already in line {first}");
            section.error("address", message);
        }
        Some(neighbor)
    };
    let sections = root.sections("neighbor", &NEIGHBOR);
    sections.filter_map(read).collect()
}

fn read_neighbor(section: Section<'_>, interfaces: &Interfaces<'_>) -> Option<Neighbor> {
    let address = section.require("address");
    let address = address.and_then(|i| i.parse(address::host));
    let mac = section.require("mac").and_then(|i| i.parse(address::mac));
    if let Some(own) = address.filter(|a| interfaces.owns(*a)) {
        let message = format!("expected the address of another host; {own} is ours");
        section.error("address", message);
    }
    let interface = match address {
        Some(address) => interfaces.resolve(section, Some(("address", address))),
        None if section.has("port") => interfaces.resolve(section, None),
        None => None,
    };
    Some(Neighbor {
        address: address?,
        mac: mac?,
        interface: interface?,
    })
}

/// Reads every `[[route]]`.
pub(crate) fn read_routes(
    root: Section<'_>,
    interfaces: &Interfaces<'_>,
    neighbors: &[Neighbor],
) -> Vec<Route> {
    let mut lines = HashMap::new();
    let read = |section| {
        let route = read_route(section, interfaces)?;
        if let Some(first) = lines.insert(route.destination, section.line()) {
            let message = format!("{} has a route already in line {first}", route.destination);
            section.error("destination", message);
        }
        check_next_hop(section, &route, interfaces, neighbors);
        Some(route)
    };
    let sections = root.sections("route", &ROUTE);
    sections.filter_map(read).collect()
}

fn read_route(section: Section<'_>, interfaces: &Interfaces<'_>) -> Option<Route> {
    let destination = section.require("destination");
    let destination = destination.and_then(|i| i.parse(address::prefix));
    let via = section.get("via").and_then(|i| i.parse(address::host));
    if let (Some(destination), Some(via)) = (destination, via) {
        if destination.addr().is_ipv4() != via.is_ipv4() {
            let expected = family(destination.addr());
            let message = format!("expected an {expected} address, as the destination; got {via}");
            section.error("via", message);
            return None;
        }
    }
    let interface = match via {
        Some(via) => interfaces.resolve(section, Some(("via", via))),
        None if section.has("via") && !section.has("port") => None,
        None => interfaces.resolve(section, None),
    };
    let route = Route {
        destination: destination?,
        via,
        interface: interface?,
    };
    Some(route)
}

/// The next hop is another host, and there is a way to its MAC address.
fn check_next_hop(
    section: Section<'_>,
    route: &Route,
    interfaces: &Interfaces<'_>,
    neighbors: &[Neighbor],
) {
    let Some(via) = route.via else { return };
    if interfaces.owns(via) {
        let message = format!("expected the address of another host; {via} is ours");
        section.error("via", message);
        return;
    }
    let known = |n: &Neighbor| n.address == via && n.interface == route.interface;
    if reaches(interfaces, route.interface, via) || neighbors.iter().any(known) {
        return;
    }
    let name = interfaces.list.get(route.interface).map(|i| &i.name);
    let name = name.map_or("", String::as_str);
    let message = format!("{via} is not on link of {name}, and there is no [[neighbor]] for it");
    section.error("via", message);
}

fn reaches(interfaces: &Interfaces<'_>, index: usize, via: IpAddr) -> bool {
    let interface = interfaces.list.get(index);
    address::is_link_local(via)
        || !interfaces.is_complete()
        || interface.is_some_and(|i| is_on_link(i, via))
}
