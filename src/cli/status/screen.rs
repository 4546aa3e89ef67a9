//! What the live screen shows and what its keys mean; draws nothing itself.

use std::time::{Duration, Instant};

use super::{detail, text};
use crate::{
    admin::{DestinationState, DestinationStatus, Status},
    cli::{
        output::{BAD, NAME, WARNING, styled},
        terminal::{Key, Size},
        text::{printable, seconds, time_to_the_second},
    },
};

/// See the module's text.
pub(super) struct Screen {
    /// The newest, its destinations sorted, the worst first.
    status: Option<Status>,
    /// When it came.
    heard_at: Instant,
    /// The connection to the agent broke.
    gone: bool,
    /// The destination that the keys are about; none was chosen yet: the first one.
    chosen: Option<String>,
    /// All of that one is shown, and nothing else.
    in_detail: bool,
    /// The first line that is shown.
    top: usize,
    /// That line is moved so that the selected destination is among those that are shown.
    follows: bool,
    /// What is to be confirmed.
    question: Option<Command>,
    /// What came of the last command, or of the agent.
    note: Option<String>,
}

/// What is done with a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Pause(String),
    Resume(String),
}

/// What a key asks for beside another look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    Quit,
    Interrupt,
    Do(Command),
}

/// The agent tells its status every second; this long without it is worth a word.
const SILENCE: Duration = Duration::from_secs(5);
/// A destination that is behind by so many seconds goes before those that are not.
const BEHIND: f64 = 10.0;

