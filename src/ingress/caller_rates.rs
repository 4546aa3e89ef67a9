//! What each caller may send in a second, so that one of them cannot starve the others.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::config::CallerRateLimit;

/// How far each caller has used its share.
#[derive(Debug, Default)]
pub(crate) struct CallerRates {
    /// By name, until when its share is used up; those without a name are one, under no name. Whoever is not here has all
    /// of it.
    used_until: Mutex<HashMap<String, Instant>>,
}

/// What may come at once, as a time's share.
const BURST: Duration = Duration::from_secs(1);
/// Callers that are known at once. More are taken for those without a name, until some have been silent for a while.
const CALLERS_MAX: usize = 10_000;

impl CallerRates {
    /// Takes a request of so many bytes from its caller's share, or tells how long that takes to suffice.
    pub(crate) fn take(
        &self,
        caller: Option<&str>,
        bytes: usize,
        limit: CallerRateLimit,
        now: Instant,
    ) -> Result<(), Duration> {
        if limit == CallerRateLimit::default() {
            return Ok(());
        }
        let mut used_until = self.used_until.lock().unwrap_or_else(PoisonError::into_inner);
        let mut name = caller.unwrap_or_default();
        if !used_until.contains_key(name) && used_until.len() >= CALLERS_MAX {
            used_until.retain(|_, until| *until > now);
            name = if used_until.len() >= CALLERS_MAX { "" } else { name };
        }
        let used = used_until.get(name).copied().unwrap_or(now).max(now);
        if let Some(wait) = used.checked_duration_since(now + BURST).filter(|wait| !wait.is_zero()) {
            return Err(wait);
        }
        let until = used + cost(bytes, limit);
        match used_until.get_mut(name) {
            Some(known) => *known = until,
            None => drop(used_until.insert(name.to_owned(), until)),
        }
        Ok(())
    }
}

/// How long a share takes to grow by a request.
fn cost(bytes: usize, limit: CallerRateLimit) -> Duration {
    let by_requests = limit.requests_per_second.map_or(0.0, |max| 1.0 / f64::from(max));
    let by_bytes = limit.bytes_per_second.map_or(0.0, |max| bytes as f64 / max as f64);
    Duration::from_secs_f64(by_requests.max(by_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUESTS: CallerRateLimit =
        CallerRateLimit { requests_per_second: Some(10), bytes_per_second: None };

    /// Over ten seconds of trying every millisecond, a caller gets what it may have and the second in advance, and the wait
    /// that it is told is right; others notice nothing.
    #[test]
    fn each_has_its_own_share() {
        let (rates, start) = (CallerRates::default(), Instant::now());
        let (mut taken, mut told) = (0, None);
        for millisecond in 0..10_000 {
            let now = start + Duration::from_millis(millisecond);
            match rates.take(Some("shop"), 1, REQUESTS, now) {
                Ok(()) => {
                    assert!(told.is_none_or(|at| at <= now), "earlier than it was told");
                    (taken, told) = (taken + 1, None);
                }
                Err(wait) => told = told.or(Some(now + wait)),
            }
            if millisecond % 100 == 0 {
                rates.take(Some("stock"), 1, REQUESTS, now).unwrap();
                rates.take(None, 1, REQUESTS, now).unwrap();
            }
        }
        assert!((109..=111).contains(&taken), "{taken}");
    }

    /// A message may be larger than a second's share; the next one waits for it.
    #[test]
    fn bytes_count() {
        let limit = CallerRateLimit { requests_per_second: None, bytes_per_second: Some(1000) };
        let (rates, now) = (CallerRates::default(), Instant::now());
        rates.take(None, 5_000, limit, now).unwrap();
        assert_eq!(rates.take(None, 1, limit, now), Err(Duration::from_secs(4)));
        assert_eq!(rates.take(None, 1, limit, now + Duration::from_secs(4)), Ok(()));
        assert_eq!(rates.take(None, usize::MAX, CallerRateLimit::default(), now), Ok(()));
    }

    /// However many names there are, so many are kept; those that come on top share what is left, and one that has been
    /// silent gives its place back.
    #[test]
    fn callers_are_bounded() {
        let limit = CallerRateLimit { requests_per_second: Some(1), bytes_per_second: None };
        let (rates, now) = (CallerRates::default(), Instant::now());
        let take = |caller: usize, now| rates.take(Some(&format!("caller {caller}")), 1, limit, now);
        (0..CALLERS_MAX).for_each(|caller| take(caller, now).unwrap());
        let on_top = (CALLERS_MAX..CALLERS_MAX + 5).filter(|caller| take(*caller, now).is_ok()).count();
        assert_eq!(on_top, 2, "they share one");
        assert_eq!(rates.used_until.lock().unwrap().len(), CALLERS_MAX + 1);
        take(CALLERS_MAX, now + Duration::from_secs(3)).unwrap();
        assert_eq!(rates.used_until.lock().unwrap().len(), 1);
    }
}
