//! `pskfile`: names and keys as `psktool` of GnuTLS writes them.

use std::collections::HashMap;
use std::fmt;

/// OpenSSL takes no longer key in TLS 1.2.
const KEY_MAX: usize = 256;

/// Pre-shared keys by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keys {
    by_name: HashMap<Vec<u8>, Vec<u8>>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.by_name.len())
    }
}

impl Keys {
    /// `NAME:HEX` a line; a name that begins with `#` is written in hexadecimal behind it.
    ///
    /// # Errors
    /// A sentence with the line's number and nothing of its content: a line that is wrong may hold a key all the same.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let mut keys = Self::default();
        let lines = text.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        for (number, line) in (1..).zip(lines).filter(|(_, line)| !line.trim_ascii().is_empty()) {
            let (name, key) = entry(line).map_err(|why| format!("line {number}: {why}"))?;
            if keys.by_name.insert(name, key).is_some() {
                return Err(format!("line {number}: the name stands twice"));
            }
        }
        if keys.by_name.is_empty() {
            return Err("there is no key in it".into());
        }
        Ok(keys)
    }

    /// The key of that name.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.by_name.get(name).map(Vec::as_slice)
    }
}

fn entry(line: &[u8]) -> Result<(Vec<u8>, Vec<u8>), &'static str> {
    let mut parts = line.splitn(2, |&byte| byte == b':');
    let (Some(name), Some(key)) = (parts.next(), parts.next()) else { return Err("write NAME:HEX") };
    let name = match name.strip_prefix(b"#") {
        Some(digits) => decoded(digits).ok_or("the name behind # is not hexadecimal")?,
        None => name.to_vec(),
    };
    if name.is_empty() || name.contains(&0) {
        return Err("a name has at least one byte, and no zero byte");
    }
    let key = decoded(key.trim_ascii()).ok_or("the key is not hexadecimal")?;
    if key.is_empty() || key.len() > KEY_MAX {
        return Err("a key has 1 to 256 bytes");
    }
    Ok((name, key))
}

fn decoded(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_psktool_are_understood() {
        let keys = Keys::parse(b"alice:0aFF\r\n\n#626f623a31:00\ncarol:11:22").map(drop);
        assert_eq!(keys, Err("line 4: the key is not hexadecimal".into()));
        let keys = Keys::parse(b"alice:0aFF\r\n\n#626f623a31:00").expect("keys");
        assert_eq!(keys.get(b"alice"), Some(&[0x0a, 0xff][..]));
        assert_eq!(keys.get(b"bob:1"), Some(&[0][..]));
        assert_eq!(keys.get(b"Alice"), None);
        assert_eq!(format!("{keys:?}"), "2 keys");
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number_alone() {
        let long = format!("a:{}", "00".repeat(257));
        let table = [
            ("", "no key"),
            ("alice", "line 1: write"),
            ("alice:", "line 1: a key has"),
            (":00", "line 1: a name"),
            ("#:00", "line 1: a name"),
            ("#00:00", "line 1: a name"),
            ("#6:00", "line 1: the name"),
            ("a:00\na:01", "line 2: the name stands twice"),
            ("a:0", "line 1: the key"),
            ("a:secret", "line 1: the key"),
            (&long, "line 1: a key has"),
        ];
        for (text, why) in table {
            let error = Keys::parse(text.as_bytes()).expect_err(text);
            assert!(error.contains(why) && !error.contains("secret"), "{text}: {error}");
        }
    }
}
