//! Whose certificates are trusted: Mozilla's list, or the operator's own authorities and no others (G10: a key goes to
//! nobody who only says that they are the destination).
//!
//! The certificates in `tls` were made for this test, with the authority's key thrown away: `openssl req -x509` for the
//! authorities, `openssl x509 -req` for the server at 127.0.0.1.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use plugin_api::verdict::WriteError;
use plugin_http::{
    client::{ClientError, client},
    endpoint::Endpoint,
    exchange::{Outgoing, exchange},
    hosts::Hosts,
    patience::Patience,
};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

const AUTHORITY: &str = include_str!("tls/authority.pem");
const STRANGER: &str = include_str!("tls/stranger.pem");
const SERVER: &[u8] = include_bytes!("tls/server.pem");
const SERVER_KEY: &[u8] = include_bytes!("tls/server.key");

/// A server that answers every request with "ok", if its certificate is trusted.
async fn server() -> Endpoint {
    let certificate = CertificateDer::from_pem_slice(SERVER).unwrap();
    let key = PrivateKeyDer::from_pem_slice(SERVER_KEY).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Who does not trust the certificate ends it here.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { break };
                request.push(byte);
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            let _ = stream.flush().await;
        }
    });
    Endpoint::parse(&format!("https://{address}"), false).unwrap()
}

async fn ask(endpoint: &Endpoint, authorities: Option<&str>) -> Result<bytes::Bytes, WriteError> {
    let client = client("test/1", authorities).unwrap();
    let build = |endpoint: &Endpoint| client.get(endpoint.url("/"));
    let outgoing = Outgoing { build, secrets: &[], bytes: 0, answer_bytes_max: 100 };
    let hosts = Hosts::new([endpoint.clone()]);
    exchange(&hosts, &Patience::new(Duration::from_secs(10)), outgoing).await.map(|answer| answer.body)
}

#[tokio::test]
async fn own_authorities_are_trusted_and_no_others() {
    let endpoint = server().await;
    assert_eq!(ask(&endpoint, Some(AUTHORITY)).await.unwrap(), "ok");
    let both = format!("{STRANGER}\n# ours\n{AUTHORITY}");
    assert_eq!(ask(&endpoint, Some(&both)).await.unwrap(), "ok");
    for authorities in [None, Some(STRANGER)] {
        let error = ask(&endpoint, authorities).await.unwrap_err();
        // Nothing was sent, and an operator reads why.
        assert!(matches!(error, WriteError::Unavailable { .. }), "{error:?}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
}

#[test]
fn a_file_without_an_authority_is_refused() {
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for text in ["", "no certificate", broken, "-----BEGIN CERTIFICATE-----\n"] {
        let refused = client("test/1", Some(text));
        assert!(matches!(refused, Err(ClientError::Authorities { .. })), "{text:?}");
    }
}
