//! How a power cut goes: how much of what was not synced reaches the disk.

use fastrand::Rng;

/// The fate of one kind of thing.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// Nothing reaches the disk.
    Lost,
    /// All of it does.
    Kept,
    /// Each by itself, with this probability.
    Mixed(f64),
}

/// One cut's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mood {
    pub(super) sectors: Fate,
    pub(super) sizes: Fate,
    pub(super) names: Fate,
    /// Sectors without reserved space show what somebody else left there.
    pub(super) garbage: bool,
}

impl Mood {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self { sectors: Fate::new(rng), sizes: Fate::new(rng), names: Fate::new(rng), garbage: rng.bool() }
    }
}

impl Fate {
    fn new(rng: &mut Rng) -> Self {
        match rng.u8(..8) {
            0 => Self::Lost,
            1 => Self::Kept,
            2 => Self::Mixed(0.05),
            3 => Self::Mixed(0.95),
            _ => Self::Mixed(0.5),
        }
    }

    /// Which of `changes` in a row is the last to reach the disk: 0 for none.
    pub(super) fn choose(self, changes: usize, rng: &mut Rng) -> usize {
        match self {
            _ if changes == 0 => 0,
            Self::Lost => 0,
            Self::Kept => changes,
            Self::Mixed(probability) if rng.f64() < probability => rng.usize(1..=changes),
            Self::Mixed(_) => 0,
        }
    }
}