impl Screen {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            status: None,
            heard_at: now,
            gone: false,
            chosen: None,
            in_detail: false,
            top: 0,
            follows: true,
            question: None,
            note: None,
        }
    }

    /// The agent's status has come.
    pub(super) fn show(&mut self, mut status: Status, now: Instant) {
        let before = self.status.as_ref().map(|status| status.started_at);
        if before.is_some_and(|before| before != status.started_at) {
            let since = time_to_the_second(status.started_at.0);
            self.note = Some(styled(WARNING, format!("another agent answers: it runs since {since}")));
        } else if self.gone {
            self.note = Some("connected again".to_owned());
        }
        status.destinations.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.name.cmp(&b.name)));
        let is_gone = |name: &String| status.destinations.iter().all(|destination| destination.name != *name);
        if self.chosen.as_ref().is_some_and(is_gone) {
            (self.chosen, self.in_detail, self.question) = (None, false, None);
        }
        (self.status, self.heard_at, self.gone) = (Some(status), now, false);
    }

    /// The agent went away, or ends.
    pub(super) fn lose(&mut self) {
        (self.gone, self.question) = (true, None);
    }

    /// Something is to be told until the next key.
    pub(super) fn tell(&mut self, note: String) {
        self.note = Some(note);
    }

    /// What a key means where things stand.
    pub(super) fn press(&mut self, key: Key) -> Wish {
        self.note = None;
        if let Some(command) = self.question.take() {
            return match key {
                Key::Interrupt => Wish::Interrupt,
                Key::Letter('y') => Wish::Do(command),
                // Whatever is not clearly a yes is a no.
                _ => Wish::Nothing,
            };
        }
        match key {
            Key::Interrupt => return Wish::Interrupt,
            Key::Letter('q') => return Wish::Quit,
            Key::Up | Key::Letter('k') => self.select(|at| at.saturating_sub(1)),
            Key::Down | Key::Letter('j') => self.select(|at| at + 1),
            Key::PageUp => self.scroll(|top| top.saturating_sub(PAGE)),
            Key::PageDown | Key::Letter(' ') => self.scroll(|top| top + PAGE),
            Key::Enter => self.look(true),
            Key::Escape => self.look(false),
            Key::Letter('p') => self.ask(),
            Key::Letter(_) => {}
        }
        Wish::Nothing
    }

    /// The lines for a terminal of this size; at most as many as it has.
    pub(super) fn draw(&mut self, size: Size, now: Instant) -> Vec<String> {
        let mut lines: Vec<String> = self.banner(now).into_iter().collect();
        let (body, selected) = self.body(size);
        // One line for the keys.
        let room = size.height.saturating_sub(lines.len() + 1).max(1);
        if let Some(selected) = selected.filter(|_| self.follows) {
            self.top = self.top.min(selected).max((selected + 1).saturating_sub(room));
            if selected < room {
                self.top = 0;
            }
        }
        self.top = self.top.min(body.len().saturating_sub(room));
        let end = (self.top + room).min(body.len());
        let cut = if end - self.top < body.len() {
            format!("  lines {} to {end} of {}", self.top + 1, body.len())
        } else {
            String::new()
        };
        lines.extend(body.into_iter().skip(self.top).take(room));
        lines.resize(lines.len().max(size.height.saturating_sub(1)), String::new());
        lines.push(self.footer() + &cut);
        lines
    }

    fn body(&self, size: Size) -> (Vec<String>, Option<usize>) {
        let Some(status) = &self.status else { return (vec!["the agent is asked".to_owned()], None) };
        match self.destination().filter(|_| self.in_detail) {
            Some(destination) => (detail::lines(destination, status.at, size.width), None),
            None => text::marked(status, self.destination().map(|destination| &*destination.name)),
        }
    }

    /// Why what is shown may be out of date.
    fn banner(&self, now: Instant) -> Option<String> {
        let silent = now.duration_since(self.heard_at);
        let since = seconds(silent.as_secs_f64());
        if self.gone {
            let words =
                format!("the agent went away {since} ago, and is looked for; below is how it was then");
            return Some(styled(BAD, words));
        }
        let words = format!("the agent has told nothing for {since}; below is how it was then");
        (silent >= SILENCE).then(|| styled(BAD, words))
    }

    fn footer(&self) -> String {
        match (&self.question, &self.note) {
            (Some(Command::Pause(name)), _) => {
                let words = "its records wait in the log, also after a restart, until it is resumed";
                format!("{} {}? y: yes, any other key: no; {words}", styled(WARNING, "pause"), shown(name))
            }
            (Some(Command::Resume(name)), _) => {
                format!("{} {}? y: yes, any other key: no", styled(WARNING, "resume"), shown(name))
            }
            (None, Some(note)) => note.clone(),
            (None, None) if self.in_detail => {
                "esc back  up/down the next  p pause or resume  q quit".to_owned()
            }
            (None, None) => "up/down select  enter detail  p pause or resume  q quit".to_owned(),
        }
    }

    fn destination(&self) -> Option<&DestinationStatus> {
        let all = &self.status.as_ref()?.destinations;
        match &self.chosen {
            Some(chosen) => all.iter().find(|destination| destination.name == *chosen),
            None => all.first(),
        }
    }

    fn select(&mut self, to: impl Fn(usize) -> usize) {
        let Some(status) = &self.status else { return };
        let chosen = |destination: &DestinationStatus| Some(&destination.name) == self.chosen.as_ref();
        let at = status.destinations.iter().position(chosen).unwrap_or(0);
        if let Some(destination) = status.destinations.get(to(at)) {
            self.chosen = Some(destination.name.clone());
        }
        self.follows = true;
        if self.in_detail {
            self.top = 0;
        }
    }

    fn scroll(&mut self, to: impl Fn(usize) -> usize) {
        (self.top, self.follows) = (to(self.top), false);
    }

    fn look(&mut self, in_detail: bool) {
        self.choose();
        (self.in_detail, self.top, self.follows) = (in_detail && self.chosen.is_some(), 0, true);
    }

    /// Stays with the destination that is selected, whatever comes before it from now on.
    fn choose(&mut self) {
        self.chosen = self.destination().map(|destination| destination.name.clone());
    }

    /// Asks whether the destination is to be paused or resumed, whichever it is not.
    fn ask(&mut self) {
        self.choose();
        let Some(destination) = self.destination() else { return };
        let name = destination.name.clone();
        let words = match destination.state {
            _ if self.gone => "there is no agent to be asked".to_owned(),
            DestinationState::Paused => return self.question = Some(Command::Resume(name)),
            DestinationState::Detached => {
                let words =
                    "is detached, and what it missed is gone: see `sync-agent destination resume --help`";
                format!("{} {words}", shown(&name))
            }
            DestinationState::NotConfigured => format!("{} is not configured any more", shown(&name)),
            DestinationState::Running
            | DestinationState::BackingOff
            | DestinationState::Open
            | DestinationState::Halted => return self.question = Some(Command::Pause(name)),
        };
        self.note = Some(words);
    }
}

/// Lines by which a page moves.
const PAGE: usize = 10;

fn shown(name: &str) -> String {
    styled(NAME, printable(name))
}

/// The worst first; by nothing that changes every second, so that lines stay where they are.
fn rank(destination: &DestinationStatus) -> u8 {
    match destination.state {
        DestinationState::Halted => 0,
        DestinationState::Detached => 1,
        DestinationState::Open => 2,
        DestinationState::BackingOff => 3,
        DestinationState::Paused => 4,
        DestinationState::Running if destination.lag.seconds >= BEHIND => 5,
        DestinationState::Running if destination.dead_letters.letters > 0 => 6,
        DestinationState::Running => 7,
        DestinationState::NotConfigured => 8,
    }
}

#[cfg(test)]
mod tests;
