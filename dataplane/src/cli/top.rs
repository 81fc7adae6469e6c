//! `portcullis top`: what goes on, each second.

mod history;
mod screen;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

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
    let mut terminal = match ratatui::try_init() {
        Ok(terminal) => terminal,
        Err(error) => return fail(&error),
    };
    let ended = watch(&mut terminal, &mut view, &query, socket);
    ratatui::restore();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    view: &mut View,
    query: &Query,
    socket: &Path,
) -> Result<(), Error> {
    let failed = |error| Error::Io {
        what: "terminal".into(),
        error,
    };
    let mut asked = Instant::now();
    loop {
        terminal
            .draw(|frame| screen::draw(frame, view))
            .map_err(failed)?;
        loop {
            let rest = INTERVAL.saturating_sub(asked.elapsed());
            if !event::poll(rest).map_err(failed)? {
                break;
            }
            match view.heed(&event::read().map_err(failed)?) {
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
