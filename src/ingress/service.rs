//! The service itself: a request that was let in is validated, appended and answered.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tonic::{Code, Request, Response, Status, metadata::MetadataMap};
use tonic_health::{ServingStatus, server::HealthReporter};
use tracing::Instrument as _;

use super::{
    answer,
    budget::Lease,
    caller,
    caller_rates::CallerRates,
    indexes::Indexes,
    meters::Meters,
    policy::{Policy, Terms},
    refusals::Refusals,
    spans::Traced,
    validate::{Origin, Valid, validate},
};
use crate::{
    contract::{
        SERVICE_NAME,
        server::{UpsertObjectsResponse, sync_service_server::SyncService},
    },
    log::interface::{AppendError, Appended, Log},
    runtime::{Stop, Tracer},
};

/// What serves `UpsertObjects`.
pub(crate) struct Upserts {
    pub(crate) policy: Arc<Policy>,
    pub(crate) rates: CallerRates,
    pub(crate) indexes: Indexes,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) health: HealthReporter,
    pub(crate) stop: Stop,
    /// Holds a token for every append that is not answered.
    pub(crate) appends: TaskTracker,
    pub(crate) meters: Arc<Meters>,
    pub(crate) tracer: Tracer,
    /// As many long messages as there are cores are decoded at once.
    pub(crate) decoders: Semaphore,
}

/// A longer message is decoded on a thread of its own, so that it does not keep a runtime thread for over 500 us.
const DECODE_INLINE_BYTES_MAX: usize = 160 * 1024;

/// The service that tonic calls.
#[derive(Clone)]
pub(crate) struct UpsertService(pub(crate) Arc<Upserts>);

#[tonic::async_trait]
impl SyncService for UpsertService {
    async fn upsert_objects(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<UpsertObjectsResponse>, Status> {
        let upserts = &self.0;
        let arrived_at = Instant::now();
        let _append = upserts.appends.token();
        let (metadata, mut extensions, message) = request.into_parts();
        let lease =
            extensions.remove::<Arc<Lease>>().ok_or_else(|| Status::internal("request has no lease"))?;
        let terms = upserts.policy.terms();
        let caller = caller::of(&metadata, &extensions, terms.entrance.trusts_xfcc());
        let origin = Origin { caller, traceparent: traceparent(&metadata) };
        let traced = Traced::of(&upserts.tracer, &origin);
        let valid = match upserts.decode(message, origin, terms, lease).await {
            Ok(valid) => valid,
            Err(status) => {
                traced.iter().for_each(|traced| traced.refused(&upserts.tracer, &status, None));
                return Err(status);
            }
        };
        let span = tracing::debug_span!(
            "upsert_objects",
            index = valid.index,
            records = valid.append.records,
            caller = valid.append.attributes.caller.as_deref(),
            request_id = tracing::field::Empty
        );
        let (index, records) = (traced.as_ref().map(|_| valid.index.clone()), valid.append.records);
        let answer = upserts.append(valid).instrument(span).await;
        upserts.meters.records.add(answer.as_ref().map_or_else(Status::code, |_| Code::Ok), records.into());
        if answer.as_ref().is_ok_and(|appended| !appended.repeated) {
            upserts.meters.accept_durable.observe(arrived_at.elapsed().as_secs_f64());
        }
        if let (Some(traced), Some(index)) = (traced, index) {
            match &answer {
                Ok(appended) => traced.accepted(&upserts.tracer, appended, &index, records),
                Err(status) => traced.refused(&upserts.tracer, status, Some((&index, records))),
            }
        }
        let appended = answer?;
        let records = if records == 1 { "1 record".to_owned() } else { format!("{records} records") };
        let before = if appended.repeated { " before" } else { "" };
        Ok(Response::new(UpsertObjectsResponse {
            request_id: appended.request_id.to_string(),
            message: format!("accepted {records}{before}"),
        }))
    }
}

impl Upserts {
    async fn decode(
        self: &Arc<Self>,
        message: Bytes,
        origin: Origin,
        terms: Arc<Terms>,
        lease: Arc<Lease>,
    ) -> Result<Valid, Status> {
        if message.len() <= DECODE_INLINE_BYTES_MAX {
            return validate(&message, origin, &terms, &self.rates, &lease);
        }
        let _decoder = self.decoders.acquire().await;
        let upserts = self.clone();
        tokio::task::spawn_blocking(move || validate(&message, origin, &terms, &upserts.rates, &lease))
            .await
            .map_err(|_| Status::internal("request could not be decoded"))?
    }

    /// Why a request is not appended whatever the log says.
    fn refusal(&self, valid: &Valid) -> Option<Status> {
        if self.stop.is_cancelled() {
            return Some(answer::stopping());
        }
        if let Some(wait) = valid.too_fast {
            return Some(answer::too_fast(valid.append.attributes.caller.as_deref(), wait));
        }
        if self.policy.is_draining() {
            return Some(answer::draining());
        }
        let index = &valid.index;
        if let Some(refusal) = self.refusals.of(index) {
            return Some(answer::index_refused(index, &refusal));
        }
        let indexes_max = self.policy.terms().limits.indexes_max;
        self.indexes.admit(index, indexes_max).err().map(|error| answer::too_many_indexes(index, error))
    }

    async fn append(&self, valid: Valid) -> Result<Appended, Status> {
        let appended = match self.refusal(&valid) {
            None => self.log.append(valid.append).await,
            // What was accepted before is not refused now.
            Some(refusal) => match self.log.recall(&valid.append).await {
                Ok(None) => {
                    tracing::debug!(%refusal, "not accepted");
                    return Err(refusal);
                }
                Ok(Some(appended)) => Ok(appended),
                Err(error) => Err(error),
            },
        };
        match appended {
            Ok(appended) => {
                tracing::Span::current().record("request_id", tracing::field::display(appended.request_id));
                tracing::debug!(repeated = appended.repeated, "accepted");
                Ok(appended)
            }
            Err(error) => {
                tracing::debug!(%error, "not accepted");
                if let AppendError::Poisoned { .. } = error {
                    self.health.set_service_status("", ServingStatus::NotServing).await;
                    self.health.set_service_status(SERVICE_NAME, ServingStatus::NotServing).await;
                }
                Err(answer::not_appended(&error))
            }
        }
    }
}

/// The caller's W3C traceparent, if it is one (<https://www.w3.org/TR/trace-context/#traceparent-header>).
fn traceparent(metadata: &MetadataMap) -> Option<String> {
    let text = metadata.get("traceparent")?.to_str().ok()?;
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
    };
    let zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    let mut parts = text.splitn(5, '-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let well_formed = hex(version, 2)
        && version != "ff"
        && (hex(trace, 32) && !zero(trace))
        && (hex(parent, 16) && !zero(parent))
        && hex(flags, 2)
        // A later version may add parts; version 00 has these only.
        && parts.next().is_none();
    well_formed.then(|| text.to_owned())
}
