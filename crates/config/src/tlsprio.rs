//! `tlsprio`: a GnuTLS priority string, as far as it can be kept. A token that cannot be is an error that names it: a
//! restriction that is silently not kept is none.

/// What may be negotiated, each list in order of preference. By default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsPriority {
    /// Versions of the protocol.
    pub versions: Vec<TlsVersion>,
    /// Ciphers.
    pub ciphers: Vec<TlsCipher>,
    /// How records are authenticated, before TLS 1.3.
    pub macs: Vec<TlsMac>,
    /// How the key is agreed on, and who proves what; TLS 1.3 looks only at the latter.
    pub exchanges: Vec<TlsExchange>,
    /// Groups of Diffie-Hellman.
    pub groups: Vec<TlsGroup>,
    /// Our order counts, not the client's (`%SERVER_PRECEDENCE`).
    pub server_precedence: bool,
    /// A way to sign is there: all but `NONE` have it, and `+SIGN-ALL` adds it.
    signs: bool,
}

/// A version of the protocol. Those before 1.2 are not spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the specification")]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

/// A cipher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the specification")]
pub enum TlsCipher {
    Aes128Gcm,
    Aes256Gcm,
    Chacha20Poly1305,
    Aes128Ccm,
    Aes256Ccm,
    Aes128Cbc,
    Aes256Cbc,
}

/// How records are authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the specification")]
pub enum TlsMac {
    Aead,
    Sha1,
    Sha256,
    Sha384,
}

/// How the key is agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the specification")]
pub enum TlsExchange {
    EcdheEcdsa,
    EcdheRsa,
    DheRsa,
    Rsa,
    EcdhePsk,
    DhePsk,
    Psk,
}

impl TlsExchange {
    /// By a key that both had before.
    #[must_use]
    pub fn is_psk(self) -> bool {
        matches!(self, Self::EcdhePsk | Self::DhePsk | Self::Psk)
    }
}

/// A group of Diffie-Hellman.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the specification")]
pub enum TlsGroup {
    Secp256r1,
    Secp384r1,
    Secp521r1,
    X25519,
    X448,
    Ffdhe2048,
    Ffdhe3072,
    Ffdhe4096,
    Ffdhe6144,
    Ffdhe8192,
}

use TlsCipher::{Aes128Cbc, Aes128Ccm, Aes128Gcm, Aes256Cbc, Aes256Ccm, Aes256Gcm, Chacha20Poly1305};
use TlsExchange::{DhePsk, DheRsa, EcdheEcdsa, EcdhePsk, EcdheRsa, Psk, Rsa};
use TlsGroup::{
    Ffdhe2048, Ffdhe3072, Ffdhe4096, Ffdhe6144, Ffdhe8192, Secp256r1, Secp384r1, Secp521r1, X448, X25519,
};
use TlsMac::{Aead, Sha1, Sha256, Sha384};
use TlsVersion::{V1_2, V1_3};

const VERSIONS: &[(&str, &[TlsVersion])] = &[
    ("VERS-TLS-ALL", &[V1_3, V1_2]),
    ("VERS-ALL", &[V1_3, V1_2]),
    ("VERS-TLS1.2", &[V1_2]),
    ("VERS-TLS1.3", &[V1_3]),
];
const CIPHERS_NORMAL: &[TlsCipher] =
    &[Aes256Gcm, Chacha20Poly1305, Aes256Ccm, Aes256Cbc, Aes128Gcm, Aes128Ccm, Aes128Cbc];
