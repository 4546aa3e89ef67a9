//! A secret that does not show itself (G10).
//!
//! Clones share one value: whoever reloads secrets replaces it once and every holder sends the new one from its next
//! request on.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

/// A key, a token or a password. Neither `Debug` nor `Display` shows it.
#[derive(Clone)]
pub struct Secret {
    value: Arc<RwLock<Arc<str>>>,
}

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<Arc<str>>) -> Self {
        Self { value: Arc::new(RwLock::new(value.into())) }
    }

    /// The value, for the one place that puts it on the wire.
    #[must_use]
    pub fn expose(&self) -> Arc<str> {
        Arc::clone(&self.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives this secret and all of its clones another value.
    pub fn replace(&self, value: impl Into<Arc<str>>) {
        *self.value.write().unwrap_or_else(PoisonError::into_inner) = value.into();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// G10: a secret that ends up in a log line or an error is not readable there, before and after a reload.
    #[test]
    fn never_shows_itself() {
        let secret = Secret::new("hunter2");
        let holder = secret.clone();
        secret.replace("hunter3");
        for shown in [format!("{secret}"), format!("{secret:?}"), format!("{:#?}", Some(&holder))] {
            assert!(!shown.contains("hunter"), "{shown}");
        }
        assert_eq!(&*holder.expose(), "hunter3");
    }
}
