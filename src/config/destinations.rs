//! `[destinations.NAME]`: the settings of each type and those that every destination has.

mod elasticsearch;

use std::{path::PathBuf, sync::Arc};

use http::{Uri, uri::Scheme};

use super::{
    checked::{
        AlgoliaSettings, Backoff, BatchLimits, DeadLetters, Destination, FileSettings, IndexNames, Kind,
        OnBacklogFull, RateLimit, StartFrom,
    },
    environment::Environment,
    keys::{self, TYPES},
    reader::{Table, Value, one_of},
    secret::secret,
    units::{Count, Quantity as _, Size},
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
            if !keys::is_name(name) {
                value.wrong_name(keys::NAME);
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
        let accepted = one_of(TYPES.iter().map(|kind| kind.name));
        let Some(value) = table.take("type") else {
            table.missing("type", accepted);
            table.abandon();
            return None;
        };
        let named = value.string(&accepted);
        let Some(of) = TYPES.iter().find(|of| named == Some(of.name)) else {
            if named.is_some() {
                value.wrong("is not a type of destination", accepted);
            }
            table.abandon();
            return None;
        };
        table.and(of.keys);
        let kind = match of.name {
            "algolia" => algolia(&mut table, environment).map(Kind::Algolia),
            "elasticsearch" => elasticsearch::elasticsearch(&mut table, environment).map(Kind::Elasticsearch),
            // What a type without a reader declares is not read, which is told when the table is finished.
            _ => self.file(&mut table).map(Kind::File),
        };
        let from = start_from(&mut table);
        let index_names = index_names(&mut table, kind.as_ref());
        let batch = batch(table.table("batch"), of.batch_operations);
        let requests_max = table.quantity::<Count>("requests_max").length();
        let timeout = table.quantity("timeout");
        let backoff = backoff(&mut table);
        let attempts_max = table.quantity::<Count>("attempts_max").0;
        let backlog_bytes_max = table.quantity_by("backlog_bytes_max", Size(self.disk_bytes_max)).0;
        if !table.has("on_backlog_full") {
            self.undecided.push(name.clone());
        }
        let words = [("refuse", OnBacklogFull::Refuse), ("detach", OnBacklogFull::Detach)];
        let on_backlog_full = table.choice("on_backlog_full", words);
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
        let rotate_bytes = rotate.quantity::<Size>("bytes").0;
        let rotate_age = rotate.quantity("age");
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
    let insecure = table.boolean("insecure");
    let gzip = table.boolean("gzip");
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

fn batch(mut table: Table<'_>, operations: u64) -> BatchLimits {
    let batch = BatchLimits {
        operations_max: table.quantity_by("operations_max", Count::from_amount(operations)).length(),
        bytes_max: table.quantity::<Size>("bytes_max").length(),
        linger: table.quantity("linger"),
    };
    table.finish();
    batch
}

fn backoff(table: &mut Table<'_>) -> Backoff {
    let mut table = table.table("backoff");
    let min = table.quantity("min");
    let max = table.quantity_by("max", min);
    table.finish();
    Backoff { min, max }
}

fn rate_limit(mut table: Table<'_>) -> RateLimit {
    let rate_limit = RateLimit {
        operations_per_second: table.optional("operations_per_second").map(|Count(operations)| operations),
        bytes_per_second: table.optional("bytes_per_second").map(|Size(bytes)| bytes),
    };
    table.finish();
    rate_limit
}

fn dead_letters(mut table: Table<'_>) -> DeadLetters {
    let dead_letters =
        DeadLetters { bytes_max: table.quantity::<Size>("bytes_max").0, age_max: table.optional("age_max") };
    table.finish();
    dead_letters
}
