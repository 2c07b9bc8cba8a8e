//! The picture: a heading, a table, and what keys do. The same cells make the one that is printed.

use super::keys::LEGEND;
use super::rates::Rates;
use super::state::{Order, Picture, Row as Line, Shown, State};
use crate::output::{Output, Tone};
use crate::table::{Align, Table, width};
use crate::text::{counted, name, shown};
use crate::units::{age, age_ms, mib, rate, since};
use control::view::{Export, Session, State as How};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line as Text;
use ratatui::widgets::{Paragraph, Row, Table as Widget};
use std::time::Instant;

/// A column: its heading, on which side the blanks go, its width on a screen (the name has what is left), and how late it
/// is left out where there is no room.
struct Column(&'static str, Align, u16, u8);

const EXPORTS: &[Column] = &[
    Column("EXPORT", Align::Left, 0, 9),
    Column("STATE", Align::Left, 11, 6),
    Column("SESS", Align::Right, 4, 1),
    Column("OPS/s", Align::Right, 6, 5),
    Column("R MiB/s", Align::Right, 7, 8),
    Column("W MiB/s", Align::Right, 7, 7),
    Column("ERRORS", Align::Right, 6, 2),
    Column("FLIGHT", Align::Right, 6, 3),
    Column("OLDEST", Align::Right, 6, 4),
];

const SESSIONS: &[Column] = &[
    Column("EXPORT", Align::Left, 0, 9),
    Column("ID", Align::Right, 5, 1),
    Column("PEER", Align::Left, 15, 6),
    Column("OPS/s", Align::Right, 6, 5),
    Column("R MiB/s", Align::Right, 7, 8),
    Column("W MiB/s", Align::Right, 7, 7),
    Column("ERRORS", Align::Right, 6, 2),
    Column("FLIGHT", Align::Right, 6, 3),
    Column("OLDEST", Align::Right, 6, 4),
];

/// Columns of a screen that a name has before others are left out: the end of a volume's number tells it from others.
const NAME_MIN: u16 = 16;

fn columns(shown: Shown) -> &'static [Column] {
    match shown {
        Shown::Exports => EXPORTS,
        Shown::Sessions => SESSIONS,
    }
}

/// Draws all of it on a screen.
pub fn live(frame: &mut Frame, state: &mut State, now: Instant) {
    let silence = state.silence(now).map(|(time, why)| format!("{why} (for {})", age(time)));
    let alarm = u16::from(silence.is_some());
    let [top, middle, trouble, body, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(alarm),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let bold = Style::new().add_modifier(Modifier::BOLD);
    if let Some(picture) = state.picture() {
        frame.render_widget(Paragraph::new(Text::styled(heading(picture), bold)), top);
        frame.render_widget(Paragraph::new(totals(picture)), middle);
    }
    if let Some(silence) = silence {
        let style = Style::new().fg(Color::White).bg(Color::Red);
        frame.render_widget(Paragraph::new(Text::styled(silence, style)), trouble);
    }
    // One line is the table's own heading.
    let first = state.fit(usize::from(body.height.saturating_sub(1)));
    frame.render_widget(table(state, first, body, alarm > 0), body);
    let order = if state.order() == Order::Busy { "busiest first" } else { "by name" };
    let legend = Text::styled(format!("{LEGEND}   ({order})"), Style::new().add_modifier(Modifier::DIM));
    frame.render_widget(Paragraph::new(legend), keys);
}

fn table(state: &State, first: usize, area: Rect, quiet: bool) -> Widget<'static> {
    let columns = columns(state.shown());
    let (kept, widths) = fitting(columns, area.width);
    let place = |cells: Vec<String>| {
        let cells = kept.iter().zip(&widths).filter_map(|(at, width)| {
            let cell = Text::from(shorten(cells.get(*at)?, usize::from(*width)));
            Some(if columns[*at].1 == Align::Left { cell } else { cell.right_aligned() })
        });
        Row::new(cells.collect::<Vec<_>>())
    };
    let heading = place(columns.iter().map(|column| column.0.to_owned()).collect());
    let rows = rows(state).into_iter().skip(first).take(usize::from(area.height));
    let rows = rows.map(|(cells, tone)| {
        let style = match tone {
            _ if quiet => Style::new().add_modifier(Modifier::DIM),
            Tone::Bad => Style::new().fg(Color::Red),
            _ => Style::new(),
        };
        place(cells).style(style)
    });
    Widget::new(rows.collect::<Vec<_>>(), widths.into_iter().map(Constraint::Length))
        .header(heading.style(Style::new().add_modifier(Modifier::REVERSED)))
        .column_spacing(1)
}

/// Which columns there is room for, and how wide they are.
fn fitting(columns: &[Column], room: u16) -> (Vec<usize>, Vec<u16>) {
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    loop {
        // Each but the name has a gap in front.
        let others: u16 =
            kept.iter().map(|at| columns[*at].2).filter(|width| *width > 0).map(|width| width + 1).sum();
        let name = room.saturating_sub(others);
        if name >= NAME_MIN || kept.len() == 1 {
            let widths = kept.iter().map(|at| if columns[*at].2 == 0 { name } else { columns[*at].2 });
            let widths = widths.collect();
            return (kept, widths);
        }
        let least = kept.iter().copied().min_by_key(|at| columns[*at].3);
        kept.retain(|at| Some(*at) != least);
    }
}

