//! The conformance suite: what every destination must keep to, whatever it is.
//!
//! A plugin's test implements [`Subject`] for a real server on a loopback socket, or a directory, and gets every case
//! with one line, each as a test of its own:
//!
//! ```ignore
//! plugin_api::conformance!(MySubject);
//! ```
//!
//! Most cases send changes through an engine while something goes wrong, and then look at what the destination holds.
//! With one argument that engine is the [`Client`], the smallest one that is right: it shows that the plugin's answers
//! are enough for an engine to do the right thing. With a [`Driver`] as second argument the same cases run with that
//! one, such as the agent's own lane:
//!
//! ```ignore
//! plugin_api::conformance!(MySubject, MyDriver);
//! ```
//!
//! After each case it holds that every change was either applied or rejected and not both, that exactly the bad ones
//! were rejected, that every object ends at its newest, that no object's operations went out of order, and that
//! neither errors nor logs tell a secret.
//!
//! Read: `subject` (what a plugin's test gives), `driver` (what an engine does) and `client`, `history` (what is
//! accepted), `trial` (one test) and `judge` (what must hold after it), then the cases.

mod subject;

mod client;
mod driver;

mod history;
mod judge;
mod trial;
mod witness;

#[cfg(test)]
mod tests;

#[doc(hidden)]
pub mod cases;

pub use client::Client;
pub use driver::{Driver, Progress, Rejected, Tuning};
pub use history::Change;
pub use subject::{Applied, Fault, Poison, State, Subject};

/// Makes a test of each case, in the module where it stands; the crate needs `tokio` with macros and threads.
#[macro_export]
macro_rules! conformance {
    ($subject:ty) => {
        $crate::conformance!($subject, $crate::testing::Client);
        $crate::__conformance_cases! { [$subject]
            answers::an_outage_is_unavailable
            answers::a_service_that_does_not_serve_is_unavailable
            answers::a_throttle_is_told_with_its_pause
            answers::a_lost_answer_is_unknown
            answers::a_part_that_is_not_taken_comes_back
            answers::a_request_too_large_is_told
            answers::a_refused_destination_is_misconfigured
            answers::a_page_of_a_proxy_concerns_the_destination
            answers::a_refused_index_is_named
            answers::a_bad_record_is_named
            answers::a_bad_batch_is_to_be_bisected
            answers::poison_in_disguise_is_unknown
            answers::a_probe_tells_what_a_write_would_meet
            content::a_batch_is_applied_in_its_order
            content::what_is_admitted_arrives_unchanged
            content::a_batch_may_be_as_large_as_it_says
            content::a_dropped_write_harms_nothing
            secrets::errors_and_logs_tell_no_secret
            secrets::a_redirect_is_not_followed
        }
    };
    ($subject:ty, $driver:ty) => {
        $crate::__conformance_cases! { [$subject, $driver]
            order::order_holds_under_concurrency
            order::order_holds_through_lost_answers
            order::order_holds_through_retries
            trouble::an_outage_loses_nothing
            trouble::a_service_that_does_not_serve_loses_nothing
            trouble::writes_that_are_not_taken_lose_nothing
            trouble::an_outage_that_looks_like_poison_loses_nothing
            trouble::a_page_of_a_proxy_loses_nothing
            trouble::a_brown_out_loses_nothing
            trouble::a_throttle_is_kept_to
            trouble::a_request_too_large_goes_out_in_parts
            poison::poison_that_is_named_goes_alone
            poison::poison_without_a_name_goes_alone
            poison::poison_that_shows_as_an_item_error_goes_alone
            poison::poison_that_shows_as_500_goes_alone
            poison::poison_that_shows_as_a_time_out_goes_alone
            refused::a_refused_index_goes_alone
            refused::a_refused_destination_loses_nothing
            crash::a_crash_between_write_and_cursor_repeats_in_order
            crash::a_crash_before_the_answer_repeats_in_order
            crash::a_crash_in_the_middle_of_a_write_leaves_no_trace
            late::late_before_the_resend_changes_nothing
            late::late_after_newer_ends_at_the_newest
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {
    ([$subject:ty] $($group:ident::$case:ident)+) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            if <$subject as $crate::testing::Subject>::is_there() {
                $crate::testing::cases::$group::$case::<$subject>().await;
            }
        }
    )+ };
    ([$subject:ty, $driver:ty] $($group:ident::$case:ident)+) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            if <$subject as $crate::testing::Subject>::is_there() {
                $crate::testing::cases::$group::$case::<$subject, $driver>().await;
            }
        }
    )+ };
}
