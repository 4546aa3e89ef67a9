//! What differs between two configs, key by key, in the config's own words.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use super::{
    checked::{Config, Destination, Kind, Secret},
    keys,
    listing::{self, Rows},
};

/// Everything that differs, and which parts of the agent it concerns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// In the order of a config file.
    pub list: Vec<Change>,
    /// Destinations that are new, by name ascending.
    pub added: Vec<Arc<str>>,
    /// Destinations of which something differs, by name ascending.
    pub changed: Vec<Arc<str>>,
    /// Destinations that are gone, by name ascending.
    pub removed: Vec<Arc<str>>,
    /// Whether a transform differs, or what all of them may take.
    pub transforms: bool,
    /// Keys that take a restart.
    pub needs_restart: Vec<String>,
}

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What becomes of it.
    pub kind: ChangeKind,
    /// What it is: `destination`, `transform`, `permission`, `index rule`, `default destinations` or `setting`.
    pub what: &'static str,
    /// Its name: a destination's or transform's, a rule's pattern, a section.
    pub name: String,
    /// What was changed of it: `batch.linger: 200ms -> 1s`. Never a secret's value.
    pub keys: Vec<String>,
}

/// What becomes of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is another.
    Changed,
    /// It is gone.
    Removed,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.kind {
            ChangeKind::Added => "+",
            ChangeKind::Changed => "~",
            ChangeKind::Removed => "-",
        };
        write!(f, "{sign} {} {}", self.what, self.name)?;
        if !self.keys.is_empty() {
            write!(f, " ({})", self.keys.join(", "))?;
        }
        Ok(())
    }
}

impl Changes {
    /// From one config to another.
    #[must_use]
    pub fn between(before: &Config, after: &Config) -> Self {
        let mut changes = Self::default();
        for (section, rows) in [
            ("listen", listing::listen as fn(&Config) -> Rows),
            ("data", listing::data),
            ("limits", listing::limits),
            ("telemetry", listing::telemetry),
        ] {
            let mut keys = differing(&rows(before), &rows(after));
            let paths = keys.iter().filter_map(|key| Some(format!("{section}.{}", key.split_once(':')?.0)));
            let takes_restart = |path: &String| keys::find(path).is_some_and(|key| key.restart);
            changes.needs_restart.extend(paths.filter(takes_restart));
            if let ("listen", Some(old), Some(new)) = (section, &before.listen.tls, &after.listen.tls)
                && !new.holds_what(old)
            {
                keys.push("a certificate's or key's content".to_owned());
            }
            changes.note(ChangeKind::Changed, "setting", section, keys);
        }
        changes.permissions(before, after);
        changes.destinations(before, after);
        changes.transforms(before, after);
        changes.rules(before, after);
        changes
    }

    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn permissions(&mut self, before: &Config, after: &Config) {
        let of = |config: &Config| -> Vec<(String, String)> {
            let rules = config.permissions.iter();
            rules.map(|rule| (rule.caller.to_string(), listing::permission(rule))).collect()
        };
        let (old, new) = (of(before), of(after));
        let only_in = |these: &[(String, String)], others: &[(String, String)]| -> Vec<(String, String)> {
            these.iter().filter(|rule| !others.contains(rule)).cloned().collect()
        };
        for (kind, rules) in
            [(ChangeKind::Removed, only_in(&old, &new)), (ChangeKind::Added, only_in(&new, &old))]
        {
            for (caller, may) in rules {
                self.note(kind, "permission", &caller, vec![may]);
            }
        }
    }

    fn destinations(&mut self, before: &Config, after: &Config) {
        let of = |config: &Config| -> BTreeMap<Arc<str>, Destination> {
            config.destinations.iter().map(|d| (d.name.clone(), d.clone())).collect()
        };
        let (old, new) = (of(before), of(after));
        let sends_otherwise =
            before.limits.non_idempotent_operations != after.limits.non_idempotent_operations;
        for name in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            match (old.get(name), new.get(name)) {
                (None, _) => {
                    self.note(ChangeKind::Added, "destination", name, Vec::new());
                    self.added.push(name.clone());
                }
                (_, None) => {
                    self.note(ChangeKind::Removed, "destination", name, Vec::new());
                    self.removed.push(name.clone());
                }
                (Some(old), Some(new)) => {
                    let mut keys = differing(&listing::destination(old), &listing::destination(new));
                    if contents(old) != contents(new) {
                        keys.push("a secret's or certificate's content".to_owned());
                    }
                    if old != new || (sends_otherwise && matches!(new.kind, Kind::Algolia(_))) {
                        self.changed.push(name.clone());
                    }
                    self.note(ChangeKind::Changed, "destination", name, keys);
                }
            }
        }
    }

    fn transforms(&mut self, before: &Config, after: &Config) {
        let find = |config: &Config, name: &str| {
            config.transforms.iter().find(|transform| &*transform.name == name).map(listing::transform)
        };
        let names = before.transforms.iter().chain(&after.transforms).map(|transform| &transform.name);
        for name in names.collect::<BTreeSet<_>>() {
            match (find(before, name), find(after, name)) {
                (None, _) => self.note(ChangeKind::Added, "transform", name, Vec::new()),
                (_, None) => self.note(ChangeKind::Removed, "transform", name, Vec::new()),
                (Some(old), Some(new)) => {
                    self.note(ChangeKind::Changed, "transform", name, differing(&old, &new));
                }
            }
        }
        let (old, new) = (&before.limits, &after.limits);
        self.transforms = before.transforms != after.transforms
            || old.transforms_bytes_max != new.transforms_bytes_max
            || old.record_bytes_max != new.record_bytes_max;
    }

    fn rules(&mut self, before: &Config, after: &Config) {
        let of = |config: &Config| -> BTreeMap<String, String> {
            config.indexes.iter().map(|rule| (rule.pattern.clone(), listing::rule(rule))).collect()
        };
        let order = |config: &Config| -> String {
            let patterns: Vec<&str> = config.indexes.iter().map(|rule| &*rule.pattern).collect();
            patterns.join(", ")
        };
        let (old, new) = (of(before), of(after));
        for pattern in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            let (kind, keys) = match (old.get(pattern), new.get(pattern)) {
                (Some(old), Some(new)) if old == new => continue,
                (Some(old), Some(new)) => (ChangeKind::Changed, vec![format!("{old} => {new}")]),
                (None, new) => (ChangeKind::Added, new.cloned().into_iter().collect()),
                (Some(_), None) => (ChangeKind::Removed, Vec::new()),
            };
            self.list.push(Change { kind, what: "index rule", name: pattern.clone(), keys });
        }
        let (first, then) = (order(before), order(after));
        if old.keys().eq(new.keys()) && first != then {
            self.note(ChangeKind::Changed, "index rules", "order", vec![format!("{first} => {then}")]);
        }
        let keys = differing(&listing::defaults(before), &listing::defaults(after));
        self.note(ChangeKind::Changed, "default destinations", "defaults", keys);
    }

    /// Notes what is added or removed, and what is changed if anything of it is.
    fn note(&mut self, kind: ChangeKind, what: &'static str, name: &str, keys: Vec<String>) {
        if kind != ChangeKind::Changed || !keys.is_empty() {
            self.list.push(Change { kind, what, name: name.to_owned(), keys });
        }
    }
}

