//! The parts by themselves, against what they stand for; the log's own tests have them at work.

use std::{
    collections::{HashMap, VecDeque},
    env, fs,
    process::Command,
    sync::Arc,
    time::Duration,
};

use plugin_api::{
    identity::{Position, RequestId, Timestamp, Version},
    operation::Action,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::{
    flights::{Found, Idempotency},
    key::{Accepted, Fingerprint, Key, Owner, ShortDigest},
    lookup::Lookup,
    slab::{Entry, Option32, Slab, Slot},
    table::{Bounds, Table},
};
use crate::{
    log::interface::{Appended, Attributes, Idempotency as Attribute},
    record::PayloadWriter,
    runtime::SystemClock,
};

/// Spreads numbers as SHA-256 would.
fn key(number: u64, owner: u64) -> Key {
    let mut random = fastrand::Rng::with_seed(number);
    Key { fingerprint: Fingerprint(random.u128(..).to_le_bytes()), owner: Owner(owner) }
}

fn accepted(number: u64, owner: u64, offset: u64) -> Accepted {
    Accepted { key: key(number, owner), digest: ShortDigest([offset as u8; 12]), offset, version: offset * 2 }
}

fn appended(offset: u64) -> Appended {
    let position = Position { partition: 0, offset };
    Appended { request_id: RequestId(Uuid::nil()), position, version: Version(1), repeated: false }
}

/// A key of a caller, if there is one, for an index.
fn named(caller: Option<&str>, index: &str, key: &str) -> Key {
    let payload = PayloadWriter::new(Action::Save, index, 0).into_bytes();
    let idempotency = Some(Attribute { key: key.to_owned(), digest: [0; 32] });
    let attributes = Attributes { idempotency, caller: caller.map(Into::into), traceparent: None };
    Key::of(&attributes, &payload).unwrap()
}

/// Scopes do not run into each other, whatever the names, and a caller's keys are its own share for every index.
#[test]
fn scopes() {
    let keys = [
        named(None, "ab", "c"),
        named(None, "a", "bc"),
        named(Some(""), "ab", "c"),
        named(Some("a"), "b", "c"),
        named(Some("ab"), "c", ""),
        named(None, "", "abc"),
        named(Some("b"), "a", "c"),
    ];
    for (number, one) in keys.iter().enumerate() {
        assert!(keys[..number].iter().all(|other| other.fingerprint != one.fingerprint), "{number}");
    }
    assert_eq!(named(Some("shop"), "a", "1").owner, named(Some("shop"), "b", "2").owner);
    assert_ne!(named(Some("shop"), "a", "1").owner, named(None, "shop", "1").owner);
    assert_eq!(named(None, "a", "1").owner, named(None, "a", "2").owner);
    assert!(Key::of(&Attributes::default(), b"").is_none());
}

#[derive(Clone, Debug)]
enum Step {
    Insert { number: u64, owner: u64 },
    Find { number: u64 },
    Advance { millis: u64 },
    SetBack { millis: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..40u64, 0..4u64).prop_map(|(number, owner)| Step::Insert { number, owner }),
        4 => (0..40u64).prop_map(|number| Step::Find { number }),
        3 => (0..3000u64).prop_map(|millis| Step::Advance { millis }),
        1 => (0..100_000u64).prop_map(|millis| Step::SetBack { millis }),
    ];
    proptest::collection::vec(step, 1..300)
}

/// What a table stands for: number, owner, offset and time of each key, oldest first.
#[derive(Default)]
struct Model {
    keys: VecDeque<(u64, u64, u64, u64)>,
    elapsed: u64,
    forgotten: Option<u64>,
}

const BOUNDS: Bounds = Bounds { window: Duration::from_secs(20), keys_max: 15, bytes_max: 1 << 20 };

impl Model {
    /// Milliseconds, in the table's steps.
    fn is_old(&self, time: u64) -> bool {
        self.elapsed / 100 - time / 100 > 200
    }

    fn expire(&mut self) {
        while self.keys.front().is_some_and(|oldest| self.is_old(oldest.3)) {
            self.keys.pop_front();
        }
    }

