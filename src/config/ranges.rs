//! The ranges that a key in the file shares with an environment variable or another key, or that need a word; all
//! inclusive.

use std::{ops::RangeInclusive, time::Duration};

use super::units::{Count, GIB, KIB, MIB, Size};

/// `requests_max`, `SYNCER_WORKER_COUNT`.
pub(super) const REQUESTS_MAX: RangeInclusive<Count> = Count(1)..=Count(1_000);
/// `attempts_max`, `SYNCER_MAX_RETRY`.
pub(super) const ATTEMPTS_MAX: RangeInclusive<Count> = Count(1)..=Count(1_000);
/// `batch.operations_max`, `SYNCER_BATCH_SIZE`. More is of no use to any destination.
pub(super) const BATCH_OPERATIONS_MAX: RangeInclusive<Count> = Count(1)..=Count(10_000);
/// `batch.linger`, `SYNCER_BATCH_TIMEOUT`.
pub(super) const LINGER: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(60);
/// `rate_limit.operations_per_second`.
pub(super) const RATE_OPERATIONS: RangeInclusive<Count> = Count(1)..=Count(100_000_000);
/// `rate_limit.bytes_per_second`.
pub(super) const RATE_BYTES: RangeInclusive<Size> = Size(KIB)..=Size(1024 * GIB);
/// `backoff.min`, `SYNCER_INITIAL_BACKOFF`.
pub(super) const BACKOFF_MIN: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(600);
/// The longest `backoff.max`: an hour of silence after an outage would look like a defect.
pub(super) const BACKOFF_LONGEST: Duration = Duration::from_secs(3_600);
/// `timeout`.
pub(super) const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);
/// The longest `retention.age`: ten years.
pub(super) const RETENTION_LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);
/// `dead_letters.bytes_max`.
pub(super) const DEAD_LETTERS_BYTES_MAX: RangeInclusive<Size> = Size(MIB)..=Size(1024 * GIB);
/// `dead_letters.age_max`.
pub(super) const DEAD_LETTERS_AGE_MAX: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(87_600 * 3_600);
/// `rotate.bytes`.
pub(super) const ROTATE_BYTES: RangeInclusive<Size> = Size(64 * KIB)..=Size(64 * GIB);
/// `rotate.age`.
pub(super) const ROTATE_AGE: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(30 * 86_400);
/// `limits.transforms_bytes_max`.
pub(super) const TRANSFORMS_BYTES_MAX: RangeInclusive<Size> = Size(16 * MIB)..=Size(1024 * GIB);
/// `transforms.NAME.cpu_ms_max`. A batch that takes longer holds its index for too long.
pub(super) const TRANSFORM_CPU_MS_MAX: RangeInclusive<Count> = Count(10)..=Count(10_000);

/// What may name a destination or a transform: it becomes a directory's name and a metric's label, and stands in dead
/// letters.
pub(super) const NAME: &str = "1 to 64 of A-Z a-z 0-9 _ -";

/// Whether this is one.
pub(super) fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}
