//! The words that a server was started with, as both programs take them.

use std::path::PathBuf;

/// Options of nbd-server with a word of their own, and those without; a beginning is enough.
const WITH_VALUE: [(&str, char); 5] = [
    ("authorize-file", 'l'),
    ("config-file", 'C'),
    ("pid-file", 'p'),
    ("output-config", 'o'),
    ("max-connections", 'M'),
];

/// What of it concerns whoever looks for the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// `-C`
    pub config: Option<PathBuf>,
    /// `-p`
    pub pid_file: Option<PathBuf>,
    /// `-d`: there is no pid file.
    pub dont_fork: bool,
}

impl Given {
    /// Of the words behind the program's name.
    pub fn of(words: &[String]) -> Self {
        let mut given = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                break;
            } else if let Some(long) = word.strip_prefix("--") {
                let (name, value) =
                    long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
                let takes =
                    WITH_VALUE.iter().find(|(option, _)| !name.is_empty() && option.starts_with(name));
                match takes {
                    Some((_, letter)) => {
                        given.set(*letter, value.or_else(|| words.next().map(String::as_str)))
                    }
                    None => given.dont_fork |= name.len() > 1 && "dont-fork".starts_with(name),
                }
            } else if let Some(letters) = word.strip_prefix('-') {
                given.letters(letters, &mut words);
            }
        }
        given
    }

    /// `-d`, `-rdC FILE`, `-CFILE`
    fn letters<'a>(&mut self, letters: &str, words: &mut impl Iterator<Item = &'a String>) {
        for (at, letter) in letters.char_indices() {
            if WITH_VALUE.iter().any(|(_, short)| *short == letter) {
                let rest = &letters[at + letter.len_utf8()..];
                let value = if rest.is_empty() { words.next().map(String::as_str) } else { Some(rest) };
                return self.set(letter, value);
            }
            self.dont_fork |= letter == 'd';
        }
    }

    fn set(&mut self, letter: char, value: Option<&str>) {
        match letter {
            'C' => self.config = value.map(Into::into),
            'p' => self.pid_file = value.map(Into::into),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_server_are_read_off_its_command_line() {
        let files = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(Into::into).collect();
            let given = Given::of(&words);
            let shown = |path: Option<PathBuf>| path.map_or("-".into(), |path| path.display().to_string());
            format!("{} {} {}", shown(given.config), shown(given.pid_file), given.dont_fork)
        };
        assert_eq!(files(""), "- - false");
        assert_eq!(files("-C /c -p /p"), "/c /p false");
        assert_eq!(files("-rdC/c 2000 /f"), "/c - true");
        assert_eq!(files("--config-file=/c --pid /p --dont"), "/c /p true");
        assert_eq!(
            files("-M 3 -l -C -p /p"),
            "- /p false",
            "a word that belongs to another option is no option"
        );
        assert_eq!(files("-- -C /c"), "- - false");
    }
}
