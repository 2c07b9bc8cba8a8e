//! One line: what kind it is, to the byte as GLib takes it. Each odd rule here is one of its own.

/// What a line is.
pub(super) enum Line<'a> {
    /// Blank, or a comment.
    Nothing,
    /// `[name]`.
    Group(&'a [u8]),
    /// `key = value`.
    Entry(&'a [u8], &'a [u8]),
}

/// What is wrong with a line, and what to do.
pub(super) type Wrong = (&'static str, &'static str);

/// Looks at a line without its end.
pub(super) fn read(line: &[u8]) -> Result<Line<'_>, Wrong> {
    let line = line.trim_ascii_start();
    match line.first() {
        // A zero byte ends a text in C, so a line that begins with one is blank.
        None | Some(b'#' | 0) => Ok(Line::Nothing),
        // GLib cuts the value there. It is what a crash leaves of a file, and a path that is cut leads elsewhere (P4).
        _ if line.contains(&0) => {
            Err(("a zero byte stands in this line", "the file is damaged: write it anew"))
        }
        Some(b'[') => group(line),
        Some(_) => entry(line),
    }
}

fn group(line: &[u8]) -> Result<Line<'_>, Wrong> {
    let wrong = ("a group's line must be [name] and nothing behind it", "comments have lines of their own");
    let end = line.iter().position(|&byte| byte == b']').ok_or(wrong)?;
    let nothing = |byte: &u8| matches!(byte, b' ' | b'\t') || is_continuation(*byte);
    if !line[end + 1..].iter().all(nothing) {
        return Err(wrong);
    }
    let name = &line[1..end];
    if name.is_empty() || name.iter().any(|&byte| byte == b'[' || byte.is_ascii_control()) {
        return Err(("this is no name for a group", "brackets and control characters cannot be in it"));
    }
    Ok(Line::Group(name))
}

fn entry(line: &[u8]) -> Result<Line<'_>, Wrong> {
    let Some(at) = line.iter().position(|&byte| byte == b'=') else {
        let hint = if line.starts_with(b";") { "comments begin with #" } else { "write key = value" };
        return Err(("this is neither a group, a key with a value, nor a comment", hint));
    };
    let key = line[..at].trim_ascii_end();
    if key.is_empty() {
        return Err(("there is no key before the =", "write key = value"));
    }
    if !is_key(key) {
        return Err((
            "this is no name for a key",
            "brackets can only be around a language behind it, as in key[de]",
        ));
    }
    Ok(Line::Entry(key, line[at + 1..].trim_ascii_start()))
}

/// A word, with a language in brackets behind it or without.
fn is_key(key: &[u8]) -> bool {
    let bracket = key.iter().position(|byte| matches!(byte, b'[' | b']')).unwrap_or(key.len());
    let (word, language) = key.split_at(bracket);
    match language {
        _ if word.is_empty() || word.ends_with(b" ") => false,
        [] => true,
        [b'[', language @ .., b']'] => is_language(language),
        _ => false,
    }
}

/// Letters, digits and `-_.@`. Bytes that continue a character are passed over with it, however many there are.
fn is_language(language: &[u8]) -> bool {
    let mut characters = language.chunk_by(|_, next| is_continuation(*next));
    characters.all(|bytes| {
        let first = bytes.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
        first.is_some_and(|first| first.is_alphanumeric() || "-_.@".contains(first))
    })
}

fn is_continuation(byte: u8) -> bool {
    matches!(byte, 0x80..=0xbf)
}
