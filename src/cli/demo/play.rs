//! The play: a producer that sends through the real gRPC port, an outage in its middle, and the wait for the end.
//!
//! Nothing here touches what the agent does: it is sent to, its destination fails, and its status is read.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, bail};
use fakes::algolia::{HostState, Poison};
use plugin_api::identity::Position;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_stream::StreamExt;

use super::{
    plan::{INDEX, Phase, Plan},
    screen::Screen,
    stage::{ALGOLIA, COPY, ELASTIC, FILES, Stage},
};
use crate::{
    cli::send::sender::{Event, Options, send},
    delivery::{BreakerState, Snapshot},
};

/// How often the screen changes.
const TICK: Duration = Duration::from_millis(100);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(20);
/// Nobody waits on when nothing has moved for this long: then the proof shows what is missing.
const PATIENCE: Duration = Duration::from_secs(20);

/// What can be seen at one moment.
pub(super) struct Status {
    pub(super) elapsed: Duration,
    pub(super) records: u64,
    /// Records that the agent acknowledged to the producer.
    pub(super) acknowledged: u64,
    pub(super) outage: bool,
    pub(super) end: Position,
    pub(super) lanes: Vec<Snapshot>,
}

/// How it went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Played {
    /// Records that the agent acknowledged to the producer.
    pub(super) acknowledged: u64,
    /// From the first record until the last one was settled everywhere.
    pub(super) took: Duration,
    pub(super) outage: Outage,
    pub(super) addition: Addition,
}

/// What came of the destination that was added at the end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Addition {
    /// From the edit of the config until it had everything.
    pub(super) took: Duration,
}

/// What happened while Elasticsearch was down.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outage {
    pub(super) took: Duration,
    pub(super) acknowledged: u64,
    pub(super) written_to_files: u64,
    pub(super) written_to_algolia: u64,
    /// Records that waited for Elasticsearch at its end.
    pub(super) waiting: u64,
    pub(super) breaker_opened: bool,
}

/// Counts what the producer is told; what is not accepted ends the demo.
#[derive(Debug, Default)]
struct Producer {
    acknowledged: AtomicU64,
    refused: Mutex<Option<String>>,
    outage: AtomicBool,
}

/// Sends the whole plan, evenly over `pace`, and returns when every destination has settled it, or will not.
pub(super) async fn play(
    stage: &Stage,
    plan: Plan,
    pace: Duration,
    screen: &mut Screen,
) -> anyhow::Result<Played> {
    let producer = Arc::new(Producer::default());
    let started = Instant::now();
    let story = async {
        let produced = produce(stage, plan, pace, &producer);
        let ((), outage) = tokio::try_join!(produced, outage(stage, plan, &producer))?;
        let settled = || stage.agent.lanes().iter().all(|lane| lane.pending(stage.log().end) == 0);
        wait_until(stage, settled).await;
        let took = started.elapsed();
        let addition = add(stage).await?;
        anyhow::Ok(Played { acknowledged: producer.acknowledged(), took, outage, addition })
    };
    let status = || Status {
        elapsed: started.elapsed(),
        records: plan.records(),
        acknowledged: producer.acknowledged(),
        outage: producer.outage(),
        end: stage.log().end,
        lanes: stage.agent.lanes(),
    };
    tokio::pin!(story);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // A panic first: after it, nothing that is shown can be relied on.
            biased;
            () = stage.agent.panicked() => bail!("a task of the agent panicked"),
            played = &mut story => {
                screen.show(&status());
                return played;
            }
            _ = ticks.tick() => screen.show(&status()),
        }
    }
}

/// Makes the one record poisonous to which the plan says so. Algolia's answer will not say which one it is.
pub(super) fn poison(stage: &Stage, plan: Plan) {
    stage.algolia.poison(&plan.poison(), Poison::Anonymous);
}

