//! `top`: services and real servers as they work, on a whole terminal.

mod model;
mod view;

#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use super::{Failure, Typed, unexpected};
use crate::protocol::{Reply, Request};
use model::{Look, Model};

/// How often the director is asked.
const EVERY: Duration = Duration::from_secs(1);
/// Lines that a page key goes.
const PAGE: isize = 10;

/// `lvsadm top`.
pub(super) fn top(typed: &mut Typed<'_, '_>, words: &[&str]) -> Result<(), Failure> {
    if let Some(word) = words.first() {
        return Err(Failure::usage(format!("unexpected argument {word}"), "top takes none"));
    }
    let begun = Instant::now();
    let about = match typed.ask(Request::About)? {
        Some(Reply::About(about)) => about,
        other => return Err(unexpected(other.as_ref())),
    };
    let mut model = Model::new(about, look(typed, begun)?);
    if !io::stdout().is_terminal() {
        let hint = "lvsadm -L -n --rate prints the same once, --metrics serves it to Prometheus";
        return Err(Failure::usage("top needs a terminal", hint));
    }
    let mut terminal = ratatui::try_init()?;
    let ended = watch(typed, &mut model, &mut terminal, begun);
    ratatui::try_restore()?;
    ended
}

fn watch(
    typed: &mut Typed<'_, '_>,
    model: &mut Model,
    terminal: &mut ratatui::DefaultTerminal,
    begun: Instant,
) -> Result<(), Failure> {
    let mut next = begun + EVERY;
    loop {
        terminal.draw(|frame| view::draw(frame, model))?;
        if event::poll(next.saturating_duration_since(Instant::now()))? {
            let event = event::read()?;
            if let Event::Key(key) = event
                && key.kind != KeyEventKind::Release
                && !press(model, key.code, key.modifiers)
            {
                return Ok(());
            }
            continue;
        }
        next = Instant::now() + EVERY;
        if !model.paused {
            let look = look(typed, begun)?;
            model.update(look);
        }
    }
}

/// What a key does. Returns whether to go on.
fn press(model: &mut Model, key: KeyCode, modifiers: KeyModifiers) -> bool {
    match key {
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => return false,
        KeyCode::Char('q') | KeyCode::Esc => return false,
        KeyCode::Up | KeyCode::Char('k') => model.walk(-1),
        KeyCode::Down | KeyCode::Char('j') => model.walk(1),
        KeyCode::PageUp => model.walk(-PAGE),
        KeyCode::PageDown => model.walk(PAGE),
        KeyCode::Home => model.walk(isize::MIN),
        KeyCode::End => model.walk(isize::MAX),
        KeyCode::Enter | KeyCode::Char(' ') => model.open_or_close(),
        KeyCode::Char('s') => model.order = model.order.next(),
        KeyCode::Char('p') => model.paused = !model.paused,
        _ => {}
    }
    true
}

/// Asks the director.
fn look(typed: &mut Typed<'_, '_>, begun: Instant) -> Result<Look, Failure> {
    let services = typed.services(None)?;
    let totals = match typed.ask(Request::Totals)? {
        Some(Reply::Totals(totals)) => *totals,
        other => return Err(unexpected(other.as_ref())),
    };
    let drops = match typed.ask(Request::Drops)? {
        Some(Reply::Drops(drops)) => drops,
        other => return Err(unexpected(other.as_ref())),
    };
    Ok(Look { at: begun.elapsed().as_secs_f64(), services, totals, drops })
}
