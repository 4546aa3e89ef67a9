//! What an Algolia destination needs to know, and the errors of settings that cannot work.

use std::time::Duration;

use plugin_api::settings::{Form, Key, Text, Type};
use plugin_http::{
    client::ClientError,
    endpoint::{Endpoint, EndpointError},
    secret::Secret,
};
use reqwest::header::HeaderValue;
use thiserror::Error;

/// `type = "algolia"` in the config file.
pub const TYPE: Type = Type {
    name: "algolia",
    meaning: "Algolia. It has no versions: what it applies late may undo what is newer.",
    batch_operations: 1_000,
    keys: &[
        Key::new("app_id", Form::Secret, "The application's id, as in the dashboard.").required(),
        Key::new(
            "api_key",
            Form::Secret,
            "A key with the right `addObject` on every index that is written; no other right is needed.",
        )
        .required(),
        Key::new(
            "hosts",
            Form::Texts(Text::HOST),
            "Hosts in the order of preference, instead of Algolia's own.",
        )
        .or("Algolia's own"),
        Key::new("insecure", Form::Flag(false), "Allows plain HTTP to hosts that are not on loopback."),
        Key::new("gzip", Form::Flag(true), "Compresses the bodies of requests."),
    ],
};

/// Settings of one destination.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The application's id, as in the dashboard: letters, digits and hyphens.
    pub app_id: String,
    /// A key with the right `addObject` on every index that is written. No other right is needed.
    pub api_key: Secret,
    /// Hosts in the order of preference, instead of Algolia's own.
    pub hosts: Option<Vec<Endpoint>>,
    /// Compress request bodies.
    pub gzip: bool,
    /// How long an answer to an empty request may take; more for a large body, and after a time-out.
    pub timeout: Duration,
    /// Admit `Increment`, `Decrement` and `Add`, which count twice when they are sent twice.
    pub non_idempotent_operations: bool,
}

impl Settings {
    /// The defaults: Algolia's own hosts, gzip, 30 seconds (as the official clients have for writes), and no
    /// operation that is not idempotent.
    #[must_use]
    pub fn new(app_id: impl Into<String>, api_key: Secret) -> Self {
        Self {
            app_id: app_id.into(),
            api_key,
            hosts: None,
            gzip: true,
            timeout: Duration::from_secs(30),
            non_idempotent_operations: false,
        }
    }
}

/// Why an Algolia destination cannot be made.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The id would not make a host name.
    #[error("the application id {app_id:?} is not 1 to 63 letters, digits and hyphens")]
    AppId {
        /// What was given.
        app_id: String,
    },
    /// The key is empty or has characters that no header carries.
    #[error("the api key is empty or has characters that a header cannot carry, such as a line's end")]
    ApiKey,
    /// Nobody to send to.
    #[error("the list of hosts is empty")]
    NoHosts,
    /// One of Algolia's own hosts is no address.
    #[error(transparent)]
    Host(#[from] EndpointError),
    /// There is no HTTP client.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Checks the id, which becomes a part of host names.
pub(crate) fn app_id(app_id: &str) -> Result<HeaderValue, SettingsError> {
    let fits = (1..=63).contains(&app_id.len())
        && app_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let value = HeaderValue::from_str(app_id).ok().filter(|_| fits);
    value.ok_or_else(|| SettingsError::AppId { app_id: app_id.to_owned() })
}

/// The key as a header that is not shown in logs.
pub(crate) fn api_key(api_key: &Secret) -> Result<HeaderValue, SettingsError> {
    let mut value = HeaderValue::from_str(&api_key.expose()).map_err(|_| SettingsError::ApiKey)?;
    if value.is_empty() {
        return Err(SettingsError::ApiKey);
    }
    value.set_sensitive(true);
    Ok(value)
}

/// The configured hosts, else Algolia's for writes: the first one, then the others in any order.
pub(crate) fn hosts(settings: &Settings) -> Result<Vec<Endpoint>, SettingsError> {
    if let Some(hosts) = &settings.hosts {
        return if hosts.is_empty() { Err(SettingsError::NoHosts) } else { Ok(hosts.clone()) };
    }
    let app_id = &settings.app_id;
    let mut others = [1, 2, 3];
    fastrand::shuffle(&mut others);
    let others = others.map(|number| format!("https://{app_id}-{number}.algolianet.com"));
    let first = format!("https://{app_id}.algolia.net");
    let hosts: Result<_, _> =
        std::iter::once(first).chain(others).map(|host| Endpoint::parse(&host, false)).collect();
    Ok(hosts?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algolias_own_hosts_for_writes() {
        let hosts = hosts(&Settings::new("ABC123", Secret::new("key"))).unwrap();
        let mut names: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        assert_eq!(names.remove(0), "https://abc123.algolia.net");
        names.sort();
        assert_eq!(names, [1, 2, 3].map(|number| format!("https://abc123-{number}.algolianet.com")));
    }

    /// G10: an id cannot lead the key to somebody else's host, and a refused key is not shown.
    #[test]
    fn ids_and_keys_that_cannot_work_are_refused() {
        for id in ["", "evil.example.org/", "a b", "ü", &"x".repeat(64)] {
            assert!(matches!(app_id(id), Err(SettingsError::AppId { .. })), "{id:?}");
        }
        for key in ["", "hunter2\n", "hunter2\u{7f}"] {
            let refused = api_key(&Secret::new(key)).unwrap_err();
            assert!(!refused.to_string().contains("hunter2"), "{refused}");
        }
        let shown = format!("{:?}", api_key(&Secret::new("hunter2")).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
