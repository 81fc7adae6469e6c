//! Tables for people.

use super::tunnel_table;
use crate::ike_status::{IkeSaStatus, IkeStatus};
use crate::rule_status::RuleStatus;
use crate::status::{DropStatus, SaStatus, Status, What};

/// Prints one part of a status, or all of it.
pub(super) fn print(status: &Status, what: What) {
    match what {
        What::Tunnels => tunnel_table::tunnels(status),
        What::Filters | What::MmFilter | What::QmFilter => tunnel_table::filters(status),
        What::Config => tunnel_table::config(status),
        What::Stats => tunnel_table::statistics(status),
        What::Events => {} // not of a status
        What::Sa => sas(status),
        What::Spd => spd(status),
        What::Ports => ports(status),
        What::Drops => drops(status),
        What::Neighbors => neighbors(status),
        What::Workers => workers(status),
        What::Cycles => cycles(status),
        What::Ike => ike(&status.ike),
        What::Child => children(&status.ike),
        What::All => {
            for (index, part) in [
                What::Ports,
                What::Tunnels,
                What::Sa,
                What::Ike,
                What::Child,
                What::Spd,
                What::Neighbors,
                What::Drops,
                What::Stats,
                What::Workers,
                What::Config,
            ]
            .into_iter()
            .enumerate()
            {
                if index != 0 {
                    println!();
                }
                print(status, part);
            }
        }
    }
}

/// Columns as wide as their widest cell; a heading that ends in a space stands left, others right.
pub(super) fn columns(head: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells
            .chain(head.get(column).map(|h| h.trim_end().len()))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for ((cell, width), heading) in cells.zip(&widths).zip(head) {
            let cell = match heading.ends_with(' ') {
                true => format!("{cell:<width$}  "),
                false => format!("{cell:>width$}  "),
            };
            text.push_str(&cell);
        }
        println!("{}", text.trim_end());
    };
    line(&mut head.iter().map(|h| h.trim_end()));
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
}

