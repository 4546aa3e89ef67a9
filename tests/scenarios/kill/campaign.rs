//! One agent and everything that is done to it, from an empty directory to the judgement.

use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use harness::{
    history::{Destination, Event, Request, check},
    load::{
        options::{Mix, Options, Until},
        run::run,
    },
    ndjson::Journal,
    process::{Agent, Setup},
    watch::{self, Change, Watch},
};
use tokio::time::timeout;

use super::{
    plan::{Blow, Ground, Moment, Opening, Plan, Round, Target},
    tally::{Happened, Tally},
    weather::{SETTINGS, Weather},
};
use crate::support::{DEADLINE, fake, file, lively, settled, setup};

/// How long an opening takes before one was measured.
const OPENING: Duration = Duration::from_millis(150);
/// How long it is waited for what a blow is aimed at. Cursors are committed about once a second.
const AIM_MAX: Duration = Duration::from_millis(2500);

/// See the module's text.
struct Campaign {
    agent: Agent,
    options: Options,
    journal: Journal,
    weather: Option<Weather>,
    /// From its first whole opening on, at the latest.
    watch: Option<Watch>,
    requests: Vec<Request>,
    tally: Tally,
    /// Bytes of the agent's stderr that were looked at.
    heard: usize,
}

/// Carries out a plan and says what happened; fails if anything was lost, out of order or torn, or if the agent
/// complained of what a kill cannot cause.
pub(super) async fn carry_out(plan: &Plan) -> Tally {
    let mut campaign = Campaign::on(plan.ground, plan.seed).await;
    if plan.prepared {
        fs::create_dir_all(campaign.log().join("cursors")).unwrap();
        campaign.watch();
    }
    campaign.open(&plan.openings).await;
    for round in &plan.rounds {
        campaign.strike(round).await;
        campaign.open(&round.openings).await;
    }
    campaign.judge().await
}

impl Campaign {
    async fn on(ground: Ground, seed: u64) -> Self {
        let small = "[limits]\nrequest_bytes_max = \"16KiB\"\nrecord_bytes_max = \"16KiB\"";
        let setup = setup().environment("RUST_LOG", "info").file("archive");
        let (setup, options, weather) = match ground {
            Ground::Small => (segments(setup, 64 << 10, 0).config(small), lively(), None),
            Ground::Large => {
                let options = Options { request_records: 200, keys: 20_000, ..lively() };
                (segments(setup, 1 << 20, 2 << 20), options, None)
            }
            Ground::Weather => {
                let fake = fake().await;
                let setup = setup.algolia("search", &fake.url()).config(SETTINGS);
                // Which delete an Algolia applied is told by what came after it, which killed agents leave open.
                let mix = Mix { delete: 0, ..lively().mix };
                let options = Options { mix, ..lively() };
                (segments(setup, 64 << 10, 256 << 10).config(small), options, Some(Weather::over(fake, seed)))
            }
        };
        let agent = setup.write().unwrap();
        let journal = Journal::new(agent.output("archive"));
        let (requests, tally) = (Vec::new(), Tally::default());
        Self { agent, options, journal, weather, watch: None, requests, tally, heard: 0 }
    }

    /// Starts the agent, which does not run; strikes it while it opens, as often as planned, and then lets it serve.
    async fn open(&mut self, openings: &[Opening]) {
        for opening in openings {
            self.strike_opening(opening).await;
        }
        self.agent.restart().await.unwrap();
        if self.watch.is_none() {
            self.watch();
        }
        self.changes();
        self.heard();
    }

    fn watch(&mut self) {
        let log = self.log();
        self.watch = Some(Watch::new(&[&log, &log.join("cursors")]).unwrap());
    }

