//! What a process costs, from `/proc`.

use std::{fs, io, time::Duration};

/// Ticks a second of the times in `/proc/PID/stat`: USER_HZ, which Linux fixes at 100 for user space.
const TICKS_PER_SECOND: u64 = 100;

/// A process's memory and CPU time at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that are resident now.
    pub resident_bytes: u64,
    /// The most bytes that were ever resident.
    pub resident_bytes_max: u64,
    /// User and system time, in steps of 10 ms.
    pub cpu: Duration,
}

impl Usage {
    /// Reads the usage of a living process.
    ///
    /// # Errors
    /// If the process is gone or its files do not read as expected.
    pub fn of(process: u32) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        let ticks = cpu_ticks(&stat).ok_or_else(|| malformed(&stat))?;
        Ok(Self {
            resident_bytes: kilobytes(&status, "VmRSS:").ok_or_else(|| malformed(&status))? * 1024,
            resident_bytes_max: kilobytes(&status, "VmHWM:").ok_or_else(|| malformed(&status))? * 1024,
            cpu: Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND),
        })
    }
}

fn malformed(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("unexpected in /proc: {text:?}"))
}

fn kilobytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// utime + stime, fields 14 and 15 of proc_pid_stat(5). The name in field 2 may hold spaces and parentheses.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_a_name_with_parentheses() {
        let stat = "12 (a) b (c)) S 1 12 12 0 -1 4194560 1 0 0 0 7 5 0 0 20 0 1 0 1 2 3";
        assert_eq!(cpu_ticks(stat), Some(12));
    }
}
