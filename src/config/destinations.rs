//! `[destinations.NAME]`: the settings of each type and those that every destination has.

mod elasticsearch;

use std::{path::PathBuf, sync::Arc, time::Duration};

use http::{Uri, uri::Scheme};

use super::{
    checked::{
        AlgoliaSettings, Backoff, BatchLimits, DeadLetters, Destination, FileSettings, IndexNames, Kind,
        OnBacklogFull, RateLimit, StartFrom,
    },
    environment::Environment,
    ranges,
    reader::{Table, Value, one_of},
    secret::secret,
    units::{Count, GIB, KIB, MIB, Size},
};

/// What the document says about destinations.
#[derive(Debug, Default)]
pub(super) struct Destinations<'a> {
    /// Every name, also of those that have errors: they may be referred to.
    pub(super) names: Vec<Arc<str>>,
    /// Those without errors.
    pub(super) checked: Vec<Destination>,
    /// Where the directory of a file destination stands.
    pub(super) directories: Vec<(Value<'a>, PathBuf)>,
    /// The log's disk budget in bytes, a part of which each may be behind.
    disk_bytes_max: u64,
    /// Those that do not say what happens then.
    undecided: Vec<Arc<str>>,
}

impl<'a> Destinations<'a> {
    /// Reads `[destinations]`, by name ascending.
    pub(super) fn read(mut table: Table<'a>, disk_bytes_max: u64, environment: &dyn Environment) -> Self {
        let mut destinations = Self { disk_bytes_max, ..Self::default() };
        for (name, value) in table.take_all() {
            if !ranges::is_name(name) {
                value.wrong_name(ranges::NAME);
            }
            let name: Arc<str> = name.into();
            destinations.names.push(name.clone());
            if let Some(table) = value.table()
                && let Some(destination) = destinations.destination(name, table, environment)
            {
                destinations.checked.push(destination);
            }
        }
        destinations.names.sort_unstable();
        destinations.checked.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        destinations
    }

    /// Gives `on_backlog_full` its default, which depends on who receives what no rule matches.
    pub(super) fn complete(&mut self, defaults: &[Arc<str>]) {
        let undecided = |destination: &&mut Destination| self.undecided.contains(&destination.name);
        for destination in self.checked.iter_mut().filter(undecided) {
            if !defaults.contains(&destination.name) {
                destination.on_backlog_full = OnBacklogFull::Detach;
            }
        }
    }

    fn destination(
        &mut self,
        name: Arc<str>,
        mut table: Table<'a>,
        environment: &dyn Environment,
    ) -> Option<Destination> {
        let accepted = one_of(["algolia", "elasticsearch", "file"].into_iter());
        let Some(kind) = table.take("type") else {
            table.missing("type", accepted);
            table.abandon();
            return None;
        };
        let (kind, operations_max) = match kind.string(&accepted) {
            Some("algolia") => (algolia(&mut table, environment).map(Kind::Algolia), 1_000),
            Some("elasticsearch") => {
                let settings = elasticsearch::elasticsearch(&mut table, environment);
                (settings.map(Kind::Elasticsearch), 1_000)
            }
            Some("file") => (self.file(&mut table).map(Kind::File), 5_000),
            other => {
                if other.is_some() {
                    kind.wrong("is not a type of destination", accepted);
                }
                table.abandon();
                return None;
            }
        };
        let from = start_from(&mut table);
        let index_names = index_names(&mut table, kind.as_ref());
        let batch = batch(table.table("batch"), operations_max);
        let requests_max = table.quantity("requests_max", Count(10), ranges::REQUESTS_MAX).length();
        let timeout = table.quantity("timeout", Duration::from_secs(30), ranges::TIMEOUT);
        let backoff = backoff(&mut table);
        let attempts_max = table.quantity("attempts_max", Count(5), ranges::ATTEMPTS_MAX).0;
        let range = Size(64 * KIB)..=Size(self.disk_bytes_max);
        let backlog_bytes_max = table.quantity("backlog_bytes_max", Size(self.disk_bytes_max / 2), range).0;
        let words = [("refuse", OnBacklogFull::Refuse), ("detach", OnBacklogFull::Detach)];
        if !table.has("on_backlog_full") {
            self.undecided.push(name.clone());
        }
        let on_backlog_full = table.choice("on_backlog_full", OnBacklogFull::Refuse, &words);
        let dead_letters = dead_letters(table.table("dead_letters"));
        let rate_limit = rate_limit(table.table("rate_limit"));
        table.finish();
        let kind = kind?;
        Some(Destination {
            name,
            kind,
            from,
            index_names,
            batch,
            requests_max,
            rate_limit,
            timeout,
            backoff,
            attempts_max,
            backlog_bytes_max,
            on_backlog_full,
            dead_letters,
        })
    }

    fn file(&mut self, table: &mut Table<'a>) -> Option<FileSettings> {
        let mut rotate = table.table("rotate");
        let hour = Duration::from_secs(3600);
        let rotate_bytes = rotate.quantity("bytes", Size(128 * MIB), ranges::ROTATE_BYTES).0;
        let rotate_age = rotate.quantity("age", hour, ranges::ROTATE_AGE);
        rotate.finish();
        table.later(&["gzip"]);
        let accepted = "a directory, absolute or relative to the working directory, such as \"./out\"";
        let Some(place) = table.take("dir") else {
            table.missing("dir", accepted);
            return None;
        };
        let dir = PathBuf::from(place.string(accepted)?);
        self.directories.push((place, dir.clone()));
        Some(FileSettings { dir, rotate_bytes, rotate_age })
    }
}

