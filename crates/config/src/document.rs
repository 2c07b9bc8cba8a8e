//! Text to [`Document`]: groups, keys and where each stands. The syntax is that of GLib's key files, as the original
//! reads them; looks at shape alone.

mod line;

use crate::problem::Problem;
use line::Line;
use std::path::{Path, PathBuf};

/// A text that has the right shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Where it was read.
    pub file: PathBuf,
    /// In the order of first appearance; groups of one name are one group.
    pub groups: Vec<Group>,
    /// The last line has its end: a text without one may be half written.
    pub ends_whole: bool,
}

/// A group and its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Between the brackets, byte for byte.
    pub name: Vec<u8>,
    /// Where it first appears.
    pub line: u32,
    /// In the order of the text. The last of one name is the one in force.
    pub entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Left of `=`, without blanks around it.
    pub key: Vec<u8>,
    /// Right of `=`, without blanks before it; those behind it belong to it.
    pub value: Vec<u8>,
    /// From 1.
    pub line: u32,
}

impl Group {
    /// The entry in force for a key.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.key == key.as_bytes())
    }

    /// The name as it is shown.
    #[must_use]
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }
}

impl Document {
    /// Understands a text.
    ///
    /// # Errors
    /// Every line that has no right shape.
    pub fn parse(file: &Path, text: &[u8]) -> Result<Self, Vec<Problem>> {
        let mut parser = Parser { file, groups: Vec::new(), current: None, problems: Vec::new() };
        // Some editors leave one.
        let text = text.strip_suffix(b"\0").unwrap_or(text);
        if text.starts_with(b"\xef\xbb\xbf") {
            let problem = Problem::at(file, 1, "the file begins with a byte order mark");
            return Err(vec![problem.hint("save it as UTF-8 without BOM")]);
        }
        for (number, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
            let number = u32::try_from(number + 1).unwrap_or(u32::MAX);
            // A carriage return belongs to the end of the line; without one it is a letter like any other.
            let ended = line.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
            parser.line(number, ended.unwrap_or(line));
        }
        if !parser.problems.is_empty() {
            return Err(parser.problems);
        }
        let ends_whole = text.is_empty() || text.ends_with(b"\n");
        Ok(Self { file: file.into(), groups: parser.groups, ends_whole })
    }
}

struct Parser<'a> {
    file: &'a Path,
    groups: Vec<Group>,
    current: Option<usize>,
    problems: Vec<Problem>,
}

impl Parser<'_> {
    fn line(&mut self, number: u32, line: &[u8]) {
        match line::read(line) {
            Ok(Line::Nothing) => {}
            Ok(Line::Group(name)) => self.group(number, name),
            Ok(Line::Entry(key, value)) => {
                self.entry(Entry { key: key.into(), value: value.into(), line: number });
            }
            Err((what, hint)) => self.wrong(number, what, hint),
        }
    }

    fn group(&mut self, number: u32, name: &[u8]) {
        let found = self.groups.iter().position(|group| group.name == name);
        self.current = Some(found.unwrap_or_else(|| {
            self.groups.push(Group { name: name.to_vec(), line: number, entries: Vec::new() });
            self.groups.len() - 1
        }));
    }

    fn entry(&mut self, entry: Entry) {
        let Some(current) = self.current else {
            self.wrong(entry.line, "a key stands before the first group", "begin with [generic]");
            return;
        };
        // GLib's own key: in the first group it tells how the file is written.
        if current == 0 && entry.key == b"Encoding" && !entry.value.eq_ignore_ascii_case(b"UTF-8") {
            self.wrong(
                entry.line,
                "the file says that it is not written in UTF-8",
                "remove the key Encoding",
            );
            return;
        }
        self.groups[current].entries.push(entry);
    }

    fn wrong(&mut self, line: u32, what: &str, hint: &str) {
        self.problems.push(Problem::at(self.file, line, what).hint(hint));
    }
}

/// `key[de]`: a translation, which nobody reads here. Brackets stand in no other key.
#[must_use]
pub fn is_locale_key(key: &[u8]) -> bool {
    key.contains(&b'[')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Result<Document, Vec<Problem>> {
        Document::parse(Path::new("c"), text)
    }

    /// C-037, C-052, C-053.
    #[test]
    fn what_the_original_reads_is_read() {
        let texts: [&[u8]; 12] = [
            b"",
            b"# only a comment",
            b"[generic]\n  # indented\n\n",
            b"  [generic]\n\tport = 1\n",
            b"[generic]\r\nport=1\r\n",
            b"[generic]\nport=1",
            b"[a]\n[a b/:@!]\n",
            b"[ a ]\n",
            b"[a]  \nx=1\n",
            b"[a]\nkey with blanks = v\n",
            b"[a]\nexportname[de]=x\n",
            b"[a]\nx=1\n\0",
        ];
        for text in texts {
            assert!(parse(text).is_ok(), "{}", text.escape_ascii());
        }
    }

    /// C-038, C-039: and each with its line.
    #[test]
    fn what_the_original_rejects_is_rejected_with_its_line() {
        let texts: [(&[u8], u32); 11] = [
            (b"[a]\n; comment\n", 2),
            (b"key=1\n[a]\n", 1),
            (b"[a]\nbare\n", 2),
            (b"[a]\n\n=v\n", 3),
            (b"[a] # x\n", 1),
            (b"[]\n", 1),
            (b"[a]]\n", 1),
            (b"[a\n", 1),
            (b"[a\tb]\n", 1),
            (b"\xef\xbb\xbf[a]\n", 1),
            (b"[a]\nkey: value\n", 2),
        ];
        for (text, line) in texts {
            let problems = parse(text).expect_err("rejected");
            assert_eq!(problems[0].line, Some(line), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn all_wrong_lines_are_told_at_once() {
        let problems = parse(b"x\n[a]\ny\nz\n").expect_err("rejected");
        assert_eq!(
            problems.iter().map(|problem| problem.line).collect::<Vec<_>>(),
            [Some(1), Some(3), Some(4)]
        );
    }

    /// C-048.
    #[test]
    fn groups_of_one_name_are_one_and_the_last_value_wins() {
        let document = parse(b"[a]\nx=1\n[b]\n[a]\nx=2 \ny= 3\n").expect("it parses");
        assert_eq!(document.groups.len(), 2);
        assert_eq!(document.groups[0].entry("x").map(|entry| entry.value.as_slice()), Some(b"2 ".as_slice()));
        assert_eq!(document.groups[0].entry("y").map(|entry| entry.value.as_slice()), Some(b"3".as_slice()));
    }

    #[test]
    fn a_text_without_its_last_line_end_is_marked() {
        assert!(parse(b"[a]\nx=1\n").expect("it parses").ends_whole);
        assert!(!parse(b"[a]\nx=1").expect("it parses").ends_whole);
    }
}
