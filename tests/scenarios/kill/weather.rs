//! An Algolia that goes down in every way and comes back, while its agent is killed.

use std::{panic, sync::Arc, time::Duration};

use fakes::algolia::{FakeAlgolia, Fault, HostState};
use fastrand::Rng;
use harness::{
    algolia::{self, Marks},
    history::Destination,
};
use tokio::{sync::Mutex, task::JoinSet};

use super::tally::{Happened, Tally};

/// Keys of the destination. A request that hangs is cut and never times out, so that it is certain which requests were
/// not answered.
pub(super) const SETTINGS: &str = "backoff = { min = \"10ms\", max = \"100ms\" }\ntimeout = \"60s\"\n";

/// One after the other in any order; each is followed by fair weather.
const FOUL: [Happened; 5] =
    [Happened::Refused, Happened::Failed, Happened::Throttled, Happened::Hung, Happened::Cut];

/// The weather, changing by itself.
pub(super) struct Weather {
    sky: Arc<Mutex<Sky>>,
    changes: JoinSet<()>,
}

/// An Algolia and what happened to it.
pub(super) struct Sky {
    fake: FakeAlgolia,
    host: HostState,
    marks: Marks,
    tally: Tally,
}

impl Weather {
    /// Begins with fair weather.
    pub(super) fn over(fake: FakeAlgolia, seed: u64) -> Self {
        let (host, marks, tally) = (HostState::Serving, Marks::default(), Tally::default());
        let sky = Arc::new(Mutex::new(Sky { fake, host, marks, tally }));
        let mut changes = JoinSet::new();
        changes.spawn(change(Arc::clone(&sky), Rng::with_seed(seed)));
        Self { sky, changes }
    }

    /// To be called while the agent does not run: closes what it left in sockets, so that from here on nothing of it is
    /// applied any more.
    pub(super) async fn agent_ended(&self) {
        let mut sky = self.sky.lock().await;
        sky.cut().await;
        let length = sky.length();
        sky.marks.restarts.push(length);
    }

    /// Makes the weather fair for good.
    pub(super) async fn clear_up(mut self) -> Sky {
        self.changes.abort_all();
        while let Some(ended) = self.changes.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                panic::resume_unwind(error.into_panic());
            }
        }
        let mut sky = Arc::into_inner(self.sky).expect("nobody changes it any more").into_inner();
        sky.fair().await;
        sky
    }
}

async fn change(sky: Arc<Mutex<Sky>>, mut random: Rng) {
    let mut deck = Vec::new();
    loop {
        tokio::time::sleep(Duration::from_millis(random.u64(50..300))).await;
        if deck.is_empty() {
            deck.extend(FOUL);
            random.shuffle(&mut deck);
        }
        let foul = deck.pop().unwrap_or(Happened::Refused);
        sky.lock().await.turn(foul).await;
        tokio::time::sleep(Duration::from_millis(random.u64(20..300))).await;
        sky.lock().await.fair().await;
    }
}

impl Sky {
    /// How often it was down.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What the history checker judges.
    pub(super) fn destination(&self) -> Destination {
        algolia::destination(&self.fake.journal(), &self.marks)
    }

    /// What no careful client would have asked.
    pub(super) fn violations(&self) -> Vec<String> {
        self.fake.violations()
    }

    async fn turn(&mut self, foul: Happened) {
        match foul {
            Happened::Refused => {
                self.host = HostState::Refusing;
                self.cut().await;
            }
            Happened::Failed => self.switch(HostState::Failing(503)).await,
            Happened::Throttled => self.fake.fail_all(Fault::Throttled { retry_after: None }),
            Happened::Hung => self.fake.fail_all(Fault::Hang),
            _ => {
                self.fake.fail_next(2, Fault::CutAfterApplying);
                self.fake.fail_next(1, Fault::Cut);
            }
        }
        self.tally.add(foul, 1);
    }

    async fn fair(&mut self) {
        self.fake.recover();
        self.host = HostState::Serving;
        // Also what hangs.
        self.cut().await;
    }

    /// Closes every connection; the host is then in its state again.
    async fn cut(&mut self) {
        let host = self.host;
        self.switch(HostState::Refusing).await;
        let length = self.length();
        self.marks.cuts.push(length);
        self.switch(host).await;
    }

    async fn switch(&mut self, host: HostState) {
        self.host = host;
        self.fake.set_hosts(host).await.unwrap();
    }

    /// Of the journal.
    fn length(&self) -> usize {
        usize::try_from(self.fake.operation_count()).unwrap()
    }
}
