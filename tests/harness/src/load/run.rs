//! Runs a load: one task for each slot, and a clock for an open loop.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    history::Outcome,
    load::{
        connection::{Connection, ConnectionError},
        control::Control,
        options::{Options, Pace, Until},
        report::Report,
        slot::Slot,
        template::SLOTS_MAX,
    },
};

/// After a request that was not accepted, so that a refusing agent is not stormed.
const PAUSE: Duration = Duration::from_millis(5);

/// Runs the load against the agent at this address. A slot ends early when its connection breaks; what it had in
/// flight is then unknown.
///
/// # Errors
/// If a connection cannot be opened at the start.
///
/// # Panics
/// If the options are contradictory: nothing in flight, no records, more slots than ids have digits for.
pub async fn run(address: SocketAddr, options: Options) -> Result<Report, ConnectionError> {
    let slots = options.connections * options.in_flight;
    assert!(slots > 0 && slots < SLOTS_MAX, "{slots} slots, of 1 to {SLOTS_MAX}, exclusive");
    assert!(options.request_records > 0 && options.indexes > 0, "a request needs a record and an index");
    let options = Arc::new(options);
    let mut connections = Vec::with_capacity(options.connections);
    for _ in 0..options.connections {
        connections.push(Connection::open(address, options.tls.as_ref()).await?);
    }
    let slots = Slot::all(&options);
    let mut tasks = JoinSet::new();
    let tickets = Arc::new(Tickets::new(&options));
    let start = tickets.start;
    for (slot, connection) in slots.into_iter().zip(connections.iter().cycle().cloned()) {
        let task = Task { slot, connection, options: Arc::clone(&options), report: Report::new() };
        tasks.spawn(task.run(Arc::clone(&tickets)));
    }
    let mut report = Report::new();
    while let Some(finished) = tasks.join_next().await {
        report.add(finished.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
    }
    report.elapsed = start.elapsed();
    Ok(report)
}

/// Says who may send when.
#[derive(Debug)]
struct Tickets {
    start: Instant,
    requests_max: u64,
    deadline: Option<Instant>,
    given: AtomicU64,
    control: Control,
    /// In an open loop: between two requests, and permits for those that are due.
    open: Option<(Duration, Arc<Semaphore>)>,
}

impl Tickets {
    fn new(options: &Options) -> Self {
        let start = Instant::now();
        let (requests_max, deadline) = match options.until {
            Until::Records(records) => (records.div_ceil(options.request_records as u64), None),
            Until::Elapsed(elapsed) => (u64::MAX, Some(start + elapsed)),
        };
        let open = match options.pace {
            Pace::Closed => None,
            Pace::Open { requests_per_second } => {
                let interval = Duration::from_secs_f64(1.0 / requests_per_second);
                let due = Arc::new(Semaphore::new(0));
                let requests_max = match options.until {
                    Until::Records(_) => requests_max,
                    Until::Elapsed(elapsed) => (elapsed.as_secs_f64() * requests_per_second) as u64,
                };
                let (pacer, control) = (Arc::downgrade(&due), options.control.clone());
                std::thread::spawn(move || release(&pacer, &control, start, interval, requests_max));
                Some((interval, due))
            }
        };
        let control = options.control.clone();
        Self { start, requests_max, deadline, given: AtomicU64::new(0), control, open }
    }

    /// Waits until a request may be sent and returns when it should have been; `None` at the load's end.
    async fn next(&self) -> Option<Instant> {
        let Some((interval, due)) = &self.open else {
            let number = self.given.fetch_add(1, Ordering::Relaxed);
            let now = Instant::now();
            let over = self.control.is_stopped() || self.deadline.is_some_and(|end| now >= end);
            return (number < self.requests_max && !over).then_some(now);
        };
        // The semaphore is closed after the last one.
        due.acquire().await.ok()?.forget();
        let number = self.given.fetch_add(1, Ordering::Relaxed);
        Some(self.start + Duration::from_nanos(interval.as_nanos() as u64 * number))
    }
}

/// Gives permits when they are due, until the load is over, stopped or gone. A thread, because the runtime's timer has a
/// resolution of a millisecond.
fn release(due: &Weak<Semaphore>, control: &Control, start: Instant, interval: Duration, requests_max: u64) {
    let mut released = 0;
    while released < requests_max && !control.is_stopped() {
        let Some(due) = due.upgrade() else { return };
        let passed = (start.elapsed().as_nanos() / interval.as_nanos()) as u64 + 1;
        let now_due = passed.min(requests_max) - released;
        due.add_permits(now_due as usize);
        released += now_due;
        drop(due);
        let next = start + Duration::from_nanos(interval.as_nanos() as u64 * released);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    // Closing takes away permits that nobody has used yet.
    while let Some(due) = due.upgrade() {
        if due.available_permits() == 0 || control.is_stopped() {
            return due.close();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

struct Task {
    slot: Slot,
    connection: Connection,
    options: Arc<Options>,
    report: Report,
}

impl Task {
    async fn run(mut self, tickets: Arc<Tickets>) -> Report {
        while let Some(intended) = tickets.next().await {
            if !self.send(intended).await {
                break;
            }
        }
        self.report.next_sequence = self.slot.next_sequence();
        self.report
    }

    /// Sends one request and says whether the connection is still good.
    async fn send(&mut self, intended: Instant) -> bool {
        let mut prepared = self.slot.prepare();
        let answer = self.connection.upsert(prepared.bytes.clone());
        let answer = tokio::time::timeout(self.options.request_timeout, answer).await;
        let (outcome, connected) = match answer {
            Ok(Ok(outcome)) => (outcome, true),
            Ok(Err(error)) => (Outcome::Unknown { reason: error.to_string() }, false),
            Err(_) => (Outcome::Unknown { reason: "timed out".to_owned() }, false),
        };
        self.report.bytes += prepared.bytes.len() as u64;
        self.report.count(&outcome, self.options.request_records as u64, intended.elapsed());
        let accepted = matches!(outcome, Outcome::Acknowledged { .. });
        if accepted {
            self.options.control.acknowledge(self.options.request_records as u64);
        }
        if self.options.recorded {
            self.report.history.push(prepared.request(outcome));
        }
        self.slot.answered(prepared);
        if connected && !accepted {
            tokio::time::sleep(PAUSE).await;
        }
        connected
    }
}
