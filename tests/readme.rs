//! The README is true: its config is accepted as it stands, the keys that it names exist, and its commands are commands.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::Parser;
use harness::schema::Schema;
use sync_agent::{
    cli::Arguments,
    config::{Environment, load, reference::reference, schema},
    telemetry::metrics::FAMILIES,
};

/// Every secret that the README's config refers to is there.
struct Prepared;

impl Environment for Prepared {
    fn variable(&self, name: &str) -> Option<String> {
        ["ALGOLIA_APP_ID", "ES_API_KEY"].contains(&name).then(|| "SECRET".to_owned())
    }

    fn secret_file(&self, path: &Path) -> io::Result<String> {
        let certificate = "-----BEGIN CERTIFICATE-----\n";
        let content = [("/run/secrets/algolia-key", "key\n"), ("/etc/ssl/es-ca.pem", certificate)];
        let found = content.iter().find(|(known, _)| path == Path::new(known));
        Ok(found.unwrap_or_else(|| panic!("{} is not prepared", path.display())).1.to_owned())
    }

    fn working_directory(&self) -> PathBuf {
        PathBuf::from("/")
    }
}

fn readme() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"))
        .expect("it lies beside the manifest")
}

/// The README's blocks of one language, without the fences.
fn blocks(readme: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    readme.split(&fence).skip(1).filter_map(|rest| Some(rest.split_once("```")?.0.to_owned())).collect()
}

#[test]
fn its_config_is_accepted() {
    let config = blocks(&readme(), "toml").remove(0);
    let directory = tempfile::tempdir().unwrap();
    let schema = Schema::new(&schema());
    // As it stands, and with every setting that it shows commented out.
    for text in [config.clone(), config.replace("\n# ", "\n")] {
        assert_eq!(schema.refusal(&text), None);
        let path = directory.path().join("agent.toml");
        fs::write(&path, text).unwrap();
        let loaded = load(Some(&path), &Prepared).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
        assert_eq!(loaded.config.destinations.len(), 3);
    }
}

/// Every key that it names, such as `data.dir` or `backlog_bytes_max`, is in the reference, with its path or the end of it.
#[test]
fn its_keys_exist() {
    const TABLES: [&str; 13] = [
        "listen",
        "telemetry",
        "data",
        "limits",
        "defaults",
        "destinations",
        "transforms",
        "indexes",
        "retention",
        "batch",
        "backoff",
        "rate_limit",
        "dead_letters",
    ];
    let keys: Vec<String> =
        reference().into_iter().flat_map(|section| section.keys).map(|key| key.key).collect();
    let readme = readme();
    let prose: String = readme.split("```").step_by(2).collect();
    let mut seen = 0;
    for quoted in prose.split('`').skip(1).step_by(2) {
        let (name, is_set) = quoted.split_once(" = ").map_or((quoted, false), |(name, _)| (name, true));
        let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte == b'.');
        let first = name.split('.').next().unwrap_or_default();
        if !is_name || !(is_set || name.ends_with("_max") || TABLES.contains(&first)) {
            continue;
        }
        let exists = keys.iter().any(|key| format!(".{key}.").contains(&format!(".{name}.")));
        assert!(exists, "there is no key {name}: {quoted}");
        seen += 1;
    }
    assert!(seen >= 10, "only {seen} keys were found");
}

#[test]
fn its_commands_are_commands() {
    let readme = readme();
    let mut seen = 0;
    for line in blocks(&readme, "sh").iter().flat_map(|block| block.lines()) {
        let command = line.split(['#', '>', '|']).next().unwrap_or_default().trim();
        let words: Vec<&str> = command.split_whitespace().map(|word| word.trim_matches('\'')).collect();
        let arguments = match words.as_slice() {
            ["sync-agent", ..] => words.clone(),
            ["cargo", "run", "--", rest @ ..] => ["sync-agent"].iter().chain(rest).copied().collect(),
            _ => continue,
        };
        seen += 1;
        Arguments::try_parse_from(&arguments).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    assert!(seen >= 7, "only {seen} commands were found");
}

/// Every metric that it names is in the table, which is what an agent serves (`scenarios/metrics.rs`), with the labels that it
/// names.
#[test]
fn its_metrics_are_served() {
    let readme = readme();
    let mut seen = 0;
    let quoted = readme.split('`').skip(1).step_by(2);
    for name in quoted.filter(|quoted| quoted.starts_with("sync_agent_")) {
        let (name, selector) = name.split_once('{').unwrap_or((name, ""));
        let family = FAMILIES.iter().find(|family| family.name == name);
        let family = family.unwrap_or_else(|| panic!("there is no metric {name}"));
        let label = selector.split('=').next().unwrap_or_default();
        assert!(label.is_empty() || family.labels.contains(&label), "{name} has no label {label}");
        seen += 1;
    }
    assert!(seen >= 15, "only {seen} metrics were found");
}
