//! What can be wrong with one payload's data, and where in it.

use thiserror::Error;

use super::wire::Malformed;

/// Something wrong with a payload's data.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    /// Where it is, from the data on: `.price`, `.sizes[3].name`, or empty for the data as a whole.
    pub(crate) path: String,
    pub(crate) problem: Problem,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Error)]
pub(crate) enum Problem {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("is given twice in one message")]
    Twice,
    #[error("is not valid UTF-8")]
    NotUtf8,
    #[error("has no value: set one of null, number, string, bool, struct or list")]
    NoKind,
    #[error("is {0}, which JSON cannot express")]
    NotFinite(f64),
    #[error("is nested more than {limit} objects and lists deep")]
    TooDeep { limit: usize },
    #[error("is over {limit} bytes as JSON (limits.record_bytes_max)")]
    TooLarge { limit: usize },
    #[error("is {found}, but the payload's object_id is another: leave it out, or give the same string")]
    OtherObjectId { found: String },
    #[error(
        "{operation} is not idempotent: sent again after a lost answer it counts twice; \
         limits.non_idempotent_operations = \"allow\" accepts it"
    )]
    NonIdempotent { operation: &'static str },
}

/// The faults of one payload: at most one for each first-level attribute.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Faults {
    /// The first ones, at most [`FAULTS_MAX`].
    pub(crate) first: Vec<Fault>,
    /// How many there are besides.
    pub(crate) more: usize,
}

/// As many faults as are told of one by one.
pub(crate) const FAULTS_MAX: usize = 100;

impl Fault {
    pub(crate) fn boxed(problem: impl Into<Problem>) -> Box<Self> {
        Box::new(Self { path: String::new(), problem: problem.into() })
    }

    /// Puts the attribute that holds the fault before its path.
    pub(crate) fn in_attribute(mut self: Box<Self>, name: &[u8]) -> Box<Self> {
        self.path = format!(".{}{}", shortened(&String::from_utf8_lossy(name)), self.path);
        self
    }

    /// Puts the list item that holds the fault before its path.
    pub(crate) fn in_item(mut self: Box<Self>, index: usize) -> Box<Self> {
        self.path = format!("[{index}]{}", self.path);
        self
    }
}

impl Faults {
    pub(crate) fn push(&mut self, fault: Fault) {
        if self.first.len() < FAULTS_MAX {
            self.first.push(fault);
        } else {
            self.more += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }
}

/// The text for a message to a person: at most 40 characters of it, none of them a control character.
pub(crate) fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 40;
    let mut short: String = text
        .chars()
        .take(CHARACTERS_MAX)
        .flat_map(|character| {
            let plain = (!character.is_control()).then_some(character);
            let escaped = character.is_control().then(|| character.escape_default());
            plain.into_iter().chain(escaped.into_iter().flatten())
        })
        .collect();
    if text.chars().nth(CHARACTERS_MAX).is_some() {
        short.push('…');
    }
    short
}
