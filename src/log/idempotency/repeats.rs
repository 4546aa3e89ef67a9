//! What a request with a key is told: that nobody has the key, what was accepted with it, or that it came with other
//! content. No lock is held while it waits for another's outcome or reads the log.

use std::{sync::Arc, time::Duration};

use plugin_api::identity::{Position, Version};
use tokio::sync::watch;

use super::{
    flights::{Claim, Found, Idempotency},
    key::{Key, ShortDigest},
    table::{Remembered, Table},
};
use crate::{
    log::{
        catalogue::Durable,
        interface::{Append, AppendError, Appended, ContentDigest, Reader as _},
        reader::{EmbeddedReader, Readable},
        request_id::RequestIds,
    },
    runtime::Clock,
};

/// Recognises the repeats among a log's requests.
#[derive(Debug)]
pub(in crate::log) struct Repeats {
    keys: Arc<Idempotency>,
    ids: RequestIds,
    log: Arc<Readable>,
    durable: watch::Receiver<Durable>,
}

/// What to do with a request.
#[derive(Debug)]
pub(in crate::log) enum Claimed {
    /// Append it; with a claim if it has a key.
    New(Option<Claim>),
    /// Answer it.
    Repeat(Appended),
}

impl Repeats {
    pub(in crate::log) fn new(
        table: Table,
        clock: Arc<dyn Clock>,
        ids: RequestIds,
        log: Arc<Readable>,
        durable: watch::Receiver<Durable>,
    ) -> Self {
        Self { keys: Arc::new(Idempotency::new(table, clock)), ids, log, durable }
    }

    /// Claims the request's key, once it is free; or says what the request repeats.
    pub(in crate::log) async fn claim(&self, request: &Append) -> Result<Claimed, AppendError> {
        let Some((key, digest)) = key_of(request) else { return Ok(Claimed::New(None)) };
        loop {
            match self.keys.claim(key, digest) {
                Ok(claim) => return Ok(Claimed::New(Some(claim))),
                Err(found) => {
                    if let Some(appended) = self.answer(found, &digest).await? {
                        return Ok(Claimed::Repeat(appended));
                    }
                }
            }
        }
    }

    /// See [`crate::log::interface::Log::recall`].
    pub(in crate::log) async fn recall(&self, request: &Append) -> Result<Option<Appended>, AppendError> {
        let Some((key, digest)) = key_of(request) else { return Ok(None) };
        while let Some(found) = self.keys.find(key) {
            if let Some(appended) = self.answer(found, &digest).await? {
                return Ok(Some(appended));
            }
        }
        Ok(None)
    }

    /// How many keys are remembered, and how far back every one is.
    pub(in crate::log) fn size(&self) -> (usize, Duration) {
        self.keys.size()
    }

    /// The answer for content with this digest; `None` if what was in flight was not accepted.
    async fn answer(&self, found: Found, digest: &[u8; 32]) -> Result<Option<Appended>, AppendError> {
        let (appended, earlier) = match found {
            Found::Accepted(remembered) => (self.appended(&remembered), remembered.digest),
            Found::InFlight(flight) => match flight.outcome().await {
                Some((appended, earlier)) => (appended, ShortDigest::of(&earlier)),
                None => return Ok(None),
            },
        };
        if earlier == ShortDigest::of(digest) {
            return Ok(Some(Appended { repeated: true, ..appended }));
        }
        let earlier = self.whole(earlier, &appended).await;
        let digest = ContentDigest::Whole(*digest);
        Err(AppendError::KeyReused { earlier, digest, request_id: appended.request_id })
    }

    fn appended(&self, remembered: &Remembered) -> Appended {
        let Remembered { offset, version, .. } = *remembered;
        Appended {
            request_id: self.ids.make(offset, version),
            position: Position { partition: 0, offset },
            version: Version(version),
            repeated: true,
        }
    }

    /// The digest as the request's frame has it, if that is still there.
    async fn whole(&self, digest: ShortDigest, appended: &Appended) -> ContentDigest {
        let (log, durable) = (self.log.clone(), self.durable.clone());
        let frames = EmbeddedReader::new(log, durable, appended.position.offset).next().await;
        // What keeps it from being read is for those to tell who need it.
        let frame = frames.ok().and_then(|frames| frames.into_iter().next());
        let frame = frame.filter(|frame| frame.request_id == appended.request_id);
        let whole = frame.and_then(|frame| frame.attributes.idempotency).map(|it| it.digest);
        whole.map_or(ContentDigest::Beginning(digest.0), ContentDigest::Whole)
    }
}

fn key_of(request: &Append) -> Option<(Key, [u8; 32])> {
    let digest = request.attributes.idempotency.as_ref()?.digest;
    Some((Key::of(&request.attributes, &request.payload)?, digest))
}