const CIPHERS: &[(&str, &[TlsCipher])] = &[
    ("CIPHER-ALL", CIPHERS_NORMAL),
    ("AES-128-GCM", &[Aes128Gcm]),
    ("AES-256-GCM", &[Aes256Gcm]),
    ("CHACHA20-POLY1305", &[Chacha20Poly1305]),
    ("AES-128-CCM", &[Aes128Ccm]),
    ("AES-256-CCM", &[Aes256Ccm]),
    ("AES-128-CBC", &[Aes128Cbc]),
    ("AES-256-CBC", &[Aes256Cbc]),
];
const MACS: &[(&str, &[TlsMac])] = &[
    ("MAC-ALL", &[Sha1, Aead]),
    ("AEAD", &[Aead]),
    ("SHA1", &[Sha1]),
    ("SHA256", &[Sha256]),
    ("SHA384", &[Sha384]),
];
const EXCHANGES_NORMAL: &[TlsExchange] = &[EcdheEcdsa, EcdheRsa, Rsa, DheRsa];
const EXCHANGES: &[(&str, &[TlsExchange])] = &[
    ("KX-ALL", EXCHANGES_NORMAL),
    ("ECDHE-ECDSA", &[EcdheEcdsa]),
    ("ECDHE-RSA", &[EcdheRsa]),
    ("DHE-RSA", &[DheRsa]),
    ("RSA", &[Rsa]),
    ("ECDHE-PSK", &[EcdhePsk]),
    ("DHE-PSK", &[DhePsk]),
    ("PSK", &[Psk]),
];
const GROUPS_EC: &[TlsGroup] = &[Secp256r1, Secp384r1, Secp521r1, X25519, X448];
const GROUPS_DH: &[TlsGroup] = &[Ffdhe2048, Ffdhe3072, Ffdhe4096, Ffdhe6144, Ffdhe8192];
const GROUPS_NORMAL: &[TlsGroup] =
    &[Secp256r1, Secp384r1, Secp521r1, X25519, X448, Ffdhe2048, Ffdhe3072, Ffdhe4096, Ffdhe6144, Ffdhe8192];
const GROUPS: &[(&str, &[TlsGroup])] = &[
    ("GROUP-ALL", GROUPS_NORMAL),
    ("GROUP-EC-ALL", GROUPS_EC),
    ("GROUP-DH-ALL", GROUPS_DH),
    ("GROUP-SECP256R1", &[Secp256r1]),
    ("GROUP-SECP384R1", &[Secp384r1]),
    ("GROUP-SECP521R1", &[Secp521r1]),
    ("GROUP-X25519", &[X25519]),
    ("GROUP-X448", &[X448]),
    ("GROUP-FFDHE2048", &[Ffdhe2048]),
    ("GROUP-FFDHE3072", &[Ffdhe3072]),
    ("GROUP-FFDHE4096", &[Ffdhe4096]),
    ("GROUP-FFDHE6144", &[Ffdhe6144]),
    ("GROUP-FFDHE8192", &[Ffdhe8192]),
];

/// Not negotiated here at all, so taking them away is kept, and adding them is not.
const ABSENT: &str = "VERS-SSL3.0 VERS-TLS1.0 VERS-TLS1.1 VERS-DTLS-ALL VERS-DTLS0.9 VERS-DTLS1.0 VERS-DTLS1.2 \
    3DES-CBC ARCFOUR-128 ARCFOUR-40 DES-CBC RC2-40 NULL CAMELLIA-128-CBC CAMELLIA-192-CBC CAMELLIA-256-CBC \
    CAMELLIA-128-GCM CAMELLIA-256-GCM AES-128-CCM-8 AES-256-CCM-8 MD5 DHE-DSS RSA-PSK RSA-EXPORT SRP SRP-RSA \
    SRP-DSS ANON-DH ANON-ECDH GROUP-SECP192R1 GROUP-SECP224R1";
/// What there is only one of.
const ALWAYS: &[&str] = &["COMP-NULL", "COMP-ALL", "CTYPE-X509", "CTYPE-X.509", "CTYPE-ALL"];

