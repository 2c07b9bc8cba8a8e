//! Who a client is, as far as TLS has proved it.

use config::TlsIdentity;
use openssl::ex_data::Index;
use openssl::nid::Nid;
use openssl::ssl::{Ssl, SslRef, SslVersion};
use openssl::x509::X509NameRef;
use std::fmt;
use std::sync::OnceLock;

/// What the handshake proved of a client; nothing where it was asked for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The common name in its certificate, where there is exactly one.
    pub common_name: Option<String>,
    /// The whole subject of its certificate, `/C=…/CN=…`; a slash or backslash inside a part has a backslash before it.
    pub subject: Option<String>,
    /// The name of its pre-shared key.
    pub psk: Option<String>,
}

/// A name whose key a client says to have.
pub(super) struct Claim {
    pub name: Vec<u8>,
    /// There is a key of that name.
    pub known: bool,
}

impl Identity {
    /// Of a finished handshake.
    pub(super) fn of(ssl: &SslRef) -> Self {
        if used_psk(ssl) {
            let claim = claim(ssl).and_then(|claim| String::from_utf8(claim.name.clone()).ok());
            return Self { psk: claim, ..Self::default() };
        }
        let Some(certificate) = ssl.peer_certificate() else { return Self::default() };
        let name = certificate.subject_name();
        Self { common_name: common_name(name), subject: subject(name), psk: None }
    }

    /// Whether this is whom the configuration names.
    #[must_use]
    pub fn is(&self, wanted: &TlsIdentity) -> bool {
        match wanted {
            TlsIdentity::CommonName(name) => self.common_name.as_ref() == Some(name),
            TlsIdentity::Subject(subject) => self.subject.as_ref() == Some(subject),
            TlsIdentity::Psk(name) => self.psk.as_ref() == Some(name),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.psk, &self.subject) {
            (Some(name), _) => write!(f, "psk:{name}"),
            (None, Some(subject)) => f.write_str(subject),
            (None, None) => f.write_str("nobody in particular"),
        }
    }
}

/// The claim of this handshake; one that was not put to the proof is none.
pub(super) fn claim(ssl: &SslRef) -> Option<&Claim> {
    ssl.ex_data(claims()?)
}

/// Remembers it.
pub(super) fn set_claim(ssl: &mut SslRef, claim: Claim) {
    if let Some(index) = claims() {
        ssl.set_ex_data(index, claim);
    }
}

fn claims() -> Option<Index<Ssl, Claim>> {
    static CLAIMS: OnceLock<Option<Index<Ssl, Claim>>> = OnceLock::new();
    *CLAIMS.get_or_init(|| Ssl::new_ex_index().ok())
}

/// Whether the key was agreed on by way of the pre-shared one. A client may name one and then go on with certificates;
/// its claim is not proved then.
fn used_psk(ssl: &SslRef) -> bool {
    if ssl.version2() == Some(SslVersion::TLS1_3) {
        // There are no tickets, so nothing else can have been taken up again.
        return ssl.session_reused();
    }
    ssl.current_cipher().and_then(|cipher| cipher.standard_name()).is_some_and(|name| name.contains("_PSK_"))
}

/// With two of them it would be a matter of taste who that is.
fn common_name(name: &X509NameRef) -> Option<String> {
    let mut names = name.entries_by_nid(Nid::COMMONNAME);
    let first = names.next()?;
    if names.next().is_some() {
        return None;
    }
    text(first.data().to_string().ok()?)
}

fn subject(name: &X509NameRef) -> Option<String> {
    let mut subject = String::new();
    for entry in name.entries() {
        let object = entry.object();
        let key = object.nid().short_name().map_or_else(|_| object.to_string(), str::to_owned);
        let value = text(entry.data().to_string().ok()?)?;
        subject.push_str(&format!("/{key}={}", value.replace('\\', "\\\\").replace('/', "\\/")));
    }
    Some(subject).filter(|subject| !subject.is_empty())
}

/// A name with a zero byte in it is taken for a shorter one by somebody sooner or later, and bytes that are no text all
/// look the same.
fn text(text: String) -> Option<String> {
    Some(text).filter(|text| !text.contains(['\0', char::REPLACEMENT_CHARACTER]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::x509::{X509Name, X509NameBuilder};

    fn name(parts: &[(&str, &str)]) -> X509Name {
        let mut builder = X509NameBuilder::new().expect("a builder");
        for (key, value) in parts {
            builder.append_entry_by_text(key, value).expect("a part");
        }
        builder.build()
    }

    #[test]
    fn a_subject_cannot_be_mistaken_for_another() {
        let plain = name(&[("C", "DE"), ("O", "Example"), ("CN", "host 1")]);
        assert_eq!(subject(&plain).as_deref(), Some("/C=DE/O=Example/CN=host 1"));
        assert_eq!(common_name(&plain).as_deref(), Some("host 1"));
        let sly = name(&[("O", "Example/CN=host 1")]);
        assert_eq!(subject(&sly).as_deref(), Some("/O=Example\\/CN=host 1"));
        assert_eq!(common_name(&sly), None);
        assert_eq!(common_name(&name(&[("CN", "a"), ("CN", "b")])), None, "two are none");
        assert_eq!(subject(&name(&[])), None);
    }

    #[test]
    fn a_name_of_one_kind_is_not_one_of_another() {
        let of = |parts: &[(&str, &str)]| {
            let name = name(parts);
            Identity { common_name: common_name(&name), subject: subject(&name), psk: None }
        };
        let alice = of(&[("CN", "alice")]);
        assert!(alice.is(&TlsIdentity::CommonName("alice".into())));
        assert!(alice.is(&TlsIdentity::Subject("/CN=alice".into())));
        assert!(!alice.is(&TlsIdentity::Psk("alice".into())));
        assert!(!alice.is(&TlsIdentity::CommonName("Alice".into())));
        let psk = Identity { psk: Some("alice".into()), ..Identity::default() };
        assert!(psk.is(&TlsIdentity::Psk("alice".into())));
        assert!(!psk.is(&TlsIdentity::CommonName("alice".into())));
        assert!(!Identity::default().is(&TlsIdentity::Psk(String::new())));
    }
}