/// The keys whose values differ, with both.
fn differing(before: &Rows, after: &Rows) -> Vec<String> {
    let (old, new): (Vec<_>, Vec<_>) = (before.shown().collect(), after.shown().collect());
    let value_of = |rows: &[(String, String)], key: &str| {
        rows.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
    };
    let mut keys = Vec::new();
    for (key, value) in &new {
        match value_of(&old, key) {
            Some(before) if before == *value => {}
            Some(before) => keys.push(format!("{key}: {before} -> {value}")),
            None => keys.push(format!("{key}: {value}")),
        }
    }
    let gone = old.iter().filter(|(key, _)| value_of(&new, key).is_none());
    keys.extend(gone.map(|(key, before)| format!("{key}: {before} -> none")));
    keys
}

/// What a destination's settings name and do not hold: secrets, certificates.
fn contents(destination: &Destination) -> Vec<&str> {
    let secrets = destination.secrets().into_iter().map(Secret::expose);
    secrets.chain(destination.ca_file().map(|file| &*file.pem)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FixedEnvironment, load};

    const CONFIG: &str = r#"
        [destinations.search]
        type = "algolia"
        app_id = { env = "APP" }
        api_key = { env = "KEY" }
        [destinations.archive]
        type = "file"
        dir = "./out"
        [[indexes]]
        match = "products*"
        destinations = ["search"]
        [[indexes]]
        match = "orders"
        destinations = ["archive"]
    "#;

    fn config(text: &str, key: &'static str) -> Config {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.toml");
        std::fs::write(&file, text).unwrap();
        load(Some(&file), &FixedEnvironment::new(&[("APP", "app"), ("KEY", key)], &[])).unwrap().config
    }

    fn changes(after: &str, key: &'static str) -> Changes {
        Changes::between(&config(CONFIG, "one"), &config(after, key))
    }

    fn words(changes: &Changes) -> Vec<String> {
        changes.list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_same_config_has_no_changes() {
        assert_eq!(changes(CONFIG, "one"), Changes::default());
    }

    /// Each part says what differs of it, with both values; a secret shows neither (G10).
    #[test]
    fn what_differs_is_named() {
        let after = r#"
            [listen]
            grpc = "127.0.0.1:1234"
            [data]
            disk_bytes_max = "10GiB"
            [limits]
            indexes_max = 5
            [destinations.search]
            type = "algolia"
            app_id = { env = "APP" }
            api_key = { env = "KEY" }
            batch = { linger = "1s" }
            backlog_bytes_max = "10GiB"
            [destinations.mirror]
            type = "elasticsearch"
            nodes = ["http://127.0.0.1:9200"]
            [[indexes]]
            match = "products*"
            destinations = ["search", "mirror"]
        "#;
        let changes = changes(after, "two");
        assert_eq!(
            words(&changes),
            [
                "~ setting listen (grpc: 127.0.0.1:50051 -> 127.0.0.1:1234)",
                "~ setting data (disk_bytes_max: 20GiB -> 10GiB, retention.bytes_max: 5GiB -> 2560MiB)",
                "~ setting limits (indexes_max: 1000 -> 5)",
                "- destination archive",
                "+ destination mirror",
                "~ destination search (batch.linger: 200ms -> 1s, a secret's or certificate's content)",
                "- index rule orders",
                "~ index rule products* (search => search, mirror)",
                "~ default destinations defaults (destinations: archive, search -> mirror, search)",
            ]
        );
        assert_eq!(changes.needs_restart, ["listen.grpc"]);
        assert_eq!(
            (&*changes.added[0], &*changes.changed[0], &*changes.removed[0]),
            ("mirror", "search", "archive")
        );
    }

    /// The first rule that matches decides, so their order counts.
    #[test]
    fn the_order_of_the_rules_counts() {
        let (first, second) = CONFIG.split_once("[[indexes]]").unwrap();
        let (products, orders) = second.split_once("[[indexes]]").unwrap();
        let turned = format!("{first}[[indexes]]{orders}\n[[indexes]]{products}");
        assert_eq!(
            words(&changes(&turned, "one")),
            ["~ index rules order (products*, orders => orders, products*)"]
        );
    }
}
