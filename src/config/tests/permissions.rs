//! `[[permissions]]`, and what each caller may send.

use plugin_api::operation::Action;

use super::*;

/// The rules are read in their order; without actions they allow each.
#[test]
fn rules_are_read() {
    let text = format!(
        "{FILE}[limits]\ncaller_rate_limit = {{ requests_per_second = 50, bytes_per_second = \"1MiB\" }}\n[[permissions]]\n\
         caller = \"spiffe://mesh/*\"\nindexes = [\"products*\", \"offers\"]\nactions = [\"save\"]\n[[permissions]]\ncaller = \
         \"*\"\nindexes = [\"clicks\"]\n"
    );
    let (config, _) = checked(&text, &with(&[]));
    let [first, second] = &config.permissions[..] else { panic!("{:?}", config.permissions) };
    assert_eq!((&*first.caller, &first.actions[..]), ("spiffe://mesh/*", &[Action::Save][..]));
    assert_eq!(first.indexes, ["products*".into(), "offers".into()]);
    assert_eq!((&*second.caller, &second.actions[..]), ("*", &Action::ALL[..]));
    let limit = config.limits.caller_rate_limit;
    assert_eq!((limit.requests_per_second, limit.bytes_per_second), (Some(50), Some(1 << 20)));
    assert_eq!(checked(FILE, &with(&[])).0.limits.caller_rate_limit, CallerRateLimit::default());
}

/// Every error at once, each with its place, the value and what would do.
#[test]
fn errors_are_named() {
    let text = format!(
        "{FILE}[[permissions]]\nindexes = []\nactions = [\"saev\"]\n[[permissions]]\ncaller = \"\"\nindexes = \
         [\"a\", \"a\", 7]\nactions = [\"delete\", \"delete\"]\ncallers = 1\n"
    );
    let told = told(&text, &with(&[]));
    let expected = [
        "4:1 permissions[0].caller: missing (a caller's name",
        "5:11 permissions[0].indexes: an array without an item (an array of indexes' names",
        "6:12 permissions[0].actions[0]: \"saev\" is no action (did you mean \"save\"?",
        "8:10 permissions[1].caller: \"\" is empty (a caller's name",
        "9:17 permissions[1].indexes[1]: \"a\" is named twice (each once)",
        "9:22 permissions[1].indexes[2]: 7 is not a string (an array of indexes' names",
        "10:22 permissions[1].actions[1]: \"delete\" is named twice (each once)",
        "11:1 permissions[1].callers: unknown key (did you mean `caller`?)",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}\n{expected}");
    }
}
