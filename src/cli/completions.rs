//! `sync-agent completions`: what a shell needs to complete the commands.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use super::output;

/// Print what a shell needs to complete commands and options.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  source <(sync-agent completions bash)                                        in ~/.bashrc
  source <(sync-agent completions zsh)                                         in ~/.zshrc, after compinit
  sync-agent completions fish > ~/.config/fish/completions/sync-agent.fish")]
pub struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Carries the command out.
///
/// # Errors
/// If stdout cannot be written.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let script = script(arguments.shell);
    output::to_stdout(|out| out.write_all(&script)).context("cannot write to stdout")?;
    Ok(ExitCode::SUCCESS)
}

/// In memory: the generator panics where its output cannot be written.
fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::Arguments::command(), "sync-agent", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    /// For each shell, down to the options of the last command.
    #[test]
    fn every_shell_completes_every_command() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            for word in ["reset-cursor", "reference", "dry-run", "completions"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
