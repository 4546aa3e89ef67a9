//! The destination's trait on top of the journal: one blocking call for each batch.

use std::{sync::Arc, time::SystemTime};

use async_trait::async_trait;
use plugin_api::{
    destination::{Capabilities, Destination},
    operation::{Batch, Operation},
    verdict::{Confirmation, Reason, Verdict, WriteError, Written},
};
use tokio::{sync::Mutex, task::spawn_blocking};

use crate::{classify::JournalError, journal::Journal, settings::Settings};

/// Writes operations to files, one for each index. The crate's documentation describes them.
#[derive(Debug)]
pub struct File {
    journal: Arc<Mutex<Journal>>,
}

impl File {
    /// A destination that opens and locks its directory with the first write or probe.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { journal: Arc::new(Mutex::new(Journal::new(settings))) }
    }

    /// Runs one blocking call with the journal to itself.
    ///
    /// The call owns the guard: if this future is dropped, the call still ends before the next one begins, and a
    /// call that waits for its turn is never made.
    async fn with_journal<F>(&self, call: F) -> Result<(), WriteError>
    where
        F: FnOnce(&mut Journal) -> Result<(), JournalError> + Send + 'static,
    {
        let mut journal = Arc::clone(&self.journal).lock_owned().await;
        let called = spawn_blocking(move || call(&mut journal)).await;
        Ok(called.map_err(JournalError::from).flatten()?)
    }
}

#[async_trait]
impl Destination for File {
    async fn write(&self, batch: &Batch) -> Result<Written, WriteError> {
        let operations = batch.operations().to_vec();
        self.with_journal(move |journal| journal.append(&operations, SystemTime::now())).await?;
        Ok(Written { verdicts: vec![Verdict::Written; batch.operations().len()], confirmations: Vec::new() })
    }

    async fn confirmed(&self, _: &Confirmation) -> Result<bool, WriteError> {
        Ok(true)
    }

    /// Creates the directory where it is missing, as a write would; writes, syncs and removes a small file.
    async fn probe(&self) -> Result<(), WriteError> {
        self.with_journal(Journal::probe).await
    }

    fn admit(&self, _: &Operation) -> Result<(), Reason> {
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            versioned: false,
            coalesces: false,
            operations_max: 10_000,
            bytes_max: 8 * 1024 * 1024,
        }
    }
}
