//! What a guest may spend: CPU time of the thread that runs it, and memory.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use wasmtime::ResourceLimiter;

/// What a transform may spend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// CPU time of one call, which has at most 256 records; by default 250 ms. `init` has the same.
    pub cpu_max: Duration,
    /// Memory of one instance; by default 64 MiB, at least 16 MiB.
    pub memory_bytes_max: usize,
}

impl Limits {
    /// The least that `memory_bytes_max` may be.
    pub const MEMORY_BYTES_LEAST: usize = 16 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        Self { cpu_max: Duration::from_millis(250), memory_bytes_max: 64 << 20 }
    }
}

/// CPU time that the current thread has used.
pub(super) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// How long a call may go on. In CPU time, so that a busy machine does not condemn the innocent; the wall's ceiling is
/// for a call that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    cpu: Duration,
    wall: Instant,
}

const WALL_TIMES_CPU: u32 = 20;

impl Deadline {
    /// For a call that begins now, on this thread.
    pub(super) fn after(cpu_max: Duration) -> Self {
        let now = Instant::now();
        let wall = now.checked_add(cpu_max.saturating_mul(WALL_TIMES_CPU));
        Self { cpu: thread_cpu().saturating_add(cpu_max), wall: wall.unwrap_or(now) }
    }

    pub(super) fn passed(&self) -> bool {
        thread_cpu() >= self.cpu || Instant::now() >= self.wall
    }
}

/// Counts what one instance holds.
#[derive(Debug)]
pub(super) struct Memory {
    bytes: usize,
    bytes_max: usize,
    refused: Option<usize>,
}

/// Elements of all tables together; Python's have some ten thousand.
const TABLE_ELEMENTS_MAX: usize = 500_000;
/// Core instances, memories and tables within one component; Python's, linked of many libraries, has some dozens.
const PARTS_MAX: usize = 1_000;

impl Memory {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes: 0, bytes_max, refused: None }
    }

    /// Bytes that the guest holds.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How large it would have become when it was refused more in this call.
    pub(super) fn refused(&self) -> Option<usize> {
        self.refused
    }

    /// What was refused in earlier calls is no explanation for this one.
    pub(super) fn begin_call(&mut self) {
        self.refused = None;
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let bytes = self.bytes.saturating_add(desired.saturating_sub(current));
        if bytes > self.bytes_max {
            self.refused = Some(bytes);
            return Ok(false);
        }
        self.bytes = bytes;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        PARTS_MAX
    }

    fn tables(&self) -> usize {
        PARTS_MAX
    }

    fn memories(&self) -> usize {
        PARTS_MAX
    }
}
