//! The text format of Prometheus, version 0.0.4.

use std::fmt::Write as _;

use crate::status::{DropStatus, SaStatus, Status};

/// Labels of a sample.
type Labels<'a> = &'a [(&'a str, &'a str)];

/// A text that grows by families of samples.
struct Exposition(String);

impl Exposition {
    /// A family: what follows are its samples.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // A string takes everything.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{before}{label}=\"{}\"", escaped(text));
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{after} {value}");
    }

    /// A family with one sample.
    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
}

fn escaped(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    escaped.replace('\n', "\\n")
}

/// Everything that a status tells.
pub(super) fn text(status: &Status) -> String {
    let mut out = Exposition(String::new());
    gateway(&mut out, status);
    tunnels(&mut out, status);
    traffic(&mut out, status);
    sas(&mut out, status);
    entries(&mut out, status);
    workers(&mut out, status);
    drops(&mut out, status);
    ports(&mut out, status);
    ike(&mut out, status);
    out.0
}

fn gateway(out: &mut Exposition, status: &Status) {
    let name = "portcullis_build_info";
    out.family(name, "gauge", "Version of the gateway; always 1.");
    out.sample(name, &[("version", env!("CARGO_PKG_VERSION"))], 1);
    out.single(
        "portcullis_uptime_seconds",
        "gauge",
        "Seconds since the gateway started.",
        status.uptime_ms as f64 / 1000.0,
    );
    out.single(
        "portcullis_buffers",
        "gauge",
        "Packet buffers of all pools.",
        status.buffers.total,
    );
    out.single(
        "portcullis_buffers_in_use",
        "gauge",
        "Packet buffers with workers, control and devices.",
        status.buffers.in_use,
    );
    let name = "portcullis_policy_reloads_total";
    out.family(name, "counter", "Reloads of the policy, by outcome.");
    out.sample(name, &[("outcome", "applied")], status.reloads.applied);
    out.sample(name, &[("outcome", "refused")], status.reloads.refused);
}

fn tunnels(out: &mut Exposition, status: &Status) {
    let count = &status.tunnel_count;
    out.single(
        "portcullis_tunnels_configured",
        "gauge",
        "Tunnels of the policy: children of connections, and entries with manually keyed SAs.",
        count.configured,
    );
    out.single(
        "portcullis_tunnels_up",
        "gauge",
        "Tunnels with SAs that packets find.",
        count.up,
    );
    let name = "portcullis_tunnel_up";
    out.family(name, "gauge", "1 if the tunnel has SAs that packets find.");
    for tunnel in &status.tunnels {
        let keys = if tunnel.negotiated { "ike" } else { "manual" };
        let labels = [("tunnel", tunnel.name.as_str()), ("keys", keys)];
        out.sample(name, &labels, u8::from(tunnel.up));
    }
}

fn traffic(out: &mut Exposition, status: &Status) {
    let figures = &status.statistics;
    let sums = &figures.sums;
    let each = [
        ("esp", "inbound", sums.esp_received),
        ("esp", "outbound", sums.esp_sent),
        ("ah", "inbound", sums.ah_received),
        ("ah", "outbound", sums.ah_sent),
    ];
    let name = "portcullis_ipsec_packets_total";
    out.family(
        name,
        "counter",
        "Packets under ESP and AH, of all SAs since the start.",
    );
    for (protocol, direction, volume) in each {
        let labels = [("protocol", protocol), ("direction", direction)];
        out.sample(name, &labels, volume.packets);
    }
    let name = "portcullis_ipsec_bytes_total";
    out.family(
        name,
        "counter",
        "Bytes of the packets inside, of all SAs since the start.",
    );
    for (protocol, direction, volume) in each {
        let labels = [("protocol", protocol), ("direction", direction)];
        out.sample(name, &labels, volume.bytes);
    }
    out.single(
        "portcullis_sas",
        "gauge",
        "SAs, each direction counted for itself, with those that a reload has removed and that still receive; the series \
         of single SAs leave these out.",
        figures.sas,
    );
    out.single(
        "portcullis_engine_fallbacks",
        "gauge",
        "SAs that a later engine serves than the policy's order should give them.",
        status.engine_fallbacks,
    );
    out.single(
        "portcullis_bad_packets_total",
        "counter",
        "Packets with an unknown SPI, a wrong ICV, replayed, malformed, outside their SA, or in clear.",
        figures.bad_packets,
    );
}

