//! Which hosts of a service are fit, and in which order to try them.
//!
//! A network error or a 5xx puts a host last for five minutes; so does a time-out, but before those. No host is ever
//! left out: when all are down, all are tried again.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::endpoint::Endpoint;

/// How long a host that failed is passed over; what Algolia's own clients use.
pub const DOWN: Duration = Duration::from_secs(300);

/// The hosts of one service, in the order of preference.
#[derive(Debug)]
pub struct Hosts {
    hosts: Vec<Host>,
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
    /// The hosts in the order in which they are to be tried.
    #[must_use]
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        let hosts = endpoints.into_iter().map(|endpoint| Host { endpoint, mark: Mutex::new(None) });
        Self { hosts: hosts.collect() }
    }

    /// Every host: the fit ones first, then those that timed out, then those that are down.
    #[must_use]
    pub fn in_order(&self) -> Vec<&Host> {
        let mut hosts: Vec<&Host> = self.hosts.iter().collect();
        hosts.sort_by_cached_key(|host| host.fault());
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
    pub fn failed(&self) {
        self.set(Some((Fault::Down, Instant::now())));
    }

    /// It did not answer in time.
    pub fn timed_out(&self) {
        self.set(Some((Fault::TimedOut, Instant::now())));
    }

    fn set(&self, mark: Option<(Fault, Instant)>) {
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = mark;
    }

    fn fault(&self) -> Option<Fault> {
        let mark = *self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        mark.filter(|(_, since)| since.elapsed() < DOWN).map(|(fault, _)| fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(hosts: &Hosts) -> String {
        hosts.in_order().iter().map(|host| host.endpoint().url("").split_off("https://".len())).collect()
    }

    /// G5: a host that fails is passed over for five minutes, and when all fail all are tried again.
    #[tokio::test(start_paused = true)]
    async fn failed_hosts_come_last_for_five_minutes() {
        let hosts = Hosts::new(
            ["a", "b", "c"].map(|name| Endpoint::parse(&format!("https://{name}"), false).unwrap()),
        );
        assert_eq!(order(&hosts), "abc");
        hosts.hosts[0].failed();
        hosts.hosts[1].timed_out();
        assert_eq!(order(&hosts), "cba");
        tokio::time::advance(DOWN - Duration::from_millis(1)).await;
        hosts.hosts[2].failed();
        assert_eq!(order(&hosts), "bac");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(order(&hosts), "abc");
        hosts.hosts[2].succeeded();
        hosts.hosts[0].timed_out();
        assert_eq!(order(&hosts), "bca");
    }
}
