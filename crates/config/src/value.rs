//! One value of a key: strings, booleans and numbers as the original reads them.

/// A string: escapes decoded, UTF-8, blanks behind it kept.
///
/// # Errors
/// An unknown escape, a backslash at the end, or bytes that are not UTF-8.
pub fn string(value: &[u8]) -> Result<String, &'static str> {
    let mut decoded = Vec::with_capacity(value.len());
    let mut bytes = value.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'\\' {
            decoded.push(byte);
            continue;
        }
        decoded.push(match bytes.next() {
            Some(b's') => b' ',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'\\') => b'\\',
            Some(_) => return Err("an unknown escape; those known are \\s \\n \\t \\r \\\\"),
            None => return Err("a backslash at the end; write \\\\ for a backslash"),
        });
    }
    String::from_utf8(decoded).map_err(|_| "it is not UTF-8")
}

/// A boolean.
///
/// # Errors
/// Anything but `true`, `false`, `1`, `0`, with blanks behind it.
pub fn boolean(value: &[u8]) -> Result<bool, &'static str> {
    match value.trim_ascii_end() {
        b"true" | b"1" => Ok(true),
        b"false" | b"0" => Ok(false),
        _ => Err("write true or false, in small letters and with nothing behind it"),
    }
}

const NO_NUMBER: &str = "write a decimal number, without a unit";

/// A whole number of 32 bits; what follows a blank is not looked at.
///
/// # Errors
/// No digits, other characters right behind them, or a number beyond 32 bits.
pub fn int(value: &[u8]) -> Result<i32, &'static str> {
    let (number, rest) = number(value)?;
    if rest.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
        return Err(NO_NUMBER);
    }
    i32::try_from(number).map_err(|_| "the number is beyond 32 bits")
}

/// A whole number of 64 bits; one beyond is the largest there is.
///
/// # Errors
/// No digits, or anything behind them, be it a blank.
pub fn int64(value: &[u8]) -> Result<i64, &'static str> {
    let (number, rest) = number(value)?;
    if !rest.is_empty() {
        return Err("write a decimal number, without a unit and with nothing behind it, not even a blank");
    }
    Ok(i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX }))
}

/// Sign and digits, and what follows them.
fn number(value: &[u8]) -> Result<(i128, &[u8]), &'static str> {
    // C knows one more blank than GLib, which has removed the others.
    let start = value.iter().position(|byte| !matches!(byte, b' ' | b'\t'..=b'\r')).unwrap_or(value.len());
    let (negative, digits) = match &value[start..] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    if digits.is_empty() {
        return Err(NO_NUMBER);
    }
    let mut number: i128 = 0;
    for digit in digits {
        // Beyond 64 bits it no longer matters how far.
        number = (number * 10 + i128::from(digit - b'0')).min(i128::from(u64::MAX));
    }
    Ok((if negative { -number } else { number }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C-042
    #[test]
    fn booleans_are_four_words() {
        for (text, value) in [("true", true), ("1", true), ("false", false), ("0", false), ("true  ", true)] {
            assert_eq!(boolean(text.as_bytes()), Ok(value), "{text:?}");
        }
        for text in ["yes", "on", "TRUE", "", "\"true\"", "true # c", "True", "2"] {
            assert!(boolean(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    /// C-043, C-044
    #[test]
    fn numbers_are_decimal() {
        for (text, value) in [("5", 5), ("5 ", 5), ("007", 7), ("-1", -1), ("5 x", 5), ("+3", 3)] {
            assert_eq!(int(text.as_bytes()), Ok(value), "{text:?}");
        }
        for text in ["0x5", "5k", "", "2147483648", "-", " "] {
            assert!(int(text.as_bytes()).is_err(), "{text:?}");
        }
        assert_eq!(int64(b"99999999999999999999999999999999999999999999"), Ok(i64::MAX));
        assert_eq!(int64(b"-99999999999999999999"), Ok(i64::MIN));
        assert_eq!(int64(b"+5"), Ok(5));
        for text in ["10M", "", "10 ", "10 x", "- 5"] {
            assert!(int64(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    /// C-046, C-047
    #[test]
    fn strings_have_five_escapes() {
        assert_eq!(string(br"a\s\t\n\r\\b "), Ok("a \t\n\r\\b ".into()));
        for text in [br"/a\q".as_slice(), b"/a\\", b"\xff"] {
            assert!(string(text).is_err(), "{}", text.escape_ascii());
        }
    }
}
