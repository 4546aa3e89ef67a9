//! Which letters are meant, how many they are, and deleting them.

use super::*;

/// Files letters without a runtime being left, since `drop` brings its own.
fn file_now(dir: &TempDir, destination: &str, letters: Vec<Letter>) {
    tokio::runtime::Runtime::new().unwrap().block_on(file(dir, destination, letters));
}

fn with(offset: u64, change: impl FnOnce(&mut Letter)) -> Letter {
    let mut letter = letter(offset, "{}");
    change(&mut letter);
    letter
}

/// What an operator types at the question.
fn answered(dir: &TempDir, arguments: &str, answer: &str) -> Ran {
    let words = ["dead-letters"].into_iter().chain(arguments.split_whitespace());
    let command = on_stores(Program::try_parse_from(words).unwrap());
    let (mut out, mut errors, mut terminal) = (Vec::new(), Vec::new(), answer.as_bytes());
    let outcome = execute(&command, dir.path(), &mut out, &mut errors, Some(&mut terminal)).unwrap();
    Ran { out: String::from_utf8(out).unwrap(), errors: String::from_utf8(errors).unwrap(), outcome }
}

/// Groups in one table, and a sum; in JSON a group a line.
#[test]
fn stats_count_by_index_stage_and_reason() {
    let dir = TempDir::new().unwrap();
    assert_eq!(run(&dir, "stats").out, "no dead letters\n");
    let large = with(3, |letter| letter.reason = Reason::new(ReasonCode::TooLarge, "too large"));
    let size = letter(1, "{}").size();
    file_now(&dir, "search", vec![letter(1, "{}"), letter(2, "{}"), large]);
    file_now(&dir, "archive", vec![with(9, |letter| letter.stage = Stage::Admit)]);
    let ran = run(&dir, "stats");
    let bytes = indicatif::HumanBytes(2 * size).to_string();
    let table = anstream::adapter::strip_str(&ran.out).to_string();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0].last(), Some(&"REASON"));
    assert_eq!(rows[1][..5], ["archive", "products", "admit", "1", "0"]);
    assert_eq!(rows[2][..5], ["search", "products", "delivery", "2", "0"]);
    assert!(table.contains(&bytes) && table.contains("4 letters, 0 of them stale, "), "{table}");
    let in_json = lines(&run(&dir, "stats --json --destination search --reason rejected").out);
    let expected = serde_json::json!({
        "destination": "search", "index": "products", "stage": "delivery", "reason": "rejected",
        "letters": 2, "stale": 0, "bytes": 2 * size,
        "oldest": "2020-01-01T00:00:02.000000Z", "newest": "2020-01-01T00:00:03.000000Z",
    });
    assert_eq!(in_json, [expected]);
}

/// Every command takes the same options, and each of them counts.
#[test]
fn every_option_counts() {
    let dir = TempDir::new().unwrap();
    let request = Uuid::from_u128(77);
    let letters = vec![
        letter(1, "{}"),
        with(2, |letter| letter.source.request_id = RequestId(request)),
        with(3, |letter| letter.stage = Stage::Transform),
        with(4, |letter| letter.record.key.object_id = "odd".into()),
    ];
    file_now(&dir, "search", letters);
    for (option, offsets) in [
        (format!("--request {request}"), &[2_u64][..]),
        ("--stage transform".to_owned(), &[3]),
        ("--object odd".to_owned(), &[4]),
        ("--until 2020-01-01T00:00:03Z".to_owned(), &[1]),
        ("--id 2 --id 3".to_owned(), &[2, 3]),
        ("--id 2 --stage transform".to_owned(), &[]),
        ("--stale".to_owned(), &[]),
    ] {
        let offset = |line: &Value| line["position"]["offset"].as_u64().unwrap();
        let exported: Vec<u64> =
            lines(&run(&dir, &format!("export {option}")).out).iter().map(offset).collect();
        assert_eq!(exported, offsets, "export {option}");
        let counted: u64 = lines(&run(&dir, &format!("stats --json {option}")).out)
            .iter()
            .map(|group| group["letters"].as_u64().unwrap())
            .sum();
        assert_eq!(counted, offsets.len() as u64, "stats {option}");
        let dry = run(&dir, &format!("drop --dry-run --json {option}")).out;
        assert_eq!(lines(&dry)[0]["letters"], offsets.len(), "drop {option}");
    }
    for wrong in ["list --stage moon", "drop --request 12", "stats --id x", "export --until soon"] {
        let words = ["dead-letters"].into_iter().chain(wrong.split_whitespace());
        assert_eq!(Program::try_parse_from(words).unwrap_err().exit_code(), 2, "{wrong}");
    }
}

/// Nothing is deleted before somebody has said so; then exactly what was chosen.
#[test]
fn drop_asks_first() {
    let dir = TempDir::new().unwrap();
    file_now(&dir, "search", (1..6).map(|offset| letter(offset, "{}")).collect());
    file_now(&dir, "archive", vec![letter(1, "{}")]);
    let left = || lines(&run(&dir, "export").out).len();

    let dry = run(&dir, "drop --dry-run");
    assert_eq!(
        dry.out,
        "1 dead letters of archive would be deleted\n5 dead letters of search would be deleted\n"
    );
    let unasked = run(&dir, "drop");
    assert_eq!((unasked.outcome, left()), (Outcome::Ambiguous, 6));
    assert!(unasked.errors.contains("nothing is deleted of 6 dead letters: confirm with --yes"));
    let refused = answered(&dir, "drop", "no\n");
    assert_eq!((refused.outcome, left()), (Outcome::Ambiguous, 6));
    assert!(refused.errors.starts_with("Type `yes` to delete 6 dead letters for good: "));

    let confirmed = answered(&dir, "drop --destination search --until 2020-01-01T00:00:04Z", "yes\n");
    assert_eq!(
        (confirmed.outcome, confirmed.out.as_str()),
        (Outcome::Done, "2 dead letters of search deleted\n")
    );
    assert_eq!(left(), 4);
    let rest = run(&dir, "drop --yes --json");
    let told = lines(&rest.out);
    assert_eq!((&told[0]["destination"], &told[0]["letters"]), (&"archive".into(), &1.into()));
    assert_eq!((&told[1]["letters"], &told[1]["deleted"], left()), (&3.into(), &true.into(), 0));
}

/// What a delete has purged is shown for what it is, in every form.
#[test]
fn purged_letters_say_so() {
    let dir = TempDir::new().unwrap();
    file_now(&dir, "search", vec![letter(1, "")]);
    assert!(run(&dir, "list").out.contains("purged; rejected (400)"), "{}", run(&dir, "list").out);
    assert!(run(&dir, "show 1").out.contains("purged: its object was deleted since"));
    assert_eq!(lines(&run(&dir, "export").out)[0]["purged"], true);
    file_now(&dir, "search", vec![letter(2, "{}")]);
    assert_eq!(lines(&run(&dir, "export").out)[1].get("purged"), None);
}
