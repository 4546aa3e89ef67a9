//! A producer's message.
#![no_main]

libfuzzer_sys::fuzz_target!(|message: &[u8]| sync_agent::ingress::fuzz::request(message));
