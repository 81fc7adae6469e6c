//! Tables of tunnels, filters and statistics.

use super::table::columns;
use crate::status::Status;
use crate::tally::Volume;

/// Tunnels; below them, why those that are down are down.
pub(super) fn tunnels(status: &Status) {
    let rows: Vec<_> = status
        .tunnels
        .iter()
        .map(|tunnel| {
            vec![
                tunnel.name.clone(),
                if tunnel.up { "up" } else { "down" }.into(),
                if tunnel.negotiated { "IKE" } else { "manual" }.into(),
                tunnel.remote.clone(),
                tunnel.packets_in.to_string(),
                tunnel.packets_out.to_string(),
                format!("{:.1}", tunnel.mbps_in),
                format!("{:.1}", tunnel.mbps_out),
            ]
        })
        .collect();
    let head = [
        "tunnel ",
        "state ",
        "keys ",
        "peer ",
        "packets in",
        "packets out",
        "Mbit/s in",
        "Mbit/s out",
    ];
    columns(&head, &rows);
    for tunnel in status.tunnels.iter().filter(|tunnel| !tunnel.up) {
        if let Some(failure) = &tunnel.last_failure {
            println!(
                "{} is down: {} ({} s ago)",
                tunnel.name, failure.explanation, failure.ago_s
            );
        }
    }
    let count = &status.tunnel_count;
    println!("{} of {} tunnels up", count.up, count.configured);
}

/// Filters.
pub(super) fn filters(status: &Status) {
    let rows: Vec<_> = status
        .filters
        .iter()
        .map(|filter| {
            vec![
                filter.phase.clone(),
                filter.kind.clone(),
                filter.name.clone(),
                filter.action.clone(),
                filter
                    .weight
                    .map_or("-".into(), |weight| weight.to_string()),
                filter.local.clone(),
                filter.remote.clone(),
            ]
        })
        .collect();
    let head = [
        "phase ", "kind ", "name ", "action ", "weight", "local ", "remote ",
    ];
    columns(&head, &rows);
}

/// Settings in force.
pub(super) fn config(status: &Status) {
    let Some(config) = &status.config else { return };
    let line = |name: &str, text: &str| println!("{name:<18} {text}");
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    line("profile", &config.profile);
    line("version", &dash(&config.version));
    let exemption = config.default_exemption.map(|number| number.to_string());
    line("default-exemption", &dash(&exemption));
    if let Some(store) = &config.store {
        let age = store.policy_age_s;
        let age = age.map_or_else(String::new, |age| format!(", {age} s old"));
        line("store", &store.place);
        line("policy", &format!("{}{age}", store.policy));
        if let (Some(reason), Some(ms)) = (&store.away, store.away_ms) {
            line("store is away", &format!("for {} s: {reason}", ms / 1000));
        }
    }
    line("inbound-overlap", &format!("{} s", config.inbound_overlap));
    let response = if config.default_response { "on" } else { "off" };
    line("default response", response);
    line("engines", &config.engines.join(" "));
    line("metrics", &dash(&config.metrics));
    line("event-log", &dash(&config.event_log));
    line("key-log", &dash(&config.key_log));
    for checked in &config.revocation {
        let (check, crls) = (&checked.check, checked.crls);
        let text = format!("{check}, {crls} lists: {}", checked.connection);
        line("revocation", &text);
    }
}

/// Statistics.
pub(super) fn statistics(status: &Status) {
    let (figures, count) = (&status.statistics, &status.tunnel_count);
    let sums = &figures.sums;
    let volume = |name: &str, volume: Volume| {
        vec![
            name.to_owned(),
            volume.packets.to_string(),
            volume.bytes.to_string(),
        ]
    };
    columns(
        &["protocol ", "packets", "bytes"],
        &[
            volume("ESP received", sums.esp_received),
            volume("ESP sent", sums.esp_sent),
            volume("AH received", sums.ah_received),
            volume("AH sent", sums.ah_sent),
        ],
    );
    println!("tunnels: {} up of {}", count.up, count.configured);
    println!("SAs: {}", figures.sas);
    println!("rekeys: {}", figures.rekeys);
    println!(
        "IKE SAs established: {}, negotiations failed: {}",
        figures.ike_established, figures.ike_failed
    );
    println!("bad packets: {}", figures.bad_packets);
}
