//! The table of answers in `proto/README.md` is true: every answer that this module gives has its row, with the right
//! advice, and no row is about an answer that nobody gives.

use std::{collections::BTreeSet, fs, path::Path};

use plugin_api::operation::Action;
use tonic::Code;

use super::{answer::Violations, refusals::Refusal, *};

const PAGE: &str = include_str!("../../../proto/README.md");
/// What only the producer's own library says.
const NOT_OURS: [(&str, bool); 3] = [("UNAVAILABLE", false), ("CANCELLED", false), ("UNKNOWN", false)];

/// A line of the table.
struct Row {
    codes: Vec<&'static str>,
    /// Whether it is only about answers with a RetryInfo, or only about those without.
    retry_info: Option<bool>,
    again: &'static str,
    after: &'static str,
    text: &'static str,
}

fn rows() -> Vec<Row> {
    let (_, table) = PAGE.split_once("| answer | when |").unwrap();
    let lines = table.split("\n\n").next().unwrap().lines().skip(2);
    let row = |text: &'static str| {
        let cells: Vec<&str> = text.trim_matches('|').split('|').map(str::trim).collect();
        let [answer, _, again, _, after] = cells[..] else { panic!("{} cells: {text}", cells.len()) };
        let quoted = answer.split('`').skip(1).step_by(2);
        let codes = quoted.filter(|word| *word != "RetryInfo").collect();
        let retry_info = match answer {
            _ if answer.ends_with("with `RetryInfo`") => Some(true),
            _ if answer.ends_with("without") => Some(false),
            _ => None,
        };
        Row { codes, retry_info, again, after, text }
    };
    lines.map(row).collect()
}

/// The table's name of a code.
fn named(code: Code) -> String {
    let words = format!("{code:?}");
    let split = |character: char| match character {
        'A'..='Z' => ['_', character].iter().collect(),
        _ => character.to_ascii_uppercase().to_string(),
    };
    words.chars().map(split).collect::<String>().trim_start_matches('_').to_owned()
}

fn row_of(rows: &[Row], code: &str, retry_info: bool) -> usize {
    let is = |row: &Row| row.codes.contains(&code) && row.retry_info.is_none_or(|it| it == retry_info);
    let found: Vec<usize> = (0..rows.len()).filter(|at| is(&rows[*at])).collect();
    let [row] = found[..] else { panic!("{} rows for {code}, RetryInfo: {retry_info}", found.len()) };
    row
}

/// Every answer with details, each from what makes it.
fn answers() -> Vec<Status> {
    let retry_after = Duration::from_secs(1);
    let mut violations = Violations::default();
    violations.push("payloads", "is empty");
    let refusal = Refusal { destination: "search".into(), reason: "its letters are full".into() };
    let digest = ContentDigest::Whole([0; 32]);
    let by_the_log = [
        AppendError::Full { used: 2, budget: 1, retry_after },
        AppendError::BacklogFull { destination: "search".into(), backlog: 2, limit: 1, retry_after },
        AppendError::NoSpace { retry_after },
        AppendError::TooLarge { bytes: 2, limit: 1 },
        AppendError::Poisoned { cause: "EIO".into() },
        AppendError::KeyReused { earlier: digest, digest, request_id: RequestId(Uuid::nil()) },
        AppendError::Closed,
    ];
    let ours = [
        violations.into_status(),
        answer::request_too_large(2, 1),
        answer::too_many_records(2, 1),
        answer::too_many_indexes("new", indexes::TooManyIndexes { max: 1 }),
        answer::no_bytes(),
        answer::too_fast(Some("shop"), retry_after),
        answer::not_permitted(None, "products", Action::Save),
        answer::stopping(),
        answer::draining(),
        answer::too_slow("message", retry_after),
        answer::index_refused("products", &refusal),
    ];
    by_the_log.iter().map(answer::not_appended).chain(ours).collect()
}

/// The codes that the module's sources name, but for the one that counts whatever code there is.
fn codes_in_sources() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ingress");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && !path.ends_with("meters.rs"));
    let sources: String = files.map(|path| fs::read_to_string(path).unwrap()).collect();
    let word =
        |rest: &str| rest.split(|it: char| !it.is_alphanumeric() && it != '_').next().unwrap().to_owned();
    let all = (0..17).map(Code::from).map(|code| (format!("{code:?}"), named(code)));
    let written: BTreeSet<String> =
        ["Code::", "Status::"].iter().flat_map(|it| sources.split(it).skip(1).map(word)).collect();
    all.filter(|(code, name)| written.contains(code) || written.contains(&name.to_lowercase()))
        .map(|(_, name)| name)
        .collect()
}

#[test]
fn every_answer_is_in_the_table() {
    let rows = rows();
    let mut given = BTreeSet::from([row_of(&rows, "OK", false)]);
    let mut delays = vec![BTreeSet::new(); rows.len()];
    for status in answers() {
        let (code, delay) = (named(status.code()), retry_after(&status));
        let at = row_of(&rows, &code, delay.is_some());
        given.insert(at);
        let (row, details) = (&rows[at], status.get_error_details());
        let again = delay.is_some() || status.code() == Code::DeadlineExceeded;
        assert!(row.again.starts_with(if again { "yes" } else { "no" }), "{status}: {}", row.text);
        delays[at].extend(delay.map(|delay| delay.as_secs()));
        for (there, name) in [
            (details.bad_request().is_some(), "BadRequest"),
            (details.error_info().is_some(), "ErrorInfo"),
            (details.quota_failure().is_some(), "QuotaFailure"),
        ] {
            assert_eq!(row.text.contains(name), there, "{status}: {}", row.text);
        }
    }
    for (row, delays) in rows.iter().zip(&delays).filter(|(_, delays)| !delays.is_empty()) {
        let words: Vec<&str> = row.after.split(' ').collect();
        let seconds = words.windows(2).filter(|pair| pair[1].trim_end_matches(',') == "s");
        let told: BTreeSet<u64> = seconds.map(|pair| pair[0].parse().unwrap()).collect();
        assert_eq!(&told, delays, "{}", row.text);
    }
    for code in codes_in_sources().iter().filter(|code| !["OK", "UNAVAILABLE"].contains(&code.as_str())) {
        given.extend(rows.iter().position(|row| row.codes.contains(&code.as_str())));
        assert!(rows.iter().any(|row| row.codes.contains(&code.as_str())), "{code} has no row");
    }
    given.extend(NOT_OURS.map(|(code, retry_info)| row_of(&rows, code, retry_info)));
    let untrue = rows.iter().enumerate().filter(|(at, _)| !given.contains(at));
    assert_eq!(untrue.map(|(_, row)| row.text).collect::<Vec<_>>(), [""; 0]);
}
