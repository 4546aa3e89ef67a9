//! What lies at a module's path changes in every way in which people and systems change files; which module serves?
//!
//! The modules are real ones: builds of the guest `stamps`, told apart by the number that they write into records.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use harness::guests::stamps;
use plugin_api::identity::Timestamp;
use tempfile::TempDir;
use tokio::{sync::watch, time::timeout};

use super::{
    super::{Engine, LoadError, ModuleStatus, Slot},
    *,
};
use crate::{
    config::Transform,
    runtime::{Clock, SystemClock},
};

const DEADLINE: Duration = Duration::from_secs(60);

/// Events alone: nobody waits for a poll.
const EVENTS: WatchSettings =
    WatchSettings { poll_interval: Duration::from_secs(3_600), quiet: Duration::from_millis(20) };
/// Polls often.
const POLLS: WatchSettings =
    WatchSettings { poll_interval: Duration::from_millis(50), quiet: Duration::from_millis(20) };

fn digest(number: u32) -> Digest {
    Digest::of(&stamps(number))
}

fn transform(path: &Path) -> Transform {
    Transform {
        name: "stamps".into(),
        path: path.to_owned(),
        sha256: None,
        config: "{}".into(),
        cpu_max: Duration::from_secs(5),
        memory_bytes_max: 64 << 20,
    }
}

/// A module that is followed.
struct Watched {
    status: watch::Receiver<Vec<ModuleStatus>>,
    slot: Arc<Slot>,
    stop: Stop,
    tasks: Tasks,
}

fn watched(transform: Transform, settings: WatchSettings) -> Watched {
    let modules = Modules::load(&[transform], Engine::new().unwrap(), None, Arc::new(SystemClock)).unwrap();
    let (status, slot) = (modules.status(), modules.slots().remove(0));
    let (stop, tasks) = (Stop::new(), Tasks::default());
    modules.watch(settings, stop.clone(), &tasks).unwrap();
    Watched { status, slot, stop, tasks }
}

impl Watched {
    fn now(&self) -> ModuleStatus {
        let status = self.status.borrow()[0].clone();
        if let Some(serving) = self.slot.current().filter(|serving| serving.generation == status.generation) {
            assert_eq!(serving.module.digest(), status.module, "the status tells what serves");
        }
        status
    }

    async fn until(&mut self, what: &str, is: impl Fn(&ModuleStatus) -> bool) -> ModuleStatus {
        let reached = timeout(DEADLINE, self.status.wait_for(|status| is(&status[0]))).await.map(drop);
        reached.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}, but {:?}", self.now()));
        self.now()
    }

    async fn serves(&mut self, number: u32) -> ModuleStatus {
        let wanted = digest(number);
        let is = |status: &ModuleStatus| status.module == wanted && status.refused.is_none();
        self.until(&format!("build {number} serves"), is).await
    }

    /// Waits until something is refused that was not before, while this build goes on serving.
    async fn refuses(&mut self, serving: u32) -> Refused {
        let before = self.now().refused;
        let is = |status: &ModuleStatus| status.refused.is_some() && status.refused != before;
        let status = self.until("it is refused", is).await;
        assert_eq!(status.module, digest(serving), "the one before serves");
        status.refused.unwrap()
    }

    /// Ends it, and sees that the thread is gone.
    async fn stop(self) {
        self.stop.cancel();
        timeout(DEADLINE, self.tasks.join()).await.unwrap();
        let gone = async || {
            while Arc::strong_count(&self.slot) > 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, gone()).await.expect("the thread ends");
    }
}

/// Puts a file into its place as people should.
fn rename_into(path: &Path, wasm: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, wasm).unwrap();
    fs::rename(new, path).unwrap();
}

fn in_folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stamps.wasm");
    fs::write(&path, stamps(1)).unwrap();
    (folder, path)
}

/// Scenario: a new file by rename, by truncating and rewriting, after deletion; and what serves already once more.
#[tokio::test]
async fn what_replaces_a_file_serves() {
    let (_folder, path) = in_folder();
    let mut watched = watched(transform(&path), EVENTS);
    let first = watched.serves(1).await;
    rename_into(&path, &stamps(2));
    let second = watched.serves(2).await;
    assert!(second.generation > first.generation && second.since >= first.since);
    fs::write(&path, stamps(3)).unwrap();
    watched.serves(3).await;

    fs::remove_file(&path).unwrap();
    let refused = watched.refuses(3).await;
    assert_eq!((refused.module, refused.reason), (None, Refusal::File(ReadError::Missing)));
    let generation = watched.now().generation;
    fs::write(&path, stamps(3)).unwrap();
    assert_eq!(watched.serves(3).await.generation, generation, "it never stopped");
    fs::remove_file(&path).unwrap();
    watched.refuses(3).await;
    fs::write(&path, stamps(4)).unwrap();
    watched.serves(4).await;
    watched.stop().await;
}

