//! The simulated disk keeps its own word: what was synced is there after every cut, and everything else is sometimes
//! there and sometimes not.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use super::disk::{Fault, Machine, SimulatedDisk};
use crate::log::files::{Access, File, FileSystem};

const FILE: &str = "/file";
const OTHER: &str = "/other";

/// What is left of a file after `act` and a cut, for many seeds. The file holds 2000 bytes of `a` durably at first.
fn left(act: impl Fn(&SimulatedDisk, &dyn File, &Machine)) -> BTreeSet<Option<Vec<u8>>> {
    let outcome = |seed| {
        let machine = Machine::new(Path::new("/"), seed);
        let disk = machine.start(Vec::new());
        let file = disk.create(Path::new(FILE)).unwrap();
        file.write_at(&[b'a'; 2000], 0).unwrap();
        file.sync_all().unwrap();
        disk.sync_directory(Path::new("/")).unwrap();
        act(&disk, &*file, &machine);
        machine.cut();
        read(&machine.start(Vec::new()), FILE)
    };
    (0..500).map(outcome).collect()
}

fn read(disk: &SimulatedDisk, path: &str) -> Option<Vec<u8>> {
    let file: Arc<dyn File> = disk.open(Path::new(path), Access::Read).ok()?;
    let size = file.size().unwrap() as usize;
    Some(file.read_at(0, size).unwrap())
}

/// That and nothing else.
fn only(bytes: Vec<u8>) -> BTreeSet<Option<Vec<u8>>> {
    [Some(bytes)].into()
}

/// What was synced stays, and so does what was not touched since.
#[test]
fn synced_bytes_stay() {
    assert_eq!(left(|_, _, _| {}), only(vec![b'a'; 2000]));
    let synced = left(|_, file, _| {
        file.write_at(&[b'b'; 3000], 0).unwrap();
        file.sync_data().unwrap();
    });
    assert_eq!(synced, only(vec![b'b'; 3000]));
}

/// A write that was not synced reaches the disk by sectors, in any combination; bytes beside it stay.
#[test]
fn unsynced_writes_are_torn() {
    let torn = left(|_, file, _| file.write_at(&[b'b'; 1000], 100).unwrap());
    let torn: Vec<_> = torn.into_iter().map(|bytes| bytes.unwrap()).collect();
    assert!(torn.iter().all(|bytes| bytes.len() == 2000 && bytes[..100] == [b'a'; 100]));
    assert!(torn.iter().all(|bytes| bytes[1100..] == [b'a'; 900]));
    // One byte in each of the three sectors.
    let found: BTreeSet<_> = torn.iter().map(|bytes| [bytes[100], bytes[600], bytes[1099]]).collect();
    assert_eq!(found.len(), 8, "{found:?}");
}

/// A later write may be lost where an earlier one is not, and the other way round never with older bytes on top.
#[test]
fn later_writes_are_lost_alone() {
    let left = left(|_, file, _| {
        file.write_at(&[b'b'; 512], 0).unwrap();
        file.write_at(&[b'c'; 512], 0).unwrap();
    });
    let first: BTreeSet<u8> = left.iter().flatten().map(|bytes| bytes[0]).collect();
    assert_eq!(first, [b'a', b'b', b'c'].into());
}

/// Sizes come and go apart from bytes; reserved space reads as zeros.
#[test]
fn unsynced_sizes() {
    let cut = left(|_, file, _| file.truncate(600).unwrap());
    assert!(cut.contains(&Some(vec![b'a'; 600])) && cut.contains(&Some(vec![b'a'; 2000])));
    let reserved = left(|_, file, _| file.allocate(4000).unwrap());
    let mut grown = vec![b'a'; 2000];
    grown.resize(4000, 0);
    assert_eq!(reserved, [Some(vec![b'a'; 2000]), Some(grown)].into());
}