fn drop_list(drops: &[DropStatus]) -> String {
    match drops.is_empty() {
        true => "-".into(),
        false => drops
            .iter()
            .map(|d| format!("{} {}", d.packets, d.reason))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// Direction, protocol and mode, and how long one that a reload has removed stays.
fn sa_kind(sa: &SaStatus) -> String {
    let leaves = sa
        .leaves_ms
        .map(|ms| format!(", leaves in {} s", ms.div_ceil(1000)));
    let leaves = leaves.unwrap_or_default();
    format!("{} {} {}{leaves}", sa.direction, sa.protocol, sa.mode)
}

fn sas(status: &Status) {
    let rows: Vec<_> = status
        .sas
        .iter()
        .map(|sa| {
            vec![
                sa.name.clone(),
                sa_kind(sa),
                sa.spi.clone(),
                sa.transform.clone(),
                format!(
                    "{}{}",
                    sa.engine,
                    if sa.fallback.is_some() { " *" } else { "" }
                ),
                sa.packets.to_string(),
                sa.bytes.to_string(),
                format!("{:.1}", sa.mbps),
                format!("{:.1}", sa.mbps_average),
                sa.idle_ms
                    .map_or_else(|| "-".into(), |ms| format!("{} s", ms / 1000)),
                drop_list(&sa.drops),
            ]
        })
        .collect();
    columns(
        &[
            "SA ",
            "kind ",
            "SPI ",
            "algorithms ",
            "engine ",
            "packets",
            "bytes",
            "Mbit/s",
            "average",
            "idle",
            "drops ",
        ],
        &rows,
    );
    let mut reasons: Vec<_> = status
        .sas
        .iter()
        .filter_map(|sa| sa.fallback.as_ref())
        .collect();
    reasons.sort_unstable();
    reasons.dedup();
    for reason in reasons {
        println!("* not {reason}");
    }
}

fn ike(status: &IkeStatus) {
    let dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let rows: Vec<_> = status
        .ikes
        .iter()
        .map(|sa| {
            let nat = match sa.nat {
                [false, false] => "-",
                [true, false] => "here",
                [false, true] => "peer",
                [true, true] => "both",
            };
            vec![
                sa.id.to_string(),
                dash(sa.connection.clone()),
                sa.state.clone(),
                sa.role.clone(),
                sa.remote.clone(),
                dash(sa.remote_id.clone()),
                dash(road_warrior(sa)),
                dash(sa.proposal.clone()),
                nat.into(),
                dash(sa.established_s.map(|s| format!("{s} s"))),
                sa.quick_modes.to_string(),
            ]
        })
        .collect();
    let head = [
        "IKE",
        "connection ",
        "state ",
        "role ",
        "peer ",
        "identity ",
        "user ",
        "algorithms ",
        "NAT ",
        "age",
        "quick modes",
    ];
    columns(&head, &rows);
    for failure in &status.failures {
        let (connection, child) = (failure.connection.as_deref(), failure.child.as_deref());
        let child = child.map_or(String::new(), |child| format!("/{child}"));
        println!(
            "failed {} s ago: {}{child} with {}: {}",
            failure.ago_s,
            connection.unwrap_or("?"),
            failure.remote,
            failure.explanation
        );
        for mismatch in &failure.mismatches {
            println!("    offered {mismatch}");
        }
    }
}

/// The user behind a peer, and the address that mode config has given.
fn road_warrior(sa: &IkeSaStatus) -> Option<String> {
    let parts: Vec<_> = sa.user.iter().chain(&sa.addresses).cloned().collect();
    (!parts.is_empty()).then(|| parts.join(" at "))
}

fn children(status: &IkeStatus) {
    let rows: Vec<_> = status
        .children
        .iter()
        .map(|child| {
            let sas = child.sas.iter().map(|(algorithms, inbound, outbound)| {
                format!("{algorithms} {inbound} {outbound}")
            });
            vec![
                child.id.to_string(),
                format!("{}/{}", child.connection, child.name),
                child.state.clone(),
                format!("{}{}", child.mode, if child.udp { " in UDP" } else { "" }),
                child.local.clone(),
                child.remote.clone(),
                sas.collect::<Vec<_>>().join(" + "),
                format!("{} s", child.installed_s),
                child.received.0.to_string(),
                child.sent.0.to_string(),
            ]
        })
        .collect();
    let head = [
        "child",
        "name ",
        "state ",
        "mode ",
        "local ",
        "remote ",
        "algorithms, SPI in and out ",
        "age",
        "received",
        "sent",
    ];
    columns(&head, &rows);
}

fn spd(status: &Status) {
    let rows: Vec<_> = status
        .spd
        .iter()
        .map(|entry| {
            // The order of its author and the weight, side by side, of what came of a rule.
            let of_rule = |number: fn(&RuleStatus) -> u32| {
                let rule = entry.rule.as_ref();
                rule.map_or("-".to_owned(), |rule| number(rule).to_string())
            };
            vec![
                entry.order.to_string(),
                entry.name.clone(),
                entry.action.clone(),
                entry.direction.clone(),
                of_rule(|rule| rule.order),
                of_rule(|rule| rule.weight),
                entry.local.clone(),
                entry.remote.clone(),
                entry.outbound.join(" + "),
                entry.inbound.join(" + "),
                entry.packets.to_string(),
                entry.bytes.to_string(),
            ]
        })
        .collect();
    columns(
        &[
            "order",
            "SPD entry ",
            "action ",
            "direction ",
            "rule",
            "weight",
            "local ",
            "remote ",
            "outbound ",
            "inbound ",
            "packets",
            "bytes",
        ],
        &rows,
    );
}

fn ports(status: &Status) {
    let mut rows = Vec::new();
    for port in &status.ports {
        for (index, interface) in port.interfaces.iter().enumerate() {
            let once = |cell: String| if index == 0 { cell } else { String::new() };
            rows.push(vec![
                once(port.port.clone()),
                once(port.driver.clone()),
                once(if port.up { "up" } else { "down" }.into()),
                interface.vlan.map_or_else(
                    || interface.name.clone(),
                    |v| format!("{} vlan {v}", interface.name),
                ),
                interface.side.clone(),
                interface.addresses.join(" "),
                once(port.mac.clone()),
                once(port.rx_packets.to_string()),
                once(port.tx_packets.to_string()),
                once(port.rx_missed.to_string()),
            ]);
        }
    }
    columns(
        &[
            "port ",
            "driver ",
            "link ",
            "interface ",
            "side ",
            "addresses ",
            "MAC ",
            "received",
            "sent",
            "missed",
        ],
        &rows,
    );
    println!(
        "buffers in use: {} of {}",
        status.buffers.in_use, status.buffers.total
    );
}

fn drops(status: &Status) {
    if status.drops.is_empty() {
        println!("no drops");
        return;
    }
    let of = |drops: &[DropStatus], reason: &str| {
        let found = drops.iter().find(|drop| drop.reason == reason);
        found.map_or_else(String::new, |drop| drop.packets.to_string())
    };
    let row = |drop: &DropStatus| {
        let mut row = vec![drop.reason.clone(), drop.packets.to_string()];
        row.extend(
            status
                .workers
                .iter()
                .map(|worker| of(&worker.drops, &drop.reason)),
        );
        row.push(of(&status.control_drops, &drop.reason));
        row
    };
    let workers: Vec<_> = status
        .workers
        .iter()
        .map(|w| format!("worker {}", w.worker))
        .collect();
    let mut head = vec!["drops by reason ", "packets"];
    head.extend(workers.iter().map(String::as_str));
    head.push("control");
    columns(&head, &status.drops.iter().map(row).collect::<Vec<_>>());
}

fn neighbors(status: &Status) {
    let rows: Vec<_> = status
        .neighbors
        .iter()
        .map(|n| {
            let mac = n.mac.clone().unwrap_or_else(|| "-".into());
            vec![n.interface.clone(), n.address.clone(), mac, n.state.clone()]
        })
        .collect();
    columns(&["interface ", "neighbour ", "MAC ", "state "], &rows);
}

fn cycles(status: &Status) {
    let counted = status.workers.iter().filter(|w| !w.cycles.is_empty());
    let rows: Vec<_> = counted
        .flat_map(|w| {
            let total = w.cycles.iter().map(|s| s.cycles).sum::<u64>().max(1);
            w.cycles.iter().map(move |s| {
                vec![
                    w.worker.to_string(),
                    s.stage.clone(),
                    format!("{:.1}", s.cycles as f64 / w.received.max(1) as f64),
                    format!("{:.0}%", s.cycles as f64 * 100.0 / total as f64),
                ]
            })
        })
        .collect();
    match rows.is_empty() {
        true => println!("not counted: the policy does not say `cycle-budget = true`"),
        false => columns(&["worker", "stage ", "cycles/packet", "share"], &rows),
    }
}

fn workers(status: &Status) {
    let rows: Vec<_> = status
        .workers
        .iter()
        .map(|w| {
            vec![
                w.worker.to_string(),
                format!("{:.0}%", w.load_percent),
                w.received.to_string(),
                w.transmitted.to_string(),
                w.dropped.to_string(),
                w.punted.to_string(),
                w.handed_off.to_string(),
                w.taken_over.to_string(),
                format!("{:.0}", w.longest_round_us),
                format!("{:.0}", w.longest_round_ever_us),
            ]
        })
        .collect();
    columns(
        &[
            "worker",
            "load",
            "received",
            "sent",
            "dropped",
            "punted",
            "handed off",
            "taken over",
            "longest us",
            "ever",
        ],
        &rows,
    );
    let reloads = &status.reloads;
    if let Some(last) = reloads.last {
        println!(
            "reloads: {} applied, {} refused; the last: {last:?}, {:.1} ms",
            reloads.applied, reloads.refused, reloads.last_ms
        );
    }
}
