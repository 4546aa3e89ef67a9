//! Which records are settled, as sets of them: what a cursor says in the shortest way.

use crate::log::{interface::Progress, tests::position};

/// The cursor with these ranges settled, too, and how many records that adds; the totals stay.
pub(super) fn settle(progress: &Progress, ranges: impl IntoIterator<Item = (u64, u64)>) -> (Progress, u64) {
    let mut all: Vec<(u64, u64)> = ranges.into_iter().chain(progress.completed.iter().copied()).collect();
    all.sort_unstable();
    let (mut next, mut completed) = (progress.next.offset, Vec::<(u64, u64)>::new());
    for (from, to) in all {
        let end = completed.last_mut().map_or(&mut next, |(_, end)| end);
        if from <= *end {
            *end = to.max(*end);
        } else {
            completed.push((from, to));
        }
    }
    let beyond = |completed: &[(u64, u64)]| completed.iter().map(|(from, to)| to - from).sum::<u64>();
    let before = progress.next.offset + beyond(&progress.completed);
    let added = next + beyond(&completed) - before;
    (Progress { next: position(next), completed, ..progress.clone() }, added)
}

/// How many records of `from..to` a cursor does not settle.
pub(super) fn unsettled(progress: &Progress, from: u64, to: u64) -> u64 {
    let is_settled = |offset: &u64| {
        *offset < progress.next.offset
            || progress.completed.iter().any(|(first, after)| (first..after).contains(&offset))
    };
    (from..to).filter(|offset| !is_settled(offset)).count() as u64
}
