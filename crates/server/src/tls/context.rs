//! From what was read to what OpenSSL negotiates with.

use super::identity::{Claim, set_claim};
use super::material::{Material, Problem, words};
use super::priority;
use super::psk::Keys;
use config::TlsPriority;
use config::tlsprio::{TlsExchange, TlsVersion};
use openssl::bn::BigNum;
use openssl::dh::Dh;
use openssl::error::ErrorStack;
use openssl::rand::rand_bytes;
use openssl::ssl::{
    SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslRef, SslSessionCacheMode,
    SslVerifyMode, SslVersion,
};
use openssl::stack::Stack;
use openssl::x509::verify::X509VerifyFlags;

/// The key that stands in for that of an unknown name.
const DECOY_LEN: usize = 32;

/// Everything of one moment: a handshake that has begun is finished with it.
///
/// # Errors
/// What does not fit together, or what OpenSSL does not take.
pub fn build(material: Material, wanted: Option<&TlsPriority>) -> Result<SslContext, Problem> {
    let priority = wanted.cloned().unwrap_or_else(priority::ours);
    let of = |key| move |error: ErrorStack| Problem { key, reason: words(&error) };
    let mut builder = SslContext::builder(SslMethod::tls_server()).map_err(of("keyfile"))?;
    harden(&mut builder, &priority).map_err(of("keyfile"))?;
    let negotiates = negotiate(&mut builder, &priority).map_err(of("tlsprio"))?;
    if !negotiates {
        let reason = "no cipher suite is made of what it allows".into();
        return Err(Problem { key: "tlsprio", reason });
    }
    let by_certificate = priority.exchanges.iter().any(|exchange| !exchange.is_psk());
    if by_certificate && material.key.is_some() {
        certify(&mut builder, &material).map_err(of("certfile"))?;
    }
    if !material.authorities.is_empty() {
        demand_certificates(&mut builder, &material).map_err(of("cacertfile"))?;
    }
    if let Some(keys) = material.keys {
        if !priority.exchanges.iter().any(|exchange| exchange.is_psk()) {
            let reason = "it allows no exchange with the keys of pskfile; add +DHE-PSK:+ECDHE-PSK".into();
            return Err(Problem { key: "tlsprio", reason });
        }
        builder.set_psk_server_callback(move |ssl, name, key| Ok(pre_shared(&keys, ssl, name, key)));
    }
    Ok(builder.build())
}

/// Nothing of a session outlives it: one that is taken up again later would not know of an authority that is gone.
fn harden(builder: &mut SslContextBuilder, priority: &TlsPriority) -> Result<(), ErrorStack> {
    let mut options = SslOptions::NO_TICKET | SslOptions::NO_RENEGOTIATION | SslOptions::NO_COMPRESSION;
    options.set(SslOptions::CIPHER_SERVER_PREFERENCE, priority.server_precedence);
    builder.set_options(options);
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    // OpenSSL takes a pre-shared key of TLS 1.3 for a session, and wants to know whose.
    builder.set_session_id_context(b"nbd")?;
    // Records are made in memory, whole ones, and buffers of idle connections are given back.
    builder.set_mode(SslMode::ACCEPT_MOVING_WRITE_BUFFER | SslMode::RELEASE_BUFFERS);
    builder.set_num_tickets(0)
}

/// Versions, suites and groups. `false`: there is nothing to agree on.
fn negotiate(builder: &mut SslContextBuilder, priority: &TlsPriority) -> Result<bool, ErrorStack> {
    let (suites, list) = (priority::suites(priority), priority::cipher_list(priority));
    let new = priority.versions.contains(&TlsVersion::V1_3) && !suites.is_empty();
    let old = priority.versions.contains(&TlsVersion::V1_2) && !list.is_empty();
    builder.set_min_proto_version(Some(if old { SslVersion::TLS1_2 } else { SslVersion::TLS1_3 }))?;
    builder.set_max_proto_version(Some(if new { SslVersion::TLS1_3 } else { SslVersion::TLS1_2 }))?;
    if new {
        builder.set_ciphersuites(&suites)?;
    }
    if old {
        builder.set_cipher_list(&list)?;
    }
    if !priority.groups.is_empty() {
        builder.set_groups_list(&priority::groups(priority))?;
    }
    if priority.exchanges.iter().any(|one| matches!(one, TlsExchange::DheRsa | TlsExchange::DhePsk)) {
        let prime = BigNum::get_rfc3526_prime_3072()?;
        builder.set_tmp_dh(&*Dh::from_pqg(prime, None, BigNum::from_u32(2)?)?)?;
    }
    Ok(new || old)
}

fn certify(builder: &mut SslContextBuilder, material: &Material) -> Result<(), ErrorStack> {
    let mut chain = material.certificates.iter();
    if let (Some(own), Some(key)) = (chain.next(), &material.key) {
        builder.set_certificate(own)?;
        builder.set_private_key(key)?;
    }
    for above in chain {
        builder.add_extra_chain_cert(above.clone())?;
    }
    builder.check_private_key()
}

/// Whoever comes with a certificate must have one, made for clients, of these authorities. One that stands in the file is
/// trusted, whoever made it.
fn demand_certificates(builder: &mut SslContextBuilder, material: &Material) -> Result<(), ErrorStack> {
    let mut names = Stack::new()?;
    for authority in &material.authorities {
        names.push(authority.subject_name().to_owned()?)?;
        builder.cert_store_mut().add_cert(authority.clone())?;
    }
    builder.cert_store_mut().set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
    builder.set_client_ca_list(names);
    builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    Ok(())
}

/// The key of a name, into `key`. That of an unknown name is made up: the client fails at the same point and in the same
/// way as one with a wrong key, and learns nothing of who is known. Spec: RFC 4279, section 2.
fn pre_shared(keys: &Keys, ssl: &mut SslRef, name: Option<&[u8]>, key: &mut [u8]) -> usize {
    let name = name.unwrap_or_default();
    let found = keys.get(name).filter(|found| found.len() <= key.len());
    set_claim(ssl, Claim { name: name.to_vec(), known: found.is_some() });
    let mut decoy = [0; DECOY_LEN];
    // None at all where the system has no random bytes: then the handshake fails at once.
    if rand_bytes(&mut decoy).is_err() {
        return 0;
    }
    let chosen = found.unwrap_or(&decoy);
    match key.get_mut(..chosen.len()) {
        Some(into) => {
            into.copy_from_slice(chosen);
            chosen.len()
        }
        None => 0,
    }
}
