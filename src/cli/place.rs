//! Where the agent's data is, for the commands that look at it or ask the agent that runs there.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::output;
use crate::config;

/// Where the agent's data is.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// The agent's config file, which says where its data is
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The agent's data directory, instead of the config's
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
}

impl Place {
    /// Hands over the directory. Beyond what names it the config may have errors, and its secrets are no business of
    /// whoever looks at the data, or asks the agent that runs there.
    ///
    /// # Errors
    /// Those of `run`.
    pub(super) fn with_directory(
        &self,
        run: impl FnOnce(&Path) -> anyhow::Result<ExitCode>,
    ) -> anyhow::Result<ExitCode> {
        if let Some(data_dir) = &self.data_dir {
            return run(data_dir);
        }
        match config::data_dir(self.config.as_deref()) {
            Ok(data_dir) => run(&data_dir),
            Err(errors) => {
                output::complain(&errors.render(true));
                Ok(ExitCode::from(2))
            }
        }
    }
}
