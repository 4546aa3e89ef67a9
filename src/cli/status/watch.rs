//! `status --watch` on a terminal: feeds the screen with what the agent tells, and with keys.

use std::{
    io::ErrorKind,
    process::ExitCode,
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use super::screen::{Command, Screen, Wish};
use crate::{
    admin::{Client, ClientError, Events, Pause, Resume, Status},
    cli::{
        output::{BAD, GOOD, styled},
        run::Signals,
        terminal::Terminal,
        text::printable,
    },
};

/// What is heard of the agent.
enum Update {
    Status(Box<Status>),
    /// It went away, and is looked for.
    Gone,
}

/// An agent that went away is looked for so often.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Ages grow on the screen although nothing is heard.
const TICK: Duration = Duration::from_secs(1);
/// Ctrl-C, as a shell has it.
const INTERRUPTED: u8 = 128 + 2;

/// Until a key or a signal ends it.
pub(super) async fn watch(client: &Client) -> anyhow::Result<ExitCode> {
    // Without an agent there is nothing to be drawn.
    let events = client.watch().await?;
    let mut resized = signal(SignalKind::window_change())?;
    let mut signals = Signals::new()?;
    let mut terminal = Terminal::enter()?;
    let (mut updates, mut keys) = (follow(client.clone(), events), terminal.keys());
    let mut commands = JoinSet::new();
    let mut screen = Screen::new(Instant::now());
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let lines = screen.draw(terminal.size(), Instant::now());
        match terminal.draw(&lines) {
            // The terminal is gone, and with it whoever looked.
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe) => return Ok(ExitCode::SUCCESS),
            drawn => drawn?,
        }
        tokio::select! {
            // Whoever wants to leave comes first.
            biased;
            number = signals.next() => return Ok(ExitCode::from(128 + number)),
            key = keys.recv() => match key.map(|key| screen.press(key)) {
                None | Some(Wish::Quit) => return Ok(ExitCode::SUCCESS),
                Some(Wish::Interrupt) => return Ok(ExitCode::from(INTERRUPTED)),
                Some(Wish::Do(command)) => _ = commands.spawn(carry_out(client.clone(), command)),
                Some(Wish::Nothing) => {}
            },
            Some(done) = commands.join_next() => screen.tell(done?),
            _ = resized.recv() => terminal.forget(),
            update = updates.recv() => match update {
                Some(Update::Status(status)) => screen.show(*status, Instant::now()),
                Some(Update::Gone) => screen.lose(),
                None => return Err(client.gone().into()),
            },
            _ = ticks.tick() => {}
        }
    }
}

/// What the agent tells, over its restarts; ends when nobody listens any more.
fn follow(client: Client, mut events: Events<Status>) -> mpsc::Receiver<Update> {
    let (tx, rx) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            while let Ok(Some(status)) = events.next().await {
                if tx.send(Update::Status(Box::new(status))).await.is_err() {
                    return;
                }
            }
            if tx.send(Update::Gone).await.is_err() {
                return;
            }
            events = loop {
                sleep(LOOK_EVERY).await;
                if let Ok(events) = client.watch().await {
                    break events;
                }
            };
        }
    });
    rx
}

/// Has the agent do it, and says what came of it.
async fn carry_out(client: Client, command: Command) -> String {
    let told = |done: Result<String, ClientError>| match done {
        Ok(words) => styled(GOOD, words),
        Err(error) => styled(BAD, printable(&error.to_string())),
    };
    match command {
        Command::Pause(name) => {
            let request = Pause { why: Some("an operator wants it so, by `status --watch`".to_owned()) };
            let done = client.pause(&name, &request).await;
            told(done.map(|_| format!("{} is paused", printable(&name))))
        }
        Command::Resume(name) => {
            let done = client.resume(&name, &Resume::default()).await;
            told(done.map(|_| format!("{} goes on", printable(&name))))
        }
    }
}
