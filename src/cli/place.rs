//! Where the agent's data is, for the commands that look at it or ask the agent that runs there.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::output;
use crate::{
    admin::Client,
    config::{self, ProcessEnvironment},
};

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
    /// Hands over the directory of an agent that may be stopped; the config must be one that it would take.
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
        match config::load(self.config.as_deref(), &ProcessEnvironment) {
            Ok(loaded) => run(&loaded.config.data.dir),
            Err(errors) => {
                output::complain(&errors.render(true));
                Ok(ExitCode::from(2))
            }
        }
    }

    /// The directory of an agent that runs: its config may have errors by now, and its secrets are no business of whoever
    /// asks it something.
    ///
    /// # Errors
    /// If the config cannot be read.
    pub(super) fn directory(&self) -> anyhow::Result<PathBuf> {
        match &self.data_dir {
            Some(data_dir) => Ok(data_dir.clone()),
            None => Ok(config::data_dir(self.config.as_deref())?),
        }
    }

    /// A client of the agent that runs there.
    ///
    /// # Errors
    /// Those of [`Place::directory`].
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(&self.directory()?))
    }
}
