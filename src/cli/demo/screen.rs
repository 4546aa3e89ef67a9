//! Shows how it goes, on stderr: live lines on a terminal, a plain line a second elsewhere, nothing if told so.
//! What happens on the way is told above the live lines.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use anstyle::{AnsiColor, Style};
use plugin_api::identity::Position;

use super::{narrator::Narrator, play::Status};
use crate::{
    cli::{
        live::Live,
        output::{self, BAD, GOOD, NAME, WARNING, styled},
        text::grouped,
    },
    delivery::{BreakerState, Snapshot},
};

const FAINT: Style = Style::new().dimmed();
const FILLED: Style = AnsiColor::Cyan.on_default();
/// Cells of a bar; with it a line is 80 columns wide.
const BAR: usize = 12;
const SECOND: Duration = Duration::from_secs(1);

/// See the module's text.
pub(super) struct Screen {
    output: Output,
    narrator: Narrator,
    rate: Rate,
}

enum Output {
    Quiet,
    /// When the last line was printed.
    Plain(Duration),
    Live(Live),
}

/// Records a second, over the last whole second.
#[derive(Default)]
struct Rate {
    since: Duration,
    acknowledged: u64,
    shown: u64,
}

impl Screen {
    /// Shows nothing.
    pub(super) fn quiet() -> Self {
        Self::new(Output::Quiet)
    }

    /// Live where both streams are terminals and nothing else writes there.
    pub(super) fn for_streams(logs: bool) -> Self {
        if logs || !io::stderr().is_terminal() || !io::stdout().is_terminal() {
            return Self::new(Output::Plain(Duration::ZERO));
        }
        Self::new(Output::Live(Live::new()))
    }

    fn new(output: Output) -> Self {
        Self { output, narrator: Narrator::default(), rate: Rate::default() }
    }

    /// Shows what has changed.
    pub(super) fn show(&mut self, status: &Status) {
        let told = self.narrator.tell(status);
        let rate = self.rate.of(status);
        match &mut self.output {
            Output::Quiet => {}
            Output::Plain(printed) => {
                told.iter().for_each(|text| output::complain(&event(status.elapsed, text)));
                if status.elapsed.as_secs() > printed.as_secs() {
                    *printed = status.elapsed;
                    output::complain(&plain(status, rate));
                }
            }
            Output::Live(live) => {
                told.iter().for_each(|text| live.tell(&event(status.elapsed, text)));
                live.draw(&lines(status, rate));
            }
        }
    }

    /// Takes the live lines away, so that something else can be printed.
    pub(super) fn clear(&mut self) {
        if let Output::Live(live) = &mut self.output {
            live.clear();
        }
    }
}

/// The lines at the bottom; the last one is for what went wrong.
fn lines(status: &Status, rate: u64) -> Vec<String> {
    let mut lines = vec![producer_line(status, rate)];
    lines.extend(status.lanes.iter().map(|lane| lane_line(lane, status)));
    lines.push(error_line(&status.lanes));
    lines
}

impl Rate {
    fn of(&mut self, status: &Status) -> u64 {
        let passed = status.elapsed.saturating_sub(self.since);
        if passed >= SECOND {
            let records = status.acknowledged - self.acknowledged;
            self.shown = (records as f64 / passed.as_secs_f64()) as u64;
            (self.since, self.acknowledged) = (status.elapsed, status.acknowledged);
        }
        self.shown
    }
}

fn event(elapsed: Duration, text: &str) -> String {
    format!("{}  {text}\n", styled(FAINT, format_args!("{:6.1} s", elapsed.as_secs_f64())))
}

fn producer_line(status: &Status, rate: u64) -> String {
    let bar = bar(status.acknowledged, status.records);
    let (acknowledged, rate) = (grouped(status.acknowledged), grouped(rate));
    format!("{} {bar} {acknowledged:>7} accepted {rate:>6}/s", styled(NAME, "producer"))
}

fn lane_line(lane: &Snapshot, status: &Status) -> String {
    let pending = lane.pending(status.end);
    let lag_style = if pending > status.records / 20 { WARNING } else { Style::new() };
    let lag = styled(lag_style, format_args!("{:>7} behind", grouped(pending)));
    let letters = match lane.totals.dead_lettered {
        0 => String::new(),
        1 => styled(WARNING, "  1 dead letter"),
        many => styled(WARNING, format_args!("  {many} dead letters")),
    };
    format!(
        "{} {} {:>7} written  {lag}  {}{letters}",
        styled(NAME, format_args!("{:8}", lane.destination)),
        bar(lane.totals.settled(), status.records),
        grouped(lane.totals.written),
        breaker(&lane.breaker),
    )
}

/// The last failure of whichever destination has one; empty otherwise, so that the lines stay where they are.
fn error_line(lanes: &[Snapshot]) -> String {
    let failing = lanes.iter().find_map(|lane| Some((lane, lane.last_error.as_ref()?)));
    failing.map_or_else(String::new, |(lane, error)| {
        styled(BAD, format_args!("{}: {}", lane.destination, innermost(error)))
    })
}

/// The end of a chain of causes, which says what happened ("Connection refused").
fn innermost(error: &str) -> &str {
    error.rsplit(": ").next().unwrap_or(error)
}

fn breaker(state: &BreakerState) -> String {
    match state {
        BreakerState::Closed => styled(GOOD, "● closed"),
        BreakerState::HalfOpen => styled(WARNING, "● half-open"),
        BreakerState::Open => styled(BAD, "● open"),
        BreakerState::Paused(_) => styled(BAD, "● paused"),
    }
}

fn bar(done: u64, all: u64) -> String {
    let cells = (done * BAR as u64 / all.max(1)).min(BAR as u64) as usize;
    format!("{}{}", styled(FILLED, "━".repeat(cells)), styled(FAINT, "─".repeat(BAR - cells)))
}

fn plain(status: &Status, rate: u64) -> String {
    let mut line = format!(
        "{:6.1} s  producer: {} accepted, {}/s",
        status.elapsed.as_secs_f64(),
        grouped(status.acknowledged),
        grouped(rate)
    );
    for lane in &status.lanes {
        line += &plain_lane(lane, status.end);
    }
    line + "\n"
}

fn plain_lane(lane: &Snapshot, end: Position) -> String {
    let breaker = match &lane.breaker {
        BreakerState::Closed => "closed",
        BreakerState::HalfOpen => "half-open",
        BreakerState::Open => "open",
        BreakerState::Paused(_) => "paused",
    };
    let (written, pending) = (grouped(lane.totals.written), grouped(lane.pending(end)));
    format!(" | {}: {written} written, {pending} behind, breaker {breaker}", lane.destination)
}