/// Prints all of it once, with names in full.
pub fn once(state: &State, output: &mut Output) {
    let Some(picture) = state.picture() else { return };
    output.say_in(Tone::Heading, heading(picture));
    output.say(totals(picture));
    let columns: Vec<_> = columns(state.shown()).iter().map(|column| (column.0, column.1)).collect();
    let mut table = Table::new(&columns);
    rows(state).into_iter().for_each(|(cells, _)| table.push(cells, None));
    output.say_table(&table.lines());
}

fn heading(picture: &Picture) -> String {
    let status = picture.status();
    let up = since(&status.since).map(|age| format!("  up {age}")).unwrap_or_default();
    let reloading = if status.reloading { "  reloading" } else { "" };
    format!(
        "nbd-server {}  pid {}{up}  generation {}{reloading}",
        shown(&status.version),
        status.pid,
        status.generation
    )
}

fn totals(picture: &Picture) -> String {
    let exports = counted(picture.exports.len() as u64, "export", "exports");
    let unwell = match picture.not_serving() {
        0 => String::new(),
        some => format!(" ({some} not serving)"),
    };
    let sessions = counted(picture.sessions.len() as u64, "session", "sessions");
    let rates = match picture.total() {
        None => "-".into(),
        Some(total) => format!(
            "{} ops/s  read {} MiB/s  written {} MiB/s  errors {}/s",
            rate(total.operations),
            mib(total.read),
            mib(total.written),
            rate(total.errors)
        ),
    };
    format!("{exports}{unwell}  {sessions}  {rates}")
}

/// The cells of each row, and whether it is well.
fn rows(state: &State) -> Vec<(Vec<String>, Tone)> {
    let Some(picture) = state.picture() else { return Vec::new() };
    match state.shown() {
        Shown::Exports => picture.exports.iter().map(export).collect(),
        Shown::Sessions => picture.sessions.iter().map(session).collect(),
    }
}

fn export(row: &Line<Export>) -> (Vec<String>, Tone) {
    let export = &row.what;
    let mut cells =
        vec![name(&export.name).into_owned(), export.state.to_string(), export.sessions.to_string()];
    cells.extend(figures(row.rates, export.operations.errors, row.in_flight, row.oldest_ms));
    let well = export.state == How::Serving && export.hanging.is_empty();
    (cells, if well { Tone::Plain } else { Tone::Bad })
}

fn session(row: &Line<Session>) -> (Vec<String>, Tone) {
    let session = &row.what;
    let mut cells =
        vec![name(&session.export).into_owned(), session.id.to_string(), shown(&session.peer).into_owned()];
    cells.extend(figures(row.rates, session.operations.errors, row.in_flight, row.oldest_ms));
    (cells, Tone::Plain)
}

fn figures(rates: Option<Rates>, errors: u64, in_flight: u64, oldest_ms: Option<u64>) -> [String; 6] {
    let each = |value: fn(Rates) -> String| rates.map_or_else(|| "-".into(), value);
    [
        each(|rates| rate(rates.operations)),
        each(|rates| mib(rates.read)),
        each(|rates| mib(rates.written)),
        errors.to_string(),
        in_flight.to_string(),
        oldest_ms.map_or_else(|| "-".into(), age_ms),
    ]
}

/// A name that is too long loses its middle: names of volumes begin alike, and differ at the end.
fn shorten(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.into();
    }
    let characters: Vec<char> = text.chars().collect();
    let part = |characters: &[char]| characters.iter().collect::<String>();
    let head = room / 3;
    let head = part(&characters[..head.min(characters.len())]);
    // Wide characters take more than one column, so the end is found by trying.
    let ends = (0..characters.len()).map(|at| part(&characters[at..]));
    let end = ends.into_iter().find(|end| width(&head) + 1 + width(end) <= room).unwrap_or_default();
    format!("{head}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_no_room_the_least_is_left_out() {
        let headings =
            |room| -> Vec<_> { fitting(EXPORTS, room).0.into_iter().map(|at| EXPORTS[at].0).collect() };
        assert_eq!(headings(80).len(), EXPORTS.len(), "all of them on an ordinary terminal");
        assert_eq!(headings(40), ["EXPORT", "R MiB/s", "W MiB/s"]);
        assert_eq!(headings(3), ["EXPORT"]);
        let (kept, widths) = fitting(SESSIONS, 120);
        assert_eq!(widths.iter().sum::<u16>() + u16::try_from(kept.len()).unwrap() - 1, 120);
    }

    #[test]
    fn a_name_that_is_too_long_keeps_its_end() {
        assert_eq!(shorten("vol-1", 8), "vol-1");
        assert_eq!(shorten("migration-vol-42e8fd44", 12), "migr…2e8fd44");
        assert_eq!(width(&shorten("日本日本日本日本", 9)), 9);
        assert!(width(&shorten("日本日本日本日本", 8)) <= 8);
    }
}
