//! `portcullis top`: what goes on, each second.

mod history;
mod picture;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::style::{Attribute, Print, ResetColor, SetAttribute, SetForegroundColor};
use crossterm::terminal::{self, Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{cursor, execute, queue};

use super::fail;
use crate::Error;
use crate::socket;
use crate::status::{Query, Status, What};
use history::History;

/// How often the gateway is asked.
const INTERVAL: Duration = Duration::from_secs(1);
/// Tunnels that are looked at.
const MOST: usize = 2000;

/// What is on the screen.
struct View {
    status: Status,
    history: History,
    /// The first tunnel that is shown.
    first: usize,
    by_rate: bool,
    /// Why the figures are old.
    trouble: Option<String>,
}

/// What a key asks for.
enum Wish {
    Nothing,
    Draw,
    End,
}

/// Watches the gateway behind `socket` until `q`.
pub(super) fn top(name: Option<String>, socket: &Path) -> ExitCode {
    if !std::io::stdout().is_terminal() {
        eprintln!(
            "portcullis: top needs a terminal; to a file or a pipe goes `portcullis show tunnels`"
        );
        return ExitCode::FAILURE;
    }
    let query = Query {
        what: What::Tunnels,
        name,
        from: 0,
    };
    let status = match socket::ask(socket, query.clone(), MOST) {
        Ok(status) => status,
        Err(error) => return fail(&error),
    };
    let mut view = View {
        history: History::default(),
        status,
        first: 0,
        by_rate: false,
        trouble: None,
    };
    view.history.note(&view.status);
    let mut out = std::io::stdout();
    let begun = terminal::enable_raw_mode()
        .and_then(|()| execute!(out, EnterAlternateScreen, cursor::Hide));
    let ended = begun.and_then(|()| watch(&mut out, &mut view, &query, socket));
    // Whatever happened: the terminal is the operator's again.
    let restored = execute!(out, cursor::Show, LeaveAlternateScreen);
    match ended.and(restored).and(terminal::disable_raw_mode()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&Error::Io {
            what: "terminal".into(),
            error,
        }),
    }
}

fn watch(
    out: &mut impl Write,
    view: &mut View,
    query: &Query,
    socket: &Path,
) -> std::io::Result<()> {
    let mut asked = Instant::now();
    loop {
        draw(out, view)?;
        loop {
            let rest = INTERVAL.saturating_sub(asked.elapsed());
            if !event::poll(rest)? {
                break;
            }
            match view.heed(&event::read()?) {
                Wish::Nothing => {}
                Wish::Draw => break,
                Wish::End => return Ok(()),
            }
        }
        if asked.elapsed() >= INTERVAL {
            asked = Instant::now();
            match socket::ask(socket, query.clone(), MOST) {
                Ok(status) => {
                    view.history.note(&status);
                    (view.status, view.trouble) = (status, None);
                }
                Err(error) => view.trouble = Some(error.to_string()),
            }
        }
    }
}

/// Line by line over what was there: nothing flickers.
fn draw(out: &mut impl Write, view: &View) -> std::io::Result<()> {
    let (columns, rows) = terminal::size()?;
    let lines = picture::lines(view, usize::from(rows));
    for (row, line) in (0..rows).zip(lines.iter().map(Some).chain(std::iter::repeat(None))) {
        queue!(out, cursor::MoveTo(0, row))?;
        if let Some(line) = line {
            let text: String = line.text.chars().take(usize::from(columns)).collect();
            if line.bold {
                queue!(out, SetAttribute(Attribute::Bold))?;
            }
            if let Some(color) = line.color {
                queue!(out, SetForegroundColor(color))?;
            }
            queue!(out, Print(text), ResetColor, SetAttribute(Attribute::Reset))?;
        }
        queue!(out, Clear(ClearType::UntilNewLine))?;
    }
    out.flush()
}

impl View {
    fn heed(&mut self, event: &Event) -> Wish {
        let key = match event {
            Event::Key(key) if key.kind == KeyEventKind::Press => key,
            Event::Resize(..) => return Wish::Draw,
            _ => return Wish::Nothing,
        };
        let last = self.status.tunnels.len().saturating_sub(1);
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Wish::End,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return Wish::End;
            }
            KeyCode::Char('s') => self.by_rate = !self.by_rate,
            KeyCode::Up => self.first = self.first.saturating_sub(1),
            KeyCode::Down => self.first = (self.first + 1).min(last),
            KeyCode::PageUp => self.first = self.first.saturating_sub(10),
            KeyCode::PageDown => self.first = (self.first + 10).min(last),
            KeyCode::Home => self.first = 0,
            _ => return Wish::Nothing,
        }
        Wish::Draw
    }
}
