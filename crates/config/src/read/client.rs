//! What stands in the configuration about clients: how a path names them, and whom TLS lets in.

use crate::settings::{TlsIdentity, Virtstyle};

/// `virtstyle`: none for a path that is the same for everybody. The beginning of a word counts, as in the original.
pub(super) fn virtstyle(text: &str) -> Result<Option<Virtstyle>, String> {
    if text.starts_with("none") {
        Ok(None)
    } else if text.starts_with("ipliteral") {
        Ok(Some(Virtstyle::Ipliteral))
    } else if text.starts_with("iphash") {
        Ok(Some(Virtstyle::Iphash))
    } else if let Some(bits) = text.strip_prefix("cidrhash") {
        Ok(Some(Virtstyle::Cidrhash(low_byte(bits))))
    } else {
        Err("write none, ipliteral, iphash or cidrhash N".into())
    }
}

/// A number as C writes it (0x10, 020, 16), as far as it goes; of it the lowest 8 bits, for that is where the original
/// keeps it.
fn low_byte(text: &str) -> u8 {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let (negative, text) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let hex = hex.filter(|digits| digits.starts_with(|first: char| first.is_ascii_hexdigit()));
    let (radix, digits) = match hex {
        Some(digits) => (16, digits),
        None => (if text.starts_with('0') { 8 } else { 10 }, text),
    };
    let mut number: i64 = 0;
    for digit in digits.chars().map_while(|digit| digit.to_digit(radix)) {
        let digit = i64::from(if negative { 0 } else { digit }) - i64::from(if negative { digit } else { 0 });
        number = number.saturating_mul(radix.into()).saturating_add(digit);
    }
    number.to_le_bytes()[0]
}

/// A path with `%%` for a percent sign and `%s` for the client: as a template where the client is in it, else as it is.
///
/// # Errors
/// Any other use of the percent sign, which the original hands to `printf`.
pub(super) fn template(text: &str) -> Result<(String, bool), String> {
    let (mut plain, mut names_client) = (String::with_capacity(text.len()), false);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        plain += before;
        rest = match after.as_bytes().first() {
            Some(b'%') => {
                plain.push('%');
                &after[1..]
            }
            Some(b's') => {
                names_client = true;
                &after[1..]
            }
            _ => return Err("write %% for a percent sign, or virtstyle = none".into()),
        };
    }
    Ok(if names_client { (text.to_owned(), true) } else { (plain + rest, false) })
}

/// `tls_allow`: identities, split at commas. A comma that belongs to one has a backslash before it.
pub(super) fn allowed(text: &str) -> Result<Vec<TlsIdentity>, String> {
    split_at_commas(text)?.iter().map(|word| identity(word.trim())).collect()
}

fn identity(word: &str) -> Result<TlsIdentity, String> {
    let named = |name: &str| Some(name.to_owned()).filter(|name| !name.is_empty());
    let identity = if let Some(name) = word.strip_prefix("CN=") {
        named(name).map(TlsIdentity::CommonName)
    } else if let Some(subject) = word.strip_prefix("DN=") {
        named(subject).filter(|subject| subject.starts_with('/')).map(TlsIdentity::Subject)
    } else {
        word.strip_prefix("psk:").and_then(named).map(TlsIdentity::Psk)
    };
    identity.ok_or_else(|| "write CN=name, DN=/C=DE/CN=name or psk:name, split at commas".into())
}

fn split_at_commas(text: &str) -> Result<Vec<String>, String> {
    let mut words = vec![String::new()];
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let letter = match letter {
            ',' => {
                words.push(String::new());
                continue;
            }
            '\\' => letters.next().ok_or("a backslash at the end")?,
            letter => letter,
        };
        words.last_mut().into_iter().for_each(|word| word.push(letter));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C-054: and the number as `strtol` reads it with base 0, in 8 bits.
    #[test]
    fn a_style_is_known_by_its_beginning() {
        for text in ["none", "nonesuch", "none 5"] {
            assert_eq!(virtstyle(text), Ok(None), "{text}");
        }
        assert_eq!(virtstyle("ipliteral?"), Ok(Some(Virtstyle::Ipliteral)));
        assert_eq!(virtstyle("iphashes"), Ok(Some(Virtstyle::Iphash)));
        let numbers = [
            ("cidrhash 16", 16),
            ("cidrhash16", 16),
            ("cidrhash  0x10", 16),
            ("cidrhash 0X1f!", 31),
            ("cidrhash 020", 16),
            ("cidrhash 08", 0),
            ("cidrhash 0x", 0),
            ("cidrhash 0xg", 0),
            ("cidrhash junk", 0),
            ("cidrhash +24 x", 24),
            ("cidrhash -1", 255),
            ("cidrhash 257", 1),
            ("cidrhash 99999999999999999999", 255),
            ("cidrhash -99999999999999999999", 0),
            ("cidrhash - 1", 0),
            ("cidrhash\t8", 8),
        ];
        for (text, bits) in numbers {
            assert_eq!(virtstyle(text), Ok(Some(Virtstyle::Cidrhash(bits))), "{text}");
        }
        for text in ["", "bogus", "NONE", " none", "ip"] {
            assert!(virtstyle(text).is_err(), "{text}");
        }
    }

    /// C-160, C-161: each percent sign has one meaning, and equal meanings are equal values.
    #[test]
    fn a_path_without_a_client_is_no_template() {
        let plain = [("/x", "/x"), ("/x/100%%", "/x/100%"), ("%%%%s", "%%s"), ("", "")];
        for (text, path) in plain {
            assert_eq!(template(text), Ok((path.into(), false)), "{text}");
        }
        for text in ["/x/%s", "%s", "/%s/%s", "/100%%/%s"] {
            assert_eq!(template(text), Ok((text.into(), true)), "{text}");
        }
        for text in ["/x/%", "/x/%d", "/x/%S", "%%%", "/%s/%n", "% s", "%5s", "%ä"] {
            assert!(template(text).is_err(), "{text}");
        }
    }

    #[test]
    fn identities_are_told_apart_and_shown_as_they_are_written() {
        let text = r"CN=alice, DN=/C=DE/O=Example\, Inc./CN=b\\c ,psk:carol";
        let expected = [
            TlsIdentity::CommonName("alice".into()),
            TlsIdentity::Subject(r"/C=DE/O=Example, Inc./CN=b\c".into()),
            TlsIdentity::Psk("carol".into()),
        ];
        assert_eq!(allowed(text), Ok(expected.into()));
        let shown = expected_text(&allowed(text).expect("three"));
        assert_eq!(allowed(&shown), allowed(text), "{shown}");
        for text in
            ["", ",", "CN=a,", "alice", "cn=a", "CN=", "DN=CN=a", "psk:", "psk=a", r"CN=a\", "CN=a;b,x"]
        {
            assert!(allowed(text).is_err(), "{text}");
        }
    }

    fn expected_text(identities: &[TlsIdentity]) -> String {
        identities.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}
