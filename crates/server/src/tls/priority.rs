//! A priority in the words of OpenSSL.

use config::TlsPriority;
use config::tlsprio::{TlsCipher, TlsExchange, TlsGroup, TlsMac};

/// What holds where `tlsprio` says nothing: no exchange without forward secrecy, ciphers that authenticate, and first
/// those that this processor is quick at.
#[must_use]
pub fn ours() -> TlsPriority {
    const TEXT: &str = "PFS:-MAC-ALL:+AEAD:+DHE-PSK:+ECDHE-PSK:%SERVER_PRECEDENCE";
    let mut priority = config::tlsprio::parse(TEXT).unwrap_or_default();
    let aes = [TlsCipher::Aes128Gcm, TlsCipher::Aes256Gcm];
    let chacha = [TlsCipher::Chacha20Poly1305];
    priority.ciphers = if has_aes() { [&aes[..], &chacha].concat() } else { [&chacha[..], &aes].concat() };
    priority
}

#[cfg(target_arch = "x86_64")]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    true
}

/// Cipher suites of TLS 1.3, joined by colons.
#[must_use]
pub fn suites(priority: &TlsPriority) -> String {
    let name = |cipher: &TlsCipher| match cipher {
        TlsCipher::Aes128Gcm => Some("TLS_AES_128_GCM_SHA256"),
        TlsCipher::Aes256Gcm => Some("TLS_AES_256_GCM_SHA384"),
        TlsCipher::Chacha20Poly1305 => Some("TLS_CHACHA20_POLY1305_SHA256"),
        TlsCipher::Aes128Ccm => Some("TLS_AES_128_CCM_SHA256"),
        TlsCipher::Aes256Ccm | TlsCipher::Aes128Cbc | TlsCipher::Aes256Cbc => None,
    };
    priority.ciphers.iter().filter_map(name).collect::<Vec<_>>().join(":")
}

/// Cipher suites of TLS 1.2, joined by colons, in the order of GnuTLS: by exchange, then by cipher.
#[must_use]
pub fn cipher_list(priority: &TlsPriority) -> String {
    let mut list = Vec::new();
    for exchange in &priority.exchanges {
        for cipher in &priority.ciphers {
            list.extend(priority.macs.iter().filter_map(|mac| suite(*exchange, *cipher, *mac)));
        }
    }
    list.join(":")
}

/// `None` where there is no such suite.
fn suite(exchange: TlsExchange, cipher: TlsCipher, mac: TlsMac) -> Option<String> {
    use TlsExchange::{DhePsk, DheRsa, EcdheEcdsa, EcdhePsk, EcdheRsa, Psk, Rsa};
    let before = match exchange {
        EcdheEcdsa => "ECDHE-ECDSA-",
        EcdheRsa => "ECDHE-RSA-",
        DheRsa => "DHE-RSA-",
        Rsa => "",
        EcdhePsk => "ECDHE-PSK-",
        DhePsk => "DHE-PSK-",
        Psk => "PSK-",
    };
    let behind = match (cipher, mac) {
        (TlsCipher::Aes128Gcm, TlsMac::Aead) if exchange != EcdhePsk => "AES128-GCM-SHA256",
        (TlsCipher::Aes256Gcm, TlsMac::Aead) if exchange != EcdhePsk => "AES256-GCM-SHA384",
        (TlsCipher::Chacha20Poly1305, TlsMac::Aead) if exchange != Rsa => "CHACHA20-POLY1305",
        (TlsCipher::Aes128Ccm, TlsMac::Aead) if !matches!(exchange, EcdheRsa | EcdhePsk) => "AES128-CCM",
        (TlsCipher::Aes256Ccm, TlsMac::Aead) if !matches!(exchange, EcdheRsa | EcdhePsk) => "AES256-CCM",
        (TlsCipher::Aes128Cbc, mac) => return block(before, "AES128", exchange, mac),
        (TlsCipher::Aes256Cbc, mac) => return block(before, "AES256", exchange, mac),
        _ => return None,
    };
    Some(format!("{before}{behind}"))
}

/// Suites with a cipher in block mode. Which hash goes with which key is not free.
fn block(before: &str, cipher: &str, exchange: TlsExchange, mac: TlsMac) -> Option<String> {
    use TlsExchange::{EcdheEcdsa, EcdheRsa};
    let long = cipher == "AES256" && (exchange.is_psk() || matches!(exchange, EcdheEcdsa | EcdheRsa));
    let hash = match mac {
        TlsMac::Sha1 => "SHA",
        TlsMac::Sha256 if !long => "SHA256",
        TlsMac::Sha384 if long => "SHA384",
        _ => return None,
    };
    let mode = if exchange.is_psk() { "-CBC" } else { "" };
    Some(format!("{before}{cipher}{mode}-{hash}"))
}

/// Groups, joined by colons.
#[must_use]
pub fn groups(priority: &TlsPriority) -> String {
    let name = |group: &TlsGroup| match group {
        TlsGroup::Secp256r1 => "P-256",
        TlsGroup::Secp384r1 => "P-384",
        TlsGroup::Secp521r1 => "P-521",
        TlsGroup::X25519 => "X25519",
        TlsGroup::X448 => "X448",
        TlsGroup::Ffdhe2048 => "ffdhe2048",
        TlsGroup::Ffdhe3072 => "ffdhe3072",
        TlsGroup::Ffdhe4096 => "ffdhe4096",
        TlsGroup::Ffdhe6144 => "ffdhe6144",
        TlsGroup::Ffdhe8192 => "ffdhe8192",
    };
    priority.groups.iter().map(name).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::ssl::{Ssl, SslContext, SslMethod};

    const ALL: &str = "NORMAL:+SHA256:+SHA384:+ECDHE-PSK:+DHE-PSK:+PSK";

    /// OpenSSL passes over names that it does not know: then a suite would be missing and nobody told.
    #[test]
    fn every_name_is_known_to_openssl() {
        let priority = config::tlsprio::parse(ALL).expect("a priority");
        let list = cipher_list(&priority);
        for name in list.split(':') {
            let mut builder = SslContext::builder(SslMethod::tls_server()).expect("a context");
            builder.set_cipher_list(&format!("{name}:@SECLEVEL=0")).unwrap_or_else(|_| panic!("{name}"));
        }
        assert_eq!(list.split(':').count(), 56, "{list}");
        let mut builder = SslContext::builder(SslMethod::tls_server()).expect("a context");
        builder.set_ciphersuites(&suites(&priority)).expect("suites");
        builder.set_groups_list(&groups(&priority)).expect("groups");
        assert!(Ssl::new(&builder.build()).is_ok());
    }

    /// `performance`: where the processor has AES, GCM comes first, and ChaCha20 where it has not.
    #[test]
    fn our_own_order_begins_with_what_is_quick() {
        let first = if has_aes() { TlsCipher::Aes128Gcm } else { TlsCipher::Chacha20Poly1305 };
        let priority = ours();
        assert_eq!(priority.ciphers[0], first);
        assert!(priority.server_precedence);
        assert!(!cipher_list(&priority).contains("-SHA:"), "{}", cipher_list(&priority));
        assert_eq!(priority.versions.len(), 2);
    }
}
