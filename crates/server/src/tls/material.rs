//! Certificates and keys from their files, and whether they fit together.

use super::psk::Keys;
use crate::sources::{Files, Stamp, stamp};
use config::{Sources, Tls};
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nobody's certificates are longer; a mistaken path should not fill the memory.
const LEN_MAX: u64 = 1 << 20;
/// A file younger than this may be one of several that are being replaced.
const YOUNG: Duration = Duration::from_millis(250);

/// What is wrong, and under which key of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `certfile`, `keyfile`, …
    pub key: &'static str,
    /// In words.
    pub reason: String,
}

/// Everything that was read.
pub struct Material {
    /// The server's certificate, and behind it those that lead to its authority; none without `keyfile`.
    pub certificates: Vec<X509>,
    /// Its private key.
    pub key: Option<PKey<Private>>,
    /// Authorities of clients; none where certificates of clients are not asked for.
    pub authorities: Vec<X509>,
    /// Pre-shared keys.
    pub keys: Option<Keys>,
}

/// What can be seen of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is there.
    There(Stamp),
    /// It is in a directory that we may not look into (any more).
    Hidden,
    /// It is not there.
    Missing,
}

/// The key and the path of every file that is used.
pub fn sources(wanted: &Tls) -> Vec<(&'static str, &Path)> {
    let by_certificate =
        [("keyfile", &wanted.keyfile), ("certfile", &wanted.certfile), ("cacertfile", &wanted.cacertfile)];
    let by_certificate = by_certificate.into_iter().filter(|_| wanted.keyfile.is_some());
    let all = by_certificate.chain([("pskfile", &wanted.pskfile)]);
    all.filter_map(|(key, path)| Some((key, path.as_deref()?))).collect()
}

/// What each of them is at this moment, in the order of [`sources`].
pub fn look(files: &Files, wanted: &Tls) -> Vec<Seen> {
    let seen = |(_, path): (&str, &Path)| match fs::metadata(files.base.join(path)) {
        Ok(metadata) => Seen::There(stamp(&metadata)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Seen::Hidden,
        Err(_) => Seen::Missing,
    };
    sources(wanted).into_iter().map(seen).collect()
}

/// Whether one of them was written a moment ago, so that the others may follow.
pub fn is_young(files: &Files, wanted: &Tls) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let young = |metadata: &Metadata| {
        // Also by the time of its renaming: it may have been written long before.
        let times = [(metadata.mtime(), metadata.mtime_nsec()), (metadata.ctime(), metadata.ctime_nsec())];
        times.into_iter().any(|(seconds, nanos)| {
            let (seconds, nanos) = (u64::try_from(seconds), u32::try_from(nanos));
            let at = Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default());
            now.checked_sub(at).is_some_and(|age| age < YOUNG)
        })
    };
    let mut all = sources(wanted).into_iter();
    all.any(|(_, path)| fs::metadata(files.base.join(path)).is_ok_and(|metadata| young(&metadata)))
}

impl Material {
    /// Reads all files.
    ///
    /// # Errors
    /// The first that cannot be read, is not what it should be, or does not fit to the others.
    pub fn read(files: &Files, wanted: &Tls) -> Result<Self, Problem> {
        let text = |key| read(files, wanted, key);
        let mut material = Self { certificates: Vec::new(), key: None, authorities: Vec::new(), keys: None };
        if let Some(pem) = text("keyfile")? {
            let problem = |key| move |reason: String| Problem { key, reason };
            let key = private_key(&pem).map_err(problem("keyfile"))?;
            let (origin, chain) = match text("certfile")? {
                Some(chain) => ("certfile", chain),
                None => ("keyfile", pem),
            };
            material.certificates = certificates(&chain).map_err(problem(origin))?;
            let fits = material.certificates[0].public_key().is_ok_and(|public| public.public_eq(&key));
            if !fits {
                let reason = "the first certificate does not belong to the key in keyfile".into();
                return Err(Problem { key: origin, reason });
            }
            material.key = Some(key);
            if let Some(pem) = text("cacertfile")? {
                material.authorities = certificates(&pem).map_err(problem("cacertfile"))?;
            }
        }
        if let Some(lines) = text("pskfile")? {
            let keys = Keys::parse(&lines).map_err(|reason| Problem { key: "pskfile", reason })?;
            material.keys = Some(keys);
        }
        Ok(material)
    }
}

fn read(files: &Files, wanted: &Tls, key: &'static str) -> Result<Option<Vec<u8>>, Problem> {
    let Some((_, path)) = sources(wanted).into_iter().find(|(name, _)| *name == key) else { return Ok(None) };
    let problem = |reason: String| Problem { key, reason: format!("{}: {reason}", path.display()) };
    let metadata = fs::metadata(files.base.join(path)).map_err(|error| problem(error.to_string()))?;
    if metadata.is_file() && metadata.len() > LEN_MAX {
        return Err(problem("larger than 1 MiB, which is no certificate and no key".into()));
    }
    files.read(path).map(Some).map_err(|error| problem(error.reason))
}

fn private_key(pem: &[u8]) -> Result<PKey<Private>, String> {
    let mut asked = false;
    // Never the terminal: nobody sits there when a server starts, or loads again.
    let key = PKey::private_key_from_pem_callback(pem, |_| {
        asked = true;
        Ok(0)
    });
    match key {
        Ok(key) => Ok(key),
        Err(_) if asked => {
            Err("the key is locked with a passphrase, and there is nobody to ask for it".into())
        }
        Err(error) => Err(format!("there is no private key in it: {}", words(&error))),
    }
}

/// At least one.
fn certificates(pem: &[u8]) -> Result<Vec<X509>, String> {
    match X509::stack_from_pem(pem) {
        Ok(list) if list.is_empty() => Err("there is no certificate in it".into()),
        Ok(list) => Ok(list),
        Err(error) => Err(format!("a certificate in it cannot be read: {}", words(&error))),
    }
}

/// What OpenSSL says, without its numbers and places.
pub(super) fn words(stack: &ErrorStack) -> String {
    let mut reasons: Vec<&str> = stack.errors().iter().filter_map(|error| error.reason()).collect();
    reasons.dedup();
    if reasons.is_empty() { "no reason given".into() } else { reasons.join(", ") }
}
