//! The suite itself: a destination in memory that makes no mistake passes every case, and each mistake that a plugin
//! could make turns one red. A case that cannot fail is a defect.

mod memory;

use memory::{Memory, Mistake};

use super::{Client, cases};

mod right {
    crate::conformance!(super::Memory<false, { super::Mistake::NONE }>);
}

mod right_with_versions {
    crate::conformance!(super::Memory<true, { super::Mistake::NONE }>);
}

/// A test for each mistake: the case that finds it, and the words with which it does.
macro_rules! red {
    ($($mistake:ident $words:literal $group:ident::$case:ident $(<$driver:ty>)?)+) => { $(
        #[expect(non_snake_case, reason = "named after the mistake")]
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[should_panic(expected = $words)]
        async fn $mistake() {
            // Versions would hide one mistake and are what another is about.
            const VERSIONED: bool = Mistake::$mistake == Mistake::VERSIONS_NOT_CHECKED;
            cases::$group::$case::<Memory<VERSIONED, { Mistake::$mistake }> $(, $driver)?>().await;
        }
    )+ };
}

red! {
    APPLIES_BACKWARDS "is not what it must be" order::order_holds_under_concurrency<Client>
    ANSWERS_TOO_EARLY "is not what it must be" order::order_holds_under_concurrency<Client>
    LOST_IS_WRITTEN "is not what it must be" order::order_holds_through_lost_answers<Client>
    PART_IS_ALL "is not what it must be" order::order_holds_through_retries<Client>
    OUTAGE_IS_REJECTED "other changes were rejected" trouble::an_outage_loses_nothing<Client>
    UNKNOWN_IS_REJECTED "other changes were rejected" trouble::an_outage_that_looks_like_poison_loses_nothing<Client>
    PAGE_IS_REJECTED "other changes were rejected" trouble::a_page_of_a_proxy_loses_nothing<Client>
    PAUSE_IS_FORGOTTEN "sent again after" trouble::a_throttle_is_kept_to<Client>
    TOO_LARGE_IS_REJECTED "other changes were rejected" trouble::a_request_too_large_goes_out_in_parts<Client>
    WRONG_CULPRIT "other changes were rejected" poison::poison_that_is_named_goes_alone<Client>
    GUESSED_CULPRIT "other changes were rejected" poison::poison_without_a_name_goes_alone<Client>
    POISON_IS_APPLIED "is not what it must be" poison::poison_that_shows_as_500_goes_alone<Client>
    INDEX_TAKES_ALL "other changes were rejected" refused::a_refused_index_goes_alone<Client>
    REFUSAL_IS_REJECTED "other changes were rejected" refused::a_refused_destination_loses_nothing<Client>
    REPEATS_ARE_REJECTED "other changes were rejected" crash::a_crash_between_write_and_cursor_repeats_in_order<Client>
    VERSIONS_NOT_CHECKED "is not what it must be" late::late_after_newer_ends_at_the_newest<Client>
    LOST_IS_UNAVAILABLE "is told as" answers::a_lost_answer_is_unknown
    PROBE_IS_BLIND "it cannot serve" answers::a_probe_tells_what_a_write_would_meet
    ONE_VERDICT_SHORT "left == right" content::a_batch_is_applied_in_its_order
    NAMES_ARE_TRIMMED "left == right" content::what_is_admitted_arrives_unchanged
    TELLS_SECRET "an error tells a secret" secrets::errors_and_logs_tell_no_secret
    LOGS_SECRET "a secret was logged" secrets::errors_and_logs_tell_no_secret
    FOLLOWS_REDIRECT "it was followed" secrets::a_redirect_is_not_followed
}
