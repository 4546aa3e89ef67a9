//! The first connection to an agent, plain or by TLS; later ones are made by the channel itself.

use std::{fs, path::PathBuf, sync::Arc};

use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use super::sender::{BACKOFF, Options, SendError};

/// The files of TLS; none: the connection is plain.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Files {
    /// Connect by TLS, and trust the authorities of this PEM file
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The PEM file with the certificate to show
    #[arg(long, value_name = "FILE", requires_all = ["ca", "key"])]
    cert: Option<PathBuf>,
    /// The PEM file with its key
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

impl Files {
    /// What speaks TLS, if it is to be spoken; else which file is no good. Nothing that one holds is in the words.
    pub(super) fn read(&self) -> Result<Option<TlsConnector>, String> {
        let Some(ca) = &self.ca else { return Ok(None) };
        let mut trusted = RootCertStore::empty();
        for certificate in certificates(ca)? {
            let no_authority =
                |_| format!("{}: holds a certificate that cannot be an authority's", ca.display());
            trusted.add(certificate).map_err(no_authority)?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(trusted);
        let mut config = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let chain = certificates(cert)?;
                let private = PrivateKeyDer::from_pem_slice(&bytes(key)?);
                let private = private
                    .map_err(|_| format!("{}: holds no private key that can be read", key.display()))?;
                config
                    .with_client_auth_cert(chain, private)
                    .map_err(|error| format!("{} with {}: {error}", cert.display(), key.display()))?
            }
            _ => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Some(TlsConnector::from(Arc::new(config))))
    }
}

fn bytes(path: &PathBuf) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: cannot be read: {error}", path.display()))
}

/// At least one.
fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes(path)?).collect();
    let found = read.ok().filter(|certificates| !certificates.is_empty());
    found.ok_or_else(|| format!("{}: holds no certificate that can be read", path.display()))
}

/// Connects, for as long as the options say.
pub(super) async fn connect(options: &Options) -> Result<Channel, SendError> {
    let target = &options.target;
    let url = if target.contains("://") { target.clone() } else { format!("http://{target}") };
    let wrong = || SendError::Target { target: target.clone() };
    let endpoint = Endpoint::from_shared(url).map_err(|_| wrong())?;
    let uri = endpoint.uri().clone();
    if uri.scheme_str() != Some("http") || uri.port().is_none() {
        return Err(wrong());
    }
    let endpoint = endpoint.connect_timeout(options.connect_within).tcp_nodelay(true);
    let started = Instant::now();
    loop {
        let connected = match &options.tls {
            None => endpoint.connect().await,
            Some(tls) => {
                let (tls, uri) = (tls.clone(), uri.clone());
                let connector = tower::service_fn(move |_| connect_by_tls(tls.clone(), uri.clone()));
                endpoint.connect_with_connector(connector).await
            }
        };
        let error = match connected {
            Ok(channel) => return Ok(channel),
            Err(error) => error,
        };
        if started.elapsed() + BACKOFF.0 > options.connect_within {
            return Err(SendError::Unreachable { target: target.clone(), reason: cause(&error) });
        }
        sleep(BACKOFF.0).await;
    }
}

async fn connect_by_tls(
    tls: TlsConnector,
    uri: Uri,
) -> std::io::Result<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>> {
    let host = uri.host().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or_default())).await?;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(tls.connect(name, stream).await?))
}

/// The innermost source, which says what happened ("Connection refused").
fn cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
