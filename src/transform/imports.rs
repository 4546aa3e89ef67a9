//! What a guest may import: the contract, and those parts of WASI that need no file, clock or network and that never
//! sleep (the ticks that interrupt a guest do not reach into host calls).

use wasmtime::component::{HasData, HasSelf, Linker, ResourceTable};
use wasmtime_wasi::{
    WasiView,
    cli::WasiCli,
    p2::bindings::{cli, random, sync},
    random::WasiRandom,
};

use super::{contract, error::LoadError, host::Host};

/// Namespaces that are linked. Of the rest nothing is, so that this list and [`link`] cannot disagree unnoticed.
const ALLOWED: [&str; 4] = ["sync-agent:transform/", "wasi:cli/", "wasi:io/", "wasi:random/"];

/// Refuses an import that a transform does not get.
pub(super) fn check(import: &str) -> Result<(), LoadError> {
    if ALLOWED.iter().any(|allowed| import.starts_with(allowed)) {
        return Ok(());
    }
    Err(LoadError::ForbiddenImport { import: import.to_owned(), remedy: remedy(import).to_owned() })
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
