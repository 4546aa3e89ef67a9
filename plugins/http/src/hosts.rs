//! Which hosts of a service are fit, and in which order to try them.
//!
//! A network error or a 5xx puts a host last for five minutes; so does a time-out, but before those. No host is ever
//! left out: when all are down, all are tried again.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::endpoint::Endpoint;

/// How long a host that failed is passed over; what Algolia's own clients use.
pub const DOWN: Duration = Duration::from_secs(300);

/// The hosts of one service.
#[derive(Debug)]
pub struct Hosts {
    hosts: Vec<Host>,
    /// Requests so far, where the hosts take turns.
    turns: Option<AtomicUsize>,
}

/// One host.
#[derive(Debug)]
pub struct Host {
    endpoint: Endpoint,
    mark: Mutex<Option<(Fault, Instant)>>,
}

/// Ordered by how far back it puts a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    TimedOut,
    Down,
}

impl Hosts {
    /// Hosts of which the first fit one is always asked first.
    #[must_use]
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        let hosts = endpoints.into_iter().map(|endpoint| Host { endpoint, mark: Mutex::new(None) });
        Self { hosts: hosts.collect(), turns: None }
    }

    /// Equal hosts: each request asks the next one first.
    #[must_use]
    pub fn in_turn(endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        Self { turns: Some(AtomicUsize::new(0)), ..Self::new(endpoints) }
    }

    /// Every host: the fit ones first, then those that timed out, then those that are down.
    #[must_use]
    pub fn in_order(&self, now: Instant) -> Vec<&Host> {
        let mut hosts: Vec<&Host> = self.hosts.iter().collect();
        if let Some(turns) = &self.turns {
            let turn = turns.fetch_add(1, Ordering::Relaxed) % hosts.len().max(1);
            hosts.rotate_left(turn);
        }
        hosts.sort_by_cached_key(|host| host.fault(now));
        hosts
    }
}

impl Host {
    /// Where it is.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// It answered as a host that serves.
    pub fn succeeded(&self) {
        self.set(None);
    }

    /// It could not be reached, cut the connection or answered that it does not serve.
    pub fn failed(&self, now: Instant) {
        self.set(Some((Fault::Down, now)));
    }

    /// It did not answer in time.
    pub fn timed_out(&self, now: Instant) {
        self.set(Some((Fault::TimedOut, now)));
    }

    fn set(&self, mark: Option<(Fault, Instant)>) {
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = mark;
    }

    fn fault(&self, now: Instant) -> Option<Fault> {
        let mark = *self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        mark.filter(|(_, since)| now.saturating_duration_since(*since) < DOWN).map(|(fault, _)| fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(hosts: &Hosts, now: Instant) -> String {
        hosts.in_order(now).iter().map(|host| host.endpoint().url("").split_off("https://".len())).collect()
    }

    /// G5: a host that fails is passed over for five minutes, and when all fail all are tried again.
    #[test]
    fn failed_hosts_come_last_for_five_minutes() {
        let endpoints =
            ["a", "b", "c"].map(|name| Endpoint::parse(&format!("https://{name}"), false).unwrap());
        let hosts = Hosts::new(endpoints);
        let start = Instant::now();
        assert_eq!(order(&hosts, start), "abc");
        hosts.hosts[0].failed(start);
        hosts.hosts[1].timed_out(start);
        assert_eq!(order(&hosts, start), "cba");
        let later = start + DOWN - Duration::from_millis(1);
        hosts.hosts[2].failed(later);
        assert_eq!(order(&hosts, later), "bac");
        assert_eq!(order(&hosts, start + DOWN), "abc");
        hosts.hosts[0].timed_out(start + DOWN);
        assert_eq!(order(&hosts, start + DOWN), "bac");
        hosts.hosts[2].succeeded();
        assert_eq!(order(&hosts, start + DOWN), "bca");
    }

    /// G5: equal hosts share the requests, and one that is down is left out of it.
    #[test]
    fn equal_hosts_take_turns() {
        let endpoints =
            ["a", "b", "c"].map(|name| Endpoint::parse(&format!("https://{name}"), false).unwrap());
        let hosts = Hosts::in_turn(endpoints);
        let start = Instant::now();
        assert_eq!([(); 4].map(|()| order(&hosts, start)), ["abc", "bca", "cab", "abc"]);
        hosts.hosts[1].failed(start);
        assert_eq!([(); 3].map(|()| order(&hosts, start)), ["cab", "cab", "acb"]);
        assert!(Hosts::in_turn([]).in_order(start).is_empty());
    }
}
