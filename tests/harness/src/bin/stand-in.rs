//! Stands in for the agent's process in this crate's own tests: same command line, same health, same signals.

use std::{env, error::Error, fs, io::Write as _, net::SocketAddr};

use harness::server::{accept_all, serve};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = env::args().nth(3).ok_or("usage: stand-in run --config FILE")?;
    let config = fs::read_to_string(config)?;
    let address = config.lines().find_map(|line| line.strip_prefix("grpc = "));
    let address: SocketAddr = address.ok_or("no grpc in the config")?.trim_matches('"').parse()?;
    if config.contains("misconfigured") {
        return Err("told to fail".into());
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(address).await?;
    writeln!(std::io::stderr(), "listening on {address}")?;
    tokio::select! {
        biased;
        // The signal first: a server never ends by itself.
        _ = terminate.recv() => Ok(()),
        ended = serve(listener, accept_all()) => Ok(ended?),
    }
}