    fn insert(&mut self, number: u64, owner: u64, offset: u64) {
        self.keys.push_back((number, owner, offset, self.elapsed));
        if self.keys.len() <= BOUNDS.keys_max {
            return;
        }
        let mut counts = HashMap::<u64, usize>::new();
        self.keys.iter().for_each(|key| *counts.entry(key.1).or_default() += 1);
        let most = *counts.values().max().unwrap();
        let oldest = self.keys.iter().position(|key| counts[&key.1] == most).unwrap();
        let (.., time) = self.keys.remove(oldest).unwrap();
        self.forgotten = self.forgotten.max(Some(time));
    }

    fn find(&self, number: u64) -> Option<u64> {
        self.keys.iter().rfind(|key| key.0 == number).map(|key| key.2)
    }

    fn reach(&self) -> Duration {
        let since = self.forgotten.map(|time| Duration::from_millis(self.elapsed - time));
        since.map_or(BOUNDS.window, |since| since.min(BOUNDS.window))
    }
}

proptest! {
    /// What is remembered is what was accepted within the window and not pushed out by its own owner, and the reach is
    /// true.
    #[test]
    fn table_agrees_with_its_model(steps in steps()) {
        let (mut table, mut model) = (Table::new(BOUNDS), Model::default());
        let (mut clock, mut offset) = (1_000_000u64, 0);
        table.advance(Timestamp(clock * 1000));
        for step in steps {
            match step {
                Step::Insert { number, owner } => {
                    offset += 1;
                    table.insert(&accepted(number, owner, offset));
                    model.insert(number, owner, offset);
                }
                Step::Find { number } => {
                    let found = table.find(key(number, 0));
                    prop_assert_eq!(found.map(|it| it.offset), model.find(number));
                    prop_assert!(found.is_none_or(|it| it.digest.0[0] == it.offset as u8 && it.version == it.offset * 2));
                }
                Step::Advance { millis } => {
                    clock += millis;
                    model.elapsed += millis;
                }
                Step::SetBack { millis } => clock -= millis.min(clock),
            }
            table.advance(Timestamp(clock * 1000));
            model.expire();
            prop_assert_eq!(table.keys(), model.keys.len());
            let (reach, expected) = (table.reach(), model.reach());
            let off = reach.max(expected) - reach.min(expected);
            prop_assert!(off <= Table::TICK, "{:?} {:?}", reach, expected);
        }
        (0..40).for_each(|number| assert_eq!(table.find(key(number, 0)).map(|it| it.offset), model.find(number)));
    }

    /// Slots are found by their fingerprints, also where many have the same, whatever is removed meanwhile.
    #[test]
    fn lookup_agrees_with_a_map(steps in proptest::collection::vec((any::<bool>(), 0..200u32), 1..2000)) {
        // One shard, two tags, and homes that are close together.
        let fingerprint = |slot: Slot| {
            let mut bytes = [0; 16];
            (bytes[4], bytes[5]) = ((slot.0 / 8) as u8, (slot.0 % 2) as u8);
            Fingerprint(bytes)
        };
        let (mut lookup, mut there) = (Lookup::default(), [false; 200]);
        for (inserts, number) in steps {
            let slot = Slot(number);
            if inserts != there[number as usize] {
                there[number as usize] = inserts;
                match inserts {
                    true => lookup.insert(fingerprint(slot), slot, fingerprint),
                    false => lookup.remove(fingerprint(slot), slot, fingerprint),
                }
            }
        }
        for number in 0..200 {
            let found = lookup.candidates(fingerprint(Slot(number))).filter(|slot| slot.0 == number).count();
            prop_assert_eq!(found, usize::from(there[number as usize]), "{}", number);
        }
    }
}

/// No entry moves, freed slots are used again before there are more chunks, and empty chunks give their memory back.
#[test]
fn slab() {
    let entry = |offset| Entry {
        fingerprint: Fingerprint([0; 16]),
        digest: ShortDigest([0; 12]),
        offset,
        version: 0,
        tick: 0,
        next: Option32::NONE,
    };
    let mut slab = Slab::default();
    let mut slots: Vec<_> = (0..10_000).map(|offset| slab.insert(entry(offset))).collect();
    for (number, slot) in slots.iter_mut().enumerate().filter(|(number, _)| number % 3 == 0) {
        assert_eq!({ slab.remove(*slot).offset }, number as u64);
    }
    for (number, slot) in slots.iter_mut().enumerate().filter(|(number, _)| number % 3 == 0) {
        *slot = slab.insert(entry(number as u64));
    }
    assert!(slots.iter().all(|slot| slot.0 < 3 * 4096));
    slots.iter().enumerate().for_each(|(number, slot)| assert_eq!({ slab.get(*slot).offset }, number as u64));
    for slot in &slots[..9000] {
        slab.remove(*slot);
    }
    assert_eq!(slab.allocated(), slots[9000..].iter().map(|slot| slot.0 / 4096).max().map_or(0, |_| 4096));
    slots[9000..]
        .iter()
        .enumerate()
        .for_each(|(number, slot)| assert_eq!({ slab.get(*slot).offset }, number as u64 + 9000));
}

