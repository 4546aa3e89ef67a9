//! What a guest may import: the contract, and those parts of WASI that need no file, clock or network and that never
//! sleep (the ticks that interrupt a guest do not reach into host calls).

use wasmtime::component::{HasData, HasSelf, Linker, ResourceTable};
use wasmtime_wasi::{
    WasiView,
    cli::WasiCli,
    p2::bindings::{cli, random, sync},
    random::WasiRandom,
};

use super::{contract, error::LoadError, host::Host, words::tamed};

/// The interfaces that [`link`] links, without their versions.
const LINKED: [&str; 18] = [
    "sync-agent:transform/types",
    "sync-agent:transform/log",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:cli/exit",
    "wasi:cli/environment",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
];
const WASI_VERSION: &str = "0.2.";
const CONTRACT_VERSION: &str = "1.0.";

/// Refuses an import that a transform does not get.
pub(super) fn check(import: &str) -> Result<(), LoadError> {
    let (interface, version) = import.split_once('@').unwrap_or((import, ""));
    let forbidden =
        |remedy: &str| Err(LoadError::ForbiddenImport { import: tamed(import), remedy: remedy.to_owned() });
    let is_wasi = interface.starts_with("wasi:");
    if !LINKED.contains(&interface) {
        forbidden(remedy(import))
    } else if is_wasi && !version.starts_with(WASI_VERSION) {
        forbidden("this agent has WASI 0.2; build for the target wasm32-wasip2")
    } else if !is_wasi && !version.starts_with(CONTRACT_VERSION) {
        let expected = format!("{interface}@{CONTRACT_VERSION}0");
        Err(LoadError::WrongVersion { found: tamed(import), expected })
    } else {
        Ok(())
    }
}

/// How the three toolchains leave an import out.
fn remedy(import: &str) -> &'static str {
    let of_wasi = |package| import.strip_prefix("wasi:").is_some_and(|rest| rest.starts_with(package));
    if of_wasi("clocks/") {
        "take the time from the record instead (std::time and crates that read the clock must go; for chrono \
         and others, without the feature that does: default-features = false). JavaScript: jco componentize \
         --disable clocks; Python: componentize-py --stub-wasi"
    } else if of_wasi("filesystem/") {
        "embed the file (include_str!) or put it into the transform's `config` table; std::fs must go. \
         JavaScript: --backend-qjs-stub-wasi; Python: componentize-py --stub-wasi"
    } else if of_wasi("sockets/") || of_wasi("http/") {
        "a transform sees the record and its `config` table only; look things up before the record is sent. \
         JavaScript: jco componentize --disable http fetch-event; Python: componentize-py --stub-wasi"
    } else if import.starts_with("wasi:") {
        "allowed are wasi:cli, wasi:io and wasi:random; build without the feature that needs more"
    } else {
        "build it for the world `transform` of transform.wit, which imports `log` alone"
    }
}

struct HasIo;

impl HasData for HasIo {
    type Data<'a> = &'a mut ResourceTable;
}

/// Links what is allowed.
pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    contract::Transform::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)?;

    sync::io::error::add_to_linker::<Host, HasIo>(linker, |host| host.ctx().table)?;
    sync::io::poll::add_to_linker::<Host, HasIo>(linker, |host| host.ctx().table)?;
    sync::io::streams::add_to_linker::<Host, HasIo>(linker, |host| host.ctx().table)?;

    random::random::add_to_linker::<Host, WasiRandom>(linker, |host| host.ctx().ctx.random())?;
    random::insecure::add_to_linker::<Host, WasiRandom>(linker, |host| host.ctx().ctx.random())?;
    random::insecure_seed::add_to_linker::<Host, WasiRandom>(linker, |host| host.ctx().ctx.random())?;

    cli::exit::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::environment::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::stdin::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::stdout::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::stderr::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::terminal_input::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::terminal_output::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::terminal_stdin::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::terminal_stdout::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::terminal_stderr::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each import that is refused comes with the way to build without it, whatever the toolchain.
    #[test]
    fn refusals_say_what_to_do() {
        for (import, words) in [
            ("wasi:clocks/wall-clock@0.2.6", "take the time from the record"),
            ("wasi:filesystem/types@0.2.6", "include_str!"),
            ("wasi:sockets/tcp@0.2.6", "look things up before"),
            ("wasi:http/outgoing-handler@0.2.6", "--disable http"),
            ("wasi:keyvalue/store@0.2.0", "build without the feature"),
            ("wasi:cli/stdout@0.3.0", "this agent has WASI 0.2"),
            ("acme:secrets/store", "which imports `log` alone"),
            ("sync-agent:transform/log@2.0.0", "this agent runs sync-agent:transform/log@1.0.0"),
        ] {
            let message = check(import).unwrap_err().to_string();
            assert!(message.contains(words) && message.contains(import), "{message}");
        }
        for allowed in ["wasi:cli/environment@0.2.6", "wasi:io/poll@0.2.0", "sync-agent:transform/log@1.0.0"]
        {
            check(allowed).unwrap();
        }
    }
}