fn sas(out: &mut Exposition, status: &Status) {
    let mut family = |name: &str, help: &str, value: fn(&SaStatus) -> u64| {
        out.family(name, "counter", help);
        // One that leaves may have its labels in common with the one in its place.
        for sa in status.sas.iter().filter(|sa| sa.leaves_ms.is_none()) {
            out.sample(name, &sa_labels(sa), value(sa));
        }
    };
    family(
        "portcullis_sa_packets_total",
        "Packets that the SA protected, or accepted.",
        |sa| sa.packets,
    );
    family(
        "portcullis_sa_bytes_total",
        "Bytes of the packets inside.",
        |sa| sa.bytes,
    );
    family(
        "portcullis_sa_drops_total",
        "Packets of the SA that went no further.",
        |sa| sa.drops.iter().map(|drop| drop.packets).sum(),
    );
}

fn sa_labels(sa: &SaStatus) -> [(&str, &str); 5] {
    let peer = match sa.direction.as_str() {
        "inbound" => &sa.source,
        _ => &sa.destination,
    };
    [
        ("sa", &sa.name),
        ("direction", &sa.direction),
        ("protocol", &sa.protocol),
        ("spi", &sa.spi),
        ("peer", peer),
    ]
}

fn entries(out: &mut Exposition, status: &Status) {
    let name = "portcullis_spd_entry_packets_total";
    out.family(name, "counter", "Packets that the SPD entry decided about.");
    for entry in &status.spd {
        let labels = [("entry", entry.name.as_str()), ("action", &entry.action)];
        out.sample(name, &labels, entry.packets);
    }
    let name = "portcullis_spd_entry_bytes_total";
    out.family(name, "counter", "Their bytes.");
    for entry in &status.spd {
        let labels = [("entry", entry.name.as_str()), ("action", &entry.action)];
        out.sample(name, &labels, entry.bytes);
    }
}

fn workers(out: &mut Exposition, status: &Status) {
    use crate::status::WorkerStatus;
    let names: Vec<_> = status
        .workers
        .iter()
        .map(|w| w.worker.to_string())
        .collect();
    let mut family = |name: &str, kind: &str, help: &str, value: fn(&WorkerStatus) -> f64| {
        out.family(name, kind, help);
        for (worker, label) in status.workers.iter().zip(&names) {
            out.sample(name, &[("worker", label)], value(worker));
        }
    };
    family(
        "portcullis_worker_load_ratio",
        "gauge",
        "Share of rounds in which there was work, over the last second.",
        |w| w.load_percent / 100.0,
    );
    family(
        "portcullis_worker_received_packets_total",
        "counter",
        "Packets from devices.",
        |w| w.received as f64,
    );
    family(
        "portcullis_worker_transmitted_packets_total",
        "counter",
        "Packets to devices.",
        |w| w.transmitted as f64,
    );
    family(
        "portcullis_worker_punted_packets_total",
        "counter",
        "Packets to the slow path.",
        |w| w.punted as f64,
    );
    family(
        "portcullis_worker_handed_off_packets_total",
        "counter",
        "Packets to other workers.",
        |w| w.handed_off as f64,
    );
    family(
        "portcullis_worker_flow_misses_total",
        "counter",
        "Packets of flows that the worker did not remember.",
        |w| w.flow_misses as f64,
    );
    family(
        "portcullis_worker_offloaded_packets_total",
        "counter",
        "ESP packets that the port's device ciphered or opened.",
        |w| w.offloaded as f64,
    );
    family(
        "portcullis_worker_longest_round_seconds",
        "gauge",
        "Its longest round since workers were last asked for.",
        |w| w.longest_round_us / 1e6,
    );
    let name = "portcullis_worker_ring_depth";
    out.family(name, "gauge", "Messages in its rings from and to control.");
    for (worker, label) in status.workers.iter().zip(&names) {
        let labels = |ring| [("worker", label.as_str()), ("ring", ring)];
        out.sample(name, &labels("from-control"), worker.ring_depth);
        out.sample(name, &labels("to-control"), worker.punt_depth);
    }
}

