//! What every command shares that asks a running agent.

use std::process::ExitCode;

use serde::Serialize;

use super::{
    output,
    text::{printable, since},
};
use crate::admin::{ClientError, StartAt, Time};

/// It was not done; the text says why.
const FAILED: u8 = 1;
/// The config has errors.
const CONFIG_ERRORS: u8 = 2;

/// Tells what the agent answered, as JSON or in words, and how the command exits then. What the agent refused is told on
/// stderr, with `json` on stdout as it came.
///
/// # Errors
/// If there is no answer, or it cannot be printed.
pub(super) fn tell<R: Serialize>(
    answer: Result<R, ClientError>,
    json: bool,
    words: impl FnOnce(&R) -> String,
    code: impl FnOnce(&R) -> u8,
) -> anyhow::Result<ExitCode> {
    match answer {
        Ok(report) if json => {
            output::print_json(&report)?;
            Ok(code(&report).into())
        }
        Ok(report) => {
            output::print(&words(&report))?;
            Ok(code(&report).into())
        }
        Err(ClientError::Refused(error)) => {
            let text = error.config.as_ref().map_or("", |config| &*config.text);
            match json {
                true => output::print_json(&error)?,
                false => output::complain(&format!("{text}sync-agent: {}\n", printable(&error.to_string()))),
            }
            Ok(if error.config.is_some() { CONFIG_ERRORS } else { FAILED }.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Nothing went wrong, whatever the report says.
pub(super) fn success<R>(_: &R) -> u8 {
    0
}

/// `now`, `oldest`, a time, or a length of time that ends now.
pub(super) fn start_at(text: &str) -> Result<StartAt, String> {
    match text.parse() {
        Ok(start) => Ok(start),
        Err(_) => match since(text) {
            Ok(time) => Ok(StartAt::Time(Time(time))),
            Err(_) => {
                Err("none of: now, oldest, a time like 2026-11-23T15:00:00Z, a length like 2h".to_owned())
            }
        },
    }
}

/// "1 record", "2 records".
pub(super) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", super::text::grouped(count))
}
