//! Who may do what to which index: a pure function of the three and the config.

use std::sync::Arc;

use plugin_api::operation::Action;
use wildmatch::WildMatch;

use crate::config::Permission;

/// The rules. What none of them allows is refused; where there is none, everything is allowed. Never changes.
#[derive(Clone, Debug, Default)]
pub struct Permissions {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    caller: WildMatch,
    indexes: Vec<(WildMatch, Arc<str>)>,
    actions: Vec<Action>,
}

/// What a rule allows somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Indexes' names, or patterns for them.
    pub indexes: Vec<Arc<str>>,
    /// What may be done to them.
    pub actions: Vec<Action>,
}

impl Permissions {
    /// The rules of a checked config.
    #[must_use]
    pub fn new(rules: &[Permission]) -> Self {
        let pattern = |index: &Arc<str>| (WildMatch::new(index), index.clone());
        let rule = |rule: &Permission| Rule {
            caller: WildMatch::new(&rule.caller),
            indexes: rule.indexes.iter().map(pattern).collect(),
            actions: rule.actions.clone(),
        };
        Self { rules: rules.iter().map(rule).collect() }
    }

    /// Whether there is no rule, so that everybody may do everything.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a caller may do this to an index.
    #[must_use]
    pub fn allow(&self, caller: Option<&str>, index: &str, action: Action) -> bool {
        let matches = |rule: &Rule| {
            rule.actions.contains(&action)
                && rule.is_about(caller)
                && rule.indexes.iter().any(|(pattern, _)| pattern.matches(index))
        };
        self.is_open() || self.rules.iter().any(matches)
    }

    /// What each rule about a caller allows, in the order of the file.
    #[must_use]
    pub fn of(&self, caller: Option<&str>) -> Vec<Allowed> {
        let allowed = |rule: &Rule| Allowed {
            indexes: rule.indexes.iter().map(|(_, name)| name.clone()).collect(),
            actions: rule.actions.clone(),
        };
        self.rules.iter().filter(|rule| rule.is_about(caller)).map(allowed).collect()
    }
}

impl Rule {
    /// A caller without a name is what only `*` matches.
    fn is_about(&self, caller: Option<&str>) -> bool {
        self.caller.matches(caller.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permissions(rules: &[(&str, &[&str], &[Action])]) -> Permissions {
        let rule = |(caller, indexes, actions): &(&str, &[&str], &[Action])| Permission {
            caller: (*caller).into(),
            indexes: indexes.iter().map(|index| Arc::from(*index)).collect(),
            actions: actions.to_vec(),
        };
        Permissions::new(&rules.iter().map(rule).collect::<Vec<_>>())
    }

    /// What no rule allows is refused; rules add up, and each is about its callers, indexes and actions alone.
    #[test]
    fn only_what_a_rule_allows() {
        const SHOP: &str = "spiffe://mesh/ns/shop/sa/checkout";
        let permissions = permissions(&[
            ("spiffe://mesh/ns/shop/*", &["products*", "offers"], &[Action::Save, Action::PartialUpdate]),
            (SHOP, &["carts"], &Action::ALL),
        ]);
        for (caller, index, action, allowed) in [
            (Some(SHOP), "products_de", Action::Save, true),
            (Some(SHOP), "offers", Action::PartialUpdate, true),
            (Some(SHOP), "offers", Action::Delete, false),
            (Some(SHOP), "offers_de", Action::Save, false),
            (Some(SHOP), "carts", Action::Delete, true),
            (Some("spiffe://mesh/ns/shop/sa/stock"), "carts", Action::Delete, false),
            (Some("spiffe://mesh/ns/shop/sa/stock"), "products", Action::Save, true),
            (Some("spiffe://mesh/ns/shopping"), "products", Action::Save, false),
            (Some("x spiffe://mesh/ns/shop/sa/checkout"), "products", Action::Save, false),
            (Some(""), "products", Action::Save, false),
            (None, "products", Action::Save, false),
        ] {
            assert_eq!(permissions.allow(caller, index, action), allowed, "{caller:?} {action:?} {index}");
        }
        assert_eq!(permissions.of(Some(SHOP)).len(), 2);
        assert_eq!(permissions.of(None), []);
    }

    /// Without a rule everything is open; `*` is about those without a name, too, and nothing else is.
    #[test]
    fn the_nameless() {
        assert!(permissions(&[]).allow(None, "products", Action::Delete));
        let some = permissions(&[("?*", &["a"], &[Action::Save]), ("*", &["b"], &[Action::Save])]);
        assert!(!some.allow(None, "a", Action::Save));
        assert!(some.allow(Some("x"), "a", Action::Save));
        assert!(some.allow(None, "b", Action::Save) && some.allow(Some("x"), "b", Action::Save));
    }
}