/// Scenario: Kubernetes updates a mounted config map; a deployment swaps the link to its directory; the directory is
/// removed and made anew. None of them touches the path itself.
#[tokio::test]
async fn links_and_directories_that_are_swapped_are_followed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let release = |name: &str, number: u32| {
        fs::create_dir_all(at(name)).unwrap();
        fs::write(at(name).join("stamps.wasm"), stamps(number)).unwrap();
    };
    let link = |target: &str, name: &str| {
        symlink(target, at("link")).unwrap();
        fs::rename(at("link"), at(name)).unwrap();
    };
    release("mount/..1", 1);
    symlink("..1", at("mount/..data")).unwrap();
    symlink("..data/stamps.wasm", at("mount/stamps.wasm")).unwrap();
    let mut watched = watched(transform(&at("mount/stamps.wasm")), EVENTS);
    for number in 2..5 {
        release(&format!("mount/..{number}"), number);
        link(&format!("..{number}"), "mount/..data");
        fs::remove_dir_all(at(&format!("mount/..{}", number - 1))).unwrap();
        watched.serves(number).await;
    }
    watched.stop().await;

    release("one", 1);
    link("one", "current");
    let mut watched = self::watched(transform(&at("current/stamps.wasm")), EVENTS);
    release("two", 2);
    link("two", "current");
    watched.serves(2).await;
    rename_into(&at("two/stamps.wasm"), &stamps(3));
    watched.serves(3).await;
    fs::remove_dir_all(at("two")).unwrap();
    watched.refuses(3).await;
    release("two", 4);
    watched.serves(4).await;
    watched.stop().await;
}

/// Scenario: one file after the other that is no transform, some of them halves of one.
///
/// Protects G8: none of them runs, each is told with what its author should do, and the next good one serves.
#[tokio::test]
async fn what_is_refused_leaves_the_one_before_serving() {
    let (_folder, path) = in_folder();
    let mut watched = watched(transform(&path), EVENTS);
    let half = stamps(2)[..stamps(2).len() / 2].to_vec();
    let bad = [Vec::new(), b"export default {}".to_vec(), half.clone(), b"\0asm\x01\0\0\0".to_vec()];
    for wasm in &bad {
        rename_into(&path, wasm);
        let refused = watched.refuses(1).await;
        assert_eq!(refused.module, Some(Digest::of(wasm)));
        assert!(matches!(refused.reason, Refusal::Module(_)), "{}", refused.reason);
    }
    rename_into(&path, &stamps(1));
    watched.serves(1).await;

    // Half of a file lies there for long enough to be looked at; then the rest comes.
    let mut file = File::create(&path).unwrap();
    file.write_all(&half).unwrap();
    let refused = watched.refuses(1).await;
    assert!(matches!(refused.reason, Refusal::Module(LoadError::Damaged { .. })), "{}", refused.reason);
    file.write_all(&stamps(2)[half.len()..]).unwrap();
    watched.serves(2).await;
    watched.stop().await;
}

/// What was refused and is put there again is not told again, nor compiled: its status stays as old as it is.
#[test]
fn a_refusal_is_told_once() {
    let (_folder, path) = in_folder();
    let modules =
        Modules::load(&[transform(&path)], Engine::new().unwrap(), None, Arc::new(SystemClock)).unwrap();
    let status = modules.status();
    let refused = || status.borrow()[0].refused.clone().expect("it is refused");
    let (wake, woken) = sync_channel(1);
    let mut watcher = Watcher {
        directories: Directories::new(wake),
        pending: vec![None],
        modules,
        settings: EVENTS,
        woken,
        stopped: Arc::default(),
    };
    let mut put = |wasm: &[u8]| {
        rename_into(&path, wasm);
        thread::sleep(EVENTS.quiet);
        watcher.deal_with(0, file::stamp(&path));
    };
    put(b"bad");
    let first = refused();
    put(b"bad");
    assert_eq!(refused(), first);
    put(b"worse");
    assert_ne!(refused(), first);
}

/// Only the module that the config pins is ever run, from the start on.
#[tokio::test]
async fn a_pinned_module_is_replaced_by_no_other() {
    let (_folder, path) = in_folder();
    let pinned = Transform { sha256: Some(digest(1).0), ..transform(&path) };
    let mut watched = watched(pinned.clone(), EVENTS);
    rename_into(&path, &stamps(2));
    let expected = Refusal::OtherModule { found: digest(2), wanted: digest(1) };
    assert_eq!(watched.refuses(1).await.reason, expected);
    watched.stop().await;

    let loaded = Modules::load(&[pinned], Engine::new().unwrap(), None, Arc::new(SystemClock));
    let errors = loaded.err().expect("the pinned one is not there");
    assert_eq!(errors.0[0].reason, expected);
}

