//! The runbook as what is to be done: stage directions, commands, and what they print.

use lab::Ran;

/// What stands in the runbook for the test.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// `<!-- stage: WORDS -->`: what happens on the appliance that the reader is told about.
    Stage(String),
    /// `$ COMMAND` in a `console` block.
    Command(Command),
}

/// A command and the lines below it.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// What is typed.
    pub text: String,
    line: usize,
    /// Lines that it prints, in this order; others may stand between them. `…` is anything.
    prints: Vec<String>,
}

/// All of it, in order.
pub fn parts(text: &str) -> Vec<Part> {
    let (mut parts, mut inside) = (Vec::new(), false);
    for (at, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if let Some(words) = line.strip_prefix("<!-- stage: ") {
            parts.push(Part::Stage(words.trim_end_matches("-->").trim().to_owned()));
        } else if let Some(typed) = line.strip_prefix("$ ").filter(|_| inside) {
            parts.push(Part::Command(Command { text: typed.to_owned(), line: at + 1, prints: Vec::new() }));
        } else if let (true, Some(Part::Command(command))) = (inside, parts.last_mut()) {
            command.prints.push(line.to_owned());
        }
    }
    parts
}

impl Command {
    /// What the runbook says, and what is not so.
    pub fn differs(&self, ran: &Ran) -> Option<String> {
        let printed = format!("{}{}", ran.out, ran.err);
        let mut lines = printed.lines();
        let missing = self.prints.iter().find(|wanted| !lines.any(|line| fits(wanted, line)))?;
        let code = ran.code;
        Some(format!(
            "docs/operations.md:{}: $ {}\n  does not print: {missing}\n  it ends with {code:?} and prints:\n{printed}",
            self.line, self.text
        ))
    }
}

/// Whether a line is the one that is shown, with `…` for anything and any number of blanks for some.
fn fits(wanted: &str, line: &str) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (wanted, line) = (plain(wanted), plain(line));
    let mut pieces = wanted.split('…');
    let Some(mut rest) = pieces.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let mut last = None;
    for piece in pieces {
        last = Some(piece);
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.is_empty() || last.is_some_and(|piece| piece.is_empty() || line.ends_with(piece))
}

#[test]
fn dots_stand_for_anything() {
    for (wanted, line) in
        [("a  b", "a b"), ("a … c", "a b b c"), ("a…", "abc"), ("…c", "abc"), ("…b…", "abc"), ("…c", "cbc")]
    {
        assert!(fits(wanted, line), "{wanted} {line}");
    }
    for (wanted, line) in [("a", "ab"), ("a…c", "abcd"), ("…c", "abcd"), ("b…", "abc"), ("", "a")] {
        assert!(!fits(wanted, line), "{wanted} {line}");
    }
}