    async fn strike_opening(&mut self, opening: &Opening) {
        let whole = Some(self.agent.served_after()).filter(|took| !took.is_zero()).unwrap_or(OPENING);
        self.agent.spawn().unwrap();
        // Not a wait for something: the moment is what is tried out.
        match (&opening.moment, &mut self.watch) {
            (Moment::Change(changes), Some(watch)) => {
                // There need not be so many.
                let _ = timeout(whole, async {
                    for _ in 0..*changes {
                        watch.next().await.unwrap();
                    }
                })
                .await;
            }
            (Moment::Share(share), _) => tokio::time::sleep(whole.mul_f64(*share)).await,
            (Moment::Change(_), None) => tokio::time::sleep(whole / 2).await,
        }
        if let Some(pause) = opening.pause {
            self.agent.stop();
            tokio::time::sleep(pause).await;
        }
        self.kill().await;
        self.changes();
        let said = self.heard();
        if !said.contains("listening") {
            let log_is_open = said.contains("log opened");
            let phase = if log_is_open { Happened::OpeningAfterLog } else { Happened::OpeningBeforeLog };
            self.tally.add(phase, 1);
        }
    }

    /// Sends load and kills the agent under it.
    async fn strike(&mut self, round: &Round) {
        let options = Options { until: Until::Elapsed(DEADLINE), ..self.options.clone() };
        let load = tokio::spawn(run(self.agent.address(), options));
        let appended = self.see((Change::Written, ".seg"));
        timeout(DEADLINE, appended).await.unwrap();
        // Not a wait for something: the moment is what is tried out.
        tokio::time::sleep(round.moment).await;
        match round.blow {
            Blow::Kill => {}
            Blow::Pause => {
                self.agent.stop();
                tokio::time::sleep(round.pause).await;
                self.agent.resume();
                tokio::time::sleep(round.lag).await;
                self.tally.add(Happened::Paused, 1);
            }
            Blow::Freeze => {
                self.agent.stop();
                tokio::time::sleep(round.pause).await;
                self.tally.add(Happened::Frozen, 1);
            }
            Blow::Aim(target) => {
                let (what, seen) = aim(target);
                if timeout(AIM_MAX, self.see(what)).await.is_ok() {
                    tokio::time::sleep(round.lag).await;
                    self.tally.add(seen, 1);
                }
            }
        }
        self.kill().await;
        self.tally.add(Happened::Rounds, 1);
        self.changes().into_iter().filter_map(meaning).for_each(|happened| self.tally.add(happened, 1));
        self.look_for_half_made_files();
        let report = load.await.unwrap().unwrap();
        self.tally.add(Happened::Idle, (report.records.acknowledged == 0).into());
        self.tally.add(Happened::Acknowledged, report.records.acknowledged);
        self.tally.add(Happened::Unknown, report.records.unknown);
        self.options.first_sequence = report.next_sequence;
        self.requests.extend(report.history);
    }

    /// Waits until this happens to a file with such a name, and counts what goes by.
    async fn see(&mut self, (change, end): (Change, &str)) {
        let Some(watch) = &mut self.watch else { return std::future::pending().await };
        // Not what happened before.
        let before = watch.drain().unwrap();
        before.into_iter().filter_map(meaning).for_each(|happened| self.tally.add(happened, 1));
        loop {
            let event = watch.next().await.unwrap();
            let seen = event.change == change && event.name.ends_with(end);
            meaning(event).into_iter().for_each(|happened| self.tally.add(happened, 1));
            if seen {
                return;
            }
        }
    }

    /// Kills the agent and marks it with everyone who must know.
    async fn kill(&mut self) {
        self.agent.kill();
        self.journal.restarted().unwrap();
        if let Some(weather) = &self.weather {
            weather.agent_ended().await;
        }
    }

    /// What happened to the log's files since the last time.
    fn changes(&mut self) -> Vec<watch::Event> {
        self.watch.as_mut().map(|watch| watch.drain().unwrap()).unwrap_or_default()
    }