/// A file that is replaced again and again ends at the newest, and never goes back.
#[tokio::test]
async fn changes_in_a_row_end_at_the_newest() {
    let (_folder, path) = in_folder();
    let mut watched = watched(transform(&path), EVENTS);
    let mut seen = watched.status.clone();
    let (order, last) = ((1..=12).map(digest).collect::<Vec<_>>(), 12);
    let history = tokio::spawn(async move {
        let mut history = vec![seen.borrow_and_update()[0].module];
        while history.last() != order.last() && seen.changed().await.is_ok() {
            history.push(seen.borrow_and_update()[0].module);
        }
        history
            .iter()
            .map(|module| order.iter().position(|known| known == module).unwrap())
            .collect::<Vec<_>>()
    });
    for number in 2..=last {
        rename_into(&path, &stamps(number));
        tokio::time::sleep(Duration::from_millis(u64::from(number) * 5)).await;
    }
    watched.serves(last).await;
    let history = history.await.unwrap();
    assert!(history.is_sorted(), "{history:?}");
    watched.stop().await;
}

/// Some mounts send no events. Here they go to another directory: the file is written by another of its names.
#[tokio::test]
async fn what_no_event_tells_is_found_by_looking() {
    let (folder, path) = in_folder();
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let other = elsewhere.join("other");
    fs::hard_link(&path, &other).unwrap();
    let mut watched = watched(transform(&path), POLLS);
    // Several times, since the first look may come after the first change.
    for number in 2..5 {
        let mut file = OpenOptions::new().write(true).truncate(true).open(&other).unwrap();
        file.write_all(&stamps(number)).unwrap();
        watched.serves(number).await;
    }
    watched.stop().await;
}

/// A network's mount may tell of no change at all; the contents are compared then.
#[test]
fn contents_are_compared_whatever_the_system_tells() {
    let (_folder, path) = in_folder();
    let seen = file::stamp(&path);
    let slot = Slot::new("stamps", "{}", super::super::Limits::default());
    let mut followed = Followed { slot, path, sha256: None, seen, read: Some(digest(1)) };
    assert!(!differs(&followed));
    followed.read = Some(digest(2));
    assert!(differs(&followed));
}

/// Every module that does not load is named at once, and nothing serves.
#[test]
fn a_start_names_every_bad_module() {
    let (folder, path) = in_folder();
    let bad = folder.path().join("bad.wasm");
    fs::write(&bad, b"\0asm\x01\0\0\0").unwrap();
    let named = |name: &str, path: &Path| Transform { name: name.into(), ..transform(path) };
    let missing = folder.path().join("none.wasm");
    let all = [
        named("bad", &bad),
        named("good", &path),
        named("missing", &missing),
        named("folder", folder.path()),
    ];
    let errors = Modules::load(&all, Engine::new().unwrap(), None, Arc::new(SystemClock)).err().unwrap();
    let lines = errors.to_string();
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(
        lines[0].starts_with(&format!("transform bad: {}: it is a core WebAssembly module", bad.display()))
    );
    assert!(lines[1].ends_with(": it is a directory or the like, not a file"), "{}", lines[1]);
    assert!(lines[2].contains("none.wasm: there is no file"), "{}", lines[2]);
}

/// A clock that stands still.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp(7)
    }
}

/// The second start runs what the first compiled; what has been tampered with is compiled again.
#[test]
fn a_start_does_not_compile_again() {
    let (folder, path) = in_folder();
    let cache = folder.path().join("cache");
    let load =
        || Modules::load(&[transform(&path)], Engine::new().unwrap(), Some(&cache), Arc::new(Still)).unwrap();
    let code = || {
        let entries = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
        let mut code = entries.filter(|path| path.extension().is_some_and(|extension| extension == "code"));
        code.next().expect("compiled code is kept")
    };
    let status = load().status().borrow()[0].clone();
    assert_eq!((status.module, status.since), (digest(1), Timestamp(7)));
    let first = fs::metadata(code()).unwrap().modified().unwrap();
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let kept = inode(&code());
    load();
    assert_eq!(inode(&code()), kept, "it was not written again");
    assert!(fs::metadata(code()).unwrap().modified().unwrap() >= first, "but used");

    let mut bytes = fs::read(code()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(code(), &bytes).unwrap();
    load();
    assert_ne!(fs::read(code()).unwrap(), bytes, "it was compiled and written again");
}
