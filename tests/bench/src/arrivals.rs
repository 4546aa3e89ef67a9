//! When probes arrived: lone records that go to each destination among everything else, in an index of their own.
//!
//! A fake notes the moment at which it has applied one, in its own process. For the file the moment is that of the write
//! that completes its line, as the file system tells it, so that polling adds nothing. Both are compared with the moment
//! at which the producer had its answer, by the system's clock. Probes are sent at a fixed rate whatever happens: one that
//! is held up does not hold up those behind it, and all of them count.
//!
//! The one that was accepted as the nth is taken for the one that arrived as the nth. Those that are on their way together
//! may change places, which moves no more than the difference between them from one to the other.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, ensure};
use harness::watch::Watch;
use tokio::task::JoinHandle;

use crate::fake::{PROBES, micros};

/// The arrivals at a file destination, noted by a task.
pub(crate) struct FileArrivals {
    moments: Arc<Mutex<Vec<u64>>>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl FileArrivals {
    /// Notes what arrives from now on in the journal of this directory.
    pub(crate) fn watch(directory: &Path) -> anyhow::Result<Self> {
        let watch = Watch::new(&[directory]).context("watch the file destination")?;
        let moments = Arc::default();
        let task =
            tokio::spawn(note(watch, directory.join(format!("{PROBES}.ndjson")), Arc::clone(&moments)));
        Ok(Self { moments, task })
    }

    /// Everything that was noted, in microseconds since 1970.
    pub(crate) async fn taken(self) -> anyhow::Result<Vec<u64>> {
        if self.task.is_finished() {
            self.task.await??;
        } else {
            self.task.abort();
        }
        Ok(std::mem::take(&mut self.moments.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

async fn note(mut watch: Watch, path: PathBuf, moments: Arc<Mutex<Vec<u64>>>) -> anyhow::Result<()> {
    let name = path.file_name().unwrap_or_default().to_owned();
    let (mut read, mut buffer) = (0, vec![0; 64 << 10]);
    loop {
        if *watch.next().await?.name != name {
            continue;
        }
        let now = micros(SystemTime::now());
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        loop {
            let bytes = file.read_at(&mut buffer, read)?;
            if bytes == 0 {
                break;
            }
            read += bytes as u64;
            let lines = memchr::memchr_iter(b'\n', &buffer[..bytes]).count();
            let mut moments = moments.lock().unwrap_or_else(PoisonError::into_inner);
            moments.extend(std::iter::repeat_n(now, lines));
        }
    }
}

/// How long each probe took that was accepted in this span, of all that were accepted and all that arrived: both
/// ascending, in microseconds since 1970. Ascending, too.
pub(crate) fn latencies(
    accepted: &[u64],
    arrived: &[u64],
    (start, end): (SystemTime, SystemTime),
) -> anyhow::Result<Vec<Duration>> {
    let (accepted_count, arrived_count) = (accepted.len(), arrived.len());
    ensure!(accepted_count == arrived_count, "of {accepted_count} probes {arrived_count} arrived");
    let span = micros(start)..micros(end);
    let pairs = accepted.iter().zip(arrived).filter(|(accepted, _)| span.contains(*accepted));
    // It may arrive before its producer has the answer.
    let mut latencies: Vec<_> =
        pairs.map(|(accepted, arrived)| Duration::from_micros(arrived.saturating_sub(*accepted))).collect();
    latencies.sort_unstable();
    Ok(latencies)
}

/// What so large a share did not exceed, such as 0.99.
pub(crate) fn quantile(latencies: &[Duration], share: f64) -> Duration {
    let rank = (latencies.len() as f64 * share).ceil() as usize;
    latencies.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, time::UNIX_EPOCH};

    use super::*;

    #[test]
    fn only_probes_of_the_span_count() {
        let at = |micros| UNIX_EPOCH + Duration::from_micros(micros);
        let (accepted, arrived) = ([10, 20, 30, 40], [15, 19, 90, 95]);
        let latencies = latencies(&accepted, &arrived, (at(20), at(40))).unwrap();
        assert_eq!(latencies, [Duration::ZERO, Duration::from_micros(60)]);
        assert_eq!(quantile(&latencies, 0.5), Duration::ZERO);
        assert_eq!(quantile(&latencies, 0.99), Duration::from_micros(60));
        assert!(super::latencies(&accepted, &arrived[1..], (at(0), at(1))).is_err());
    }

    /// Scenario: a line and half of the next one, then its end, and lines of another index. Each probe is noted when its
    /// line is whole.
    #[tokio::test]
    async fn a_probe_arrives_with_the_end_of_its_line() {
        let directory = tempfile::tempdir().unwrap();
        let arrivals = FileArrivals::watch(directory.path()).unwrap();
        let mut probes = File::create(directory.path().join("probes.ndjson")).unwrap();
        let count = async |at_least| {
            let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
            loop {
                let count = arrivals.moments.lock().unwrap().len();
                if count >= at_least {
                    return count;
                }
                assert!(tokio::time::Instant::now() < deadline, "{count} of {at_least} probes");
                tokio::task::yield_now().await;
            }
        };
        probes.write_all(b"{}\n{\"object_id\":").unwrap();
        fs::write(directory.path().join("products.ndjson"), "{}\n{}\n").unwrap();
        assert_eq!(count(1).await, 1);
        let between = micros(SystemTime::now());
        probes.write_all(b"1}\n{}\n").unwrap();
        assert_eq!(count(3).await, 3);
        let moments = arrivals.taken().await.unwrap();
        assert!(moments[0] <= between && moments[1..].iter().all(|moment| *moment >= between), "{moments:?}");
    }
}
