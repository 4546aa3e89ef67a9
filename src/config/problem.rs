//! Everything that is wrong with a config, for people (with the lines in question) and for programs (as data).
//!
//! Secrets never get in here: the text is kept with every secret, and everything that was not understood, blotted
//! out.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, normalize_untrusted_str};
use serde::Serialize;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The line in the file, from 1; none for an environment variable.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// The key's path, such as `destinations.search.type`, or the environment variable's name.
    pub key: String,
    /// The offending value as it was written; none where it may be a secret or there is none.
    pub value: Option<String>,
    /// What is wrong: a lowercase fragment.
    pub message: String,
    /// What would be accepted.
    pub accepted: Option<String>,
    /// The bytes of the file that it is about.
    #[serde(skip)]
    pub(super) span: Option<Range<usize>>,
}

/// Every problem of a config, in the order of the file; environment variables come last. Never empty.
#[derive(Clone, Debug, Serialize)]
pub struct ConfigErrors {
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// What is wrong.
    pub errors: Vec<Problem>,
    #[serde(skip)]
    text: String,
}

impl ConfigErrors {
    /// Sorts the problems, finds their lines, and blots `hidden` out of the text.
    pub(super) fn new(
        file: Option<&Path>,
        text: &str,
        mut errors: Vec<Problem>,
        hidden: &[Range<usize>],
    ) -> Self {
        errors.sort_by_key(|problem| problem.span.as_ref().map_or(usize::MAX, |span| span.start));
        for problem in &mut errors {
            if let Some(span) = &problem.span {
                let before = &text[..span.start.min(text.len())];
                let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
                problem.line = Some(before.matches('\n').count() + 1);
                problem.column = Some(before[line_start..].chars().count() + 1);
            }
        }
        Self { file: file.map(Path::to_owned), errors, text: blot(text, hidden) }
    }

    /// A file that could not be read at all.
    pub(super) fn unreadable(file: &Path, message: String) -> Self {
        let problem = Problem {
            line: None,
            column: None,
            key: file.display().to_string(),
            value: None,
            message,
            accepted: Some("a TOML file that this user may read".to_owned()),
            span: None,
        };
        Self { file: Some(file.to_owned()), errors: vec![problem], text: String::new() }
    }

    /// All problems with the lines in question, as text for a terminal; ends with a count.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let file = self.file.as_ref().map_or("the built-in config".to_owned(), |f| f.display().to_string());
        let mut rendered = String::new();
        for problem in &self.errors {
            let title = normalize_untrusted_str(&format!("{}: {}", problem.key, problem.message));
            let mut group = Group::with_title(Level::ERROR.primary_title(title));
            if let Some(span) = &problem.span {
                let annotation = AnnotationKind::Primary.span(span.clone());
                group = group.element(Snippet::source(&self.text).path(&file).annotation(annotation));
            }
            if let Some(accepted) = &problem.accepted {
                group = group.element(Level::HELP.message(accepted));
            }
            rendered.push_str(&renderer.render(&[group]));
            rendered.push_str("\n\n");
        }
        let count = self.errors.len();
        rendered.push_str(&format!("{count} error{}\n", if count == 1 { "" } else { "s" }));
        rendered
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for ConfigErrors {}

/// Replaces letters and digits in the ranges by asterisks, byte for byte, so that every span stays where it is.
fn blot(text: &str, hidden: &[Range<usize>]) -> String {
    let is_hidden = |at: usize| hidden.iter().any(|range| range.contains(&at));
    let mut blotted = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        if is_hidden(at) && !character.is_whitespace() && !"\"'".contains(character) {
            blotted.extend(std::iter::repeat_n('*', character.len_utf8()));
        } else {
            blotted.push(character);
        }
    }
    blotted
}
