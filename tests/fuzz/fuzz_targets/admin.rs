//! The body of a command to the admin API.
#![no_main]

use sync_agent::admin::{
    Drain, DropLetters, Find, Forget, ListLetters, Pause, Reload, Replay, ResetCursor, Resume, ShowLetter,
    Tail,
};

macro_rules! read {
    ($body:expr, $($command:ty),*) => { $(let _ = serde_json::from_slice::<$command>($body);)* };
}

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    read!(body, Drain, Find, Forget, Pause, Reload, ResetCursor, Resume, ShowLetter, Tail);
    let filters = [
        serde_json::from_slice::<ListLetters>(body).map(|list| list.filter),
        serde_json::from_slice::<Replay>(body).map(|replay| replay.filter),
        serde_json::from_slice::<DropLetters>(body).map(|drop| drop.filter),
    ];
    for filter in filters.into_iter().flatten() {
        let _ = filter.to_filter();
    }
});
