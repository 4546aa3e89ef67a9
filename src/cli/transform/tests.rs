//! The commands on real modules: the examples, built from their sources, and guests that misbehave.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use clap::{CommandFactory as _, Parser as _, ValueEnum as _};
use harness::guests;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Arguments, Command as Subcommand, Outcome, Streams, execute, kit::Example};

#[derive(Debug, clap::Parser)]
struct Program {
    #[command(flatten)]
    arguments: Arguments,
}

struct Ran {
    outcome: Outcome,
    out: String,
    errors: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.errors))
    }
}

fn run(words: &[&str]) -> Ran {
    let arguments = Program::try_parse_from(["transform"].iter().chain(words)).unwrap().arguments;
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let Subcommand::OnModule(command) = arguments.command else { panic!("{words:?} asks an agent") };
    let outcome = execute(&command, &mut Streams { out: &mut out, errors: &mut errors }).unwrap();
    let plain = |bytes: Vec<u8>| anstream::adapter::strip_str(&String::from_utf8(bytes).unwrap()).to_string();
    Ran { outcome, out: plain(out), errors: plain(errors) }
}

/// A directory with one file in it.
fn file(name: &str, content: impl AsRef<[u8]>) -> (TempDir, String) {
    let dir = TempDir::new().unwrap();
    let path = put(&dir, name, content);
    (dir, path)
}

fn put(dir: &TempDir, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    path.into_os_string().into_string().unwrap()
}

fn examples() -> impl Iterator<Item = (Example, String)> {
    let name = |example: &Example| example.to_possible_value().unwrap().get_name().to_owned();
    Example::value_variants().iter().map(move |example| (*example, name(example)))
}

fn transforms() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("transforms")
}

/// The cargo that runs this test, told nothing of what this one was told.
fn cargo(dir: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(name);
    }
    cargo.current_dir(dir).env("CARGO_TARGET_DIR", guests::target());
    cargo
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{command:?}: {}", told.join("\n"));
}

#[test]
fn the_arguments_are_consistent() {
    Program::command().debug_assert();
}

/// The kit's own tests, and every example natively on its fixtures.
#[test]
fn the_kit_passes_its_tests() {
    succeeds(cargo(&transforms()).args(["test", "--quiet", "--locked"]));
}

/// Each example as a module, run by the host, makes what its native tests say: kit, bindings and host agree.
#[test]
fn every_example_makes_what_its_fixtures_say() {
    for (example, name) in examples() {
        let (_dir, module) = file("module.wasm", guests::example(&name));
        let fixtures = transforms().join("examples").join(&name).join("fixtures");
        let [input, expect] =
            ["input.ndjson", "expect.ndjson"].map(|name| fixtures.join(name).display().to_string());
        let config = example.config().unwrap_or("{}");
        let ran =
            run(&["test", &module, "--input", &input, "--expect", &expect, "--config", config, "--json"]);
        let report = ran.json();
        assert_eq!((ran.outcome, &report["passed"]), (Outcome::Done, &json!(true)), "{name}: {report:#}");
        assert!(report["records"].as_u64() >= Some(7));
    }
}

/// From an installed binary to a module that does what its fixtures say, with nothing but the crates that the kit
/// itself has: no repository, no network.
#[test]
fn a_new_project_builds_and_passes() {
    let dir = TempDir::new().unwrap();
    for (example, name) in examples() {
        let project = dir.path().join(format!("my-{name}"));
        let path = project.display().to_string();
        let made = run(&["new", &path, "--example", &name]);
        assert_eq!(made.outcome, Outcome::Done, "{}", made.errors);
        assert!(made.out.contains(&format!("my_{name}.wasm")), "{}", made.out);
        assert_eq!(run(&["new", &path]).outcome, Outcome::Unusable, "what is there is not written over");
        if example == Example::Rename {
            succeeds(cargo(&project).args(["test", "--quiet", "--offline"]));
        }
        let release = guests::build_offline(&project, &guests::target()).unwrap();
        let module = release.join(format!("my_{name}.wasm")).display().to_string();
        let [input, expect] = ["input.ndjson", "expect.ndjson"].map(|name| format!("{path}/fixtures/{name}"));
        let config = example.config().unwrap_or("{}");
        let ran = run(&["test", &module, "--input", &input, "--expect", &expect, "--config", config]);
        assert_eq!(ran.outcome, Outcome::Done, "{}{}", ran.out, ran.errors);
    }
}

