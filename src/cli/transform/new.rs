//! `transform new`: a project that builds, with tests that pass.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{
    EXIT_CODES, Outcome, Streams, Unusable,
    kit::{Example, KIT, LOCK, TEMPLATE},
};
use crate::cli::output::{GOOD, NAME, styled};

/// The name that the template has, which each project replaces.
const TEMPLATE_NAME: &str = "my-transform";
/// The name of the template's module, as cargo derives it.
const TEMPLATE_MODULE: &str = "MODULE.wasm";

/// Start a transform: a Rust project that builds and whose tests pass.
///
/// It needs nothing but rustup: the kit that it is written with comes from this binary and is put into the project.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
Examples:
  sync-agent transform new my-transform
  sync-agent transform new transforms/no-emails --example redact

{EXIT_CODES}"))]
pub(super) struct New {
    /// The folder to make, whose name becomes the transform's
    #[arg(value_name = "NAME")]
    path: PathBuf,
    /// What to begin with
    #[arg(long, value_enum, default_value_t = Example::Rename)]
    example: Example,
}

impl New {
    pub(super) fn run(&self, streams: &mut Streams<'_>) -> anyhow::Result<Outcome> {
        let name = self.name().map_err(Unusable)?;
        let shown = self.path.display();
        match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(entries) => {
                if entries.count() > 0 {
                    return Err(Unusable(format!("{shown} is not empty: choose another name")).into());
                }
            }
            Err(error) => return Err(Unusable(format!("{shown}: {error}")).into()),
        }
        for (path, content) in self.files(name) {
            write(&self.path.join(path), &content)?;
        }
        let module = format!("target/wasm32-wasip2/release/{}.wasm", name.replace('-', "_"));
        let config =
            self.example.config().map_or_else(String::new, |config| format!(" \\\n    --config '{config}'"));
        writeln!(
            streams.out,
            "{} {shown}, by the example `{}`\n",
            styled(GOOD, "made"),
            self.example.name()
        )?;
        let steps = [
            ("Look at src/lib.rs, and run it on its fixtures:", format!("cd {shown} && cargo test")),
            ("Build the module:", "sync-agent transform build".to_owned()),
            (
                "Run it as the agent would:",
                format!(
                    "sync-agent transform test {module} \\\n    --input fixtures/input.ndjson --expect fixtures/expect.ndjson{config}"
                ),
            ),
        ];
        for (what, command) in steps {
            writeln!(streams.out, "{what}\n  {}", styled(NAME, command))?;
        }
        writeln!(streams.out, "README.md says how it goes live.")?;
        Ok(Outcome::Done)
    }

    /// The transform's name: what cargo, a config's key and a file's name all take.
    fn name(&self) -> Result<&str, String> {
        let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if !name.bytes().all(plain) || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
            return Err(format!(
                "{name:?} cannot be a transform's name: use a-z, 0-9, - and _, with a letter first"
            ));
        }
        if RESERVED.contains(&name) {
            return Err(format!(
                "{name:?} cannot be a transform's name: it means something to Rust; choose another"
            ));
        }
        Ok(name)
    }

    /// Every file of the project and what is in it.
    fn files(&self, name: &str) -> Vec<(String, String)> {
        let module = format!("{}.wasm", name.replace('-', "_"));
        let (option, key) = match self.example.config() {
            Some(config) => (format!(" \\\n  --config '{config}'"), format!("config = {config}")),
            None => (String::new(), "# config = { key = \"value\" }".to_owned()),
        };
        let fitted = |content: &str| {
            content
                .replace(TEMPLATE_NAME, name)
                .replace(TEMPLATE_MODULE, &module)
                .replace(" CONFIG_OPTION", &option)
                .replace("CONFIG_KEY", &key)
        };
        let mut files = Vec::new();
        for (path, content) in TEMPLATE {
            let path = path.trim_start_matches("template/").replace("gitignore", ".gitignore");
            files.push((path, fitted(content)));
        }
        let source = format!("examples/{}/", self.example.name());
        files.extend(
            self.example.files().map(|(path, content)| (path.replace(&source, ""), content.to_owned())),
        );
        files.extend(KIT.map(|(path, content)| (format!("kit/{path}"), content.to_owned())));
        files.push(("Cargo.lock".to_owned(), LOCK.to_owned()));
        files
    }
}

impl Example {
    fn name(self) -> String {
        use clap::ValueEnum as _;
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Rust's keywords, its own crates, and the kit's.
const RESERVED: [&str; 50] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "transform-sdk",
    "true",
    "try",
    "type",
    "where",
    "while",
];

fn write(path: &Path, content: &str) -> anyhow::Result<()> {
    let shown = || path.display().to_string();
    let failed = |error: io::Error| Unusable(format!("{}: cannot be written: {error}", path.display()));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(path, content).map_err(failed)?;
    if content.starts_with("#!") {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).with_context(shown)?;
    }
    Ok(())
}
