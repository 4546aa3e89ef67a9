//! The environment variables of the system that the agent replaces. Each overrides the file, for every destination.

use std::{
    net::{Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
};

use serde::Serialize;

use super::{
    checked::Config,
    environment::Environment,
    keys,
    reader::Findings,
    units::{Count, Quantity, show_duration, show_size},
};

/// A variable that is set, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Override {
    /// Its name.
    pub variable: &'static str,
    /// Its value.
    pub value: String,
    /// The setting that it replaces; none if it has no meaning here.
    pub key: Option<&'static str>,
    /// What it became, for people.
    pub became: String,
}

/// Applies every variable that is set; what is wrong with one is noted under its name.
pub(super) fn apply(
    config: &mut Config,
    environment: &dyn Environment,
    findings: &Findings,
) -> Vec<Override> {
    let mut applied = Applied { environment, findings, overrides: Vec::new() };
    applied.grpc_port(config);

    if let Some((value, workers)) =
        applied.declared::<Count>("SYNCER_WORKER_COUNT", "destinations.*.requests_max")
    {
        config.destinations.iter_mut().for_each(|d| d.requests_max = workers.length());
        let became = format!(
            "requests_max = {} of every destination (checked and shown; one batch is in flight for now)",
            workers.0
        );
        applied.add("SYNCER_WORKER_COUNT", value, Some("destinations.*.requests_max"), became);
    }
    if let Some((value, size)) =
        applied.declared::<Count>("SYNCER_BATCH_SIZE", "destinations.*.batch.operations_max")
    {
        config.destinations.iter_mut().for_each(|d| d.batch.operations_max = size.length());
        let became = format!("batch.operations_max = {} of every destination", size.0);
        applied.add("SYNCER_BATCH_SIZE", value, Some("destinations.*.batch.operations_max"), became);
    }
    if let Some((value, linger)) = applied.declared("SYNCER_BATCH_TIMEOUT", "destinations.*.batch.linger") {
        config.destinations.iter_mut().for_each(|d| d.batch.linger = linger);
        let became = format!("batch.linger = {} of every destination", show_duration(linger));
        applied.add("SYNCER_BATCH_TIMEOUT", value, Some("destinations.*.batch.linger"), became);
    }
    if let Some((value, _)) = applied.quantity("SYNCER_QUEUE_SIZE", &(Count(0)..=Count(u32::MAX))) {
        let budget = show_size(config.data.disk_bytes_max);
        let became = format!("nothing: the queue is on disk, and data.disk_bytes_max = {budget} bounds it");
        applied.add("SYNCER_QUEUE_SIZE", value, None, became);
    }
    if let Some((value, attempts)) =
        applied.declared::<Count>("SYNCER_MAX_RETRY", "destinations.*.attempts_max")
    {
        config.destinations.iter_mut().for_each(|d| d.attempts_max = attempts.0);
        let became = format!("attempts_max = {} of every destination", attempts.0);
        applied.add("SYNCER_MAX_RETRY", value, Some("destinations.*.attempts_max"), became);
    }
    applied.initial_backoff(config);
    applied.overrides
}

struct Applied<'a> {
    environment: &'a dyn Environment,
    findings: &'a Findings,
    overrides: Vec<Override>,
}

impl Applied<'_> {
    /// `:50051` means every address, as in Go.
    fn grpc_port(&mut self, config: &mut Config) {
        const NAME: &str = "GRPC_PORT";
        let Some(value) = self.environment.variable(NAME) else { return };
        let port = value.strip_prefix(':').unwrap_or(&value);
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse::<u16>() {
            Ok(port) if digits && port > 0 => {
                config.listen.grpc = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
                let became = format!("listen.grpc = {}: every address, IPv4 and IPv6", config.listen.grpc);
                self.add(NAME, value, Some("listen.grpc"), became);
            }
            _ => self.wrong(NAME, &value, "is not a port", "\":50051\" or \"50051\", from 1 to 65535"),
        }
    }

    fn initial_backoff(&mut self, config: &mut Config) {
        const NAME: &str = "SYNCER_INITIAL_BACKOFF";
        let Some((value, min)) = self.declared(NAME, "destinations.*.backoff.min") else { return };
        for destination in &mut config.destinations {
            destination.backoff.min = min;
            destination.backoff.max = destination.backoff.max.max(min);
        }
        let became = format!("backoff.min = {} of every destination", show_duration(min));
        self.add(NAME, value, Some("destinations.*.backoff.min"), became);
    }

    /// A quantity with the limits of the key that it replaces.
    fn declared<Q: Quantity>(&self, name: &str, key: &str) -> Option<(String, Q)> {
        self.quantity(name, &keys::range(key)?)
    }

    fn quantity<Q: Quantity>(&self, name: &str, range: &RangeInclusive<Q>) -> Option<(String, Q)> {
        let value = self.environment.variable(name)?;
        match Q::parse(&value) {
            Some(quantity) if range.contains(&quantity) => return Some((value, quantity)),
            Some(_) => self.wrong(name, &value, "is out of range", &Q::accepted(range)),
            None => self.wrong(name, &value, &format!("is not {}", Q::NOUN), &Q::accepted(range)),
        }
        None
    }

    fn add(&mut self, variable: &'static str, value: String, key: Option<&'static str>, became: String) {
        self.overrides.push(Override { variable, value, key, became });
    }

    fn wrong(&self, name: &str, value: &str, what: &str, accepted: &str) {
        let message = format!("{value:?} {what}");
        self.findings.add_value(name, None, Some(value.to_owned()), message, Some(accepted.to_owned()));
    }
}
