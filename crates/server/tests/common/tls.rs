//! Authorities, certificates and a client inside TLS, so that the stories need no tool for their material.
#![allow(dead_code, reason = "each story uses its part")]

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    HandshakeError, ShutdownState, Ssl, SslConnector, SslConnectorBuilder, SslContextBuilder, SslMethod,
    SslStream, SslVerifyMode, SslVersion,
};
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name, X509NameBuilder};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::time::Duration;
use testkit::spec::OPT_STARTTLS;
use testkit::{Client, Link};

/// A certificate and its key.
#[derive(Clone)]
pub struct Pair {
    pub certificate: X509,
    pub key: PKey<Private>,
}

/// What a certificate is for, and whether its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    Server,
    Client,
    ExpiredClient,
}

pub fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

pub fn name(parts: &[(&str, &str)]) -> X509Name {
    let mut builder = X509NameBuilder::new().expect("a name");
    parts.iter().for_each(|(key, value)| builder.append_entry_by_text(key, value).expect("a part"));
    builder.build()
}

fn begin(subject: &X509Name, key: &PKey<Private>, until: i64) -> X509Builder {
    let mut builder = X509::builder().expect("a builder");
    let mut serial = BigNum::new().expect("a number");
    serial.rand(159, MsbOption::MAYBE_ZERO, false).expect("random");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let now = i64::try_from(now.as_secs()).expect("before the end");
    let at = |seconds| Asn1Time::from_unix(now + seconds).expect("a time");
    builder.set_version(2).expect("set");
    builder.set_serial_number(&serial.to_asn1_integer().expect("a serial")).expect("set");
    builder.set_subject_name(subject).expect("set");
    builder.set_pubkey(key).expect("set");
    builder.set_not_before(&at(-86_400)).expect("set");
    builder.set_not_after(&at(until)).expect("set");
    builder
}

/// An authority of its own.
pub fn authority(common_name: &str) -> Pair {
    let (subject, key) = (name(&[("CN", common_name)]), new_key());
    let mut builder = begin(&subject, &key, 86_400);
    builder.set_issuer_name(&subject).expect("set");
    builder.append_extension(BasicConstraints::new().critical().ca().build().expect("built")).expect("set");
    let usage = KeyUsage::new().critical().key_cert_sign().crl_sign().build().expect("built");
    builder.append_extension(usage).expect("set");
    builder.sign(&key, MessageDigest::sha256()).expect("signed");
    Pair { certificate: builder.build(), key }
}

impl Pair {
    /// A certificate of this authority.
    pub fn issue(&self, common_name: &str, purpose: For) -> Pair {
        self.issue_to(&name(&[("C", "DE"), ("O", "Example"), ("CN", common_name)]), purpose)
    }

    pub fn issue_to(&self, subject: &X509Name, purpose: For) -> Pair {
        let key = new_key();
        let mut builder = begin(subject, &key, if purpose == For::ExpiredClient { -60 } else { 86_400 });
        builder.set_issuer_name(self.certificate.subject_name()).expect("set");
        let usage = KeyUsage::new().critical().digital_signature().build().expect("built");
        builder.append_extension(usage).expect("set");
        let mut extended = ExtendedKeyUsage::new();
        if purpose == For::Server {
            let context = builder.x509v3_context(Some(&self.certificate), None);
            let names = SubjectAlternativeName::new().dns("localhost").ip("127.0.0.1").build(&context);
            builder.append_extension(names.expect("built")).expect("set");
            extended.server_auth();
        } else {
            extended.client_auth();
        }
        builder.append_extension(extended.build().expect("built")).expect("set");
        builder.sign(&self.key, MessageDigest::sha256()).expect("signed");
        Pair { certificate: builder.build(), key }
    }

    /// Of nobody but itself.
    pub fn self_signed(common_name: &str) -> Pair {
        let (subject, key) = (name(&[("CN", common_name)]), new_key());
        let mut builder = begin(&subject, &key, 86_400);
        builder.set_issuer_name(&subject).expect("set");
        builder.sign(&key, MessageDigest::sha256()).expect("signed");
        Pair { certificate: builder.build(), key }
    }

    pub fn certificate_pem(&self) -> Vec<u8> {
        self.certificate.to_pem().expect("PEM")
    }

    pub fn key_pem(&self) -> Vec<u8> {
        self.key.private_key_to_pem_pkcs8().expect("PEM")
    }
}

/// Written beside it (a second ago, so that nobody waits for more to come) and renamed over it, as one should.
pub fn replace(path: &Path, bytes: &[u8]) {
    let fresh = path.with_extension("fresh");
    fs::write(&fresh, bytes).expect("written");
    let before = std::time::SystemTime::now() - Duration::from_secs(1);
    fs::File::open(&fresh).and_then(|file| file.set_modified(before)).expect("set");
    fs::rename(&fresh, path).expect("renamed");
}

/// An authority with a server's certificate, in the files that the server and foreign clients want.
pub struct Site {
    pub authority: Pair,
    pub server: Pair,
    pub client: Pair,
}

impl Site {
    /// `ca.pem`, `cert.pem`, `key.pem` in this directory.
    pub fn new(dir: &Path) -> Self {
        let authority = authority("test authority");
        let (server, client) =
            (authority.issue("localhost", For::Server), authority.issue("alice", For::Client));
        let site = Self { authority, server, client };
        fs::write(dir.join("ca.pem"), site.authority.certificate_pem()).expect("written");
        fs::write(dir.join("cert.pem"), site.server.certificate_pem()).expect("written");
        fs::write(dir.join("key.pem"), site.server.key_pem()).expect("written");
        site
    }

