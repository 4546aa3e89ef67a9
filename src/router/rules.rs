//! The rules, matched in the order of the file; the first match decides.

use std::{collections::BTreeMap, sync::Arc};

use wildmatch::WildMatch;

use crate::config::{Config, IndexNames};

/// Answers where an index goes, and through which transform. Cheap to share; never changes.
#[derive(Debug)]
pub struct Router {
    rules: Vec<Rule>,
    default: Vec<Arc<str>>,
    /// By destination: what it calls an index.
    names: BTreeMap<Arc<str>, IndexNames>,
}

#[derive(Debug)]
struct Rule {
    pattern: WildMatch,
    destinations: Vec<Arc<str>>,
    transform: Option<Arc<str>>,
}

impl Router {
    /// The rules of a checked config.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let rules = config.indexes.iter().map(|rule| Rule {
            pattern: WildMatch::new(&rule.pattern),
            destinations: rule.destinations.clone(),
            transform: rule.transform.clone(),
        });
        let names = config.destinations.iter();
        Self {
            rules: rules.collect(),
            default: config.default_destinations.clone(),
            names: names
                .map(|destination| (destination.name.clone(), destination.index_names.clone()))
                .collect(),
        }
    }

    /// The names of the destinations that receive this index's records.
    #[must_use]
    pub fn destinations(&self, index: &str) -> &[Arc<str>] {
        self.rule(index).map_or(&self.default, |rule| &rule.destinations)
    }

    /// The name of the transform that this index's records pass; `None` if they are delivered as they came.
    #[must_use]
    pub fn transform(&self, index: &str) -> Option<&Arc<str>> {
        self.rule(index)?.transform.as_ref()
    }

    /// What an index is called at a destination; `None` if that does not receive its records.
    #[must_use]
    pub fn name_at(&self, index: &Arc<str>, destination: &str) -> Option<Arc<str>> {
        let names = self.names.get(destination).filter(|_| self.delivers(index, destination))?;
        Some(names.of(index))
    }

    /// Whether a destination receives an index's records.
    #[must_use]
    pub fn delivers(&self, index: &str, destination: &str) -> bool {
        self.destinations(index).iter().any(|name| &**name == destination)
    }

    fn rule(&self, index: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.pattern.matches(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(rules: &[(&str, &[&str])], default: &[&str]) -> Router {
        let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
        let rules = rules.iter().map(|(pattern, destinations)| Rule {
            pattern: WildMatch::new(pattern),
            destinations: names(destinations),
            transform: pattern.starts_with("products").then(|| Arc::from(*pattern)),
        });
        let called =
            [("a".into(), IndexNames::default()), ("b".into(), IndexNames::parse("v2_{index}").unwrap())];
        Router { rules: rules.collect(), default: names(default), names: called.into() }
    }

    /// The first rule that matches decides, and only an index that none matches goes to the defaults.
    #[test]
    fn first_match_wins() {
        let router = router(&[("products", &["a"]), ("products*", &["a", "b"]), ("private_?", &[])], &["c"]);
        let of = |index| router.destinations(index).iter().map(|name| &**name).collect::<Vec<_>>();
        assert_eq!(of("products"), ["a"]);
        assert_eq!(of("products_de"), ["a", "b"]);
        assert_eq!(of("private_1"), [""; 0]);
        assert_eq!(of("other"), ["c"]);

        let transform = |index| router.transform(index).map(|name| &**name);
        assert_eq!(transform("products"), Some("products"), "of the rule that decides on the destinations");
        assert_eq!(transform("products_de"), Some("products*"));
        assert_eq!((transform("private_1"), transform("other")), (None, None));
    }

    /// Each destination calls an index what its config says, and one that does not receive it has no name for it.
    #[test]
    fn names_are_the_destinations_own() {
        let router = router(&[("products*", &["a", "b"])], &["a"]);
        let at = |index: &str, destination| router.name_at(&index.into(), destination);
        assert_eq!(at("products_de", "a").as_deref(), Some("products_de"));
        assert_eq!(at("products_de", "b").as_deref(), Some("v2_products_de"));
        assert_eq!(at("other", "b"), None);
    }
}
