//! `[listen.tls]`: its files are read and understood at once, so that what is wrong with them is found before anything
//! serves by them.
//!
//! Nothing that a file holds is ever shown, since it may hold the key (G10). Whether a certificate has expired is not asked:
//! producers say so, and an agent that did not start for it would help nobody.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    Error, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use super::{
    environment::Environment,
    reader::{Table, Value},
};

/// `[listen.tls]`, as it was read.
#[derive(Clone)]
pub struct Tls {
    /// Where the certificate is.
    pub cert: PathBuf,
    /// Where its key is.
    pub key: PathBuf,
    /// The certificate with those that lead to its authority, and the key, which belongs to it.
    pub identity: Arc<CertifiedKey>,
    /// Whose certificates clients show; none: no client is asked for one.
    pub clients: Option<Clients>,
}

/// What is asked of clients.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Where the authorities are.
    pub ca: PathBuf,
    /// Whoever they have signed.
    pub authorities: Arc<RootCertStore>,
    /// Whether they must show a certificate.
    pub auth: ClientAuth,
}

/// `client_auth`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Whoever shows none is refused.
    Required,
    /// Whoever shows none has no name. One that is shown must be good all the same.
    Optional,
}

const CERT: &str = "a PEM file with the agent's certificate, and then those that lead to its authority";
const KEY: &str =
    "a PEM file with the certificate's private key, unencrypted: RSA, ECDSA of P-256 or P-384, or Ed25519";
const CA: &str = "a PEM file with the certificates of the authorities that sign those of clients";

/// Reads and checks it.
pub(super) fn read(mut table: Table<'_>, environment: &dyn Environment) -> Option<Tls> {
    let cert = required(&mut table, "cert", CERT, environment);
    let key = required(&mut table, "key", KEY, environment);
    let ca = table.take("client_ca").map(|value| Pem::read(value, CA, environment));
    let auth_is_given = table.has("client_auth");
    let words = [("required", ClientAuth::Required), ("optional", ClientAuth::Optional)];
    let auth = table.choice("client_auth", words);
    if auth_is_given && ca.is_none() {
        table.missing("client_ca", format!("{CA}: `client_auth` is about them"));
    }
    table.finish();
    let clients = match ca {
        Some(pem) => pem.and_then(|pem| {
            let authorities = Arc::new(pem.authorities()?);
            Some(Some(Clients { ca: pem.path, authorities, auth }))
        }),
        None => Some(None),
    };
    let identity = match (&cert, &key) {
        (Some(cert), Some(key)) => identity(cert, key),
        _ => None,
    };
    Some(Tls { identity: Arc::new(identity?), cert: cert?.path, key: key?.path, clients: clients? })
}

/// A file with its place in the config.
struct Pem<'a> {
    value: Value<'a>,
    accepted: &'static str,
    path: PathBuf,
    text: String,
}

fn required<'a>(
    table: &mut Table<'a>,
    key: &'static str,
    accepted: &'static str,
    environment: &dyn Environment,
) -> Option<Pem<'a>> {
    let Some(value) = table.take(key) else {
        table.missing(key, accepted);
        return None;
    };
    Pem::read(value, accepted, environment)
}

impl<'a> Pem<'a> {
    fn read(value: Value<'a>, accepted: &'static str, environment: &dyn Environment) -> Option<Self> {
        if value.as_str().is_some_and(|text| text.contains("-----BEGIN")) {
            value.wrong_secretly(
                "is a path: what the file holds must not stand in the config itself",
                accepted,
            );
            return None;
        }
        let path = PathBuf::from(value.string(accepted)?);
        match environment.secret_file(&path) {
            Ok(text) => Some(Self { value, accepted, path, text }),
            Err(error) => {
                value.wrong(&format!("cannot be read: {error}"), accepted);
                None
            }
        }
    }

    fn wrong<T>(&self, what: &str) -> Option<T> {
        self.value.wrong(what, self.accepted);
        None
    }

    /// Its certificates, at least one.
    fn certificates(&self) -> Option<Vec<CertificateDer<'static>>> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(self.text.as_bytes()).collect();
        match read {
            Ok(certificates) if certificates.is_empty() => self.wrong("holds no certificate"),
            Ok(certificates) => Some(certificates),
            // The error may repeat a line of the file.
            Err(_) => self.wrong("holds a certificate that is cut or damaged"),
        }
    }

    fn private_key(&self) -> Option<PrivateKeyDer<'static>> {
        match PrivateKeyDer::from_pem_slice(self.text.as_bytes()) {
            Ok(key) => Some(key),
            Err(_) => self.wrong("holds no private key that can be read"),
        }
    }

    fn authorities(&self) -> Option<RootCertStore> {
        let mut authorities = RootCertStore::empty();
        for certificate in self.certificates()? {
            if authorities.add(certificate).is_err() {
                return self.wrong("holds a certificate that cannot be an authority's");
            }
        }
        Some(authorities)
    }
}

/// Both together, if the key is the certificate's.
fn identity(cert: &Pem<'_>, key: &Pem<'_>) -> Option<CertifiedKey> {
    let (chain, private) = (cert.certificates(), key.private_key());
    match CertifiedKey::from_der(chain?, private?, &ring::default_provider()) {
        Ok(identity) => Some(identity),
        Err(Error::InconsistentKeys(_)) => {
            key.wrong(&format!("is not the key of the certificate in {}", cert.path.display()))
        }
        Err(Error::InvalidCertificate(_)) => cert.wrong("begins with a certificate that is cut or damaged"),
        Err(_) => key.wrong("holds a key of a kind that is not understood"),
    }
}

impl Tls {
    /// Every file that it was read from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let ca = self.clients.as_ref().map(|clients| &*clients.ca);
        [&*self.cert, &*self.key].into_iter().chain(ca)
    }

    /// Whether the files that both name held the same. A certificate has one key.
    #[must_use]
    pub fn holds_what(&self, other: &Self) -> bool {
        let authorities = match (&self.clients, &other.clients) {
            (Some(one), Some(two)) => one.authorities.roots == two.authorities.roots,
            _ => true,
        };
        self.identity.cert == other.identity.cert && authorities
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        let clients = |tls: &Self| tls.clients.as_ref().map(|clients| (clients.ca.clone(), clients.auth));
        (&self.cert, &self.key, clients(self)) == (&other.cert, &other.key, clients(other))
            && self.holds_what(other)
    }
}

impl Eq for Tls {}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("cert", &self.cert)
            .field("key", &self.key)
            .field("clients", &self.clients.as_ref().map(|clients| (&clients.ca, clients.auth)))
            .finish_non_exhaustive()
    }
}
