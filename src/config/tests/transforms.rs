//! Transforms and the rules that name them.

use super::*;

/// The lines of the design's example, and every key that they leave out at its default.
#[test]
fn a_transform_is_read_and_a_rule_names_it() {
    let text = format!(
        "{FILE}[[indexes]]\nmatch = \"products*\"\ndestinations = [\"out\"]\ntransform = \"redact\"\n\
         [[indexes]]\nmatch = \"*\"\ndestinations = [\"out\"]\n\
         [transforms.redact]\npath = \"transforms/redact.wasm\"\nconfig = {{ fields = [\"email\"] }}\n\
         [transforms.-]\npath = \"/m\"\n",
    );
    let (config, _) = checked(&text, &algolia());
    let [plain, redact] = &config.transforms[..] else { panic!("two transforms") };
    assert_eq!((&*plain.name, &*plain.config), ("-", "{}"));
    assert_eq!((&*redact.name, redact.path.to_str()), ("redact", Some("transforms/redact.wasm")));
    assert_eq!((&*redact.config, redact.sha256), (r#"{"fields":["email"]}"#, None));
    assert_eq!((redact.cpu_max, redact.memory_bytes_max), (Duration::from_millis(250), 64 << 20));
    assert_eq!(config.limits.transforms_bytes_max, 512 << 20);
    let rules: Vec<_> = config.indexes.iter().map(|rule| rule.transform.as_deref()).collect();
    assert_eq!(rules, [Some("redact"), None]);
}

#[test]
fn every_setting_of_a_transform_is_read() {
    let digest = "0123456789abcdefABCDEF0123456789abcdef0123456789abcdef0123456789";
    let text = format!(
        "{FILE}[limits]\ntransforms_bytes_max = \"8GiB\"\n[transforms.t]\npath = \"t.wasm\"\n\
         sha256 = \"{digest}\"\ncpu_ms_max = 1000\nmemory_bytes_max = \"4GiB\"\n",
    );
    let (config, _) = checked(&text, &algolia());
    let transform = &config.transforms[0];
    let sha256 = transform.sha256.unwrap();
    assert_eq!((sha256[0], sha256[1], sha256[8], sha256[31]), (0x01, 0x23, 0xab, 0x89));
    assert_eq!((transform.cpu_max, transform.memory_bytes_max), (Duration::from_secs(1), 4 << 30));
    assert_eq!(config.limits.transforms_bytes_max, 8 << 30);

    let (config, _) = checked(
        &format!("{FILE}[limits]\ntransforms_bytes_max = \"32MiB\"\n[transforms.t]\npath = \"t.wasm\"\n"),
        &algolia(),
    );
    assert_eq!(config.transforms[0].memory_bytes_max, 32 << 20, "one instance fits into what all may take");
}

/// A module is told what the operator wrote: every shape of TOML, in its own section or inline.
#[test]
fn the_modules_config_becomes_json() {
    let text = format!(
        "{FILE}[transforms.t]\npath = \"t.wasm\"\n[transforms.t.config]\ntext = \"\\u00e9\\n\\\"\"\n\
         yes = true\nwhole = -1_000\nhex = 0xff\nfraction = 1.0\nlarge = 9223372036854775807\n\
         list = [1, [\"a\"], {{ b = 0.5 }}]\nempty = []\na.b.c = {{}}\n[[transforms.t.config.tables]]\nx = 1\n\
         [[transforms.t.config.tables]]\nx = 2\n",
    );
    let (config, _) = checked(&text, &algolia());
    let json: serde_json::Value = serde_json::from_str(&config.transforms[0].config).unwrap();
    let expected = serde_json::json!({
        "text": "\u{e9}\n\"", "yes": true, "whole": -1000, "hex": 255, "fraction": 1.0,
        "large": 9_223_372_036_854_775_807_i64, "list": [1, ["a"], { "b": 0.5 }], "empty": [],
        "a": { "b": { "c": {} } }, "tables": [{ "x": 1 }, { "x": 2 }],
    });
    assert_eq!(json, expected);
}

/// All that is wrong, at once, each with its place and what would be accepted.
#[test]
fn every_error_is_told_with_its_place() {
    let text = r#"
destinations = { out = { type = "file", dir = "./out" } }
limits = { transforms_bytes_max = "1MiB" }
[transforms."a b"]
path = ""
[transforms.redact]
sha256 = "0123"
cpu_ms_max = 9
memory_bytes_max = "8MiB"
memory_max = 1
config = { at = 1979-05-27, deep = [{ most = inf, none = nan }], huge = 1e999, long = 9223372036854775808 }
[transforms.list]
path = ["a"]
sha256 = "éééééééééééééééééééééééééééééééé"
config = ["a"]
cpu_ms_max = "250ms"
[[indexes]]
match = "a"
destinations = ["out"]
transform = "redect"
[[indexes]]
match = "b"
destinations = ["out"]
transform = ["redact"]
[[indexes]]
match = "c"
destinations = ["out"]
transform = "zz"
"#;
    let file = "a WebAssembly component, absolute or relative to the working directory, such as \
                \"transforms/redact.wasm\"";
    let digits = "64 hexadecimal digits, as `sha256sum` prints them";
    let expected = [
        r#"3:35 limits.transforms_bytes_max: "1MiB" is out of range (a size from 16MiB to 1TiB, such as "512KiB", "1MiB", "20GiB" or a number of bytes)"#,
        "4:13 transforms.a b: not a valid name (1 to 64 of A-Z a-z 0-9 _ -)",
        &format!("5:8 transforms.a b.path: \"\" is empty ({file})"),
        &format!("6:13 transforms.redact.path: missing ({file})"),
        &format!("7:10 transforms.redact.sha256: \"0123\" is not a SHA-256 digest ({digits})"),
        "8:14 transforms.redact.cpu_ms_max: 9 is out of range (an integer from 10 to 10000)",
        r#"9:20 transforms.redact.memory_bytes_max: "8MiB" is out of range (a size from 16MiB to 512MiB, such as "512KiB", "1MiB", "20GiB" or a number of bytes)"#,
        "10:1 transforms.redact.memory_max: unknown key (did you mean `memory_bytes_max`?)",
        r#"11:17 transforms.redact.config.at: 1979-05-27 is a time, which JSON does not have (a string: "1979-05-27")"#,
        "11:46 transforms.redact.config.deep[0].most: inf is no number in JSON (a finite number, or a string)",
        "11:58 transforms.redact.config.deep[0].none: nan is no number in JSON (a finite number, or a string)",
        "11:73 transforms.redact.config.huge: 1e999 is no number in JSON (a finite number, or a string)",
        "11:87 transforms.redact.config.long: 9223372036854775808 is out of range (an integer of 64 bits, or a string)",
        &format!("13:8 transforms.list.path: an array is not a string ({file})"),
        &format!(
            "14:10 transforms.list.sha256: \"{}\" is not a SHA-256 digest ({digits})",
            "\u{e9}".repeat(32)
        ),
        "15:10 transforms.list.config: an array is not a table (a table: [transforms.list.config] or { ... })",
        r#"16:14 transforms.list.cpu_ms_max: "250ms" is not an integer (an integer from 10 to 10000)"#,
        r#"20:13 indexes[0].transform: "redect" is no transform (did you mean "redact"?)"#,
        "24:13 indexes[1].transform: an array is not a string (the name of a transform, one of: a b, list, redact)",
        r#"28:13 indexes[2].transform: "zz" is no transform (one of: a b, list, redact)"#,
    ];
    let told = told(text, &algolia());
    for (told, expected) in told.iter().zip(expected) {
        assert_eq!(told, expected);
    }
    assert_eq!(told.len(), expected.len(), "{told:#?}");
}

#[test]
fn a_rule_without_any_transform_to_name_is_told_so() {
    let text =
        format!("{FILE}[[indexes]]\nmatch = \"a\"\ndestinations = [\"out\"]\ntransform = \"redact\"\n");
    let expected = "7:13 indexes[0].transform: \"redact\" is no transform (none of which is configured)";
    assert_eq!(told(&text, &algolia()), [expected]);
}

/// A module is refused by who runs it; the error stands in the line that names it.
#[test]
fn refused_modules_are_told_with_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.toml");
    let text =
        format!("{FILE}[transforms]\na = {{ path = \"a.wasm\" }}\n[transforms.b]\npath = \"b.wasm\"\n");
    std::fs::write(&file, text).unwrap();
    let loaded = load(Some(&file), &algolia()).unwrap();
    let refused =
        |name: &str, why: &str| (format!("transforms.{name}.path"), format!("\"{name}.wasm\": {why}"));
    let errors = loaded.refused(&[refused("b", "it is none"), refused("a", "it is gone")]);
    let told: Vec<_> = errors.errors.iter().map(|error| (error.line, &*error.key, &*error.message)).collect();
    let expected = [
        (Some(5), "transforms.a.path", "\"a.wasm\": it is gone"),
        (Some(7), "transforms.b.path", "\"b.wasm\": it is none"),
    ];
    assert_eq!(told, expected);
    assert!(errors.render(false).contains("path = \"b.wasm\""), "{errors}");
}
