//! What is on the screen, as lines: totals, workers, tunnels.

use crossterm::style::Color;

use super::View;
use super::history::LENGTH;
use crate::status::WorkerStatus;
use crate::tunnels::TunnelStatus;

/// Workers that are shown at the most.
const MOST_WORKERS: usize = 8;

/// One line.
pub(super) struct Line {
    pub(super) text: String,
    pub(super) bold: bool,
    pub(super) color: Option<Color>,
}

impl Line {
    fn plain(text: String) -> Line {
        Line {
            text,
            bold: false,
            color: None,
        }
    }

    fn bold(text: String) -> Line {
        Line {
            bold: true,
            ..Line::plain(text)
        }
    }

    fn colored(text: String, color: Option<Color>) -> Line {
        Line {
            color,
            ..Line::plain(text)
        }
    }
}

/// The lines for a screen of so many rows.
pub(super) fn lines(view: &View, rows: usize) -> Vec<Line> {
    let mut lines = totals(view);
    lines.extend(workers(view));
    // The last row is for help.
    let room = rows.saturating_sub(lines.len() + 2);
    lines.extend(tunnels(view, room));
    lines.truncate(rows.saturating_sub(1));
    let filler = rows.saturating_sub(lines.len() + 1);
    lines.extend((0..filler).map(|_| Line::plain(String::new())));
    lines.push(match &view.trouble {
        Some(trouble) => Line::colored(trouble.clone(), Some(Color::Red)),
        None => {
            let help = "q ends   arrows scroll   s sorts by rate";
            Line::colored(help.into(), Some(Color::DarkGrey))
        }
    });
    lines
}

/// 1234567 s as 14d 6h 56m.
fn duration(milliseconds: u64) -> String {
    let minutes = milliseconds / 60_000;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}m {}s", milliseconds / 1000 % 60),
        (0, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h {minutes}m"),
    }
}

fn totals(view: &View) -> Vec<Line> {
    let (status, count) = (&view.status, &view.status.tunnel_count);
    let figures = &status.statistics;
    let ([received, sent], pictures) = (view.history.total(), view.history.total_pictures());
    let [received_picture, sent_picture] = pictures;
    let dropped: u64 = status.workers.iter().map(|worker| worker.dropped).sum();
    vec![
        Line::bold(format!(
            "portcullis   up {}   tunnels {} of {} up   rekeys {}   bad packets {}   dropped {dropped}",
            duration(status.uptime_ms),
            count.up,
            count.configured,
            figures.rekeys,
            figures.bad_packets,
        )),
        Line::plain(format!("in  {received:>9.1} Mbit/s  {received_picture}")),
        Line::plain(format!("out {sent:>9.1} Mbit/s  {sent_picture}")),
        Line::plain(String::new()),
    ]
}

fn workers(view: &View) -> Vec<Line> {
    let head = format!(
        "{:>6} {:>5} {:>14} {:>14} {:>12}  last minute",
        "worker", "load", "received", "sent", "dropped"
    );
    let row = |worker: &WorkerStatus| {
        let color = match worker.load_percent {
            load if load >= 90.0 => Color::Red,
            load if load >= 60.0 => Color::Yellow,
            _ => Color::Green,
        };
        let text = format!(
            "{:>6} {:>4.0}% {:>14} {:>14} {:>12}  {}",
            worker.worker,
            worker.load_percent,
            worker.received,
            worker.transmitted,
            worker.dropped,
            view.history.worker(worker.worker),
        );
        Line::colored(text, Some(color))
    };
    let rows = view.status.workers.iter().take(MOST_WORKERS).map(row);
    let mut lines = vec![Line::bold(head)];
    lines.extend(rows);
    lines.push(Line::plain(String::new()));
    lines
}

fn tunnels(view: &View, room: usize) -> Vec<Line> {
    let mut tunnels: Vec<&TunnelStatus> = view.status.tunnels.iter().collect();
    if view.by_rate {
        let rate = |tunnel: &TunnelStatus| tunnel.mbps_in + tunnel.mbps_out;
        tunnels.sort_by(|a, b| rate(b).total_cmp(&rate(a)));
    }
    let widest = |of: fn(&TunnelStatus) -> usize, least: usize| {
        tunnels
            .iter()
            .map(|tunnel| of(tunnel))
            .max()
            .unwrap_or(0)
            .clamp(least, LENGTH / 2)
    };
    let name = widest(|tunnel| tunnel.name.chars().count(), 12);
    let peer = widest(|tunnel| tunnel.remote.chars().count(), 8);
    let head = format!(
        "{:<name$} {:<5} {:<peer$} {:>9} {:>9}  last minute (Mbit/s)",
        "tunnel", "state", "peer", "in", "out"
    );
    let row = |tunnel: &&TunnelStatus| {
        let last = match (&tunnel.last_failure, tunnel.up) {
            (Some(failure), false) => failure.explanation.clone(),
            _ => view.history.tunnel(&tunnel.name),
        };
        let (state, color) = match tunnel.up {
            true => ("up", None),
            false => ("down", Some(Color::Red)),
        };
        let text = format!(
            "{:<name$} {state:<5} {:<peer$} {:>9.1} {:>9.1}  {last}",
            tunnel.name, tunnel.remote, tunnel.mbps_in, tunnel.mbps_out
        );
        Line::colored(text, color)
    };
    let rows = tunnels.iter().skip(view.first).take(room).map(row);
    let mut lines = vec![Line::bold(head)];
    lines.extend(rows);
    lines
}