/// However many owners there are, each with a key: what they cost counts, too.
#[test]
fn owners_count() {
    let bounds = Bounds { bytes_max: 64_000, keys_max: 1000, ..Bounds::DEFAULT };
    let mut table = Table::new(bounds);
    (0..1000).for_each(|number| table.insert(&accepted(number, number, number)));
    assert!((150..250).contains(&table.keys()), "{}", table.keys());
    assert!(table.find(key(0, 0)).is_none() && table.find(key(999, 999)).is_some());
}

/// Who gives a claim up lets those who wait try for themselves; who completes it answers them, and all who come later.
#[tokio::test]
async fn claims() {
    let keys = Arc::new(Idempotency::new(Table::new(Bounds::DEFAULT), Arc::new(SystemClock)));
    let waits = |content| match keys.claim(key(1, 1), [content; 32]) {
        Err(Found::InFlight(flight)) => flight.outcome(),
        other => panic!("{other:?}"),
    };
    assert!(keys.find(key(1, 1)).is_none());
    let first = keys.claim(key(1, 1), [1; 32]).unwrap();
    let (one, two) = (waits(1), waits(2));
    drop(first);
    assert_eq!((one.await, two.await), (None, None));
    assert!(keys.find(key(1, 1)).is_none(), "nothing is left behind");

    let second = keys.claim(key(1, 1), [2; 32]).unwrap();
    let other = keys.claim(key(2, 1), [3; 32]).unwrap();
    let (one, two) = (waits(1), waits(2));
    second.complete(appended(7));
    for waiting in [one, two] {
        assert_eq!(waiting.await, Some((appended(7), [2; 32])));
    }
    match keys.claim(key(1, 1), [1; 32]) {
        Err(Found::Accepted(remembered)) => {
            assert_eq!((remembered.offset, remembered.digest.0), (7, [2; 12]))
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(keys.size().0, 1);
    other.complete(appended(8));
    assert_eq!(keys.size().0, 2);
}

/// A key takes at most 64 bytes, everything included: what the process grows by, at every size. It shrinks again as they
/// get old.
#[test]
fn a_key_takes_64_bytes() {
    const MEASURES: &str = "MEASURES_KEYS";
    /// As many as take their time without optimisation; a million take 60 bytes each.
    const KEYS: u64 = 400_000;
    const NAME: &str = "log::idempotency::tests::a_key_takes_64_bytes";
    if env::var_os(MEASURES).is_none() {
        // In a process of its own, which no other test makes grow.
        let mut measure = Command::new(env::current_exe().unwrap());
        let output = measure.args(["--exact", NAME, "--nocapture"]).env(MEASURES, "1").output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
        let figures: Vec<f64> =
            told.lines().filter_map(|line| line.strip_prefix("bytes a key: ")?.parse().ok()).collect();
        let (last, others) = figures.split_last().unwrap();
        assert!(others.len() == 5 && others.iter().all(|bytes| *bytes <= 64.0), "{figures:?}");
        assert!(*last < 20.0, "{figures:?}");
        return;
    }
    // What was allocated and touched, without the program itself.
    let resident = || -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    };
    let mut table = Table::new(Bounds::DEFAULT);
    let before = resident();
    table.advance(Timestamp(0));
    for number in 1..=KEYS {
        table.insert(&accepted(number, number % 1000, number));
        if number.is_multiple_of(KEYS / 5) {
            assert_eq!(table.keys() as u64, number);
            println!("bytes a key: {:.1}", (resident() - before) as f64 / number as f64);
        }
    }
    table.advance(Timestamp(1_000_000_000));
    while table.keys() > 0 {
        table.advance(Timestamp(1_000_000_000));
    }
    println!("bytes a key: {:.1}", resident().saturating_sub(before) as f64 / KEYS as f64);
}
