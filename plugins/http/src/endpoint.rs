//! The address of one host of a service, checked: TLS, unless it is this machine or the operator gave that up.

use std::fmt;

use reqwest::Url;
use thiserror::Error;

/// Where a host's routes begin, without a slash at the end: `https://es-1:9200`, `https://proxy/search`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    base: String,
}

/// Why an address cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// It is no URL.
    #[error("{address:?} is not a URL such as \"https://example.org\": {problem}")]
    Malformed {
        /// What was given.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The scheme is neither of the two.
    #[error("the scheme {scheme:?} is neither \"https\" nor \"http\"")]
    Scheme {
        /// What was given.
        scheme: String,
    },
    /// Names and passwords do not belong into an address: it is logged.
    #[error("user name and password do not belong into an address")]
    Credentials,
    /// A query or a fragment would end up in every request.
    #[error("{address:?} carries a query or a fragment")]
    Query {
        /// What was given.
        address: String,
    },
    /// Plain HTTP would show the key to the network.
    #[error("{address:?} is not encrypted: use https, or set `insecure = true` (loopback needs neither)")]
    Plain {
        /// What was given.
        address: String,
    },
}

impl Endpoint {
    /// Checks an address. Plain HTTP is for loopback, or for everything where `insecure`.
    ///
    /// # Errors
    /// If the address is no URL of a host, or not encrypted.
    pub fn parse(address: &str, insecure: bool) -> Result<Self, EndpointError> {
        let url = Url::parse(address).map_err(|error| EndpointError::Malformed {
            // What cannot be parsed may hold a password all the same.
            address: address.rsplit('@').next().unwrap_or_default().to_owned(),
            problem: error.to_string(),
        })?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(EndpointError::Scheme { scheme: url.scheme().to_owned() });
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointError::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(EndpointError::Query { address: address.to_owned() });
        }
        if url.scheme() == "http" && !insecure && !is_loopback(&url) {
            return Err(EndpointError::Plain { address: address.to_owned() });
        }
        Ok(Self { base: url.as_str().trim_end_matches('/').to_owned() })
    }

    /// The URL of a path that begins with a slash and is percent-encoded already.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

/// A name such as `localhost` counts; any other name could resolve to anywhere.
fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// G10: a key goes over plain HTTP to this machine alone, unless the operator says otherwise.
    #[test]
    fn plain_http_is_for_loopback() {
        for address in ["http://127.0.0.1:9201", "http://localhost", "http://[::1]:1/", "https://es-1:9200"] {
            assert!(Endpoint::parse(address, false).is_ok(), "{address}");
        }
        for address in
            ["http://es-1:9200", "http://127.0.0.1.example.org", "http://10.0.0.1", "http://localhost.org"]
        {
            let refused = Endpoint::parse(address, false);
            assert!(matches!(refused, Err(EndpointError::Plain { .. })), "{address}: {refused:?}");
            assert!(Endpoint::parse(address, true).is_ok(), "{address}");
        }
    }

    /// G10: a password in an address is refused without being repeated.
    #[test]
    fn credentials_are_refused_and_not_shown() {
        for address in ["https://me:hunter2@host", "https://me:hunter2@ho st:99999"] {
            let refused = Endpoint::parse(address, true).unwrap_err();
            assert!(!refused.to_string().contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn paths_are_appended() {
        let endpoint = Endpoint::parse("https://proxy/search/", false).unwrap();
        assert_eq!(endpoint.url("/1/indexes/a%2Fb"), "https://proxy/search/1/indexes/a%2Fb");
        assert!(matches!(Endpoint::parse("ftp://host", true), Err(EndpointError::Scheme { .. })));
        assert!(matches!(Endpoint::parse("https://host/?a=b", true), Err(EndpointError::Query { .. })));
        assert!(matches!(Endpoint::parse("host:1", true), Err(EndpointError::Scheme { .. })));
        assert!(matches!(Endpoint::parse("", true), Err(EndpointError::Malformed { .. })));
    }
}
