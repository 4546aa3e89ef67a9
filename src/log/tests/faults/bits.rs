//! A bit flips, in each region of each file: what can be told is told, with advice; what cannot be told from a torn
//! write (rule 6) is in the last write group alone.

use super::*;
use crate::log::interface::{From, Located};

/// The fixed part of a frame.
const FRAME_HEAD: usize = 68;

/// Three segments, the newest unsealed with three write groups, and a cursor at 1.
struct Scene {
    bench: Bench,
    segments: Vec<PathBuf>,
    end: u64,
    last: Appended,
}

impl Scene {
    async fn new() -> Self {
        let bench = Bench::new();
        let (log, _) = bench.open();
        log.subscribe("search", From::Oldest).await.unwrap();
        let mut end = 0;
        while bench.segments().len() < 3 {
            append(&log, end, 1, 3000).await;
            end += 1;
        }
        append(&log, end, 1, 300).await;
        let last = append(&log, end + 1, 1, 300).await;
        log.commit("search", &progress(1)).await.unwrap();
        log.close().await;
        let segments = bench.segments();
        Self { bench, segments, end: end + 2, last }
    }

    /// Opens a copy in which one bit of a file is flipped.
    fn open_flipped(&self, path: &Path, at: usize) -> (PathBuf, Result<(EmbeddedLog, OpenReport), LogError>) {
        let dir = self.bench.crash("flipped");
        let flipped = dir.join(path.strip_prefix(self.bench.dir()).unwrap());
        let mut bytes = fs::read(&flipped).unwrap();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&flipped, bytes).unwrap();
        let opened = self.bench.try_open(dir);
        (flipped, opened)
    }

    fn file(&self, name: &str) -> (PathBuf, usize) {
        let path = self.bench.dir().join(name);
        let bytes = fs::metadata(&path).unwrap().len() as usize;
        (path, bytes)
    }

    /// It is not opened, nothing is changed, and the operator reads which file it is and what to do.
    fn assert_halts(&self, path: &Path, places: impl IntoIterator<Item = usize>) {
        for at in places {
            let (flipped, opened) = self.open_flipped(path, at);
            let damaged = fs::read(&flipped).unwrap();
            let error = opened.expect_err("a flipped bit");
            assert!(matches!(error, LogError::Halted { .. }), "byte {at}: {error}");
            assert_advises(&error.to_string(), &flipped);
            assert_eq!(fs::read(&flipped).unwrap(), damaged, "byte {at}");
        }
    }
}

/// Rule 7: a segment's header is needed by whoever opens the log; all of it is checked, the zeros included.
#[tokio::test]
async fn headers_of_segments() {
    let scene = Scene::new().await;
    for segment in &scene.segments {
        scene.assert_halts(segment, (0..80).step_by(3).chain([80, 2000, HEADER - 1]));
    }
}

/// Rule 7: frames of a sealed segment stop who reads them, and nobody else.
#[tokio::test]
async fn frames_of_a_sealed_segment() {
    let scene = Scene::new().await;
    let beyond: u64 = scene.segments[1].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let payload = [FRAME_HEAD, FRAME_HEAD + 1500, FRAME_HEAD + 2900];
    for at in (0..FRAME_HEAD).step_by(3).chain(payload) {
        let (flipped, opened) = scene.open_flipped(&scene.segments[0], HEADER + at);
        let (log, report) = opened.unwrap();
        assert_eq!((report.alerts.len(), report.end.offset), (0, scene.end));
        let error = log.read_from(position(0)).await.unwrap().next().await.unwrap_err();
        assert!(matches!(error, ReadError::Rotten { at, .. } if at == HEADER as u64), "byte {at}: {error}");
        assert_advises(&error.to_string(), &flipped);
        assert_eq!(numbers(&read_all(&log, beyond).await), (beyond..scene.end).collect::<Vec<_>>());
    }
}

/// A footer and its trailer say nothing that the frames do not: reading goes on without, and the operator hears of it.
#[tokio::test]
async fn footers() {
    let scene = Scene::new().await;
    let bytes = fs::read(&scene.segments[0]).unwrap();
    let footer = u64::from_le_bytes(bytes[bytes.len() - 24..][..8].try_into().unwrap()) as usize;
    for at in (footer..bytes.len()).step_by(2) {
        let (flipped, opened) = scene.open_flipped(&scene.segments[0], at);
        let (log, report) = opened.unwrap();
        assert_eq!(report.alerts.len(), 1, "byte {at}");
        assert_advises(&report.alerts[0], &flipped);
        assert_eq!(numbers(&read_all(&log, 0).await), (0..scene.end).collect::<Vec<_>>());
    }
}

/// Rule 6: in the newest segment a frame with a write group behind it is rot; the last group is taken for torn, and
/// cut, and the log goes on.
#[tokio::test]
async fn frames_of_the_newest_segment() {
    let scene = Scene::new().await;
    let newest = &scene.segments[2];
    let places = (0..FRAME_HEAD).step_by(3).chain([FRAME_HEAD, FRAME_HEAD + 2000]);
    scene.assert_halts(newest, places.map(|at| HEADER + at));
    let bytes = fs::read(newest).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for at in [end - 1, end - 300, end - 360] {
        let (_, opened) = scene.open_flipped(newest, at);
        let (log, report) = opened.unwrap();
        assert_eq!((report.end.offset, report.alerts.len()), (scene.end - 1, 0), "byte {at}");
        assert!(report.torn_bytes > 0);
        append(&log, scene.end - 1, 1, 10).await;
        assert_eq!(numbers(&read_all(&log, 0).await), (0..scene.end).collect::<Vec<_>>());
    }
}

/// Rule 8: a cursor with any bit flipped restarts at the oldest position.
#[tokio::test]
async fn cursors() {
    let scene = Scene::new().await;
    let (path, bytes) = scene.file("cursors/search.cursor");
    for at in 0..bytes {
        let (flipped, opened) = scene.open_flipped(&path, at);
        let found = opened.unwrap().0.subscribe("search", From::Now).await.unwrap();
        assert_eq!(found.progress, Progress::default(), "byte {at}");
        assert_advises(&found.alert.unwrap(), &flipped);
    }
}

/// Rule 8: so does a list of destinations: whoever has a cursor goes on there.
#[tokio::test]
async fn the_list_of_destinations() {
    let scene = Scene::new().await;
    let (path, bytes) = scene.file("destinations");
    for at in 0..bytes {
        let (flipped, opened) = scene.open_flipped(&path, at);
        let (log, report) = opened.unwrap();
        assert_eq!(report.alerts.len(), 1, "byte {at}");
        assert_advises(&report.alerts[0], &flipped);
        let found = log.subscribe("search", From::Now).await.unwrap();
        assert_eq!((found.progress, found.alert), (progress(1), None), "byte {at}");
    }
}

/// Without a sound identity nothing is known to belong together.
#[tokio::test]
async fn the_identity() {
    let scene = Scene::new().await;
    let (path, bytes) = scene.file("identity");
    scene.assert_halts(&path, 0..bytes);
}

/// The key signs new request ids; ids that were given out are looked up by what the frames say.
#[tokio::test]
async fn the_key_of_request_ids() {
    let scene = Scene::new().await;
    let (path, bytes) = scene.file("request-id.key");
    for at in [0, bytes - 1] {
        let (log, report) = scene.open_flipped(&path, at).1.unwrap();
        assert_eq!(report.alerts, [""; 0]);
        let located = log.locate(scene.last.request_id).await.unwrap();
        assert_eq!(located, Located::Found(scene.last.position));
    }
}
