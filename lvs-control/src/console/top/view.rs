//! The screen of `top`.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style, Stylize as _};
use ratatui::text::Line as Text;
use ratatui::widgets::{Paragraph, Row, Sparkline, Table, TableState};

use super::model::{Line, Model};
use crate::console::steps::{self, span};

/// Reasons of drops that are shown.
const REASONS: usize = 3;
/// Width of the history in a line of the table.
const HISTORY: usize = 10;

pub(super) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let drops = model.drops().len().min(REASONS) as u16;
    let rows = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(3),
        Constraint::Min(4),
        Constraint::Length(drops + u16::from(drops > 0)),
        Constraint::Length(1),
    ]);
    let [head, graph, table, reasons, keys] = rows.areas(frame.area());
    frame.render_widget(Paragraph::new(title(model)), head);
    let history = model.history();
    let from = history.len().saturating_sub(usize::from(graph.width));
    frame.render_widget(Sparkline::default().data(&history[from..]), graph);
    draw_table(frame, model, table);
    draw_drops(frame, model, reasons);
    let order = model.order.name();
    let pause = if model.paused { "p go on (paused)" } else { "p pause" };
    let help = format!("q quit   ↑↓ choose   enter servers   s order: {order}   {pause}");
    frame.render_widget(Paragraph::new(help.reversed()), keys);
}

fn title(model: &Model) -> Vec<Text<'static>> {
    let (about, totals, speed) = (&model.about, &model.look.totals, &model.speed);
    let up = span(about.uptime_ms.saturating_add((model.look.at * 1000.0) as u64));
    vec![
        Text::from(format!(
            "lvs-director {}  up {up}  {}  connections {} of {}  templates {}",
            about.version,
            about.interfaces.join(" "),
            totals.connections,
            short(f64::from(totals.connections_max)),
            totals.templates
        ))
        .bold(),
        Text::from(format!(
            "{} new/s  {} packets/s  {}B/s",
            short(speed.connections),
            short(speed.packets),
            short(speed.bytes)
        )),
    ]
}

fn draw_table(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let lines = model.lines();
    if lines.is_empty() {
        let text = "no services yet: lvsadm -A -t ADDRESS:PORT, or lvsadm apply FILE";
        return frame.render_widget(Paragraph::new(text), area);
    }
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(6),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Length(HISTORY as u16),
    ];
    let head = ["SERVICE", "SCHED", " ACTIVE", "  INACT", " NEW/S", " PKT/S", "   B/S", "HISTORY"];
    let table = Table::new(lines.iter().map(row), widths)
        .header(Row::new(head).style(Style::new().add_modifier(Modifier::UNDERLINED)))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .highlight_symbol("> ");
    let mut state = TableState::new().with_selected(model.chosen(&lines));
    frame.render_stateful_widget(table, area, &mut state);
}

fn row(line: &Line) -> Row<'static> {
    let Line { active, inactive, speed, .. } = line;
    Row::new([
        line.name.clone(),
        line.kind.clone(),
        format!("{active:>7}"),
        format!("{inactive:>7}"),
        format!("{:>6}", short(speed.connections)),
        format!("{:>6}", short(speed.packets)),
        format!("{:>6}", short(speed.bytes)),
        bars(&line.history),
    ])
}

fn draw_drops(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let mut lines = vec![Text::from("DROPPED").underlined()];
    for (dropped, speed) in model.drops().into_iter().take(REASONS) {
        let last = dropped.last.as_ref().map_or(String::new(), |last| {
            let flow =
                last.flow.as_ref().map_or(String::new(), |f| format!(", {}", steps::flow(f)));
            format!("{} ago{flow}", span(last.ago_ms))
        });
        let (count, speed) = (dropped.count, short(speed));
        lines.push(Text::from(format!("{count:>9} {speed:>5}/s {}  {last}", dropped.reason)));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// A history as text, its highest value a full block.
fn bars(history: &[u64]) -> String {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = &history[history.len().saturating_sub(HISTORY)..];
    let most = shown.iter().copied().max().unwrap_or(0).max(1);
    // What is not nothing shall be seen.
    let height = |&n: &u64| (u128::from(n) * 8).div_ceil(u128::from(most)) as usize;
    shown.iter().map(|n| BARS[height(n).min(8)]).collect()
}

/// A number in at most five characters.
fn short(number: f64) -> String {
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    // What would be rounded up to 1000 is one of the next unit.
    match units.iter().find(|(unit, _)| number >= unit * 0.9995) {
        Some((unit, letter)) if number / unit >= 99.95 => format!("{:.0}{letter}", number / unit),
        Some((unit, letter)) => format!("{:.1}{letter}", number / unit),
        None if number >= 9.95 || number == 0.0 => format!("{number:.0}"),
        None => format!("{number:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_histories_show_what_is_not_nothing() {
        for (number, text) in [
            (0.0, "0"),
            (0.5, "0.5"),
            (9.96, "10"),
            (999.4, "999"),
            (999.6, "1.0k"),
            (12_345.0, "12.3k"),
            (999_940.0, "1.0M"),
            (123_456_789.0, "123M"),
            (5e12, "5.0T"),
        ] {
            assert_eq!(short(number), text);
        }
        assert_eq!(bars(&[0, 1, 400, 800]), " ▁▄█");
        assert_eq!(bars(&[]), "");
    }
}
