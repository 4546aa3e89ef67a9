//! What an Elasticsearch destination needs to know, and the errors of settings that cannot work.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use plugin_api::settings::{Form, Key, Text, Type};
use plugin_http::{client::ClientError, endpoint::Endpoint, secret::Secret};
use reqwest::header::HeaderValue;
use thiserror::Error;

/// `type = "elasticsearch"` in the config file.
pub const TYPE: Type = Type {
    name: "elasticsearch",
    meaning: "Elasticsearch or OpenSearch. Both check versions: what comes late or twice changes nothing.",
    batch_operations: 1_000,
    keys: &[
        Key::new("nodes", Form::Texts(Text::HOST), "The nodes, or what stands before them: they take turns.")
            .required(),
        Key::new("auth", Form::OneOf(AUTH), "How the agent shows who it is.").or("none"),
        Key::new(
            "ca_file",
            Form::Text(Text::PATH),
            "A PEM file with the certificates of the authorities to trust, instead of Mozilla's list.",
        )
        .or("Mozilla's list"),
        Key::new("insecure", Form::Flag(false), "Allows plain HTTP to nodes that are not on loopback."),
        Key::new("gzip", Form::Flag(true), "Compresses the bodies of requests."),
        Key::new(
            "partial_updates",
            Form::Word { words: &["script", "deep_merge"], default: Some("script") },
            "By `script` a partial update replaces first-level attributes, and one that comes late or twice touches \
             nothing newer. `deep_merge` is for clusters without scripts: objects within objects are merged, and what \
             comes late is applied all the same.",
        ),
    ],
};

const AUTH: &[Key] = &[
    Key::new("basic", Form::Table(BASIC), "By user and password.").alone(),
    Key::new("api_key", Form::Secret, "By a key as it is given out: base64 of id, colon and key.").alone(),
    Key::new("bearer", Form::Secret, "By a token.").alone(),
];

const BASIC: &[Key] = &[
    Key::new("user", Form::Text(Text::new("user's name").matching("^[^:]+$")), "The user, without a colon.")
        .required(),
    Key::new("password", Form::Secret, "The password.").required(),
];

/// Settings of one destination.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cluster's nodes, or what stands before them: they take turns. At least one.
    pub nodes: Vec<Endpoint>,
    /// How we show who we are.
    pub auth: Auth,
    /// A PEM file's text with the authorities that are trusted, instead of Mozilla's list.
    pub authorities: Option<String>,
    /// Compress request bodies.
    pub gzip: bool,
    /// How long an answer to an empty request may take; more for a large body, and after a time-out.
    pub timeout: Duration,
    /// How partial updates are written.
    pub partial_updates: PartialUpdates,
}

/// How a request shows who it is from.
#[derive(Clone, Debug)]
pub enum Auth {
    /// Not at all.
    None,
    /// `Authorization: Basic`
    Basic {
        /// The user's name, without a colon.
        user: String,
        /// The password.
        password: Secret,
    },
    /// `Authorization: ApiKey`, with the key as it is given out: base64 of id, colon and key.
    ApiKey(Secret),
    /// `Authorization: Bearer`
    Bearer(Secret),
}

/// How partial updates are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartialUpdates {
    /// By a script, which is the same for all: first-level attributes are replaced, as everywhere, and what comes late or
    /// twice touches nothing newer.
    Script,
    /// As `doc`, for clusters without scripts: objects are merged deeply, and what comes late is applied all the same.
    DeepMerge,
}

impl Settings {
    /// The defaults: no credentials, gzip, 30 seconds, scripts.
    #[must_use]
    pub fn new(nodes: Vec<Endpoint>) -> Self {
        Self {
            nodes,
            auth: Auth::None,
            authorities: None,
            gzip: true,
            timeout: Duration::from_secs(30),
            partial_updates: PartialUpdates::Script,
        }
    }
}

/// Why an Elasticsearch destination cannot be made.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// Nobody to send to.
    #[error("the list of nodes is empty")]
    NoNodes,
    /// The secret is empty or has characters that no header carries.
    #[error(
        "the key, token or password is empty or has characters that a header cannot carry, such as a line's end"
    )]
    Secret,
    /// The name ends where its first colon is.
    #[error("the user {user:?} is empty or has a colon in it")]
    User {
        /// What was given.
        user: String,
    },
    /// There is no HTTP client.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// What a request carries to show who it is from.
pub(crate) struct Credentials {
    pub(crate) header: Option<HeaderValue>,
    /// What no answer may show.
    pub(crate) secrets: Vec<Arc<str>>,
}

impl Auth {
    /// The credentials of now: a secret may be replaced at any time.
    pub(crate) fn credentials(&self) -> Result<Credentials, SettingsError> {
        let (scheme, token, secret) = match self {
            Self::None => return Ok(Credentials { header: None, secrets: Vec::new() }),
            Self::Basic { user, .. } if user.is_empty() || user.contains(':') => {
                return Err(SettingsError::User { user: user.clone() });
            }
            Self::Basic { user, password } => {
                let password = password.expose();
                ("Basic", STANDARD.encode(format!("{user}:{password}")).into(), password)
            }
            Self::ApiKey(key) => ("ApiKey", key.expose(), key.expose()),
            Self::Bearer(token) => ("Bearer", token.expose(), token.expose()),
        };
        if secret.is_empty() {
            return Err(SettingsError::Secret);
        }
        let header = HeaderValue::from_str(&format!("{scheme} {token}"));
        let mut header = header.map_err(|_| SettingsError::Secret)?;
        header.set_sensitive(true);
        Ok(Credentials { header: Some(header), secrets: vec![token, secret] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(auth: &Auth) -> Option<String> {
        let credentials = auth.credentials().ok()?;
        credentials.header.map(|header| header.to_str().unwrap().to_owned())
    }

    #[test]
    fn each_kind_has_its_header() {
        let secret = || Secret::new("open sesame");
        let basic = |user: &str| Auth::Basic { user: user.to_owned(), password: secret() };
        assert_eq!(header(&Auth::None), None);
        // The pair of RFC 7617's example.
        assert_eq!(header(&basic("Aladdin")).as_deref(), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        assert_eq!(header(&Auth::ApiKey(Secret::new("aWQ6a2V5"))).as_deref(), Some("ApiKey aWQ6a2V5"));
        assert_eq!(header(&Auth::Bearer(Secret::new("t.o.k"))).as_deref(), Some("Bearer t.o.k"));
        for user in ["", "a:b"] {
            assert!(matches!(basic(user).credentials(), Err(SettingsError::User { .. })), "{user:?}");
        }
    }

    /// G10: a secret that cannot work is refused without being shown, and one that can is not shown either.
    #[test]
    fn secrets_are_not_shown() {
        for secret in ["", "hunter2\n"] {
            let refused = Auth::Bearer(Secret::new(secret)).credentials().err().unwrap();
            assert!(!refused.to_string().contains("hunter"), "{refused}");
        }
        let auth = Auth::ApiKey(Secret::new("hunter2"));
        let shown = format!("{auth:?} {:?}", auth.credentials().unwrap().header);
        assert!(!shown.contains("hunter"), "{shown}");
    }
}