async fn produce(stage: &Stage, plan: Plan, pace: Duration, producer: &Arc<Producer>) -> anyhow::Result<()> {
    let started = Instant::now();
    for Phase { action, first, end } in plan.phases() {
        let records = tokio_stream::iter(first..end).then(move |number| async move {
            let due = started + pace.mul_f64(number as f64 / plan.records() as f64);
            // A timer is no finer than that.
            if due > Instant::now() + Duration::from_millis(2) {
                sleep_until(due).await;
            }
            plan.record(number)
        });
        let options = Options {
            requests_max: 4,
            ..Options::new(stage.agent.address().to_string(), INDEX.into(), action)
        };
        let events = producer.clone();
        send(Box::pin(records), options, move |event| events.note(event))
            .await
            .context("the producer stopped")?;
        if let Some(refusal) = producer.refused.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bail!("the agent refused what the producer sent: {refusal}");
        }
    }
    Ok(())
}

/// Elasticsearch's node refuses connections, from when it has a third of the records until the producer is through with
/// four fifths.
async fn outage(stage: &Stage, plan: Plan, producer: &Producer) -> anyhow::Result<Outage> {
    let written = |name: &str| stage.lane(name).map_or(0, |lane| lane.totals.written);
    // Where ingest is far ahead of Elasticsearch, waiting for a third there would leave nothing to send.
    let begins = || written(ELASTIC) >= plan.records() / 3 || producer.acknowledged() >= plan.records() / 2;
    wait_until(stage, begins).await;
    let counts = || (producer.acknowledged(), written(FILES), written(ALGOLIA));

    stage.elasticsearch.set_hosts(HostState::Refusing).await?;
    let (started, before) = (Instant::now(), counts());
    producer.set_outage(true);
    let is_open = || stage.lane(ELASTIC).is_some_and(|lane| lane.breaker == BreakerState::Open);
    let breaker_opened = wait_until(stage, is_open).await;
    let ends = || {
        let (acknowledged, files, algolia) = counts();
        acknowledged >= plan.records() / 5 * 4 && files > before.1 && algolia > before.2
    };
    wait_until(stage, ends).await;
    let after = counts();
    let waiting = stage.lane(ELASTIC).map_or(0, |lane| lane.pending(stage.log().end));
    stage.elasticsearch.set_hosts(HostState::Serving).await?;
    producer.set_outage(false);
    Ok(Outage {
        took: started.elapsed(),
        acknowledged: after.0 - before.0,
        written_to_files: after.1 - before.1,
        written_to_algolia: after.2 - before.2,
        waiting,
        breaker_opened,
    })
}

/// Edits the config and waits until the destination that it adds has everything.
async fn add(stage: &Stage) -> anyhow::Result<Addition> {
    let started = Instant::now();
    stage.add_copy()?;
    let complete = || stage.lane(COPY).is_some_and(|lane| lane.pending(stage.log().end) == 0);
    wait_until(stage, complete).await;
    Ok(Addition { took: started.elapsed() })
}

/// Whether it came true while records still moved.
async fn wait_until(stage: &Stage, condition: impl Fn() -> bool) -> bool {
    let settled = || stage.agent.lanes().iter().map(|lane| lane.totals.settled()).sum::<u64>();
    let standing = || (stage.log().end, settled());
    let (mut seen, mut since) = (standing(), Instant::now());
    while !condition() {
        sleep(POLL).await;
        let now = standing();
        if now != seen {
            (seen, since) = (now, Instant::now());
        } else if since.elapsed() > PATIENCE {
            return false;
        }
    }
    true
}

impl Producer {
    fn note(&self, event: Event) {
        match event {
            Event::Accepted { records, bytes: _ } => {
                self.acknowledged.fetch_add(records as u64, Ordering::Relaxed);
            }
            Event::Refused(refusal) => {
                let reason = format!("{}: {}", refusal.object_id.unwrap_or_default(), refusal.reason);
                self.refused.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
            }
            // It is sent again; if that does not help, the sender gives up and says why.
            Event::Waiting { reason: _ } => {}
        }
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    fn outage(&self) -> bool {
        self.outage.load(Ordering::Relaxed)
    }

    fn set_outage(&self, outage: bool) {
        self.outage.store(outage, Ordering::Relaxed);
    }
}
