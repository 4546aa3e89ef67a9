//! One test: a destination, an engine in front of it, what was accepted, and the verdict on what came of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{
    driver::{Driver, Progress, Rejected, Tuning},
    history::{Change, History, INDEXES},
    subject::{Fault, State, Subject},
    witness,
};
use crate::operation::{Action, Key};

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
        let state = self.subject.state().await;
        self.judge_objects(&state, &is_rejected);
        if let Some(applied) = &state.applied {
            let mut by_key: BTreeMap<&Key, Vec<(Action, u64)>> = BTreeMap::new();
            for one in applied {
                let Some(sequence) = one.sequence else { continue };
                assert!(!expected.contains(&sequence), "{one:?} was applied and rejected");
                by_key.entry(&one.key).or_default().push((one.action, sequence));
            }
            by_key.iter().for_each(|(key, applied)| self.judge_order(key, applied, &expected));
        }
        assert_eq!(self.subject.violations(), Vec::<String>::new());
        tell_no_secret(&self.subject, &self.driver.words());
    }

    fn judge_objects(&self, state: &State, is_rejected: &impl Fn(&Change) -> bool) {
        let expected = self.history.objects(is_rejected);
        let keys: BTreeSet<&Key> = expected.keys().chain(state.objects.keys()).collect();
        for key in keys {
            let (is, must_be) = (state.objects.get(key), expected.get(key));
            let of_key = |change: &&Change| change.key == *key;
            let changes: Vec<_> = self.history.changes().iter().filter(of_key).collect();
            assert_eq!(is, must_be, "{key:?} is not what it must be after {changes:#?}");
        }
    }

    /// A key's operations are applied in order. A resend starts over further back, and nothing newer comes before it
    /// has caught up. Where versions are checked, no save or delete is applied over anything newer; where operations are
    /// coalesced, nothing is passed over but what a later save or delete takes the place of.
    fn judge_order(&self, key: &Key, applied: &[(Action, u64)], rejected: &BTreeSet<u64>) {
        let with_body = |change: &&Change| change.key == *key && change.action != Action::Delete;
        let of_key = self.history.changes().iter().filter(with_body).map(|change| change.number);
        let must_be: BTreeSet<u64> = of_key.filter(|number| !rejected.contains(number)).collect();
        let capabilities = self.subject.destination().capabilities();
        let (mut newest, mut last) = (None, None);
        for (action, sequence) in applied {
            assert!(must_be.contains(sequence), "{key:?}: {sequence} was never accepted");
            let sequence = Some(*sequence);
            let holds = if capabilities.versioned {
                newest <= sequence || !matches!(action, Action::Save | Action::Delete)
            } else if capabilities.coalesces {
                newest >= sequence || self.is_replaced(key, last, sequence, rejected)
            } else {
                newest >= sequence || newest == last
            };
            assert!(holds, "{key:?}: {sequence:?} is out of order: {applied:?}, accepted {must_be:?}");
            (newest, last) = (newest.max(sequence), sequence);
        }
        if !capabilities.versioned && !capabilities.coalesces {
            let is: BTreeSet<u64> = applied.iter().map(|(_, sequence)| *sequence).collect();
            assert_eq!(is, must_be, "{key:?}: something was left out");
        }
    }

    /// Whether a save or delete takes the place of each change of a key after `last` and before `next`.
    fn is_replaced(&self, key: &Key, last: Option<u64>, next: Option<u64>, rejected: &BTreeSet<u64>) -> bool {
        let counts = |change: &&Change| change.key == *key && !rejected.contains(&change.number);
        let between: Vec<&Change> = self.history.changes().iter().filter(counts).collect();
        let passed_over =
            between.iter().filter(|change| Some(change.number) > last && Some(change.number) < next);
        let replaces = |change: &&&Change| matches!(change.action, Action::Save | Action::Delete);
        let newest = between.iter().filter(|change| Some(change.number) <= next).filter(replaces).next_back();
        passed_over.into_iter().all(|change| newest.is_some_and(|newest| change.number <= newest.number))
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
