//! The agent is killed.
//!
//! What a process has written survives its SIGKILL, synced or not, and between an answer and its write there is next to
//! no time to be hit: that an answer waits for both is for the log's own tests to show.
//!
//! A run consists of campaigns: each is one agent's life from an empty directory on, drawn from a seed (`plan`), carried
//! out and judged (`campaign`), perhaps with an Algolia that comes and goes (`weather`); what really happened is counted
//! (`tally`). `KILL_ROUNDS` says how often agents are to be killed under load, and `KILL_SEED` which campaigns are drawn:
//! a failure names the values that repeat its campaign.

mod plan;

mod campaign;

mod weather;

mod tally;

use std::{env, str::FromStr, thread, time::Duration};

use fakes::algolia::Fault;
use harness::{
    algolia::{self, Marks},
    load::{
        options::{Options, Until},
        run::run,
    },
};
use tokio::task::JoinSet;

use self::{plan::Plan, tally::Tally};
use crate::support::{DEADLINE, IMPATIENT, fake, lively, settled, setup};

/// Rounds unless the environment says otherwise: one campaign on each ground.
const ROUNDS: usize = 3 * CAMPAIGN_ROUNDS;
/// Rounds of one campaign: every blow, some of them twice.
const CAMPAIGN_ROUNDS: usize = 12;
/// Campaigns that are carried out at a time.
const AGENTS: usize = 2;

/// Scenario: SIGKILL, some with SIGSTOP before it, again and again: under load at a random moment, in the middle of
/// rolling, of committing a cursor and of giving segments back, and several times in a row while the agent opens. Two
/// agents at a time, each on its ground: small segments, large requests, or an Algolia beside the file that refuses
/// connections, fails, throttles, hangs and cuts in turn.
///
/// Protects G1, G3, G4 and G5: afterwards each destination has every acknowledged request, in order within each run, and
/// of the unknown ones each whole or not at all; versions rise; nothing is dead-lettered; and the agent never finds
/// anything missing or damaged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random() {
    let campaigns = variable("KILL_ROUNDS", ROUNDS).div_ceil(CAMPAIGN_ROUNDS);
    let seed = variable("KILL_SEED", u64::from(fastrand::u32(..)));
    let mut seeds = (seed..).take(campaigns);
    let (mut tally, mut running) = (Tally::default(), JoinSet::new());
    running.extend(seeds.by_ref().take(AGENTS).map(campaign));
    while let Some(ended) = running.join_next().await {
        tally.merge(&ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
        seeds.next().map(|seed| running.spawn(campaign(seed)));
    }
    println!("{campaigns} campaigns of {CAMPAIGN_ROUNDS} rounds from seed {seed} on:\n{tally}");
    // Fewer do not have every ground.
    if campaigns >= ROUNDS / CAMPAIGN_ROUNDS {
        tally.assert_everything_happened();
    }
}

async fn campaign(seed: u64) -> Tally {
    let _repeat = Repeat(seed);
    campaign::carry_out(&Plan::new(seed, CAMPAIGN_ROUNDS)).await
}

/// Says how to repeat a campaign that fails.
struct Repeat(u64);

impl Drop for Repeat {
    #[expect(clippy::print_stderr, reason = "part of a test's failure")]
    fn drop(&mut self) {
        if thread::panicking() {
            let Self(seed) = self;
            eprintln!("to repeat this campaign: KILL_SEED={seed} KILL_ROUNDS={CAMPAIGN_ROUNDS}");
        }
    }
}

/// A number from the environment.
fn variable<T: FromStr>(name: &str, default: T) -> T {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text:?}")),
        Err(_) => default,
    }
}

/// Scenario: SIGKILL again and again, with a destination that takes requests and never answers, after the cursors were
/// persisted.
///
/// Protects G3: a cursor never passes what was sent, but only what was answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_a_destination_hangs() {
    let fake = fake().await;
    fake.fail_all(Fault::Hang);
    let mut agent = setup().algolia("search", &fake.url()).config(IMPATIENT).start().await.unwrap();
    let mut requests = Vec::new();
    // Saves of many objects: next to nothing is superseded, so everything has to arrive.
    let mut options = Options { keys: 1_000_000, mix: Default::default(), ..lively() };
    for extra in [100, 250, 400] {
        let until = Until::Elapsed(DEADLINE);
        let load = tokio::spawn(run(agent.address(), Options { until, ..options.clone() }));
        // Not a wait for something: the moment is what is tried out. Cursors are persisted about once a second.
        tokio::time::sleep(Duration::from_millis(1000 + extra)).await;
        agent.kill();
        let report = load.await.unwrap().unwrap();
        options.first_sequence = report.next_sequence;
        requests.extend(report.history);
        agent.restart().await.unwrap();
    }
    assert_eq!(fake.operation_count(), 0);
    fake.recover();
    settled(&requests, || algolia::destination(&fake.journal(), &Marks::default())).await;
    assert_eq!(agent.dead_letters(), []);
}
