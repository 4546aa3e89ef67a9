//! Keys in every form in which a run may have written them down, and where they are looked for.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// What must not be found.
pub(super) struct Wanted {
    /// Each with what it is.
    forms: Vec<(String, String)>,
}

/// A file is read in parts of this size, each after the end of the one before.
const PART_BYTES: usize = 1 << 20;

impl Wanted {
    pub(super) fn new(keys: &[(&str, &str)]) -> Self {
        let forms = keys.iter().flat_map(|(name, key)| {
            let named = move |(form, text): (&str, String)| (format!("{name}, {form}"), text);
            forms(key).into_iter().map(named)
        });
        Self { forms: forms.collect() }
    }

    /// What of it is in these bytes, and where.
    pub(super) fn find(&self, bytes: &[u8]) -> Vec<String> {
        // What is sought is ASCII, and whatever is not text stands for itself.
        let text = String::from_utf8_lossy(bytes);
        let found = self.forms.iter().filter_map(|(what, form)| {
            let at = text.find(form)?;
            let (from, to) =
                (text.floor_char_boundary(at.saturating_sub(200)), text.floor_char_boundary(at + 200));
            Some(format!("{what}: {}", &text[from..to]))
        });
        found.collect()
    }

    /// What of it is in the files below a directory, names included; returns how many files that are, too.
    pub(super) fn find_below(&self, directory: &Path) -> (usize, Vec<String>) {
        let (mut files, mut found) = (0, Vec::new());
        let mut directories = vec![directory.to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                let kind = fs::symlink_metadata(&path).unwrap().file_type();
                if kind.is_dir() {
                    directories.push(path);
                } else if kind.is_file() {
                    files += 1;
                    found.extend(self.find_in(&path));
                }
            }
        }
        (files, found)
    }

    fn find_in(&self, path: &PathBuf) -> Vec<String> {
        let longest = self.forms.iter().map(|(_, form)| form.len()).max().unwrap();
        let (mut file, mut bytes) = (File::open(path).unwrap(), vec![0; PART_BYTES]);
        let (mut found, mut kept) = (self.find(path.to_string_lossy().as_bytes()), 0);
        let zeros = vec![0; PART_BYTES];
        loop {
            let length = file.read(&mut bytes[kept..]).unwrap();
            if length == 0 {
                return found;
            }
            let end = kept + length;
            // Most of a segment is not written.
            if bytes[..end] != zeros[..end] {
                let here = self.find(&bytes[..end]);
                found.extend(here.into_iter().map(|what| format!("{}: {what}", path.display())));
            }
            kept = longest.min(end);
            bytes.copy_within(end - kept..end, 0);
        }
    }
}

/// As it is, in hex, percent-encoded, and in base64 wherever in a longer text it stood.
fn forms(key: &str) -> Vec<(&'static str, String)> {
    let hex: String = key.bytes().map(|byte| format!("{byte:02x}")).collect();
    let encode = |plain: fn(&u8) -> bool| -> String {
        let encoded =
            |byte: u8| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        key.bytes().map(encoded).collect()
    };
    let mut forms = vec![
        ("as it is", key.to_owned()),
        ("in upper-case hex", hex.to_uppercase()),
        ("in hex", hex),
        ("percent-encoded", encode(u8::is_ascii_alphanumeric)),
        (
            "percent-encoded but for unreserved",
            encode(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(byte)),
        ),
        ("as JSON", serde_json::to_string(key).unwrap().trim_matches('"').to_owned()),
    ];
    for before in 0..3 {
        let text = STANDARD.encode(format!("{}{key}", "x".repeat(before)));
        // What depends on what stands before and behind is left out.
        let inner = text[(before * 8).div_ceil(6)..].trim_end_matches('=');
        let inner = &inner[..inner.len() - 1];
        forms.push(("in base64", inner.to_owned()));
        forms.push(("in base64 for URLs", inner.replace('+', "-").replace('/', "_")));
    }
    forms
}

/// A search that finds nothing is worth something only if it finds what is there.
#[test]
fn what_is_there_is_found() {
    let key = "K3y+of/Mar1a=";
    let wanted = Wanted::new(&[("a key", key)]);
    assert_eq!(wanted.find(b"nothing of it"), Vec::<String>::new());
    let directory = tempfile::TempDir::new().unwrap();
    for (number, form) in [
        key.to_owned(),
        "4B33792B6F662F4D617231613D".to_owned(),
        "4b33792b6f662f4d617231613d".to_owned(),
        "K3y%2Bof%2FMar1a%3D".to_owned(),
        STANDARD.encode(format!("agent:{key}")),
        STANDARD.encode(format!("agents:{key}:x")),
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key),
    ]
    .into_iter()
    .enumerate()
    {
        let bytes = format!("{}{form}{}", "\0".repeat(PART_BYTES - 7), "\0".repeat(PART_BYTES));
        assert!(!wanted.find(bytes.as_bytes()).is_empty(), "{form}");
        fs::write(directory.path().join("a"), bytes).unwrap();
        let (files, found) = wanted.find_below(directory.path());
        assert!(files == 1 && !found.is_empty(), "{number}: {form}, over the edge of two parts");
    }
}
