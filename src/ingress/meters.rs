//! What ingress counts and measures of requests.

use tonic::Code;

use crate::runtime::{Counter, Histogram};

/// See the module's text.
#[derive(Debug)]
pub struct Meters {
    /// Seconds from when a request was there whole until its records were safe on disk.
    pub accept_durable: Histogram,
    /// Requests by what they were answered.
    pub requests: ByCode,
    /// Records of those that could be read, by the same.
    pub records: ByCode,
}

/// A counter for each status code.
#[derive(Debug, Default)]
pub struct ByCode([Counter; CODES.len()]);

/// Every status code by its number, as the protocol has them
/// (<https://github.com/grpc/grpc/blob/master/doc/statuscodes.md>).
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// From a sync of a fast disk to one that hangs.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

impl Default for Meters {
    fn default() -> Self {
        let (requests, records) = (ByCode::default(), ByCode::default());
        Self { accept_durable: Histogram::new(&SECONDS), requests, records }
    }
}

impl ByCode {
    pub(crate) fn add(&self, code: Code, count: u64) {
        if let Some(counter) = self.0.get(code as usize) {
            counter.add(count);
        }
    }

    /// Each code's name with how many there were.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CODES.into_iter().zip(self.0.iter().map(Counter::get))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A code counts under its own name.
    #[test]
    fn codes_have_their_names() {
        let counts = ByCode::default();
        counts.add(Code::Unauthenticated, 2);
        counts.add(Code::ResourceExhausted, 1);
        let there: Vec<_> = counts.counts().filter(|(_, count)| *count > 0).collect();
        assert_eq!(there, [("RESOURCE_EXHAUSTED", 1), ("UNAUTHENTICATED", 2)]);
    }
}
