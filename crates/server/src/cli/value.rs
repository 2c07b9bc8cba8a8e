//! The values that stand on the command line.

use super::{Listen, Outcome, wrong};
use std::ffi::OsStr;

/// `PORT`, `ADDRESS:PORT` where there is one colon only, `ADDRESS@PORT`; an empty address is all of them.
pub fn listen(word: &str) -> Result<Listen, Outcome> {
    let one_colon = word.matches(':').count() == 1;
    let (addresses, port) = match word.split_once(':').filter(|_| one_colon).or_else(|| word.split_once('@'))
    {
        Some((addresses, port)) => (addresses, port),
        None => ("", word),
    };
    if port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_err() {
        return Err(wrong(&format!("the port \"{port}\" is no number of at most 65535")));
    }
    if port.contains(':') {
        return Err(wrong(&format!("\"{word}\": write an IPv6 address as ADDRESS@PORT")));
    }
    let addresses = addresses.split(',').filter(|address| !address.is_empty()).map(Into::into).collect();
    Ok(Listen { addresses, port: port.into() })
}

/// Bytes with a unit; none or 0 is the whole file.
pub fn size(word: &str) -> Result<Option<u64>, Outcome> {
    let word = word.trim_start();
    let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &word[digits.len()..] {
        "" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        "t" | "T" => 1 << 40,
        _ => 0,
    };
    if word.is_empty() {
        return Ok(None);
    }
    match digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit)) {
        Some(bytes) if unit > 0 => Ok(Some(bytes).filter(|&bytes| bytes > 0)),
        _ => Err(wrong(&format!("the size \"{word}\" is no number of bytes; k, m, g and t are its units"))),
    }
}

/// As C's `strtol` with base 0 reads it: `0x` and `0` prefixes, and 0 for junk.
pub fn number(word: &OsStr) -> i64 {
    let text = word.to_string_lossy();
    let (sign, digits) = match text.trim_start().strip_prefix('-') {
        Some(digits) => (-1, digits.to_owned()),
        None => (1, text.trim_start().trim_start_matches('+').to_owned()),
    };
    let (radix, digits) = match digits.as_str() {
        hex if hex.starts_with("0x") || hex.starts_with("0X") => (16, &hex[2..]),
        octal if octal.starts_with('0') => (8, octal),
        decimal => (10, decimal),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    sign * i64::from_str_radix(&digits[..end], radix).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::*;

    fn run(line: &str) -> Result<Invocation, Outcome> {
        parse(std::iter::once("nbd-server").chain(line.split_whitespace()).map(Into::into))
    }

    /// C-007, C-013, C-014, C-015
    #[test]
    fn an_address_stands_before_the_port() {
        let cases: [(&str, &[&str], &str); 8] = [
            ("2000", &[], "2000"),
            ("127.0.0.1:2000", &["127.0.0.1"], "2000"),
            ("127.0.0.1@2000", &["127.0.0.1"], "2000"),
            ("::1@2000", &["::1"], "2000"),
            ("@2000", &[], "2000"),
            (":2000", &[], "2000"),
            ("127.0.0.1,10.0.0.1@2000", &["127.0.0.1", "10.0.0.1"], "2000"),
            ("nbd", &[], "nbd"),
        ];
        for (word, addresses, port) in cases {
            let listen = run(word).expect("it parses").listen.expect("an address");
            assert_eq!(
                (listen.addresses, listen.port.as_str()),
                (addresses.iter().map(ToString::to_string).collect(), port),
                "{word}"
            );
        }
        for wrong in ["99999", "::1:2000", "[::1]:2000", ""] {
            assert!(wrong.is_empty() || run(wrong).is_err(), "{wrong}");
        }
    }

    /// C-016, C-017
    #[test]
    fn sizes_have_units_and_no_junk() {
        let cases =
            [("10k", 10240), ("10K", 10240), ("10m", 10 << 20), ("10G", 10 << 30), ("1t", 1 << 40), ("7", 7)];
        for (word, bytes) in cases {
            let export = run(&format!("1 /f {word}")).expect("it parses").export.expect("an export");
            assert_eq!(export.size, Some(bytes), "{word}");
        }
        assert_eq!(run("1 /f 0").expect("it parses").export.expect("an export").size, None);
        for word in ["10x", "0x10", "abc", "10kk", "99999999999t"] {
            assert_eq!(run(&format!("1 /f {word}")).expect_err("junk").status, 1, "{word}");
        }
    }
}