/// Reads a priority string: a keyword, then tokens with `+`, `-` or `!` in front, and `%SERVER_PRECEDENCE`.
///
/// # Errors
/// A sentence that names the token that cannot be kept, or what nothing is left of.
pub fn parse(text: &str) -> Result<TlsPriority, String> {
    let mut tokens = text.split(':').map(str::trim);
    let first = tokens.next().unwrap_or_default();
    let Some(mut priority) = level(first) else {
        let known = "NORMAL, PERFORMANCE, SECURE128, SECURE192, SECURE256, PFS, SUITEB128, SUITEB192 or NONE";
        return Err(format!("\"{first}\" is not one of {known}"));
    };
    for token in tokens {
        priority.change(token).map_err(|why| format!("\"{token}\": {why}"))?;
    }
    priority.complete()?;
    Ok(priority)
}

/// The lists of a keyword, as GnuTLS has them.
fn level(name: &str) -> Option<TlsPriority> {
    let normal = TlsPriority {
        versions: vec![V1_3, V1_2],
        ciphers: CIPHERS_NORMAL.to_vec(),
        macs: vec![Sha1, Aead],
        exchanges: EXCHANGES_NORMAL.to_vec(),
        groups: GROUPS_NORMAL.to_vec(),
        server_precedence: false,
        signs: true,
    };
    Some(match name.to_ascii_uppercase().as_str() {
        "NORMAL" => normal,
        "PERFORMANCE" => TlsPriority {
            ciphers: vec![Aes128Gcm, Aes256Gcm, Chacha20Poly1305, Aes128Ccm, Aes256Ccm, Aes128Cbc, Aes256Cbc],
            exchanges: vec![Rsa, EcdheEcdsa, EcdheRsa, DheRsa],
            ..normal
        },
        "SECURE128" => TlsPriority {
            ciphers: vec![Aes256Gcm, Chacha20Poly1305, Aes256Cbc, Aes256Ccm, Aes128Gcm, Aes128Cbc, Aes128Ccm],
            ..normal
        },
        "SECURE192" | "SECURE256" => TlsPriority {
            ciphers: vec![Aes256Gcm, Chacha20Poly1305, Aes256Cbc, Aes256Ccm],
            macs: vec![Aead],
            groups: vec![Secp384r1, Secp521r1, Ffdhe8192],
            ..normal
        },
        "PFS" => TlsPriority { exchanges: vec![EcdheEcdsa, EcdheRsa, DheRsa], ..normal },
        "SUITEB128" => TlsPriority {
            ciphers: vec![Aes256Gcm, Aes128Gcm],
            groups: vec![Secp256r1, Secp384r1],
            ..suite_b(normal)
        },
        "SUITEB192" => TlsPriority { ciphers: vec![Aes256Gcm], groups: vec![Secp384r1], ..suite_b(normal) },
        "NONE" => TlsPriority::default(),
        _ => return None,
    })
}

fn suite_b(normal: TlsPriority) -> TlsPriority {
    TlsPriority { versions: vec![V1_2], macs: vec![Aead], exchanges: vec![EcdheEcdsa], ..normal }
}

