//! What a load consists of.

use std::time::Duration;

use crate::{contract::Action, load::control::Control, tls::Client};

/// One load. The default is one connection with one request of one record in flight, for 1,000 records.
#[derive(Clone, Debug)]
pub struct Options {
    /// When it ends.
    pub until: Until,
    /// When a request is sent.
    pub pace: Pace,
    /// TCP connections.
    pub connections: usize,
    /// Requests in flight on each connection.
    pub in_flight: usize,
    /// Records in each request.
    pub request_records: usize,
    /// The index's name; with several indexes, a number is appended.
    pub index: String,
    /// Distinct indexes.
    pub indexes: usize,
    /// Distinct objects over all indexes; at least one for each slot and index.
    pub keys: usize,
    /// Which of them come next.
    pub choice: Choice,
    /// What is done how often.
    pub mix: Mix,
    /// Bytes of a record on the wire: object id and data.
    pub record_bytes: usize,
    /// The first sequence number; a load that goes on with another's keys starts at its
    /// [`next_sequence`](crate::load::report::Report::next_sequence).
    pub first_sequence: u64,
    /// Whether every request is kept for the history checker.
    pub recorded: bool,
    /// After this long a request's outcome is unknown, and its slot sends no more.
    pub request_timeout: Duration,
    /// Who else may look at it and end it.
    pub control: Control,
    /// Speaks TLS; none: the connections are plain.
    pub tls: Option<Client>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            until: Until::Records(1000),
            pace: Pace::Closed,
            connections: 1,
            in_flight: 1,
            request_records: 1,
            index: "products".to_owned(),
            indexes: 1,
            keys: 1_000_000,
            choice: Choice::default(),
            mix: Mix::default(),
            record_bytes: 680,
            first_sequence: 1,
            recorded: false,
            request_timeout: Duration::from_secs(10),
            control: Control::default(),
            tls: None,
        }
    }
}

/// When a load ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// So many records were sent, rounded up to whole requests.
    Records(u64),
    /// So much time has passed; what is in flight then is awaited.
    Elapsed(Duration),
}

/// When a request is sent.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// As soon as the previous one of its slot is answered.
    Closed,
    /// At a fixed rate, whatever the answers do. A request that finds no slot free waits, and its latency counts from
    /// when it should have been sent.
    Open {
        /// Over all connections.
        requests_per_second: f64,
    },
}

/// Which of a slot's keys the records of a request concern.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Choice {
    /// Neighbours, from any key on.
    #[default]
    Neighbours,
    /// One after the other, the sequence number leading: no key comes again before every other one has come.
    InTurn,
    /// A few keys most of the time; a request may concern one of them several times.
    Hot {
        /// So many over all slots, rounded down to as many for each slot and index, and at least one.
        keys: usize,
        /// The share of records that concern them, such as 0.9; the others concern any other key.
        share: f64,
    },
}

/// Weights of the actions.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// Whole objects.
    pub save: u32,
    /// Partial updates that create.
    pub partial_update: u32,
    /// Deletes. Never two of a key in a row, and none as a load's first operation of a key: a delete carries no
    /// sequence number, and the history checker tells it by its neighbours.
    pub delete: u32,
}

impl Default for Mix {
    fn default() -> Self {
        Self { save: 1, partial_update: 0, delete: 0 }
    }
}

impl Mix {
    /// Draws an action.
    ///
    /// # Panics
    /// If all weights are 0.
    pub(crate) fn draw(self, random: &mut fastrand::Rng) -> Action {
        let drawn = random.u32(0..self.save + self.partial_update + self.delete);
        if drawn < self.save {
            Action::Save
        } else if drawn < self.save + self.partial_update {
            Action::PartialUpdate
        } else {
            Action::Delete
        }
    }
}
