//! What will be done to an agent, drawn from a seed before anything begins. The same seed gives the same plan; where
//! exactly a blow falls is up to the machine.

use std::time::Duration;

use fastrand::Rng;

/// Blows that every campaign deals in its first rounds, in any order.
const DECK: [Blow; 8] = [
    Blow::Kill,
    Blow::Kill,
    Blow::Kill,
    Blow::Pause,
    Blow::Freeze,
    Blow::Aim(Target::Roll),
    Blow::Aim(Target::Commit),
    Blow::Aim(Target::GiveBack),
];

/// The most openings in a row that are struck.
const OPENINGS_MAX: usize = 3;
/// About as many changes as creating a log makes in its directory, and opening it again.
const CREATION_CHANGES: usize = 24;
const OPENING_CHANGES: usize = 12;

/// One agent's fate, from its empty directory on.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) ground: Ground,
    /// Whether its log's empty directory is there before it is, so that its creation can be aimed at.
    pub(crate) prepared: bool,
    /// Before it serves for the first time.
    pub(crate) openings: Vec<Opening>,
    pub(crate) rounds: Vec<Round>,
}

/// What the agent is and does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// The smallest segments and small requests, to a file: it rolls, commits and gives back all the time.
    Small,
    /// Requests of 200 records, to a file: it is struck in the middle of large writes.
    Large,
    /// As `Small`, and beside the file an Algolia that goes down in every way and comes back.
    Weather,
}

/// The agent serves, gets load, and is struck.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) blow: Blow,
    /// From the load's first append to the blow, or to taking aim.
    pub(crate) moment: Duration,
    /// How long it stands still, where it does.
    pub(crate) pause: Duration,
    /// From the event that was aimed at, or from going on after a pause, to the kill.
    pub(crate) lag: Duration,
    /// Before it serves again.
    pub(crate) openings: Vec<Opening>,
}

/// How it is struck; every blow ends with SIGKILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// At once.
    Kill,
    /// SIGSTOP, and SIGCONT some time before the kill.
    Pause,
    /// SIGSTOP, so that it never goes on.
    Freeze,
    /// Right after something happened to a file.
    Aim(Target),
}

/// What is waited for, and so struck in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The next segment was created under its temporary name.
    Roll,
    /// A cursor was created under its temporary name.
    Commit,
    /// A segment was removed; seldom one alone.
    GiveBack,
}

/// A start of the process that is killed before it serves.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) moment: Moment,
    /// SIGSTOP so long before the kill.
    pub(crate) pause: Option<Duration>,
}

/// When an opening is struck.
#[derive(Debug)]
pub(crate) enum Moment {
    /// At this share of the time that the last whole opening took.
    Share(f64),
    /// Right after so many changes of the log's directory.
    Change(usize),
}

impl Plan {
    /// The plan of a seed; its ground is that of the seed's number, so that three in a row have all of them.
    pub(crate) fn new(seed: u64, rounds: usize) -> Self {
        let mut random = Rng::with_seed(seed);
        let ground = [Ground::Small, Ground::Large, Ground::Weather][(seed % 3) as usize];
        let prepared = random.bool();
        let openings = (0..random.usize(0..=OPENINGS_MAX)).map(|_| match prepared {
            true => Opening::new(&mut random, CREATION_CHANGES),
            false => Opening::by_time(&mut random),
        });
        let openings = openings.collect();
        let mut deck = Vec::new();
        let rounds = (0..rounds).map(|_| {
            if deck.is_empty() {
                deck.extend(DECK);
                random.shuffle(&mut deck);
            }
            Round::new(deck.pop().unwrap_or(Blow::Kill), &mut random)
        });
        let rounds = rounds.collect();
        Self { seed, ground, prepared, openings, rounds }
    }
}

impl Round {
    fn new(blow: Blow, random: &mut Rng) -> Self {
        let milliseconds = Duration::from_millis;
        // Often soon: the first append after an opening is another one than those that follow.
        let longest = *random.choice(&[3, 30, 300]).unwrap_or(&30);
        let moment = milliseconds(random.u64(0..longest));
        let pause = milliseconds(random.u64(1..150));
        // Half of them as soon as it can be done: what is aimed at takes no longer than a few syncs.
        let lag = milliseconds(if random.bool() { 0 } else { random.u64(1..10) });
        let openings = if random.bool() { 0 } else { random.usize(1..=OPENINGS_MAX) };
        let openings = (0..openings).map(|_| Opening::new(random, OPENING_CHANGES)).collect();
        Self { blow, moment, pause, lag, openings }
    }
}

impl Opening {
    fn new(random: &mut Rng, changes: usize) -> Self {
        let by_time = Self::by_time(random);
        let moment = Moment::Change(random.usize(1..=changes));
        if random.bool() { by_time } else { Self { moment, ..by_time } }
    }

    fn by_time(random: &mut Rng) -> Self {
        let pause = (random.u8(0..4) == 0).then(|| Duration::from_millis(random.u64(1..20)));
        Self { moment: Moment::Share(random.f64()), pause }
    }
}
