//! One test: a destination, an engine in front of it, what was accepted, and the verdict on what came of it.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{
    driver::{Driver, Progress, Rejected, Tuning},
    history::{Change, History, INDEXES},
    judge::judge,
    subject::{Fault, Subject},
    witness,
};

/// Far longer than anything here takes.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

/// See the module's text.
pub(super) struct Trial<S, D> {
    pub(super) subject: S,
    pub(super) history: History,
    driver: D,
}

impl<S: Subject, D: Driver> Trial<S, D> {
    pub(super) async fn start() -> Self {
        Self::start_with(Tuning::default()).await
    }

    pub(super) async fn start_with(tuning: Tuning) -> Self {
        witness::start();
        let subject = S::start().await;
        let driver = D::start(subject.destination(), tuning).await;
        Self { subject, history: History::default(), driver }
    }

    /// Lets something go wrong; says so if that cannot be shown.
    pub(super) async fn inject(&self, fault: Fault) -> bool {
        inject(&self.subject, fault).await
    }

    pub(super) async fn accept(&mut self, changes: Vec<Change>) {
        self.driver.accept(&changes).await;
    }

    /// Accepts so many changes of every kind.
    pub(super) async fn accept_mixed(&mut self, count: usize) {
        let changes = self.history.mixed(count);
        self.accept(changes).await;
    }

    pub(super) async fn until(&mut self, what: &str, condition: impl Fn(&Progress) -> bool) {
        let start = Instant::now();
        while !condition(&self.driver.progress()) {
            let words = self.driver.words();
            assert!(
                start.elapsed() < DEADLINE,
                "it is still not true that {what}; last told: {:?}",
                words.last()
            );
            self.driver.work().await;
        }
    }

    /// Lets it go on for so long.
    pub(super) async fn work_for(&mut self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            self.driver.work().await;
        }
    }

    pub(super) async fn settle(&mut self) {
        self.until("everything is settled", |progress| progress.settled).await;
    }

    /// The same where a record may have to be told from an outage: others go on succeeding, less and less often.
    pub(super) async fn settle_among_others(&mut self) {
        let start = Instant::now();
        let mut pause = Duration::from_millis(20);
        while !self.driver.progress().settled {
            assert!(start.elapsed() < DEADLINE, "it is still not settled: {:?}", self.driver.words().last());
            let others = INDEXES.map(|index| self.history.save(index, "other"));
            self.driver.accept(&others).await;
            let accepted_at = Instant::now();
            while !self.driver.progress().settled && accepted_at.elapsed() < pause {
                self.driver.work().await;
            }
            pause = pause.mul_f64(1.1);
        }
    }

    /// Kills the engine and starts it again.
    pub(super) async fn crash(self) -> Self {
        let driver = self.driver.crash(self.subject.destination()).await;
        Self { driver, ..self }
    }

    pub(super) fn rejected(&self) -> Vec<Rejected> {
        self.driver.rejected()
    }

    /// Everything holds: what was rejected are exactly those changes, each object ends as it must, no key went back, and
    /// no secret was told.
    pub(super) async fn judge(&self, is_rejected: impl Fn(&Change) -> bool) {
        assert_eq!(self.subject.unmet(), 0, "not everything has gone wrong that was to");
        let rejected = self.rejected();
        let numbers: BTreeSet<u64> = rejected.iter().map(|rejected| rejected.number).collect();
        let changes = self.history.changes().iter();
        let expected: BTreeSet<u64> =
            changes.filter(|change| is_rejected(change)).map(|change| change.number).collect();
        assert_eq!(numbers, expected, "other changes were rejected than must be: {rejected:?}");
        judge(&self.subject, &self.history, &expected).await;
        assert_eq!(self.subject.violations(), Vec::<String>::new());
        tell_no_secret(&self.subject, &self.driver.words());
    }
}

/// Lets something go wrong; says so if that cannot be shown.
pub(super) async fn inject<S: Subject>(subject: &S, fault: Fault) -> bool {
    let told = format!("{fault:?}");
    let shown = subject.inject(fault).await;
    if !shown {
        #[expect(clippy::print_stderr, reason = "a test says what it leaves out")]
        {
            eprintln!("not tried, since this kind of destination cannot show it: {told}");
        }
    }
    shown
}

/// No secret of the subject is in these words or was logged.
pub(super) fn tell_no_secret<S: Subject>(subject: &S, words: &[String]) {
    for secret in subject.secrets() {
        let told = words.iter().find(|words| words.contains(&secret));
        assert_eq!(told, None, "an error tells a secret");
        assert_eq!(witness::line_with(&secret), None, "a secret was logged");
    }
}
