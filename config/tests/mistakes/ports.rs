//! Ports, VLANs, routes and neighbours.

use crate::{END, error, expect_fine, warning};

const LAN: &str = "addresses = [\"10.1.0.1/24\"]";
const WAN: &str = "addresses = [\"192.0.2.1/24\", \"2001:db8::1/64\"]";
const ROUTE: &str = "destination = \"10.2.0.0/24\"\nvia = \"192.0.2.2\"";

#[test]
fn addresses() {
    let lan = |addresses: &str, message: &str| {
        error(&[(LAN, &format!("addresses = [{addresses}]"))], message);
    };
    let expected = "expected an address with the length of its prefix, such as 192.0.2.1/24";
    for wrong in ["10.1.0.1", "10.1.0.1/33", "10.1.0.256/24", "lan"] {
        lan(
            &format!("^\"{wrong}\""),
            &format!("{expected}; got `{wrong}`"),
        );
    }
    for wrong in [
        "10.1.0.0/24",
        "10.1.0.255/24",
        "224.0.0.1/24",
        "127.0.0.1/8",
        "0.0.0.0/0",
        "fd00::/64",
        "ff02::1/64",
    ] {
        let message = format!("{expected}; `{wrong}` is not the address of one host");
        lan(&format!("^\"{wrong}\""), &message);
    }
    lan(
        "\"10.1.0.1/24\", ^\"192.0.2.9.1/24\"",
        &format!("{expected}; got `192.0.2.9.1/24`"),
    );
    expect_fine(&[(
        LAN,
        "addresses = [\"10.1.0.0/31\", \"10.1.0.9/32\", \"fd00::/127\"]",
    )]);
}

#[test]
fn address_given_twice() {
    error(
        &[("\"10.9.0.1/24\"", "^\"10.1.0.1/24\"")],
        "the address 10.1.0.1 is taken in line 2",
    );
    expect_fine(&[
        (LAN, "addresses = [\"10.1.0.1/24\", \"fe80::1/64\"]"),
        (WAN, "addresses = [\"192.0.2.1/24\", \"fe80::1/64\"]"),
    ]);
}

#[test]
fn overlapping_networks() {
    warning(
        &[("\"10.9.0.1/24\"", "^\"10.1.0.2/16\"")],
        "10.1.0.2/16 overlaps with 10.1.0.1/24 in line 2: it is not clear where its hosts are",
    );
}

#[test]
fn mtu_of_ipv6() {
    error(
        &[("mtu = 1500", "mtu = ^1279")],
        "expected at least 1280, since there is an IPv6 address; got 1279",
    );
    expect_fine(&[("mtu = 1500", "mtu = 1280")]);
    expect_fine(&[
        ("mtu = 1500", "mtu = 68"),
        (WAN, "addresses = [\"192.0.2.1/24\"]"),
    ]);
}

#[test]
fn devices_and_captures() {
    error(
        &[(
            "device = \"net_tap1,iface=wan0\"",
            "device = ^\"net_tap0,iface=wan0\"",
        )],
        "the device is taken in line 2; VLANs of one device are [[port.vlan]] of one port",
    );
    error(
        &[
            (
                "device = \"net_tap0,iface=lan0\"",
                "device = \"0000:01:00.0\"",
            ),
            (
                "device = \"net_tap1,iface=wan0\"",
                "device = ^\"01:00.0,x=1\"",
            ),
        ],
        "the device is taken in line 2; VLANs of one device are [[port.vlan]] of one port",
    );
    error(
        &[
            (
                "device = \"net_tap0,iface=lan0\"",
                "device = \"net_tap0\"\ncapture = \"a.pcap\"",
            ),
            ("mtu = 1500", "capture = ^\"a.pcap\""),
        ],
        "the file is taken in line 2",
    );
}

#[test]
fn mac_addresses() {
    let mac =
        |mac: &str, message: &str| error(&[("mtu = 1500", &format!("mac = ^\"{mac}\""))], message);
    for wrong in [
        "02:00:00:00:00",
        "02:00:00:00:00:01:02",
        "02:00:00:00:00:0g",
        "2:0:0:0:0:1",
        "+2:00:00:00:00:01",
    ] {
        mac(
            wrong,
            &format!("expected a MAC address such as 02:00:00:00:00:01; got `{wrong}`"),
        );
    }
    for group in [
        "01:00:5e:00:00:01",
        "ff:ff:ff:ff:ff:ff",
        "00:00:00:00:00:00",
    ] {
        mac(
            group,
            &format!("expected a unicast MAC address; got {group}"),
        );
    }
}