/// A new name, a rename and a removal that were not synced may be lost, a rename by half.
#[test]
fn unsynced_names() {
    let renamed = |seed| {
        let machine = Machine::new(Path::new("/"), seed);
        let disk = machine.start(Vec::new());
        for (path, byte) in [(FILE, b'a'), (OTHER, b'b')] {
            let file = disk.create(Path::new(path)).unwrap();
            file.write_at(&[byte], 0).unwrap();
            file.sync_all().unwrap();
        }
        disk.sync_directory(Path::new("/")).unwrap();
        disk.rename(Path::new(OTHER), Path::new(FILE)).unwrap();
        machine.cut();
        let disk = machine.start(Vec::new());
        (read(&disk, FILE).unwrap()[0], read(&disk, OTHER).map(|bytes| bytes[0]))
    };
    let found: BTreeSet<_> = (0..500).map(renamed).collect();
    assert_eq!(found, [(b'a', None), (b'a', Some(b'b')), (b'b', None), (b'b', Some(b'b'))].into());
    let removed = left(|disk, _, _| disk.remove(Path::new(FILE)).unwrap());
    assert_eq!(removed, [None, Some(vec![b'a'; 2000])].into());
    let synced = left(|disk, _, _| {
        disk.remove(Path::new(FILE)).unwrap();
        disk.sync_directory(Path::new("/")).unwrap();
    });
    assert_eq!(synced, [None].into());
}

/// A synced file whose name was not is gone, at times.
#[test]
fn a_file_without_a_name() {
    let found = |seed| {
        let machine = Machine::new(Path::new("/"), seed);
        let file = machine.start(Vec::new()).create(Path::new(FILE)).unwrap();
        file.write_at(b"a", 0).unwrap();
        file.sync_all().unwrap();
        machine.cut();
        read(&machine.start(Vec::new()), FILE)
    };
    let found: BTreeSet<_> = (0..500).map(found).collect();
    assert_eq!(found, [None, Some(b"a".to_vec())].into());
}

/// After a sync that failed the cache may show what the disk never gets, though the next sync succeeds; written again
/// it gets there.
#[test]
fn a_failed_sync_loses_bytes_for_good() {
    let after = |again: bool| {
        let outcome = move |seed| {
            let machine = Machine::new(Path::new("/"), seed);
            let disk = machine.start(vec![(2, Fault::Fail)]);
            let file = disk.create(Path::new(FILE)).unwrap();
            file.allocate(512).unwrap();
            file.sync_all().unwrap_err();
            // That one had nothing to write; the name and the size are durable now.
            file.sync_all().unwrap();
            disk.sync_directory(Path::new("/")).unwrap();
            let disk = machine.start(vec![(1, Fault::Fail)]);
            let file = disk.open(Path::new(FILE), Access::Write).unwrap();
            // The only byte that a write can be short of is all of it.
            file.write_at(b"b", 0).unwrap();
            file.sync_data().unwrap_err();
            let shown = read(&disk, FILE).unwrap()[0];
            if again {
                file.write_at(b"b", 0).unwrap();
            }
            file.sync_data().unwrap();
            machine.cut();
            (shown, read(&machine.start(Vec::new()), FILE).unwrap()[0])
        };
        (0..500).map(outcome).collect::<BTreeSet<_>>()
    };
    assert_eq!(after(false), [(0, 0), (b'b', 0), (b'b', b'b')].into());
    assert_eq!(after(true), [(0, b'b'), (b'b', b'b')].into());
}

/// A kill takes nothing with it but the process.
#[test]
fn a_kill_keeps_the_cache() {
    for seed in 0..100 {
        let machine = Machine::new(Path::new("/"), seed);
        let disk = machine.start(vec![(2, Fault::Kill)]);
        let file = disk.create(Path::new(FILE)).unwrap();
        file.write_at(b"a", 0).unwrap();
        file.sync_data().unwrap_err();
        file.size().unwrap_err();
        assert!(!machine.runs());
        assert_eq!(read(&machine.start(Vec::new()), FILE).unwrap(), b"a");
    }
}
