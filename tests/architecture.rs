//! The map of the modules in `src/lib.rs` is true: each module imports no others than its row says, and the rows stand
//! in the order in which the modules are declared (G1 to G10 are kept by parts that can be read one at a time).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Scenario: somebody imports sideways or upwards, adds a module without a row, or a row for what is not there.
#[test]
fn modules_import_what_the_map_allows() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = fs::read_to_string(source.join("lib.rs")).unwrap();
    let map = map(&lib);
    let declared: Vec<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let rows: Vec<&str> = map.iter().map(|(module, _)| *module).collect();
    assert_eq!(declared, rows, "one row for each module, in the same order");

    let mut wrong = Vec::new();
    let mut uses = 0;
    for (module, may) in map {
        for path in files(&source, module) {
            let text = fs::read_to_string(&path).unwrap();
            for used in imports(&text) {
                uses += 1;
                if used != module && !may.contains(&used.as_str()) && !may.contains(&"everything") {
                    wrong.push(format!("{}: {module} may not use {used}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(uses > 50, "only {uses} imports were found: the test reads past them");
}

/// Each module with what it may use, by the table in the crate's documentation.
fn map(lib: &str) -> Vec<(&str, Vec<&str>)> {
    let row = |line| {
        let cells: Vec<&str> = str::strip_prefix(line, "//! | [`")?.split('|').map(str::trim).collect();
        let [module, _, may, ""] = cells[..] else { panic!("not a row of three cells: {line}") };
        Some((module.trim_end_matches("`]"), may.split(", ").collect()))
    };
    lib.lines().filter_map(row).collect()
}

/// A module's own files, without those of its tests, which may use what they like.
fn files(source: &Path, module: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![source.join(format!("{module}.rs")), source.join(module)];
    while let Some(path) = left.pop() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if name == "tests" || name.ends_with("_tests") || !path.exists() {
            continue;
        }
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The modules behind every `crate::`, also within braces, outside comments and unit tests.
fn imports(text: &str) -> Vec<String> {
    let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let mut found = Vec::new();
    for after in code.split("crate::").skip(1) {
        if let Some(list) = after.strip_prefix('{') {
            found.extend(first_segments(list));
        } else {
            found.push(word(after));
        }
    }
    found
}

/// The first word of each entry of a list in braces.
fn first_segments(list: &str) -> Vec<String> {
    let (mut found, mut depth, mut at_start) = (Vec::new(), 0, true);
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            _ if at_start && !letter.is_whitespace() => {
                found.push(word(&list[at..]));
                at_start = false;
            }
            _ => {}
        }
    }
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}