    /// What the agent wrote to stderr since the last time.
    fn heard(&mut self) -> String {
        let said = self.agent.stderr();
        let new = said[self.heard..].to_owned();
        self.heard = said.len();
        let torn = new.lines().filter(|line| line.contains("end of the log was cut")).count();
        self.tally.add(Happened::Torn, torn as u64);
        new
    }

    fn look_for_half_made_files(&mut self) {
        let log = self.log();
        for (directory, end, left) in [
            (log.join("cursors"), ".cursor.tmp", Happened::LeftCursor),
            (log, ".seg.tmp", Happened::LeftSegment),
        ] {
            let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
            let half_made = names.filter(|name| name.to_string_lossy().ends_with(end)).count();
            self.tally.add(left, half_made as u64);
        }
    }

    fn log(&self) -> PathBuf {
        self.agent.data_directory().join("logs/default")
    }

    /// Lets everything be delivered, ends the agent in peace, and judges.
    async fn judge(mut self) -> Tally {
        let sky = match self.weather.take() {
            Some(weather) => Some(weather.clear_up().await),
            None => None,
        };
        let findings = settled(&self.requests, || file(&mut self.journal)).await;
        self.tally.add(Happened::Applied, findings.applied);
        self.tally.add(Happened::Repeated, findings.duplicated);
        if let Some(sky) = &sky {
            self.tally.merge(sky.tally());
            settled(&self.requests, || sky.destination()).await;
        }
        // What a restart sends again may pass through older states: it ends with the newest, and not in the middle.
        let drained = tokio::task::block_in_place(|| self.agent.execute(&["drain", "--wait"]));
        assert!(drained.status.success(), "{}", String::from_utf8_lossy(&drained.stderr));
        let status = self.agent.terminate(DEADLINE).await.unwrap();
        assert!(status.success(), "{status}");
        let archive = file(&mut self.journal);
        check(&self.requests, &archive).assert_hold();
        assert!(logs(&archive).len() <= 1, "more than one log: {:?}", logs(&archive));
        if let Some(sky) = &sky {
            check(&self.requests, &sky.destination()).assert_hold();
            assert_eq!(sky.violations(), Vec::<String>::new());
        }
        assert_eq!(self.agent.dead_letters(), []);
        // A kill loses nothing that was written: nothing may be missing, damaged or half there.
        let said = self.agent.stderr();
        let errors: Vec<&str> = said.lines().filter(|line| line.contains(" ERROR ")).collect();
        assert!(errors.is_empty(), "the agent complained: {errors:#?}");
        self.tally
    }
}

/// Segments of this size, of which so many bytes are kept once they are delivered.
fn segments(setup: Setup, bytes: u64, retained: u64) -> Setup {
    setup.data(&format!("segment_bytes = {bytes}\nretention = {{ bytes_max = {retained} }}"))
}

/// The logs that operations came from.
fn logs(destination: &Destination) -> BTreeSet<&str> {
    let operations = destination.events.iter().flat_map(|event| match event {
        Event::Batch { operations, .. } => operations.as_slice(),
        Event::Restart => &[],
    });
    operations.filter_map(|applied| Some(applied.identity.as_ref()?.log_id.as_str())).collect()
}

/// By what a target shows itself, and what striking it counts as.
fn aim(target: Target) -> ((Change, &'static str), Happened) {
    match target {
        Target::Roll => ((Change::Created, ".seg.tmp"), Happened::StruckRoll),
        Target::Commit => ((Change::Created, ".cursor.tmp"), Happened::StruckCommit),
        Target::GiveBack => ((Change::Removed, ".seg"), Happened::StruckGiveBack),
    }
}

/// What a change of a file counts for.
fn meaning(event: watch::Event) -> Option<Happened> {
    let watch::Event { change, name } = event;
    match change {
        Change::Named if name.ends_with(".seg") => Some(Happened::Rolled),
        Change::Named if name.ends_with(".cursor") => Some(Happened::Committed),
        Change::Removed if name.ends_with(".seg") => Some(Happened::GivenBack),
        _ => None,
    }
}
