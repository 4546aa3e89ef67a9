//! The data teams' page, from `transform new` to live: every block of it, as it stands in `README.md`, in its order.
//!
//! It compiles a project twice, so it is one of those that `clients/run` asks for.

use std::{env, fs, path::Path};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    clients::{DEADLINE, arrived},
    launched::setup,
};

/// The section's blocks of one language.
fn blocks(section: &str, fence: &str) -> Vec<String> {
    let fence = format!("```{fence}\n");
    section.split(&fence).skip(1).map(|rest| rest.split_once("```").unwrap().0.to_owned()).collect()
}

/// Runs commands with the agent's binary in the PATH, and with what it built before.
async fn run(commands: &str, directory: &Path) {
    let binary = Path::new(env!("CARGO_BIN_EXE_sync-agent"));
    let path = format!("{}:{}", binary.parent().unwrap().display(), env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    shell.args(["-euc", commands]).current_dir(directory).env("PATH", path).kill_on_drop(true);
    // What cargo told this test is not for the project.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR"] {
        shell.env_remove(name);
    }
    let output = tokio::time::timeout(DEADLINE, shell.output()).await.expect("it ends in time").unwrap();
    let printed = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{commands}\n{printed}");
}

/// Scenario: somebody follows the page: makes a project, writes the example on the page, builds it, tries it, and
/// sends a record through it.
///
/// Protects what the page promises.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_new_to_live() {
    if !env::var("CLIENTS").unwrap_or_default().split_whitespace().any(|it| it == "transforms") {
        eprintln!("skipped: CLIENTS does not name transforms (tests/real/clients/run sets it)");
        return;
    }
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, section) = readme.split_once("\n## For data teams\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let [begin, attempts] = &blocks(section, "sh")[..] else { panic!("not two blocks of commands") };
    let setup = setup().file("archive");
    let home = setup.directory().to_owned();
    run(begin, &home).await;
    let project = home.join("no-emails");
    let module = "no_emails.wasm";
    let built = project.join("target/wasm32-wasip2/release").join(module);
    fs::create_dir(home.join("transforms")).unwrap();
    fs::copy(&built, home.join("transforms").join(module)).unwrap();

    // Everything on the page has a destination called `search`.
    let live = blocks(section, "toml").remove(0).replace("\"search\"", "\"archive\"");
    let mut agent = setup.config(&live).start().await.unwrap();
    let order = |total| json!({ "objectID": "1", "email": "ada@example.org", "total": total });
    let lines: String = (1..=3).map(|total| format!("{}\n", order(total))).collect();
    fs::write(project.join("records.ndjson"), lines).unwrap();
    let address = agent.address();
    run(&format!("sync-agent send --target {address} --index orders records.ndjson"), &project).await;
    let expected: Vec<Value> = (1..=3).map(|total| json!(["save", "1", { "total": total }])).collect();
    assert_eq!(arrived(&agent, "orders").await, json!(expected));

    fs::copy(&built, project.join(module)).unwrap();
    let data = agent.data_directory().display().to_string();
    agent.terminate(DEADLINE).await.unwrap();
    let on_data = |line: &str| match line.split_whitespace().nth(1) {
        Some("dead-letters" | "log") => line.replacen(" > ", &format!(" --data-dir {data} > "), 1),
        _ => line.to_owned(),
    };
    let attempts: Vec<String> = attempts.lines().map(on_data).collect();
    run(&attempts.join("\n"), &project).await;
    assert_eq!(fs::read_to_string(project.join("accepted.ndjson")).unwrap().lines().count(), 3);

    fs::write(project.join("src/lib.rs"), blocks(section, "rust").remove(0)).unwrap();
    let shout = "echo '{\"objectID\":\"1\",\"name\":\"lamp\"}' > shout.ndjson\nsync-agent transform build\n\
                 sync-agent transform test target/wasm32-wasip2/release/no_emails.wasm --input shout.ndjson | grep LAMP";
    run(shout, &project).await;
}
