//! The picture: totals, workers, tunnels.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Row, Table};

use super::View;
use super::history::LENGTH;
use crate::status::WorkerStatus;
use crate::tunnels::TunnelStatus;

/// Rows of workers that are shown at the most.
const MOST_WORKERS: usize = 8;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let workers = view.status.workers.len().min(MOST_WORKERS) as u16;
    let areas = Layout::vertical([
        Constraint::Length(5),
        Constraint::Length(workers + 3),
        Constraint::Min(4),
        Constraint::Length(1),
    ]);
    let [head, middle, rest, foot] = areas.areas(frame.area());
    totals(frame, view, head);
    worker_table(frame, view, middle);
    tunnel_table(frame, view, rest);
    let help = match &view.trouble {
        Some(trouble) => Line::from(trouble.as_str()).red(),
        None => Line::from("q ends   arrows scroll   s sorts by rate").dim(),
    };
    frame.render_widget(Paragraph::new(help), foot);
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

fn totals(frame: &mut Frame<'_>, view: &View, area: Rect) {
    let (status, count) = (&view.status, &view.status.tunnel_count);
    let ([received, sent], pictures) = (view.history.total(), view.history.total_pictures());
    let [received_picture, sent_picture] = pictures;
    let dropped: u64 = status.workers.iter().map(|worker| worker.dropped).sum();
    let lines = vec![
        Line::from(format!(
            "up {}   tunnels {} of {} up   rekeys {}   bad packets {}   dropped {dropped}",
            duration(status.uptime_ms),
            count.up,
            count.configured,
            status.statistics.rekeys,
            status.statistics.bad_packets,
        )),
        Line::from(format!("in  {received:>9.1} Mbit/s  {received_picture}")),
        Line::from(format!("out {sent:>9.1} Mbit/s  {sent_picture}")),
    ];
    let block = Block::bordered().title(" portcullis ".bold());
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn heading() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn worker_table(frame: &mut Frame<'_>, view: &View, area: Rect) {
    let row = |worker: &WorkerStatus| {
        let color = match worker.load_percent {
            load if load >= 90.0 => Color::Red,
            load if load >= 60.0 => Color::Yellow,
            _ => Color::Green,
        };
        let load = format!("{:.0}%", worker.load_percent);
        Row::new([
            worker.worker.to_string(),
            format!("{load:>5}"),
            worker.received.to_string(),
            worker.transmitted.to_string(),
            worker.dropped.to_string(),
            view.history.worker(worker.worker),
        ])
        .style(Style::new().fg(color))
    };
    let rows = view.status.workers.iter().take(MOST_WORKERS).map(row);
    let widths = [
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Length(14),
        Constraint::Length(14),
        Constraint::Length(12),
        Constraint::Length(LENGTH as u16),
    ];
    let head = Row::new([
        "worker",
        " load",
        "received",
        "sent",
        "dropped",
        "last minute",
    ]);
    let table = Table::new(rows, widths).header(head.style(heading()));
    frame.render_widget(table.block(Block::bordered()), area);
}

fn tunnel_table(frame: &mut Frame<'_>, view: &View, area: Rect) {
    let mut tunnels: Vec<&TunnelStatus> = view.status.tunnels.iter().collect();
    if view.by_rate {
        let rate = |tunnel: &TunnelStatus| tunnel.mbps_in + tunnel.mbps_out;
        tunnels.sort_by(|a, b| rate(b).total_cmp(&rate(a)));
    }
    let row = |tunnel: &&TunnelStatus| {
        let (state, style) = match tunnel.up {
            true => ("up", Style::new()),
            false => ("down", Style::new().fg(Color::Red)),
        };
        let last = match (&tunnel.last_failure, tunnel.up) {
            (Some(failure), false) => failure.explanation.clone(),
            _ => view.history.tunnel(&tunnel.name),
        };
        Row::new([
            tunnel.name.clone(),
            state.to_owned(),
            tunnel.remote.clone(),
            format!("{:>9.1}", tunnel.mbps_in),
            format!("{:>9.1}", tunnel.mbps_out),
            last,
        ])
        .style(style)
    };
    let rows = tunnels.iter().skip(view.first).map(row);
    let widths = [
        Constraint::Min(16),
        Constraint::Length(5),
        Constraint::Length(20),
        Constraint::Length(10),
        Constraint::Length(10),
        Constraint::Length(LENGTH as u16),
    ];
    let names = [
        "tunnel",
        "state",
        "peer",
        "Mbit/s in",
        "and out",
        "last minute",
    ];
    let table = Table::new(rows, widths).header(Row::new(names).style(heading()));
    frame.render_widget(table.block(Block::bordered()), area);
}
