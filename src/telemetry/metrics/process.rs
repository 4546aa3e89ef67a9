//! What the process itself costs.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

/// The process at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Process {
    /// CPU time so far.
    pub cpu_seconds: f64,
    /// Resident memory; 0 where the system does not tell.
    pub resident_bytes: u64,
}

impl Process {
    /// This process, now.
    #[must_use]
    pub fn now() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = resident.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        Self {
            cpu_seconds: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
            resident_bytes: kilobytes.unwrap_or(0) * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both are told, and time passes.
    #[test]
    fn a_process_costs_something() {
        let before = Process::now();
        let mut sum = 0_u64;
        while Process::now().cpu_seconds <= before.cpu_seconds {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(before.resident_bytes > 1 << 20, "{before:?}");
    }
}
