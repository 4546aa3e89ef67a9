//! Lone records at a fixed rate, each with the moment of its answer: with the moments at which a destination got them they
//! tell how long the way takes, while another load goes on.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use tokio::task::{JoinError, JoinSet};

use crate::{
    contract::Action,
    history::Outcome,
    load::{
        connection::{Connection, ConnectionError},
        control::Control,
        template::Template,
    },
};

/// Bytes of a probe on the wire, as of other records.
const RECORD_BYTES: usize = 680;

/// What became of a probe.
#[derive(Debug)]
pub struct Answered {
    /// What its producer was told.
    pub outcome: Outcome,
    /// When.
    pub at: SystemTime,
}

type Probed = Result<Answered, ConnectionError>;

/// Saves a new object of this index each interval, whatever the answers do, until it is stopped. Returns every probe in
/// the order of their answers.
///
/// # Errors
/// If a request has no answer.
pub async fn probe(
    address: SocketAddr,
    index: String,
    interval: Duration,
    control: Control,
) -> Result<Vec<Answered>, ConnectionError> {
    let connection = Connection::open(address, None).await?;
    let template = Template::new(&index, 1, Some(RECORD_BYTES));
    let mut ticks = tokio::time::interval(interval);
    let (mut under_way, mut answered) = (JoinSet::<Probed>::new(), Vec::new());
    let mut number = 0;
    while !control.is_stopped() {
        ticks.tick().await;
        let (mut template, mut connection) = (template.clone(), connection.clone());
        template.set_action(Action::Save);
        template.set_record(0, number, number as u64);
        number += 1;
        under_way.spawn(async move {
            let outcome = connection.upsert(template.take()).await?;
            Ok(Answered { outcome, at: SystemTime::now() })
        });
        while let Some(finished) = under_way.try_join_next() {
            answered.push(probed(finished)?);
        }
    }
    while let Some(finished) = under_way.join_next().await {
        answered.push(probed(finished)?);
    }
    answered.sort_unstable_by_key(|probe| probe.at);
    Ok(answered)
}

fn probed(finished: Result<Probed, JoinError>) -> Probed {
    finished.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
