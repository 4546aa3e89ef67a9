//! The token that every request over TCP must carry: `Authorization: Bearer TOKEN` (RFC 6750).

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path};

use http::{HeaderMap, header::AUTHORIZATION};
use ring::{
    hmac,
    rand::{SecureRandom as _, SystemRandom},
};

use super::BindError;
use crate::runtime::files::replace;

/// Random bytes of a token that the agent makes; its file has them in hex.
const BYTES: usize = 32;
/// A token that an operator wrote himself has so many characters at least.
const CHARACTERS_MIN: usize = 32;

/// Recognises the token. Holds a MAC of it, with a key of this process: comparing MACs takes the same time whatever the
/// request brought, and nothing that is printed shows it.
#[derive(Debug)]
pub(super) struct Token {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl Token {
    /// Reads `admin-token` in the data directory, or makes it.
    pub(super) fn find_or_make(data_dir: &Path) -> Result<Self, BindError> {
        let path = data_dir.join("admin-token");
        let failed = |reason: String| BindError::Token { path: path.clone(), reason };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(&path).map_err(|error| failed(format!("cannot be made: {error}")))?
            }
            Err(error) => return Err(failed(format!("cannot be read: {error}"))),
        };
        let token = text.trim_ascii();
        if token.len() < CHARACTERS_MIN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let advice = "delete the file, and the next start makes a new one";
            return Err(failed(format!(
                "holds no token, which has {CHARACTERS_MIN} printable characters at least: {advice}"
            )));
        }
        if fs::metadata(&path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0) {
            tracing::warn!(path = %path.display(), "others than the owner may read the admin token");
        }
        Self::new(token).ok_or_else(|| failed("the system gives no random numbers".to_owned()))
    }

    fn new(token: &str) -> Option<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok()?;
        let tag = hmac::sign(&key, token.as_bytes());
        Some(Self { key, tag })
    }

    /// Whether a request's headers carry it, once.
    pub(super) fn is_in(&self, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let (Some(only), None) = (given.next(), given.next()) else { return false };
        let Some((scheme, token)) = only.as_bytes().split_at_checked("Bearer ".len()) else { return false };
        scheme.eq_ignore_ascii_case(b"Bearer ") && hmac::verify(&self.key, token, self.tag.as_ref()).is_ok()
    }
}

fn make(path: &Path) -> io::Result<String> {
    let mut bytes = [0; BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| io::Error::other("the system gives no random numbers"))?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).chain(["\n".to_owned()]).collect();
    replace(path, text.as_bytes())?;
    Ok(text)
}