impl TlsPriority {
    fn change(&mut self, token: &str) -> Result<(), &'static str> {
        // The older names of groups.
        let name = token.get(1..).unwrap_or_default().to_ascii_uppercase();
        let name = name.replace("CURVE-ALL", "GROUP-EC-ALL").replace("CURVE-", "GROUP-");
        match token.chars().next() {
            Some('+') => self.edit(&name, true),
            Some('-' | '!') => self.edit(&name, false),
            Some('%') if name == "SERVER_PRECEDENCE" => {
                self.server_precedence = true;
                Ok(())
            }
            Some('%') => Err("this option has no counterpart here"),
            _ => Err("write +, - or ! before it; a keyword stands first"),
        }
    }

    fn edit(&mut self, name: &str, add: bool) -> Result<(), &'static str> {
        let known = edit(&mut self.versions, VERSIONS, name, add)
            || edit(&mut self.ciphers, CIPHERS, name, add)
            || edit(&mut self.macs, MACS, name, add)
            || edit(&mut self.exchanges, EXCHANGES, name, add)
            || edit(&mut self.groups, GROUPS, name, add);
        if known || (ALWAYS.contains(&name) && (add || name.ends_with("-ALL"))) {
            return Ok(());
        }
        if name == "SIGN-ALL" {
            self.signs = add;
            return Ok(());
        }
        let absent = ABSENT.split_whitespace().any(|one| one == name);
        match (level(name), absent, add) {
            (Some(more), _, true) => {
                self.add_all(&more);
                Ok(())
            }
            (_, true, false) => Ok(()),
            (_, true, true) if name.starts_with("VERS-") => Err("only TLS 1.2 and 1.3 are spoken here"),
            (_, true, true) => Err("this is not spoken here"),
            _ => Err("this token is unknown here"),
        }
    }

    fn add_all(&mut self, more: &Self) {
        append(&mut self.versions, &more.versions);
        append(&mut self.ciphers, &more.ciphers);
        append(&mut self.macs, &more.macs);
        append(&mut self.exchanges, &more.exchanges);
        append(&mut self.groups, &more.groups);
        self.signs |= more.signs;
    }

    /// Something must be left to agree on, or every client would fail and nobody know why.
    fn complete(&self) -> Result<(), String> {
        let shares = self.versions.contains(&V1_3)
            || self.exchanges.iter().any(|one| matches!(one, EcdheEcdsa | EcdheRsa | EcdhePsk));
        let signs = self.exchanges.iter().any(|one| !one.is_psk());
        let lacking = [
            (self.versions.is_empty(), "version of TLS; add +VERS-TLS1.2 or +VERS-TLS1.3"),
            (self.ciphers.is_empty(), "cipher; add +AES-128-GCM"),
            (self.macs.is_empty() && self.versions.contains(&V1_2), "MAC; add +AEAD"),
            (self.exchanges.is_empty(), "key exchange; add +ECDHE-RSA or +ECDHE-PSK"),
            (self.groups.is_empty() && shares, "group; add +GROUP-ALL"),
            (!self.signs && signs, "signature; add +SIGN-ALL"),
        ];
        match lacking.iter().find(|(lacks, _)| *lacks) {
            Some((_, what)) => Err(format!("it leaves no {what}")),
            None => Ok(()),
        }
    }
}

/// Adds what the name stands for behind what is there, or takes it away. `false`: the name stands for nothing here.
fn edit<T: Copy + PartialEq>(list: &mut Vec<T>, names: &[(&str, &[T])], name: &str, add: bool) -> bool {
    let Some((_, items)) = names.iter().find(|(known, _)| *known == name) else { return false };
    if add {
        append(list, items);
    } else {
        list.retain(|item| !items.contains(item));
    }
    true
}

