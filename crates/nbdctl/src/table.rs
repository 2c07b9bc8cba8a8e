//! Tables for people: columns that line up, numbers to the right, no trailing blanks.

use crate::text::shown;
use ratatui::text::Span;

/// On which side the blanks go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows under a heading.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    cells: Vec<String>,
    /// A line below, for what would tear the columns apart.
    note: Option<String>,
}

impl Table {
    /// Without rows yet.
    pub fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// One more row, and what is to be said below it.
    pub fn push(&mut self, cells: Vec<String>, note: Option<String>) {
        let cells = cells.iter().map(|cell| shown(cell).into_owned()).collect();
        let note = note.map(|note| shown(&note).into_owned());
        self.rows.push(Row { cells, note });
    }

    /// Heading and rows, a line each.
    pub fn lines(&self) -> Vec<String> {
        let widths: Vec<usize> = self.columns.iter().enumerate().map(|column| self.width(column)).collect();
        let heading: Vec<String> = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let mut lines = vec![self.line(&heading, &widths)];
        for row in &self.rows {
            lines.push(self.line(&row.cells, &widths));
            lines.extend(row.note.as_ref().map(|note| format!("    {note}")));
        }
        lines
    }

    fn width(&self, (at, (heading, _)): (usize, &(&str, Align))) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.cells.get(at));
        cells.map(|cell| width(cell)).chain([width(heading)]).max().unwrap_or(0)
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, (_, align)), wanted) in cells.iter().zip(&self.columns).zip(widths) {
            let blanks = " ".repeat(wanted.saturating_sub(width(cell)));
            line += &match align {
                Align::Left => format!("{cell}{blanks}  "),
                Align::Right => format!("{blanks}{cell}  "),
            };
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// How many columns of a terminal a text takes.
pub fn width(text: &str) -> usize {
    Span::raw(text).width()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_is_in_them() {
        let mut table = Table::new(&[("NAME", Align::Left), ("SIZE", Align::Right), ("PATH", Align::Left)]);
        table.push(vec!["日本".into(), "10 GiB".into(), "/dev/vdb".into()], None);
        table.push(vec!["a\u{1b}[0m".into(), "-".into(), String::new()], Some("it is\ngone".into()));
        let lines = table.lines();
        assert_eq!(
            lines,
            [
                "NAME          SIZE  PATH",
                "日本        10 GiB  /dev/vdb",
                "a\\u{1b}[0m       -",
                "    it is\\ngone"
            ]
        );
    }
}
