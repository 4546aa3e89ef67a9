//! `[transforms.NAME]`: which module runs, with which words for it, within which bounds.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{
    checked::{Limits, Transform},
    keys,
    reader::{Table, Value},
    units::{Count, Size},
};

/// What the document says about transforms, by name ascending.
#[derive(Debug, Default)]
pub(super) struct Transforms {
    /// Every name, also of those that have errors: they may be referred to.
    pub(super) names: Vec<Arc<str>>,
    /// Those without errors.
    pub(super) checked: Vec<Transform>,
}

impl Transforms {
    /// Reads `[transforms]`.
    pub(super) fn read(mut table: Table<'_>, limits: &Limits) -> Self {
        let mut transforms = Self::default();
        for (name, value) in table.take_all() {
            if !keys::is_name(name) {
                value.wrong_name(keys::NAME);
            }
            let name: Arc<str> = name.into();
            transforms.names.push(name.clone());
            if let Some(table) = value.table() {
                transforms.checked.extend(transform(name, table, limits));
            }
        }
        transforms.names.sort_unstable();
        transforms.checked.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        transforms
    }
}

fn transform(name: Arc<str>, mut table: Table<'_>, limits: &Limits) -> Option<Transform> {
    let path = path(&mut table);
    let sha256 = match table.take("sha256") {
        Some(value) => sha256(&value).map(Some),
        None => Some(None),
    };
    let config = match table.take("config") {
        Some(value) => value.table().and_then(|_| value.json()).map(|json| json.to_string()),
        None => Some("{}".to_owned()),
    };
    let cpu_ms = table.quantity::<Count>("cpu_ms_max").0;
    let memory = table.quantity_by("memory_bytes_max", Size(limits.transforms_bytes_max as u64));
    table.finish();
    Some(Transform {
        name,
        path: path?,
        sha256: sha256?,
        config: config?.into(),
        cpu_max: Duration::from_millis(cpu_ms.into()),
        memory_bytes_max: memory.length(),
    })
}

fn path(table: &mut Table<'_>) -> Option<PathBuf> {
    let accepted = "a WebAssembly component, absolute or relative to the working directory, such as \
                    \"transforms/redact.wasm\"";
    match table.take("path") {
        Some(value) => value.string(accepted).map(PathBuf::from),
        None => {
            table.missing("path", accepted);
            None
        }
    }
}

fn sha256(value: &Value<'_>) -> Option<[u8; 32]> {
    let accepted = "64 hexadecimal digits, as `sha256sum` prints them";
    let text = value.string(accepted)?;
    let digest = digest(text);
    if digest.is_none() {
        value.wrong("is not a SHA-256 digest", accepted);
    }
    digest
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(digest)
}