    /// The directory of a client in the names of qemu and libnbd.
    pub fn client_dir(&self, dir: &Path, client: Option<&Pair>) {
        fs::create_dir_all(dir).expect("a directory");
        fs::write(dir.join("ca-cert.pem"), self.authority.certificate_pem()).expect("written");
        if let Some(client) = client {
            fs::write(dir.join("client-cert.pem"), client.certificate_pem()).expect("written");
            fs::write(dir.join("client-key.pem"), client.key_pem()).expect("written");
        }
    }
}

/// The lines of `[generic]` for a site in the server's directory.
pub fn lines(dir: &Path) -> String {
    let path = |name: &str| dir.join(name).display().to_string();
    format!("certfile = {}\nkeyfile = {}\ncacertfile = {}", path("cert.pem"), path("key.pem"), path("ca.pem"))
}

/// A client's side of TLS, to be changed by `tune`.
pub fn dialer(client: Option<&Pair>, tune: impl FnOnce(&mut SslContextBuilder)) -> SslConnector {
    let mut builder: SslConnectorBuilder = SslConnector::builder(SslMethod::tls_client()).expect("a builder");
    // Who the server is does not matter to most stories; those where it does look at its certificate.
    builder.set_verify(SslVerifyMode::NONE);
    if let Some(pair) = client {
        builder.set_certificate(&pair.certificate).expect("set");
        builder.set_private_key(&pair.key).expect("set");
    }
    tune(&mut builder);
    builder.build()
}

/// A client with a pre-shared key, in one version of TLS.
pub fn psk_dialer(name: &str, key: &[u8], version: SslVersion) -> SslConnector {
    let (name, key) = (name.as_bytes().to_vec(), key.to_vec());
    dialer(None, |builder| {
        builder.set_min_proto_version(Some(version)).expect("set");
        builder.set_max_proto_version(Some(version)).expect("set");
        builder.set_cipher_list("PSK").expect("set");
        builder.set_ciphersuites("TLS_AES_128_GCM_SHA256").expect("set");
        builder.set_psk_client_callback(move |_, _, identity, secret| {
            identity[..name.len()].copy_from_slice(&name);
            identity[name.len()] = 0;
            secret[..key.len()].copy_from_slice(&key);
            Ok(key.len())
        });
    })
}

#[derive(Debug)]
struct Inside(SslStream<TcpStream>);

impl Read for Inside {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(into)?;
        if count == 0 && !into.is_empty() && !self.0.get_shutdown().contains(ShutdownState::RECEIVED) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "cut, without a farewell of TLS"));
        }
        Ok(count)
    }
}

impl Write for Inside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Link for Inside {
    fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.get_ref().set_read_timeout(timeout)?;
        self.0.get_ref().set_write_timeout(timeout)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.get_ref().shutdown(how)
    }
}

/// STARTTLS and the handshake. TLS 1.3 tells a client that it is refused only when it reads next.
pub fn secure(client: Client, dialer: &SslConnector) -> io::Result<Client> {
    secure_and_look(client, dialer).map(|(client, ..)| client)
}

/// The same, with the server's certificate and the version of TLS.
pub fn secure_and_look(
    mut client: Client,
    dialer: &SslConnector,
) -> io::Result<(Client, Option<X509>, Option<SslVersion>)> {
    let asked = client.ask(OPT_STARTTLS, &[]);
    asked.map_err(|(kind, text)| io::Error::other(format!("STARTTLS: {kind:#x} {text}")))?;
    let mut seen = (None, None);
    let client = client.upgrade(|tcp| {
        let stream = shake_hands(tcp, dialer)?;
        seen = (stream.ssl().peer_certificate(), stream.ssl().version2());
        Ok(Box::new(Inside(stream)) as Box<dyn Link>)
    })?;
    Ok((client, seen.0, seen.1))
}

/// The handshake alone.
pub fn shake_hands<S: Read + Write>(tcp: S, dialer: &SslConnector) -> io::Result<SslStream<S>> {
    let configured = dialer.configure()?.verify_hostname(false);
    let ssl: Ssl = configured.into_ssl("localhost")?;
    ssl.connect(tcp).map_err(|error| match error {
        HandshakeError::SetupFailure(stack) => stack.into(),
        HandshakeError::Failure(middle) | HandshakeError::WouldBlock(middle) => {
            io::Error::other(middle.into_error().to_string())
        }
    })
}

/// A connection to the server's port with STARTTLS acknowledged and nothing of TLS said yet.
pub fn at_the_door(port: u16) -> TcpStream {
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    tcp.set_nodelay(true).expect("set");
    tcp.set_read_timeout(Some(testkit::client::TIMEOUT)).expect("set");
    tcp.read_exact(&mut [0; 18]).expect("a greeting");
    tcp.write_all(&3_u32.to_be_bytes()).expect("flags");
    tcp.write_all(&starttls()).expect("STARTTLS");
    let mut reply = [0; 20];
    tcp.read_exact(&mut reply).expect("an answer");
    assert_eq!(reply[12..], [0, 0, 0, 1, 0, 0, 0, 0], "acknowledged");
    tcp
}

/// The option's bytes.
pub fn starttls() -> Vec<u8> {
    option(OPT_STARTTLS, &[])
}

pub fn option(kind: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = testkit::spec::OPTION_MAGIC.to_be_bytes().to_vec();
    bytes.extend(kind.to_be_bytes());
    bytes.extend(u32::try_from(payload.len()).expect("short").to_be_bytes());
    bytes.extend(payload);
    bytes
}
