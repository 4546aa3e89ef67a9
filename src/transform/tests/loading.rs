//! Modules that must not serve, and what their authors are told.

use super::*;

#[track_caller]
fn refused<T>(loaded: Result<T, LoadError>, words: &[&str]) {
    let Err(error) = loaded else { panic!("it was taken") };
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "\"{word}\" is missing in: {message}");
    }
    assert!(message.len() < 1_000 && !message.contains('\n'), "{message}");
}

/// Scenario: what is given is no component. Each kind is told apart, with what to do.
#[test]
fn not_a_component() {
    let compile = |bytes: &[u8]| Module::compile(engine(), bytes);
    refused(compile(b""), &["the file is empty", "target/wasm32-wasip2/release"]);
    refused(compile(b"<!doctype html>"), &["not WebAssembly"]);
    refused(compile(b"(module)"), &["as text"]);
    refused(compile(&[0x1f, 0x8b, 8, 0]), &["gzip"]);
    refused(compile(b"\x7fELF\x02"), &["a program for this machine"]);
    refused(compile(b"\0asm\x01\0\0\0"), &["core WebAssembly module", "--target wasm32-wasip2"]);
    refused(compile(&vec![0; Module::BYTES_MAX + 1]), &["the limit is 67108864"]);
}

/// Scenario: a file that was cut, or had a bit flipped on its way. Never a panic; cut files are refused.
#[test]
fn damaged_components() {
    let whole = guest("misbehaves");
    for length in [4, 7, 9, 100, whole.len() / 2, whole.len() - 1] {
        refused(Module::compile(engine(), &whole[..length]), &["damaged or half-written", "build it again"]);
    }
    refused(Module::compile(engine(), &whole[..8]), &["it exports nothing"]);
    for at in (8..whole.len()).step_by(whole.len() / 20) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x55;
        if let Ok(module) = Module::compile(engine(), &flipped) {
            // A constant may have changed; what it does then is bounded as everything is.
            let _ = module.smoke("{}", &Limits::default());
        }
    }
}

/// Scenario: components that have nothing to do with transforms, or with those of another version.
#[test]
fn wrong_world() {
    refused(
        compile("other-world"),
        &["does not export sync-agent:transform/transformer@1.0.0", "it exports greet", "transform.wit"],
    );
    refused(compile("other-version"), &["transformer@2.0.0", "this agent runs", "@1.0.0", "SDK"]);
    refused(
        compile("other-types"),
        &["its types are not those of the contract", "transform.wit", "unchanged"],
    );
}

/// Scenario: a transform that reads the clock.
#[test]
fn forbidden_import() {
    let error = compile("reads-clock").unwrap_err();
    assert!(
        matches!(&error, LoadError::ForbiddenImport { import, .. } if import.starts_with("wasi:clocks/")),
        "{error}"
    );
    refused(
        compile("reads-clock"),
        &["imports wasi:clocks/", "take the time from the record", "--disable clocks"],
    );
}

/// A good module tells what it is, and serves again from its compiled code.
#[test]
#[expect(unsafe_code, reason = "compiled a line above")]
fn good_modules() {
    let module = misbehaves();
    module.smoke("{}", &Limits::default()).unwrap();
    assert!(module.imports().iter().any(|import| import.starts_with("sync-agent:transform/log@")));
    assert_eq!(module.exports(), ["sync-agent:transform/transformer@1.0.0"]);
    assert_eq!(module.digest().to_string().len(), 64);

    // SAFETY: it was serialised here.
    let again =
        unsafe { Module::from_compiled(engine(), module.digest(), &module.serialize().unwrap()) }.unwrap();
    again.smoke("{}", &Limits::default()).unwrap();
    assert_eq!(again.digest(), module.digest());
}

/// Scenario: `init` says no, never ends, panics, or has too little memory.
#[test]
fn init_goes_wrong() {
    refused(
        start(&behave("init_error")),
        &["init refused to start: the table has no `currency`", "`config` table"],
    );
    refused(start(&behave("init_loop")), &["while it started", "250 ms of CPU time", "cpu_ms_max"]);
    refused(
        start(&behave("init_panic")),
        &["while it started", "panicked at", "lib.rs", "nothing to start with"],
    );
    refused(
        start(&behave("init_memory")),
        &["ran out of memory", "the limit is 67108864", "memory_bytes_max"],
    );

    let limits = Limits { memory_bytes_max: 16 << 20, ..Limits::default() };
    let start = |config: &str| Instance::start(misbehaves(), "products", config, &limits, LogTarget::Nowhere);
    refused(start(&behave("init_large")), &["ran out of memory", "the limit is 16777216"]);
    start(&behave("")).unwrap();
    let limits = Limits { memory_bytes_max: 1 << 16, ..Limits::default() };
    let started = Instance::start(misbehaves(), "products", "{}", &limits, LogTarget::Nowhere);
    refused(started, &["out of memory", "the limit is 65536"]);
}

/// Scenario: it starts, and then does not do what a transform does. `fail` is an answer like others.
#[test]
fn smoke() {
    let smoke = |how: &str| misbehaves().smoke(&behave(how), &Limits::default());
    for fine in ["", "skip", "fail", "bad_json", "emit"] {
        smoke(fine).unwrap();
    }
    refused(
        smoke("panic"),
        &["trial call with one record, a save of {}", "panicked", "no price in smoke-test", "return `fail`"],
    );
    refused(smoke("loop"), &["trial call", "endless loop"]);
    refused(smoke("wrong_count"), &["returned 0 outcomes for 1 records", "exactly one"]);
    refused(smoke("init_error"), &["init refused"]);
}
