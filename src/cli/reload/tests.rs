//! The plan of a reload as a diff.

use super::*;
use crate::cli::text::colourless;

fn planned(change: Planned, what: &str, name: &str) -> PlannedChange {
    PlannedChange { change, what: what.to_owned(), name: name.to_owned(), keys: Vec::new(), note: None }
}

/// What is new, changed and gone is told by its mark and in its colour, with each key that differs; the colours are those
/// of the terminal, and go without one.
#[test]
fn a_plan_is_a_diff() {
    let mut added = planned(Planned::Added, "destination", "archive");
    added.note = Some("begins at the log's end".to_owned());
    let mut changed = planned(Planned::Changed, "destination", "search");
    changed.keys = vec!["batch.linger: 200ms -> 1s".to_owned(), "gzip: true -> false".to_owned()];
    let report = ReloadReport {
        dry_run: true,
        generation: 3,
        changes: vec![added, changed, planned(Planned::Removed, "index rule", "old*")],
        warnings: vec!["archive cannot be reached".to_owned()],
    };
    let expected = "\
+ destination archive
    begins at the log's end
~ destination search
    batch.linger: 200ms -> 1s
    gzip: true -> false
- index rule old*
warning: archive cannot be reached
Nothing is changed yet: generation 3 serves.
";
    let styled = words(&report);
    assert_eq!(colourless(&styled), expected);
    assert!(styled.contains("\u{1b}[32m+") && styled.contains("\u{1b}[1m\u{1b}[31m-"), "{styled:?}");
    let nothing = ReloadReport { dry_run: false, generation: 3, changes: Vec::new(), warnings: Vec::new() };
    assert_eq!(words(&nothing), "Nothing changed: generation 3 serves.\n");
}
