//! Why a command was not carried out: the body of every answer that is no success.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A command that was not carried out, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("{error}; {advice}")]
pub struct ControlError {
    /// Whose turn it is; it decides the HTTP status.
    pub kind: Kind,
    /// What is wrong: a lowercase fragment.
    pub error: String,
    /// What to do next: a lowercase fragment.
    pub advice: String,
    /// With [`Kind::Refused`]: the config that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Box<ConfigRefused>>,
}

/// Why a command was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// No token, or a wrong one.
    Unauthorized,
    /// From a page of another origin, or to a host name that is not the agent's.
    Forbidden,
    /// No such route, destination, transform or letter.
    NotFound,
    /// The route exists, for another method.
    MethodNotAllowed,
    /// The request's body is larger than any command needs.
    TooLarge,
    /// The request does not say what it must.
    Invalid,
    /// As things stand it cannot be done; nothing was changed.
    Conflict,
    /// The config has errors; the old one serves on.
    Refused,
    /// It was tried and failed.
    Failed,
}

impl Kind {
    /// The HTTP status that stands for it.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::Refused => 422,
            Self::Failed => 500,
        }
    }
}

/// A config that does not serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigRefused {
    /// The file, if there is one.
    pub file: Option<String>,
    /// Everything that is wrong, in the order of the file.
    pub errors: Vec<ConfigError>,
    /// The same for people, with the lines in question, without colours and secrets.
    pub text: String,
}

/// One thing that is wrong with a config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigError {
    /// The line in the file, from 1; none where it is about something outside, such as a destination's answer.
    pub line: Option<u64>,
    /// The key's path, such as `destinations.search.type`.
    pub key: String,
    /// What is wrong: a lowercase fragment.
    pub message: String,
    /// What would be accepted.
    pub accepted: Option<String>,
}

impl ControlError {
    /// A command that was not carried out: what is wrong, and what to do next.
    pub fn new(kind: Kind, error: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { kind, error: error.into(), advice: advice.into(), config: None }
    }

    /// There is no such thing; `what` is its noun.
    pub fn not_found<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        let advice = match known.as_slice() {
            [] => format!("there is no {what} at all"),
            known => format!("choose one of: {}", known.join(", ")),
        };
        Self::new(Kind::NotFound, format!("there is no {what} {name:?}"), advice)
    }

    /// It cannot be done as things stand.
    pub fn conflict(error: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, error, advice)
    }

    /// The request is not one.
    pub fn invalid(error: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, error, advice)
    }

    /// It was tried in vain.
    pub fn failed(error: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Kind::Failed, error, advice)
    }

    /// The config has errors.
    #[must_use]
    pub fn refused(config: ConfigRefused) -> Self {
        let count = config.errors.len();
        let errors = if count == 1 { "1 error".to_owned() } else { format!("{count} errors") };
        let error = format!("the config has {errors} and is refused, the one before serves on");
        let advice = "mend what is listed, then reload again".to_owned();
        Self { kind: Kind::Refused, error, advice, config: Some(Box::new(config)) }
    }
}
