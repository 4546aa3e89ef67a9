//! `sync-agent status --watch` on a terminal: one that `script` of util-linux makes, and writes down.

use std::{
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use harness::process::Agent;
use serde_json::Value;

use crate::support::{DEADLINE, eventually, setup};

/// The alternate screen, and the one before.
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

/// A terminal with a shell on it, which shows the screen and then how it was left.
struct Terminal {
    child: Child,
    written: PathBuf,
}

impl Terminal {
    /// `None` where there is no `script`.
    #[expect(clippy::print_stderr, reason = "whoever reads the test's output must see that it was skipped")]
    fn start(agent: &Agent, name: &str) -> Option<Self> {
        let written = agent.directory().join(name);
        let screen = env!("CARGO_BIN_EXE_sync-agent");
        let data = agent.data_directory();
        // Its own process id comes first, so that the test may signal the screen.
        let shell =
            format!("sh -c 'echo pid $$.; exec {screen} status --watch --data-dir {}'", data.display());
        let shell = format!("{shell}; echo code $?.; stty -a");
        let mut command = Command::new("script");
        command.args(["--quiet", "--flush", "--command", &shell]).arg(&written).env("TERM", "xterm");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(File::create("/dev/null").unwrap());
        match command.spawn() {
            Ok(child) => Some(Self { child, written }),
            Err(error) => {
                eprintln!("skipped: `script` cannot be started: {error}");
                None
            }
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.written).unwrap_or_default()).into_owned()
    }

    async fn shows(&self, what: &str) {
        eventually(&format!("it shows {what:?}"), || std::future::ready(self.text().contains(what))).await;
    }

    fn press(&mut self, keys: &str) {
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// What it shows after the screen was left, with `code N.` first; the terminal is as it was before.
    async fn is_left_with(&mut self, code: u8) {
        self.shows("echoctl").await;
        let text = self.text();
        let (before, after) = text.rsplit_once(LEAVE).unwrap();
        assert!(before.contains(ENTER), "{text:?}");
        assert!(after.trim_start().starts_with(&format!("code {code}.")), "{after:?}");
        for set in ["icanon", "echo", "isig", "opost"] {
            assert!(after.split_whitespace().any(|word| word == set), "{set} is missing in {after:?}");
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn state(agent: &Agent) -> Value {
    let output = agent.execute(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    status["destinations"][0]["state"].clone()
}

/// Scenario: an operator looks at the screen, pauses a destination there, and the agent restarts meanwhile; the screen is
/// left by a key, by Ctrl-C and by SIGTERM.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_screen_outlives_the_agent_and_leaves_the_terminal_as_it_was() {
    let mut agent = setup().file("archive").start().await.unwrap();
    let Some(mut terminal) = Terminal::start(&agent, "first") else { return };
    terminal.shows("q quit").await;
    terminal.shows(ENTER).await;
    // Before the agent has told of a destination there is none to be paused.
    terminal.shows("archive").await;
    terminal.press("p");
    terminal.shows("y: yes, any other key: no").await;
    assert_eq!(state(&agent), "running", "it was not confirmed");
    terminal.press("y");
    terminal.shows("archive is paused").await;
    assert_eq!(state(&agent), "paused");
    terminal.press("\r");
    terminal.shows("what became of every record").await;

    agent.kill();
    terminal.shows("the agent went away").await;
    agent.restart().await.unwrap();
    terminal.shows("another agent answers").await;
    terminal.press("q");
    terminal.is_left_with(0).await;

    let Some(mut terminal) = Terminal::start(&agent, "second") else { return };
    terminal.shows("q quit").await;
    terminal.press("\x03");
    terminal.is_left_with(130).await;

    let Some(mut terminal) = Terminal::start(&agent, "third") else { return };
    terminal.shows("q quit").await;
    let text = terminal.text();
    // What is run stands above, too.
    let process = text.rsplit_once("pid ").and_then(|(_, after)| after.split_once('.')).unwrap().0.to_owned();
    assert!(Command::new("kill").args(["-TERM", &process]).status().unwrap().success());
    terminal.is_left_with(143).await;

    agent.terminate(DEADLINE).await.unwrap();
    let Some(terminal) = Terminal::start(&agent, "fourth") else { return };
    terminal.shows("code 1.").await;
    let text = terminal.text();
    assert!(text.contains("no agent runs on") && !text.contains(ENTER), "{text:?}");
}
