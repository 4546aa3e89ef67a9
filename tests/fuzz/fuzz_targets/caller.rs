//! What a sidecar says of a caller, and what comes before that.
#![no_main]

libfuzzer_sys::fuzz_target!(|header: &[u8]| sync_agent::ingress::fuzz::caller(header));
