//! The kit as it lies in this binary, so that whoever has installed the agent needs no repository.

/// A file of a new project: where it goes and what is in it.
pub(super) type File = (&'static str, &'static str);

macro_rules! embedded {
    ($($path:literal),+ $(,)?) => {
        [$(($path, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/transforms/", $path)))),+]
    };
}

/// What goes below `kit/`, as it lies below `transforms/`.
pub(super) const KIT: [File; 11] = embedded![
    "sdk/Cargo.toml",
    "sdk/generate-bindings",
    "sdk/src/bindings.rs",
    "sdk/src/guest.rs",
    "sdk/src/lib.rs",
    "sdk/src/log.rs",
    "sdk/src/outcome.rs",
    "sdk/src/run.rs",
    "sdk/src/slots.rs",
    "sdk/src/testing.rs",
    "wit/transform.wit",
];

/// What every project has.
pub(super) const TEMPLATE: [File; 4] = embedded![
    "template/Cargo.toml",
    "template/README.md",
    "template/gitignore",
    "template/rust-toolchain.toml",
];

/// The versions that the kit was tested with, so that a project needs no others.
pub(super) const LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/transforms/Cargo.lock"));

/// What a project begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Example {
    /// Renames fields and computes others
    Rename,
    /// Removes personal data, by whichever action it comes
    Redact,
    /// Deletes what is not published, also what was published before
    Publish,
    /// Makes one object of each variant of a product, and leaves none behind
    Variants,
}

impl Example {
    /// Its source and its fixtures.
    pub(super) fn files(self) -> [File; 3] {
        match self {
            Self::Rename => embedded![
                "examples/rename/src/lib.rs",
                "examples/rename/fixtures/input.ndjson",
                "examples/rename/fixtures/expect.ndjson",
            ],
            Self::Redact => embedded![
                "examples/redact/src/lib.rs",
                "examples/redact/fixtures/input.ndjson",
                "examples/redact/fixtures/expect.ndjson",
            ],
            Self::Publish => embedded![
                "examples/publish/src/lib.rs",
                "examples/publish/fixtures/input.ndjson",
                "examples/publish/fixtures/expect.ndjson",
            ],
            Self::Variants => embedded![
                "examples/variants/src/lib.rs",
                "examples/variants/fixtures/input.ndjson",
                "examples/variants/fixtures/expect.ndjson",
            ],
        }
    }

    /// The config that its fixtures want, as `--config` takes it.
    pub(super) fn config(self) -> Option<&'static str> {
        match self {
            Self::Rename | Self::Publish => None,
            Self::Redact => Some(r#"{ fields = ["email", "customer.phone"] }"#),
            Self::Variants => Some("{ variants_max = 3 }"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// A file of the kit that is not embedded would be missing from each new project.
    #[test]
    fn every_file_is_embedded() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("transforms");
        for folder in ["sdk", "sdk/src", "wit", "template"] {
            for entry in fs::read_dir(root.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
                let known = KIT.iter().chain(&TEMPLATE).any(|(known, _)| *known == name);
                assert!(known || path.is_dir(), "{name} is not embedded");
            }
        }
    }
}
