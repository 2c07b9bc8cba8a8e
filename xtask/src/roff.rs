//! A page of the manual as `man` reads it. Tables become lists: a terminal is narrower than most of them.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use std::fmt::Write as _;

/// The pages of the manual.
pub const PAGES: &[&str] = &["docs/man/nbd-server.1.md", "docs/man/nbd-server.5.md", "docs/man/nbdctl.1.md"];

/// The page `NAME(SECTION): ABOUT` in roff; `version` stands at its foot.
pub fn roff(markdown: &str, version: &str) -> String {
    let mut page = Page { version: version.to_owned(), ..Page::default() };
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        page.hear(event);
    }
    page.text
}

#[derive(Default)]
struct Page {
    version: String,
    text: String,
    /// What is being collected: a heading, a cell.
    inline: String,
    collecting: bool,
    verbatim: bool,
    /// A section has begun, so that text may stand.
    in_section: bool,
    /// The items of lists that are open: numbers, or bullets.
    lists: Vec<Option<u64>>,
    headers: Vec<String>,
    cells: Vec<String>,
    in_head: bool,
}

impl Page {
    fn hear(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.begin(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.verbatim => self.put_lines(&text),
            Event::Text(text) => self.put(&escaped(&text)),
            Event::Code(text) => self.put(&format!("\\fB{}\\fR", exact(&text))),
            Event::SoftBreak if self.collecting => self.put(" "),
            Event::SoftBreak | Event::HardBreak => self.put("\n"),
            _ => {}
        }
    }

    fn begin(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Heading { .. } | Tag::TableCell => {
                self.inline.clear();
                self.collecting = true;
            }
            Tag::Paragraph if self.lists.is_empty() => self.paragraph(),
            Tag::CodeBlock(CodeBlockKind::Fenced(_) | CodeBlockKind::Indented) => {
                self.paragraph();
                self.text += ".in +4\n.nf\n";
                self.verbatim = true;
            }
            Tag::List(first) => self.lists.push(*first),
            Tag::Item => self.item(),
            Tag::TableHead => self.in_head = true,
            Tag::Strong => self.put("\\fB"),
            Tag::Emphasis => self.put("\\fI"),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(level) => self.heading(level),
            TagEnd::TableCell => {
                self.collecting = false;
                self.cells.push(std::mem::take(&mut self.inline));
            }
            TagEnd::TableHead => {
                self.in_head = false;
                self.headers = std::mem::take(&mut self.cells);
            }
            TagEnd::TableRow => self.row(),
            TagEnd::Strong | TagEnd::Emphasis => self.put("\\fR"),
            TagEnd::CodeBlock => {
                self.verbatim = false;
                self.text += ".fi\n.in\n";
            }
            TagEnd::List(_) => {
                self.lists.pop();
            }
            TagEnd::Paragraph | TagEnd::Item => self.new_line(),
            _ => {}
        }
    }

    fn heading(&mut self, level: HeadingLevel) {
        self.collecting = false;
        let title = std::mem::take(&mut self.inline);
        if level != HeadingLevel::H1 {
            let (macro_name, title) =
                if level == HeadingLevel::H2 { (".SH", title.to_uppercase()) } else { (".SS", title) };
            let _ = writeln!(self.text, "{macro_name} \"{}\"", title.replace('"', "\\(dq"));
            self.in_section = true;
            return;
        }
        let (name, about) = title.split_once(": ").unwrap_or((&title, ""));
        let (name, section) = name.trim_end_matches(')').split_once('(').unwrap_or((name, "1"));
        let upper = name.to_uppercase();
        let _ = writeln!(self.text, ".TH \"{upper}\" \"{section}\" \"\" \"{}\"", self.version);
        let _ = writeln!(self.text, ".SH NAME\n{name} \\- {about}");
    }

    /// What stands before the first section is the page's example.
    fn paragraph(&mut self) {
        if !self.in_section {
            self.text += ".SH SYNOPSIS\n";
            self.in_section = true;
        }
        self.text += ".PP\n";
    }

    fn item(&mut self) {
        let mark = match self.lists.last_mut() {
            Some(Some(number)) => {
                *number += 1;
                format!("{}.", *number - 1)
            }
            _ => "\\(bu".into(),
        };
        let _ = writeln!(self.text, ".IP \"{mark}\" 4");
    }

    /// The first cell is the term and the last one what it means; those between stand behind, under their headers.
    fn row(&mut self) {
        let cells = std::mem::take(&mut self.cells);
        let Some((term, rest)) = cells.split_first() else { return };
        let _ = writeln!(self.text, ".TP\n{}", term.trim());
        let Some((about, between)) = rest.split_last() else { return };
        let named = self.headers.iter().skip(1).zip(between).filter(|(_, cell)| !cell.trim().is_empty());
        let more: Vec<String> = named.map(|(header, cell)| format!("{header}: {}", cell.trim())).collect();
        let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join("; ")) };
        let _ = writeln!(self.text, "{}{more}", guarded(about.trim()));
    }

    fn put(&mut self, text: &str) {
        if self.collecting {
            self.inline += text;
        } else if self.text.ends_with('\n') {
            self.text += &guarded(text);
        } else {
            self.text += text;
        }
    }

    fn put_lines(&mut self, text: &str) {
        for line in text.lines() {
            let _ = writeln!(self.text, "{}", guarded(&exact(line)));
        }
    }

    fn new_line(&mut self) {
        if !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e")
}

/// What people copy: a minus stays a minus.
fn exact(text: &str) -> String {
    escaped(text).replace('-', "\\-").replace('\'', "\\(aq")
}

/// A line that begins like a request of roff is text all the same.
fn guarded(line: &str) -> String {
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_its_name_its_sections_and_its_tables_as_lists() {
        let page = "# tool(8): do it\n\n```sh\ntool -x 'y'\n```\n\n## What\n\nSee `a-b`, *soon*.\n\n\
                    | key | type | |\n|---|---|---|\n| `k` | text | means\\\\so |\n| `l` | | .dot |\n\n1. one\n2. two\n";
        let roff = roff(page, "set 1.0");
        for part in [
            ".TH \"TOOL\" \"8\" \"\" \"set 1.0\"\n.SH NAME\ntool \\- do it\n",
            ".SH SYNOPSIS\n.PP\n.in +4\n.nf\ntool \\-x \\(aqy\\(aq\n.fi\n.in\n",
            ".SH \"WHAT\"\n.PP\nSee \\fBa\\-b\\fR, \\fIsoon\\fR.\n",
            ".TP\n\\fBk\\fR\nmeans\\eso (type: text)\n.TP\n\\fBl\\fR\n\\&.dot\n",
            ".IP \"1.\" 4\none\n.IP \"2.\" 4\ntwo\n",
        ] {
            assert!(roff.contains(part), "{part:?} is not in {roff}");
        }
    }
}
