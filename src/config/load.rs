//! Where a config comes from: a file, or, without one, what the environment asks for.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use super::{
    check::{check, named_data_dir, refused},
    checked::Config,
    environment::Environment,
    overrides::Override,
    problem::ConfigErrors,
};

/// Two variables are all that an Algolia user needs to set.
const ALGOLIA: &str = r#"[destinations.algolia]
type = "algolia"
app_id = { env = "ALGOLIA_APP_ID" }
api_key = { env = "ALGOLIA_API_KEY" }
"#;

const FILES: &str = r#"[destinations.files]
type = "file"
dir = "./sync-agent-data/out"
"#;

/// A config that passed every check, and where it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The config, with every override applied.
    pub config: Config,
    /// The environment variables that were set, in a fixed order.
    pub overrides: Vec<Override>,
    /// Where the rest came from.
    pub source: Source,
    text: String,
}

impl Loaded {
    /// The errors that it has once these keys are refused, each with why, in the lines that name them.
    #[must_use]
    pub fn refused(&self, keys: &[(String, String)]) -> ConfigErrors {
        refused(self.file(), &self.text, keys)
    }

    /// The file that it was read from.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match &self.source {
            Source::File(path) => Some(path),
            Source::BuiltInAlgolia | Source::BuiltInFiles => None,
        }
    }

    /// Its text, which holds no secret.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Where a config came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `--config`
    File(PathBuf),
    /// No file; `ALGOLIA_APP_ID` and `ALGOLIA_API_KEY` are set.
    BuiltInAlgolia,
    /// No file, and neither of the two is set.
    BuiltInFiles,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::BuiltInAlgolia => f.write_str("built in: ALGOLIA_APP_ID and ALGOLIA_API_KEY are set"),
            Self::BuiltInFiles => f.write_str("built in: no config file, no ALGOLIA_APP_ID"),
        }
    }
}

/// Reads and checks a config. Without a path, `ALGOLIA_APP_ID` and `ALGOLIA_API_KEY` make Algolia the destination of
/// every index; without them files under `./sync-agent-data/out` are.
///
/// # Errors
/// Everything that is wrong, at once; only a file that cannot be read, or is not TOML, is told alone.
pub fn load(path: Option<&Path>, environment: &dyn Environment) -> Result<Loaded, ConfigErrors> {
    let (source, text) = match path {
        Some(path) => (Source::File(path.to_owned()), read(path)?),
        None => built_in(environment),
    };
    let (config, overrides) = check(path, &text, environment)?;
    Ok(Loaded { config, overrides, source, text })
}

/// Checks a text that was kept of a file, as if it had been read from there now.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn load_text(
    path: Option<&Path>,
    text: String,
    environment: &dyn Environment,
) -> Result<Loaded, ConfigErrors> {
    let source = match path {
        Some(path) => Source::File(path.to_owned()),
        None => built_in(environment).0,
    };
    let (config, overrides) = check(path, &text, environment)?;
    Ok(Loaded { config, overrides, source, text })
}

/// One of the two variables is enough to mean Algolia: the check then names the other.
fn built_in(environment: &dyn Environment) -> (Source, String) {
    let is_set = |name| environment.variable(name).is_some();
    if is_set("ALGOLIA_APP_ID") || is_set("ALGOLIA_API_KEY") {
        (Source::BuiltInAlgolia, ALGOLIA.to_owned())
    } else {
        (Source::BuiltInFiles, FILES.to_owned())
    }
}

/// Where the agent with this config keeps its data. The config may have errors, and its secrets need not be there: only
/// that key is looked for.
///
/// # Errors
/// If the file cannot be read, or is so broken that the key is not found.
pub fn data_dir(path: Option<&Path>) -> Result<PathBuf, ConfigErrors> {
    let text = path.map(read).transpose()?;
    named_data_dir(path, &text.unwrap_or_default())
}

fn read(path: &Path) -> Result<String, ConfigErrors> {
    fs::read_to_string(path)
        .map_err(|error| ConfigErrors::unreadable(path, format!("cannot be read: {error}")))
}