fn drops(out: &mut Exposition, status: &Status) {
    let name = "portcullis_drops_total";
    out.family(
        name,
        "counter",
        "Packets not forwarded, by reason and by who dropped them.",
    );
    let mut of = |worker: &str, drops: &[DropStatus]| {
        for drop in drops {
            let labels = [("reason", drop.reason.as_str()), ("worker", worker)];
            out.sample(name, &labels, drop.packets);
        }
    };
    for worker in &status.workers {
        of(&worker.worker.to_string(), &worker.drops);
    }
    of("control", &status.control_drops);
}

fn ports(out: &mut Exposition, status: &Status) {
    use crate::status::PortStatus;
    let mut family = |name: &str, kind: &str, help: &str, value: fn(&PortStatus) -> u64| {
        out.family(name, kind, help);
        for port in &status.ports {
            out.sample(name, &[("port", &port.port)], value(port));
        }
    };
    family("portcullis_port_up", "gauge", "1 if the link is up.", |p| {
        u64::from(p.up)
    });
    family(
        "portcullis_port_received_packets_total",
        "counter",
        "Frames received by workers.",
        |p| p.rx_packets,
    );
    family(
        "portcullis_port_received_bytes_total",
        "counter",
        "Bytes received by workers.",
        |p| p.rx_bytes,
    );
    family(
        "portcullis_port_transmitted_packets_total",
        "counter",
        "Frames sent.",
        |p| p.tx_packets,
    );
    family(
        "portcullis_port_transmitted_bytes_total",
        "counter",
        "Bytes sent.",
        |p| p.tx_bytes,
    );
    family(
        "portcullis_port_missed_packets_total",
        "counter",
        "Frames that the device lost before a worker saw them.",
        |p| p.rx_missed,
    );
    family(
        "portcullis_port_errors_total",
        "counter",
        "Frames with errors.",
        |p| p.rx_errors,
    );
}

fn ike(out: &mut Exposition, status: &Status) {
    let (ike, counters) = (&status.ike, &status.ike.counters);
    out.single("portcullis_ike_sas", "gauge", "IKE SAs.", ike.ikes.len());
    out.single(
        "portcullis_ike_children",
        "gauge",
        "Pairs of SAs that IKE has negotiated.",
        ike.children.len(),
    );
    let name = "portcullis_ike_negotiations_total";
    out.family(name, "counter", "Negotiations, by outcome.");
    for (outcome, count) in [
        ("established", counters.established),
        ("failed", counters.failed),
        ("refused", counters.refused),
        ("evicted", counters.evicted),
    ] {
        out.sample(name, &[("outcome", outcome)], count);
    }
    for (name, help, value) in [
        (
            "portcullis_ike_children_total",
            "Pairs of SAs negotiated.",
            counters.children,
        ),
        (
            "portcullis_rekeys_total",
            "Pairs of SAs that replaced others.",
            counters.rekeys,
        ),
        (
            "portcullis_ike_datagrams_total",
            "Datagrams that came in.",
            counters.datagrams,
        ),
        (
            "portcullis_ike_invalid_datagrams_total",
            "Datagrams that were no IKE message.",
            counters.invalid,
        ),
        (
            "portcullis_ike_unauthentic_messages_total",
            "Messages that were not authentic.",
            counters.unauthentic,
        ),
        (
            "portcullis_ike_unknown_sa_messages_total",
            "Messages of no IKE SA.",
            counters.unknown_sa,
        ),
        (
            "portcullis_ike_retransmissions_total",
            "Messages sent again.",
            counters.retransmissions_sent,
        ),
    ] {
        out.single(name, "counter", help, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_break_out_of_their_quotes() {
        let mut out = Exposition(String::new());
        out.sample("a_total", &[("x", "a\"} 1\nb\\")], 2);
        assert_eq!(out.0, "a_total{x=\"a\\\"} 1\\nb\\\\\"} 2\n");
    }
}
