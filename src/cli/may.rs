//! What a caller may do by a config's permissions: as text for people, as JSON for programs.

use std::fmt::Write as _;

use plugin_api::operation::Action;
use serde::Serialize;

use super::output::{BAD, GOOD, HEADING, NAME, WARNING, styled};
use crate::{config::Config, ingress::Permissions};

/// The answer to `check --as`.
#[derive(Debug, Serialize)]
pub(super) struct May {
    /// `None` is one without a name.
    caller: Option<String>,
    /// There are no rules, so everybody may do everything.
    open: bool,
    /// What each rule about the caller allows.
    may: Vec<Allowed>,
}

#[derive(Debug, Serialize)]
struct Allowed {
    indexes: Vec<String>,
    actions: Vec<&'static str>,
}

impl May {
    /// An empty name is a caller without one.
    pub(super) fn new(config: &Config, caller: &str) -> Self {
        let permissions = Permissions::new(&config.permissions);
        let caller = Some(caller).filter(|caller| !caller.is_empty());
        let mut may = Vec::new();
        for allowed in permissions.of(caller) {
            let indexes = allowed.indexes.iter().map(ToString::to_string).collect();
            may.push(Allowed { indexes, actions: names(&allowed.actions) });
        }
        if permissions.is_open() {
            may.push(Allowed { indexes: vec!["*".to_owned()], actions: names(&Action::ALL) });
        }
        Self { caller: caller.map(ToOwned::to_owned), open: permissions.is_open(), may }
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.may.is_empty()
    }

    pub(super) fn to_text(&self) -> String {
        let caller = self.caller.as_deref().unwrap_or("without a name");
        let mut text = format!("{} {caller}\n", styled(HEADING, "caller"));
        if self.open {
            let why = "there are no [[permissions]], so everybody may do everything";
            let _ = writeln!(text, "{} {why}", styled(WARNING, "open:"));
        }
        if self.is_nothing() {
            let _ =
                writeln!(text, "{}: no rule of [[permissions]] is about it", styled(BAD, "may do nothing"));
        }
        for Allowed { indexes, actions } in &self.may {
            let (indexes, actions) = (styled(NAME, indexes.join(", ")), actions.join(", "));
            let _ = writeln!(text, "{} {actions} in {indexes}", styled(GOOD, "may"));
        }
        text
    }
}

fn names(actions: &[Action]) -> Vec<&'static str> {
    actions.iter().map(|action| action.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FixedEnvironment, load};

    const RULES: &str = r#"
        [destinations.out]
        type = "file"
        dir = "./out"
        [[permissions]]
        caller = "spiffe://mesh/ns/shop/*"
        indexes = ["products*", "offers"]
        actions = ["save", "delete"]
        [[permissions]]
        caller = "*"
        indexes = ["clicks"]
    "#;

    fn may(text: &str, caller: &str) -> May {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.toml");
        std::fs::write(&file, text).unwrap();
        May::new(&load(Some(&file), &FixedEnvironment::new(&[], &[])).unwrap().config, caller)
    }

    fn text(may: &May) -> String {
        anstream::adapter::strip_str(&may.to_text()).to_string()
    }

    #[test]
    fn what_each_rule_allows() {
        let shop = may(RULES, "spiffe://mesh/ns/shop/sa/checkout");
        assert_eq!(
            text(&shop),
            "caller spiffe://mesh/ns/shop/sa/checkout\nmay save, delete in products*, offers\nmay partial_update, save, \
             partial_update_no_create, delete in clicks\n"
        );
        let json = serde_json::to_value(&shop).unwrap();
        let first = serde_json::json!({ "indexes": ["products*", "offers"], "actions": ["save", "delete"] });
        assert_eq!((&json["open"], &json["may"][0]), (&false.into(), &first));
    }

    #[test]
    fn those_who_may_nothing_or_everything() {
        let (rules, _) = RULES.split_once("[[permissions]]\n        caller = \"*\"").unwrap();
        let nobody = may(rules, "");
        assert!(nobody.is_nothing());
        let expected = "caller without a name\nmay do nothing: no rule of [[permissions]] is about it\n";
        assert_eq!(text(&nobody), expected);
        let (open, _) = RULES.split_once("[[permissions]]").unwrap();
        let all = may(open, "x");
        assert!(!all.is_nothing() && all.open && text(&all).contains("in *\n"), "{}", text(&all));
    }
}
