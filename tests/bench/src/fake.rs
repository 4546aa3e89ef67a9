//! The fakes of the services as children: they count, and note when probes arrive.
//!
//! They answer a line on stdin with one on stdout: an empty line with how many operations were applied, [`PROBED`] with
//! the moments at which the probes among them were, [`REFUSE`] and [`SERVE`] when connections are refused or taken,
//! [`REJECT`] when operations are rejected.

use std::{
    io,
    time::{SystemTime, UNIX_EPOCH},
};

use fakes::{
    algolia::{self, FakeAlgolia},
    elasticsearch::{self, FakeElasticsearch},
};

use crate::child::{lines, say};

/// The index of probes.
pub(crate) const PROBES: &str = "probes";

/// Asks for the microseconds since 1970 at which each probe was applied.
pub(crate) const PROBED: &str = "probed";

/// Cuts every connection and refuses new ones.
pub(crate) const REFUSE: &str = "refuse";

/// Serves again.
pub(crate) const SERVE: &str = "serve";

/// Rejects every operation from now on.
pub(crate) const REJECT: &str = "reject";

/// By the clock that every process of this machine has.
pub(crate) fn micros(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

pub(crate) async fn algolia() -> anyhow::Result<()> {
    let options = algolia::Options {
        app_id: "app".to_owned(),
        api_key: "key".to_owned(),
        detail: algolia::Detail::Counts,
        ..algolia::Options::default()
    };
    let fake = FakeAlgolia::start(options).await?;
    say(fake.url())?;
    serve(fake).await
}

pub(crate) async fn elasticsearch() -> anyhow::Result<()> {
    let options =
        elasticsearch::Options { detail: elasticsearch::Detail::Counts, ..elasticsearch::Options::default() };
    let fake = FakeElasticsearch::start(options).await?;
    say(fake.url())?;
    serve(fake).await
}

/// What both have.
trait Fake {
    fn operation_count(&self) -> u64;
    fn probe_count(&self) -> u64;
    async fn wait_for_operations(&self, at_least: u64);
    async fn set_serving(&self, serving: bool) -> io::Result<()>;
    fn reject(&self);
}

async fn serve(fake: impl Fake) -> anyhow::Result<()> {
    let mut lines = lines();
    let (mut operations, mut probes, mut probed) = (0, 0, Vec::new());
    loop {
        tokio::select! {
            // What was applied comes first: the time of a probe is to be exact, an answer may wait.
            biased;
            () = fake.wait_for_operations(operations + 1) => {
                let now = micros(SystemTime::now()).to_string();
                operations = fake.operation_count();
                let count = fake.probe_count();
                probed.extend((probes..count).map(|_| now.clone()));
                probes = count;
            }
            line = lines.recv() => match line.as_deref() {
                None => return Ok(()),
                Some(PROBED) => say(std::mem::take(&mut probed).join(" "))?,
                Some(word @ (REFUSE | SERVE)) => {
                    fake.set_serving(word == SERVE).await?;
                    say(word)?;
                }
                Some(REJECT) => {
                    fake.reject();
                    say(REJECT)?;
                }
                Some(_) => say(fake.operation_count())?,
            }
        }
    }
}

impl Fake for FakeAlgolia {
    fn operation_count(&self) -> u64 {
        self.operation_count()
    }

    fn probe_count(&self) -> u64 {
        self.operations().get(PROBES).copied().unwrap_or_default()
    }

    async fn wait_for_operations(&self, at_least: u64) {
        self.wait_for_operations(at_least).await;
    }

    async fn set_serving(&self, serving: bool) -> io::Result<()> {
        use algolia::HostState::{Refusing, Serving};
        self.set_hosts(if serving { Serving } else { Refusing }).await
    }

    fn reject(&self) {
        let message = "no record is good enough".to_owned();
        self.fail_all(algolia::Fault::Refused { status: 400, message });
    }
}

impl Fake for FakeElasticsearch {
    fn operation_count(&self) -> u64 {
        self.operation_count()
    }

    fn probe_count(&self) -> u64 {
        self.operations().get(PROBES).copied().unwrap_or_default()
    }

    async fn wait_for_operations(&self, at_least: u64) {
        self.wait_for_operations(at_least).await;
    }

    async fn set_serving(&self, serving: bool) -> io::Result<()> {
        use elasticsearch::HostState::{Refusing, Serving};
        self.set_hosts(if serving { Serving } else { Refusing }).await
    }

    fn reject(&self) {
        let (kind, reason) = ("mapper_parsing_exception".to_owned(), "failed to parse".to_owned());
        self.fail_all(elasticsearch::Fault::Items { status: 400, kind, reason });
    }
}
