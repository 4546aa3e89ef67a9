//! What differs between two records, attribute by attribute, for people.

use std::fmt::Write;

use serde_json::Value;

use super::lines::{Becomes, Operation, same};
use crate::cli::{
    output::{BAD, GOOD, NAME, styled},
    text,
};

/// Characters of a value that are shown.
const VALUE_WIDTH: usize = 100;

/// What a record becomes, beside what it is; goes on where a heading ends. A line for each operation and below it the attributes that change.
pub(in crate::cli) fn change(record: &Operation, becomes: &Becomes) -> String {
    match becomes {
        Becomes::Fails(reason) => format!(" {} {}\n", styled(BAD, "fails:"), text::printable(reason)),
        Becomes::Operations(operations) => match operations.as_slice() {
            [] => format!(": {}\n", styled(NAME, "nothing is delivered")),
            [operation] if operation.has_same_key(record) && same(&operation.data, &record.data) => {
                " unchanged\n".to_owned()
            }
            [operation] if operation.has_same_key(record) => {
                format!("\n{}", differences(&record.data, &operation.data))
            }
            operations => {
                let shown = operations.iter().map(|operation| {
                    let differences = match operation.data {
                        Value::Null => String::new(),
                        _ => differences(&record.data, &operation.data),
                    };
                    format!("    {}\n{differences}", styled(NAME, key(operation)))
                });
                " becomes\n".to_owned() + &shown.collect::<String>()
            }
        },
    }
}

/// What is other than expected.
pub(super) fn unexpected(expected: &Becomes, actual: &Becomes) -> String {
    if let (Becomes::Operations(left), Becomes::Operations(right)) = (expected, actual)
        && left.len() == right.len()
        && left.iter().zip(right).all(|(left, right)| left.has_same_key(right))
    {
        let mut shown = String::new();
        for (left, right) in left.iter().zip(right).filter(|(left, right)| !same(&left.data, &right.data)) {
            let _ =
                write!(shown, "    {}\n{}", styled(NAME, key(right)), differences(&left.data, &right.data));
        }
        return shown;
    }
    let line = |sign: &str, becomes: &Becomes| {
        format!("    {sign} {}", text::one_line(&becomes.to_json().to_string()))
    };
    format!("{}\n{}\n", styled(BAD, line("-", expected)), styled(GOOD, line("+", actual)))
}

/// Action and object, as a heading.
pub(super) fn key(operation: &Operation) -> String {
    format!("{} {}", operation.action.as_str(), text::printable(&operation.object_id))
}

/// A line for each attribute that is not the same, by its path.
fn differences(from: &Value, to: &Value) -> String {
    let mut shown = String::new();
    walk(&mut String::new(), Some(from), Some(to), &mut shown);
    shown
}

fn walk(path: &mut String, from: Option<&Value>, to: Option<&Value>, shown: &mut String) {
    match (from, to) {
        (Some(from), Some(to)) if same(from, to) => {}
        (Some(Value::Object(from)), Some(Value::Object(to))) => {
            let added = to.keys().filter(|key| !from.contains_key(*key));
            for key in from.keys().chain(added) {
                let length = path.len();
                let dot = if path.is_empty() { "" } else { "." };
                let _ = write!(path, "{dot}{key}");
                walk(path, from.get(key), to.get(key), shown);
                path.truncate(length);
            }
        }
        (Some(Value::Array(from)), Some(Value::Array(to))) => {
            for at in 0..from.len().max(to.len()) {
                let length = path.len();
                let _ = write!(path, "[{at}]");
                walk(path, from.get(at), to.get(at), shown);
                path.truncate(length);
            }
        }
        (from, to) => {
            for (style, sign, value) in [(BAD, '-', from), (GOOD, '+', to)] {
                if let Some(value) = value {
                    let value = value.to_string();
                    let value = text::shortened(&text::one_line(&value), VALUE_WIDTH);
                    let line = format!("{sign} {}: {value}", text::printable(path));
                    let _ = writeln!(shown, "      {}", styled(style, line));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::operation::Action;
    use serde_json::json;

    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    fn save(id: &str, data: Value) -> Operation {
        Operation { action: Action::Save, object_id: id.to_owned(), data }
    }

    #[test]
    fn attributes_that_differ_are_shown_by_their_path() {
        let from = json!({"title": "Lamp", "tags": ["a", {"b": 1}], "same": [1]});
        let to = json!({"name": "Lamp", "tags": ["a", {"b": 2}, "c"], "same": [1.0]});
        assert_eq!(
            plain(&differences(&from, &to)),
            "      - tags[1].b: 1\n      + tags[1].b: 2\n      + tags[2]: \"c\"\n      - title: \"Lamp\"\n      + name: \"Lamp\"\n"
        );
    }

    /// What a record says must not reach the terminal as commands.
    #[test]
    fn control_characters_are_escaped() {
        let shown = plain(&differences(&json!({}), &json!({"a\u{1b}[2J": "\u{1b}[2J\u{202e}"})));
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown:?}");
    }

    #[test]
    fn an_unexpected_result_shows_both_sides() {
        let expected = Becomes::Operations(vec![save("1", json!({"a": 1}))]);
        let actual = Becomes::Operations(vec![save("1", json!({"a": 2}))]);
        assert_eq!(plain(&unexpected(&expected, &actual)), "    save 1\n      - a: 1\n      + a: 2\n");
        let failed = Becomes::Fails("because".to_owned());
        assert_eq!(
            plain(&unexpected(&expected, &failed)),
            "    - {\"a\":1,\"objectID\":\"1\"}\n    + {\"fail\":\"because\"}\n"
        );
    }
}