#[test]
fn vlans() {
    error(
        &[("id = 10", "id = ^0")],
        "expected an integer from 1 to 4094; got 0",
    );
    error(
        &[("[[port.vlan]]", "^[[port.vlan]]"), ("id = 10\n", "")],
        "missing key `id` in [[port.vlan]] `dmz`",
    );
    error(
        &[("id = 10", "id = 10\nmtu = ^1501")],
        "expected at most the mtu of the port, 1500; got 1501",
    );
    let second = "id = 10\nside = \"protected\"\n[[port.vlan]]\nname = \"dmz2\"\nid = ^10";
    error(
        &[("id = 10", second)],
        "the VLAN id is taken on this port in line 15",
    );
}

#[test]
fn routes() {
    let route = |route: &str, message: &str| error(&[(ROUTE, route)], message);
    route(
        "destination = ^\"10.2.0.1/24\"\nvia = \"192.0.2.2\"",
        "expected 10.2.0.0/24 or 10.2.0.1/32; got 10.2.0.1/24",
    );
    route(
        "destination = ^\"b\"\nvia = \"192.0.2.2\"",
        "expected a prefix such as 10.1.0.0/16 or 2001:db8::/32; got `b`",
    );
    route(
        "destination = \"10.2.0.0/24\"\nvia = ^\"192.0.2\"",
        "expected an address such as 192.0.2.1 or 2001:db8::1; got `192.0.2`",
    );
    route(
        "destination = \"10.2.0.0/24\"\nvia = ^\"2001:db8::2\"",
        "expected an IPv4 address, as the destination; got 2001:db8::2",
    );
    route(
        "destination = \"10.2.0.0/24\"\nvia = ^\"198.51.100.1\"",
        "198.51.100.1 is on link of no port; expected `port` to say which one",
    );
    route(
        "destination = \"10.2.0.0/24\"\nvia = ^\"198.51.100.1\"\nport = \"wan\"",
        "198.51.100.1 is not on link of wan, and there is no [[neighbor]] for it",
    );
    route(
        "destination = \"10.2.0.0/24\"\nvia = ^\"192.0.2.1\"",
        "expected the address of another host; 192.0.2.1 is ours",
    );
    route(
        "destination = \"10.2.0.0/24\"\nvia = \"192.0.2.2\"\nport = ^\"wlan\"",
        "there is no port or VLAN `wlan`; did you mean `lan`?",
    );
    route(
        &format!("{ROUTE}\n[[route]]\ndestination = ^\"10.2.0.0/24\"\nport = \"lan\""),
        "10.2.0.0/24 has a route already in line 21",
    );
    error(
        &[
            ("[[route]]", "^[[route]]"),
            (ROUTE, "destination = \"10.2.0.0/24\""),
        ],
        "missing key `port` in [[route]]",
    );
}

#[test]
fn route_over_two_ports_with_the_same_network() {
    error(
        &[
            ("\"10.9.0.1/24\"", "\"192.0.2.77/24\""),
            (ROUTE, "destination = \"10.2.0.0/24\"\nvia = ^\"192.0.2.2\""),
            (
                "address = \"192.0.2.2\"",
                "address = \"192.0.2.2\"\nport = \"wan\"",
            ),
        ],
        "192.0.2.2 is on link of wan, dmz; expected `port` to say which one",
    );
}

#[test]
fn routes_that_are_fine() {
    expect_fine(&[(ROUTE, "destination = \"10.2.0.0/24\"\nport = \"dmz\"")]);
    expect_fine(&[(
        ROUTE,
        "destination = \"::/0\"\nvia = \"fe80::1\"\nport = \"wan\"",
    )]);
    // A static neighbour reaches what no prefix does.
    expect_fine(&[
        (
            ROUTE,
            "destination = \"10.2.0.0/24\"\nvia = \"198.51.100.1\"\nport = \"wan\"",
        ),
        (
            "address = \"192.0.2.2\"",
            "address = \"198.51.100.1\"\nport = \"wan\"",
        ),
    ]);
}

#[test]
fn neighbors() {
    let address = "address = \"192.0.2.2\"";
    error(
        &[(address, "address = ^\"192.0.2.1\"")],
        "expected the address of another host; 192.0.2.1 is ours",
    );
    error(
        &[(address, "address = ^\"198.51.100.1\"")],
        "198.51.100.1 is on link of no port; expected `port` to say which one",
    );
    error(
        &[(address, "address = ^\"0.0.0.0\"")],
        "expected the address of one host; got 0.0.0.0",
    );
    let again = "[[neighbor]]\naddress = ^\"192.0.2.2\"\nmac = \"02:00:00:00:00:03\"\n";
    error(
        &[(END, &format!("{END}{again}"))],
        "the neighbour is given already in line 25",
    );
}

#[test]
fn wrong_address_is_not_followed_by_doubts_about_what_is_on_link() {
    let expected =
        "expected an address with the length of its prefix, such as 192.0.2.1/24; got `192.0.2.1`";
    error(
        &[(WAN, "addresses = [^\"192.0.2.1\", \"2001:db8::1/64\"]")],
        expected,
    );
}
