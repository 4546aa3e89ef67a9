//! Who sends a request: the name that the frame, spans and dead letters carry, and that permissions go by.
//!
//! It comes from the certificate of the connection itself, or from what a sidecar says of the one that it has seen, never from
//! both: whoever has a certificate cannot say in a header that they are somebody else.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use tonic::{Extensions, metadata::MetadataMap};
use webpki::EndEntityCert;

use super::xfcc;
use crate::config::CALLER_BYTES_MAX;

/// Whom a connection is with; each of its requests has it among its extensions.
#[derive(Clone, Debug)]
pub(crate) enum Peer {
    /// Whoever reaches the port.
    Plain,
    /// Whoever has a certificate with this name; none: they showed no certificate, or it names nobody.
    Tls(Option<Arc<str>>),
}

/// The caller's name: a SPIFFE ID, or another name of its certificate; `None` if it is not known.
pub(crate) fn of(metadata: &MetadataMap, connection: &Extensions, trusts_xfcc: bool) -> Option<Arc<str>> {
    match connection.get::<Peer>() {
        Some(Peer::Tls(name)) => name.clone(),
        Some(Peer::Plain) if trusts_xfcc => {
            let lines = metadata.get_all(xfcc::HEADER).iter();
            xfcc::caller(lines.map(|line| line.as_encoded_bytes())).map(Arc::from)
        }
        Some(Peer::Plain) | None => None,
    }
}

/// The name of a certificate that has been verified.
pub(crate) fn of_certificate(certificate: &CertificateDer<'_>) -> Option<Arc<str>> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    preferred(certificate.valid_uri_names(), certificate.valid_dns_names()).map(Arc::from)
}

/// The first SPIFFE ID, else the first URI, else the first DNS name. If that cannot be a name, there is none: another one
/// could be somebody else's.
pub(crate) fn preferred<'a>(
    uris: impl Iterator<Item = &'a str>,
    mut dns_names: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let mut uris = uris.peekable();
    let first = uris.peek().copied();
    let spiffe = uris.find(|uri| uri.starts_with("spiffe://"));
    let name = spiffe.or(first).or_else(|| dns_names.next())?;
    let fits = (1..=CALLER_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
    fits.then_some(name)
}