/// `build` is cargo and a look at the result; what it prints can be given to `inspect`.
#[test]
fn what_is_built_can_be_inspected() {
    let unchanged = transforms().join("unchanged").display().to_string();
    let built = run(&["build", &unchanged, "--json"]);
    assert_eq!(built.outcome, Outcome::Done, "{}", built.errors);
    let report = built.json();
    let module = report["modules"][0]["path"].as_str().unwrap();
    let inspected = run(&["inspect", module, "--json"]).json();
    assert_eq!(inspected["sha256"], report["modules"][0]["sha256"]);
    assert_eq!(inspected["world"], "sync-agent:transform/transform@1.0.0");
    assert_eq!(inspected["loads"], true);

    let empty = TempDir::new().unwrap();
    let nothing = run(&["build", &empty.path().display().to_string()]);
    assert_eq!(nothing.outcome, Outcome::Unusable);
    assert!(nothing.errors.contains("transform new"), "{}", nothing.errors);
}

/// Who gets a module refused reads why and what to do, and sees what it imports.
#[test]
fn inspect_says_why_a_module_is_refused() {
    let (dir, module) = file("module.wasm", guests::guest("reads-clock"));
    let ran = run(&["inspect", &module]);
    assert_eq!(ran.outcome, Outcome::Failed);
    for words in
        ["imports", "wasi:clocks/", "loads    no: it imports wasi:clocks/", "take the time from the record"]
    {
        assert!(ran.out.contains(words), "{words}: {}", ran.out);
    }

    let redact = put(&dir, "redact.wasm", guests::example("redact"));
    let without_config = run(&["inspect", &redact]);
    assert_eq!(without_config.outcome, Outcome::Failed);
    assert!(without_config.out.contains("missing field `fields`"), "{}", without_config.out);
    assert_eq!(run(&["inspect", &redact, "--config", r#"{ fields = ["email"] }"#]).outcome, Outcome::Done);

    let text = put(&dir, "text.wasm", "not a module");
    assert_eq!(run(&["inspect", &text]).outcome, Outcome::Failed);
    assert_eq!(run(&["inspect", &format!("{text}.missing")]).outcome, Outcome::Unusable);
}

/// The difference is shown by attribute, and scripts see it by the exit code.
#[test]
fn test_shows_what_is_not_as_expected() {
    let (dir, module) = file("module.wasm", guests::example("redact"));
    let config = ["--config", r#"{ fields = ["email"] }"#];
    let input = put(&dir, "input", "{\"objectID\":\"1\",\"email\":\"a@b\",\"n\":1}\n{\"objectID\":\"2\"}\n");
    let expect = put(&dir, "expect", "{\"objectID\":\"1\",\"n\":2}\n{\"objectID\":\"2\"}\n");
    let ran = run(&[&["test", &module, "--input", &input, "--expect", &expect], config.as_slice()].concat());
    assert_eq!(ran.outcome, Outcome::Failed);
    let shown = "line 1: save 1 is not as expected\n    save 1\n      - n: 2\n      + n: 1\n";
    assert!(ran.out.starts_with(shown), "{}", ran.out);
    assert!(ran.out.contains("failed: 2 records, 1 not as expected"), "{}", ran.out);

    // What it writes is what it then expects.
    let wanted = dir.path().join("wanted").display().to_string();
    let writing =
        run(&[&["test", &module, "--input", &input, "--output", &wanted], config.as_slice()].concat());
    assert_eq!(writing.outcome, Outcome::Done);
    assert!(
        writing.out.contains("- email: \"a@b\"") && writing.out.contains("save 2 unchanged"),
        "{}",
        writing.out
    );
    let again =
        run(&[&["test", &module, "--input", &input, "--expect", &wanted], config.as_slice()].concat());
    assert_eq!(again.outcome, Outcome::Done, "{}", again.out);

    let short = put(&dir, "short", "{\"objectID\":\"1\",\"n\":1}\n");
    let ran = run(&[&["test", &module, "--input", &input, "--expect", &short], config.as_slice()].concat());
    assert_eq!(ran.outcome, Outcome::Failed);
    assert!(ran.out.contains("1 lines are expected, but the input has 2"), "{}", ran.out);

    let bad = put(&dir, "bad", "{\"objectID\":\"1\"}\nnonsense\n");
    let ran = run(&[&["test", &module, "--input", &bad], config.as_slice()].concat());
    assert_eq!(ran.outcome, Outcome::Unusable);
    assert!(ran.errors.contains("bad: line 2: is not JSON"), "{}", ran.errors);
}

/// State between records is unsupported, since instances come and go: a module that counts is found out, though each
/// record alone looks fine. One that is sound is not suspected.
#[test]
fn test_finds_a_module_that_remembers() {
    let (dir, module) = file("module.wasm", guests::guest("misbehaves"));
    let input = put(&dir, "input", "{\"objectID\":\"1\"}\n{\"objectID\":\"2\"}\n{\"objectID\":\"3\"}\n");
    let counting = run(&["test", &module, "--input", &input, "--config", r#"{"behave":"count"}"#, "--json"]);
    assert_eq!(counting.outcome, Outcome::Failed);
    let report = counting.json();
    assert_eq!(report["unstable"], 3, "{report:#}");
    assert_eq!(report["results"][1]["becomes"], json!({"objectID": "2", "seen": 0}));
    assert_eq!(report["results"][1]["unstable"]["becomes"], json!({"objectID": "2", "seen": 1}));

    let sound = run(&["test", &module, "--input", &input, "--config", r#"{"behave":"identity"}"#]);
    assert_eq!(sound.outcome, Outcome::Done, "{}", sound.out);
    let panics = run(&["test", &module, "--input", &input, "--config", r#"{"behave":"panic","only":"2"}"#]);
    assert_eq!(panics.outcome, Outcome::Failed);
    assert!(panics.out.contains("line 2: save 2 fails: it panicked"), "{}", panics.out);
    assert!(panics.out.contains("line 3: save 3 unchanged"), "{}", panics.out);
    let logs = run(&["test", &module, "--input", &input, "--config", r#"{"behave":"log","only":"2"}"#]);
    assert!(logs.errors.starts_with("warning: saw 2"), "{}", logs.errors);
}

/// The module's cost stands beside the cost of calling one at all.
#[test]
fn bench_measures_beside_unchanged() {
    let (dir, module) = file("redact.wasm", guests::example("redact"));
    let input =
        put(&dir, "input", "{\"objectID\":\"1\",\"email\":\"a@b\",\"n\":1}\n{\"objectID\":\"2\",\"n\":1}\n");
    let config = r#"{ fields = ["email"] }"#;
    let arguments = ["bench", &module, "--input", &input, "--config", config, "--seconds", "0.05"];
    let report = run(&[arguments.as_slice(), &["--json"]].concat()).json();
    let [measured, floor] = report["rows"].as_array().unwrap().as_slice() else { panic!("{report:#}") };
    assert_eq!((&measured["module"], &floor["module"]), (&json!("redact"), &json!("unchanged")));
    for row in [measured, floor] {
        assert!(
            row["ns_per_record"].as_f64() > Some(0.0) && row["memory_bytes"].as_u64() > Some(0),
            "{row:#}"
        );
    }
    assert!(run(&arguments).out.contains("RECORDS/S"));
    let refused = run(&["bench", &module, "--input", &input]);
    assert_eq!(refused.outcome, Outcome::Failed);
}
