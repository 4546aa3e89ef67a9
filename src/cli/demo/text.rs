//! The demo's words: what is about to happen, the proof for people, and what to try next.

use std::{env, fmt::Write, net::SocketAddr, path::Path};

use anstyle::Style;
use plugin_api::identity::Position;

use super::{
    PACE,
    plan::{INDEX, Plan},
    proof::{Account, DeadLetter, Proof, Transformed},
    stage::{ALGOLIA, COPY, ELASTIC, FILES, Stage},
};
use crate::{
    cli::{
        output::{BAD, GOOD, HEADING, NAME, WARNING, styled},
        text::grouped,
    },
    delivery::Snapshot,
};

const FAINT: Style = Style::new().dimmed();

/// What is about to happen.
pub(super) fn heading(plan: Plan, stage: &Stage) -> String {
    format!(
        "{}
A producer sends {} changes of products by gRPC. The agent answers once they
are safe in its log on disk, and delivers them, in order, to {}, {} and
{}. On the way a transform, a WebAssembly module, removes the e-mail
addresses. Elasticsearch (a fake one) will be down for a while, and one record
is poison to Algolia (another fake). At the end the config is edited while the
agent runs: it adds {}, which is filled from the log.

{FAINT}changes  {} saves, {} new prices, {} deletes
agent    {}, config {}
fakes    {}, {}{FAINT:#}

",
        styled(HEADING, "sync-agent demo"),
        grouped(plan.records()),
        styled(NAME, FILES),
        styled(NAME, ALGOLIA),
        styled(NAME, ELASTIC),
        styled(NAME, COPY),
        grouped(plan.saves()),
        grouped(plan.updates()),
        grouped(plan.deletes()),
        stage.agent.address(),
        stage.config_path().display(),
        stage.algolia.url(),
        stage.elasticsearch.url(),
    )
}

/// The proof for people, styled.
pub(super) fn proof(proof: &Proof) -> String {
    let mut text = format!(
        "\n{}\n  {FAINT}  {:7} {:>8}   {:>7}   {:>10}   {:>7}   {:>13}   {:>7}{FAINT:#}\n",
        styled(HEADING, "What became of every record, as the agent counts"),
        "",
        "accepted",
        "written",
        "superseded",
        "skipped",
        "dead-lettered",
        "pending",
    );
    proof.accounts.iter().for_each(|row| text += &account(row));
    let _ = writeln!(text, "\n{}", styled(HEADING, "What is really there, counted without it"));
    for check in &proof.checks {
        let _ = writeln!(text, "  {} {}", tick(check.holds), check.claim);
    }
    text += &change(&proof.transformed);
    proof.dead_letters.iter().for_each(|row| text += &letter(row));
    let verdict = match proof.holds {
        true => {
            styled(GOOD, "Nothing was lost: each record was delivered or is a dead letter with a reason.")
        }
        false => styled(BAD, "The proof does not hold: see what is crossed above."),
    };
    // A slow machine, or many records: then it is not the pace that shows.
    let paced = if proof.seconds < 1.1 * PACE.as_secs_f64() { ", paced for watching" } else { "" };
    let _ = writeln!(
        text,
        "\n{verdict}\n{} records in {:.1} s with the outage: {} a second{paced}.",
        grouped(proof.acknowledged),
        proof.seconds,
        grouped(proof.records_per_second as u64),
    );
    text
}

fn account(row: &Account) -> String {
    format!(
        "  {} {} {:>8} = {:>7} + {:>10} + {:>7} + {:>13} + {:>7}\n",
        tick(row.holds),
        styled(NAME, format_args!("{:7}", row.destination)),
        grouped(row.accepted),
        grouped(row.written),
        grouped(row.superseded),
        grouped(row.skipped),
        grouped(row.dead_lettered),
        grouped(row.pending),
    )
}

fn change(transformed: &Transformed) -> String {
    let Transformed { object_id, sent, arrived } = transformed;
    format!(
        "\n{}\n  sent     {sent}\n  arrived  {arrived}\n",
        styled(HEADING, format_args!("The supplier of {object_id}"))
    )
}

fn letter(row: &DeadLetter) -> String {
    let name = styled(WARNING, format_args!("Dead letter {} of {}", row.id, row.destination));
    format!("\n{name}: {}, {}\n", row.object_id, row.reason)
}

fn tick(holds: bool) -> String {
    if holds { styled(GOOD, "✓") } else { styled(BAD, "✗") }
}

/// What to try after the demo has ended. Whoever chose a directory keeps it.
pub(super) fn next(dir: &Path, custom_dir: bool) -> String {
    let (shown, data_dir) = (dir.display(), quoted(&dir.join("data")));
    let dir = if custom_dir { format!(" --dir {}", quoted(dir)) } else { String::new() };
    let keep = format!("demo --keep{dir}");
    let letter = format!("dead-letters show 1 --destination {ALGOLIA} --data-dir {data_dir}");
    let steps = [
        ("Keep it running until Ctrl-C:", command(&keep)),
        ("Meanwhile, in another terminal, send a record, or FILE.ndjson instead of -:", piped()),
        ("Look at the dead letter:", command(&letter)),
    ];
    let left = format!("\nNothing is left running; {shown} stays until the next demo.");
    listed("Try next", &steps) + &styled(FAINT, left) + "\n"
}

/// What to try while it is kept running.
pub(super) fn kept(stage: &Stage) -> String {
    let target = match stage.agent.address() {
        address if address == default_target() => String::new(),
        address => format!(" --target {address}"),
    };
    let send = piped() + &target;
    let file = quoted(&stage.files_dir().join(format!("{INDEX}.ndjson")));
    let letter =
        format!("dead-letters show 1 --destination {ALGOLIA} --data-dir {}", quoted(&stage.data_dir()));
    let status = command(&format!("status --watch --data-dir {}", quoted(&stage.data_dir())));
    let steps = [
        ("Send a record, or FILE.ndjson instead of -:", send),
        ("See what it became in the files:", format!("tail -n 1 {file}")),
        ("Watch every destination; change what you like in its config meanwhile:", status),
        ("Look at the dead letter:", command(&letter)),
    ];
    let heading = format!("The agent goes on at {} until Ctrl-C. In another terminal", stage.agent.address());
    listed(&heading, &steps)
}

/// What each destination has, in a line.
pub(super) fn standing(lanes: &[Snapshot], end: Position) -> String {
    let shown = |lane: &Snapshot| {
        let letters = match lane.totals.dead_lettered {
            0 => String::new(),
            letters => format!(", {} dead-lettered", grouped(letters)),
        };
        format!("{}: {} written{letters}", lane.destination, grouped(lane.totals.written))
    };
    let lanes: Vec<_> = lanes.iter().map(shown).collect();
    format!("{} records accepted; {}\n", grouped(end.offset), lanes.join("; "))
}

/// Where `send` looks for an agent.
pub(super) fn default_target() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 50051))
}

fn listed(heading: &str, steps: &[(&str, String)]) -> String {
    let mut text = format!("\n{}\n", styled(HEADING, heading));
    for (what, command) in steps {
        let _ = writeln!(text, "  {what}\n    {}", styled(NAME, command));
    }
    text
}

/// As it was started: whoever has it from cargo has no `sync-agent` in the path.
fn command(arguments: &str) -> String {
    let program = if env::var_os("CARGO").is_some() { "cargo run --" } else { "sync-agent" };
    format!("{program} {arguments}")
}

fn piped() -> String {
    let record = r#"echo '{"objectID":"42","name":"Desk lamp","price":49.9}'"#;
    format!("{record} | {}", command(&format!("send --index {INDEX} -")))
}

/// For a shell, quoted where it has to be.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |character: char| character.is_ascii_alphanumeric() || "./_-".contains(character);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