fn append<T: Copy + PartialEq>(list: &mut Vec<T>, items: &[T]) {
    for item in items {
        if !list.contains(item) {
            list.push(*item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> TlsPriority {
        parse(text).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    /// C-210: the strings that the original documents, and what people write.
    #[test]
    fn documented_strings_mean_what_they_say() {
        let old = parsed("NORMAL:-VERS-TLS-ALL:+VERS-TLS1.2:%SERVER_PRECEDENCE");
        assert_eq!((old.versions, old.server_precedence), (vec![V1_2], true));
        let new = parsed("NORMAL:+VERS-TLS-ALL:-VERS-TLS1.0:-VERS-TLS1.1:%SERVER_PRECEDENCE");
        assert_eq!((new.versions, new.server_precedence), (vec![V1_3, V1_2], true));
        assert_eq!(parsed("NORMAL:!VERS-TLS1.3").versions, [V1_2]);
        assert_eq!(parsed("normal:-vers-all:+vers-tls1.3").versions, [V1_3]);
        assert!(!parsed("NORMAL").server_precedence);
        assert_eq!(parsed("SECURE256:-AES-256-CBC:-AES-256-CCM").ciphers, [Aes256Gcm, Chacha20Poly1305]);
        assert!(!parsed("PFS").exchanges.contains(&Rsa));
        let psk = parsed("NORMAL:-KX-ALL:+ECDHE-PSK:+DHE-PSK:+PSK");
        assert_eq!(psk.exchanges, [EcdhePsk, DhePsk, Psk]);
        assert_eq!(parsed("SECURE192:+SECURE128").groups.len(), GROUPS_NORMAL.len());
        assert_eq!(parsed("NORMAL:-GROUP-ALL:+GROUP-X25519:+CURVE-SECP256R1").groups, [X25519, Secp256r1]);
        let none = parsed(
            "NONE:+VERS-TLS1.2:+AES-128-GCM:+AEAD:+ECDHE-RSA:+SIGN-ALL:+COMP-NULL:+GROUP-SECP256R1:+CTYPE-X.509",
        );
        assert_eq!((none.ciphers, none.exchanges), (vec![Aes128Gcm], vec![EcdheRsa]));
    }

    /// What is added comes last, and what is there stays where it stands.
    #[test]
    fn adding_keeps_the_order_and_removing_what_is_absent_is_kept() {
        let moved = parsed("NORMAL:-AES-256-GCM:+AES-256-GCM:+AES-128-GCM");
        assert_eq!(moved.ciphers.last(), Some(&Aes256Gcm));
        let same = parsed("NORMAL:-VERS-SSL3.0:-ARCFOUR-128:-3DES-CBC:-MD5:-ANON-DH:!VERS-TLS1.0:-COMP-ALL");
        assert_eq!(same, parsed("NORMAL"));
    }

    /// A restriction that is not kept, or a permission that is not given, is named.
    #[test]
    fn every_other_token_is_an_error_that_names_it() {
        for (text, token) in [
            ("NORMAL:+VERS-TLS1.1", "+VERS-TLS1.1"),
            ("NORMAL:+VERS-TLS1.0", "+VERS-TLS1.0"),
            ("NORMAL:+3DES-CBC", "+3DES-CBC"),
            ("NORMAL:%COMPAT", "%COMPAT"),
            ("NORMAL:%PROFILE_HIGH", "%PROFILE_HIGH"),
            ("NORMAL:-SIGN-RSA-SHA1", "-SIGN-RSA-SHA1"),
            ("NORMAL:+ANON-DH", "+ANON-DH"),
            ("NORMAL:VERS-TLS1.2", "VERS-TLS1.2"),
            ("NORMAL:-NORMAL", "-NORMAL"),
            ("NORMAL::+PSK", "\"\""),
            ("NORMAL:+", "+"),
            ("NORMAL:é", "é"),
            ("@SYSTEM", "@SYSTEM"),
            ("HIGH:!aNULL", "HIGH"),
            ("", "\"\""),
            ("NORMAL:-COMP-NULL", "-COMP-NULL"),
        ] {
            let why = parse(text).expect_err(text);
            assert!(why.contains(token), "{text}: {why}");
        }
    }

    #[test]
    fn a_string_that_leaves_nothing_says_of_what() {
        for (text, what) in [
            ("NORMAL:-VERS-ALL", "version"),
            ("NORMAL:-VERS-TLS1.2:-VERS-TLS1.3", "version"),
            ("NORMAL:-CIPHER-ALL", "cipher"),
            ("NORMAL:-MAC-ALL", "MAC"),
            ("NORMAL:-KX-ALL", "key exchange"),
            ("NORMAL:-GROUP-ALL", "group"),
            ("NONE:+VERS-TLS1.3:+AES-128-GCM:+ECDHE-RSA:+GROUP-ALL", "signature"),
            ("NORMAL:-SIGN-ALL", "signature"),
        ] {
            let why = parse(text).expect_err(text);
            assert!(why.contains(what), "{text}: {why}");
        }
        assert!(parse("NONE:+VERS-TLS1.2:+AES-128-CBC:+SHA1:+PSK").is_ok());
    }
}
