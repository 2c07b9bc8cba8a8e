//! Names and values as a terminal may show them: what somebody chose does not move the cursor.

use std::borrow::Cow;
use std::fmt::Write as _;

/// With escapes for what would not be seen, or would act: control characters and those that turn the direction of text.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// A name in a sentence or a table: the empty one is seen too.
pub fn name(text: &str) -> Cow<'_, str> {
    if text.is_empty() { Cow::Borrowed("\"\"") } else { shown(text) }
}

/// A value behind `key=`, in quotes where it would not split.
pub fn quoted(value: &str) -> String {
    let plain = !value.is_empty() && value.chars().all(|c| !c.is_whitespace() && !acts(c) && c != '"');
    if plain {
        return value.into();
    }
    let mut quoted = String::from('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => {
                let _ = write!(quoted, "\\{c}");
            }
            c if acts(c) => quoted.extend(c.escape_default()),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// A word of a command that somebody may give to a shell: as it is, or in its quotes.
pub fn for_shell(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', "'\\''")))
}

/// One word or the other, by how many there are.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn acts(c: char) -> bool {
    // Marks, embeddings, overrides and isolates of Unicode's bidirectional text; its line and paragraph ends.
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_shown_as_an_escape() {
        assert_eq!(shown("vol-1 ö"), "vol-1 ö");
        assert_eq!(shown("a\u{1b}[2Jb\n\t\u{9b}"), "a\\u{1b}[2Jb\\n\\t\\u{9b}");
        assert_eq!(shown("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(name(""), "\"\"");
    }

    #[test]
    fn a_value_that_would_not_split_is_quoted() {
        assert_eq!(quoted("/dev/vdb"), "/dev/vdb");
        assert_eq!(quoted("say \"no\"\n"), "\"say \\\"no\\\"\\n\"");
        assert_eq!(quoted(""), "\"\"");
    }

    #[test]
    fn a_shell_takes_a_word_as_it_was_meant() {
        let words =
            ["/usr/bin/nbd-server", "", "a b", "it's", "\"$HOME\" `id`", "~root", "a=b", "*", "é;#\\!"];
        let line = words.map(for_shell).join(" ");
        let said = std::process::Command::new("sh").args(["-c", &format!("printf '%s\\n' {line}")]).output();
        let said = said.expect("sh").stdout;
        assert_eq!(String::from_utf8_lossy(&said).lines().collect::<Vec<_>>(), words);
        assert_eq!(for_shell(words[0]), words[0]);
    }

    #[test]
    fn one_is_said_otherwise_than_many() {
        assert_eq!(counted(1, "session", "sessions"), "1 session");
        assert_eq!(counted(0, "session", "sessions"), "0 sessions");
    }
}