fn algolia(table: &mut Table<'_>, environment: &dyn Environment) -> Option<AlgoliaSettings> {
    let app_id = secret(table, "app_id", environment);
    let api_key = secret(table, "api_key", environment);
    let insecure = table.boolean("insecure", false);
    let gzip = table.boolean("gzip", true);
    let hosts = match table.take("hosts") {
        Some(value) => {
            let hosts = value.items("an array of URLs");
            if hosts.is_empty() && value.is_array() {
                value.wrong("without a host", "at least one URL, or no `hosts` for Algolia's own");
            }
            hosts.iter().filter_map(|host| checked_host(host, insecure, "app_id and api_key")).collect()
        }
        None => Vec::new(),
    };
    Some(AlgoliaSettings { app_id: app_id?, api_key: api_key?, hosts, insecure, gzip })
}

/// `index`: by which name a destination knows an index.
fn index_names(table: &mut Table<'_>, kind: Option<&Kind>) -> IndexNames {
    let accepted = "a name in which {index} stands once for the index's own, such as \"{index}_v2\"";
    let Some(value) = table.take("index") else { return IndexNames::default() };
    let Some(pattern) = value.string(accepted) else { return IndexNames::default() };
    let Some(names) = IndexNames::parse(pattern) else {
        value.wrong("is not a name for indexes", accepted);
        return IndexNames::default();
    };
    match kind {
        Some(Kind::Elasticsearch(_)) => elasticsearch::check_names(&names, &value),
        Some(Kind::Algolia(_) | Kind::File(_)) | None => {}
    }
    names
}

/// A URL without path, and with TLS wherever somebody could listen. `instead` is where credentials belong.
fn checked_host(value: &Value<'_>, insecure: bool, instead: &str) -> Option<String> {
    let accepted = "a URL such as \"https://host:443\", without a path";
    let text = value.string(accepted)?;
    if text.contains('@') {
        value.wrong_secretly(format!("holds credentials, which belong into {instead}"), accepted);
        return None;
    }
    let uri = text.parse::<Uri>().ok();
    let Some((scheme, host)) = uri.as_ref().and_then(|uri| Some((uri.scheme()?, uri.host()?))) else {
        value.wrong("is not a URL", accepted);
        return None;
    };
    let bare = uri.as_ref().is_some_and(|uri| uri.path() == "/" && uri.query().is_none());
    if !bare || host.is_empty() || text.contains('#') || (*scheme != Scheme::HTTP && *scheme != Scheme::HTTPS)
    {
        value.wrong("is not the URL of a host", accepted);
        return None;
    }
    if *scheme == Scheme::HTTP && !insecure && !is_loopback(host) {
        let message = "would send keys and records in the clear";
        value.wrong(message, "https; plain http on loopback only, or with `insecure = true`");
        return None;
    }
    Some(text.trim_end_matches('/').to_owned())
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// Where a destination begins that the log has never served.
fn start_from(table: &mut Table<'_>) -> StartFrom {
    let accepted = "\"now\", \"oldest\" or a time with its zone, such as \"2026-01-31T12:00:00Z\"";
    let Some(value) = table.take("from") else { return StartFrom::Now };
    match value.string(accepted) {
        Some("now") => StartFrom::Now,
        Some("oldest") => StartFrom::Oldest,
        Some(time) => match time.parse() {
            Ok(time) => StartFrom::Time(time),
            Err(_) => {
                value.wrong("is no place to begin", accepted);
                StartFrom::Now
            }
        },
        None => StartFrom::Now,
    }
}

fn batch(mut table: Table<'_>, operations_max: u32) -> BatchLimits {
    let batch = BatchLimits {
        operations_max: table
            .quantity("operations_max", Count(operations_max), ranges::BATCH_OPERATIONS_MAX)
            .length(),
        bytes_max: table.quantity("bytes_max", Size(8 * MIB), Size(KIB)..=Size(64 * MIB)).length(),
        linger: table.quantity("linger", Duration::from_millis(200), ranges::LINGER),
    };
    table.finish();
    batch
}

fn backoff(table: &mut Table<'_>) -> Backoff {
    let mut table = table.table("backoff");
    let min = table.quantity("min", Duration::from_millis(200), ranges::BACKOFF_MIN);
    // A larger first delay lifts the default of the largest.
    let max = table.quantity("max", min.max(Duration::from_secs(30)), min..=ranges::BACKOFF_LONGEST);
    table.finish();
    Backoff { min, max }
}

fn rate_limit(mut table: Table<'_>) -> RateLimit {
    let rate_limit = RateLimit {
        operations_per_second: table
            .optional("operations_per_second", ranges::RATE_OPERATIONS)
            .map(|Count(operations)| operations),
        bytes_per_second: table.optional("bytes_per_second", ranges::RATE_BYTES).map(|Size(bytes)| bytes),
    };
    table.finish();
    rate_limit
}

fn dead_letters(mut table: Table<'_>) -> DeadLetters {
    let dead_letters = DeadLetters {
        bytes_max: table.quantity("bytes_max", Size(GIB), ranges::DEAD_LETTERS_BYTES_MAX).0,
        age_max: table.optional("age_max", ranges::DEAD_LETTERS_AGE_MAX),
    };
    table.finish();
    dead_letters
}
