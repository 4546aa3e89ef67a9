//! The agent as a process: started on a directory and a port of its own, signalled, restarted, and gone on drop.
//!
//! Waiting is polling with a deadline, never a fixed time. The agent's stderr goes to a file, whose end is part of
//! every failure's message; when a test panics, the directory is kept and named.

use std::{
    fs, io,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use thiserror::Error;
use tonic::transport::Endpoint;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    contract::SERVICE,
    dead_letters::{self, Letter},
    tls::Client,
    usage::Usage,
};

/// How long a start may take before it counts as failed.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(2);
/// Variables that would change the agent's config from outside.
const FOREIGN_VARIABLES: [&str; 9] = [
    "ALGOLIA_APP_ID",
    "ALGOLIA_API_KEY",
    "GRPC_PORT",
    "SYNCER_WORKER_COUNT",
    "SYNCER_BATCH_SIZE",
    "SYNCER_BATCH_TIMEOUT",
    "SYNCER_QUEUE_SIZE",
    "SYNCER_MAX_RETRY",
    "SYNCER_INITIAL_BACKOFF",
];

/// Why the agent is not there.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// The process could not be started or asked.
    #[error("could not {context}")]
    Io {
        /// What was tried.
        context: String,
        /// What the system answered.
        source: io::Error,
    },
    /// It ended before it served.
    #[error("the agent ended with {status} before it served; stderr ends with:\n{stderr}")]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// The end of its stderr.
        stderr: String,
    },
    /// It took too long.
    #[error("the agent did not {what} within {deadline:?}; stderr ends with:\n{stderr}")]
    Late {
        /// What was awaited.
        what: &'static str,
        /// How long.
        deadline: Duration,
        /// The end of its stderr.
        stderr: String,
    },
}

/// What an agent is started with. Every destination declared is one of `[defaults] destinations`.
#[derive(Debug)]
pub struct Setup {
    binary: PathBuf,
    directory: TempDir,
    destinations: Vec<String>,
    listen: String,
    data: String,
    config: String,
    environment: Vec<(String, String)>,
    tls: Option<Client>,
}

impl Setup {
    /// An agent of this binary in a new temporary directory, so far without destinations.
    ///
    /// # Panics
    /// If no temporary directory can be made.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        let directory = tempfile::Builder::new().prefix("sync-agent-").tempdir();
        Self {
            binary: binary.into(),
            directory: directory.expect("a test machine has room for a temporary directory"),
            destinations: Vec::new(),
            listen: String::new(),
            data: String::new(),
            config: String::new(),
            environment: Vec::new(),
            tls: None,
        }
    }

    /// The directory that holds config, data, files and stderr.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Adds a file destination that writes to the directory of its name; see [`Agent::output`].
    #[must_use]
    pub fn file(self, name: &str) -> Self {
        let output = self.directory().join(name);
        self.destination(name, &format!("type = \"file\"\ndir = {output:?}\n"))
    }

    /// Adds an Algolia destination on this host, such as `http://127.0.0.1:9201`, with the keys `app` and `key`.
    #[must_use]
    pub fn algolia(self, name: &str, host: &str) -> Self {
        let secrets = "app_id = { env = \"HARNESS_APP_ID\" }\napi_key = { env = \"HARNESS_API_KEY\" }\n";
        self.environment("HARNESS_APP_ID", "app")
            .environment("HARNESS_API_KEY", "key")
            .destination(name, &format!("type = \"algolia\"\n{secrets}hosts = [{host:?}]\n"))
    }

    /// Adds an Elasticsearch destination on this node, such as `http://127.0.0.1:9201`, with the API key `key`.
    #[must_use]
    pub fn elasticsearch(self, name: &str, node: &str) -> Self {
        let auth = "auth = { api_key = { env = \"HARNESS_API_KEY\" } }\n";
        self.environment("HARNESS_API_KEY", "key")
            .destination(name, &format!("type = \"elasticsearch\"\n{auth}nodes = [{node:?}]\n"))
    }

    /// Adds keys to `[listen]`.
    #[must_use]
    pub fn listen(mut self, toml: &str) -> Self {
        self.listen.push_str(toml);
        self.listen.push('\n');
        self
    }

    /// Asks by TLS whether the agent serves.
    #[must_use]
    pub fn tls(mut self, client: Client) -> Self {
        self.tls = Some(client);
        self
    }

    /// Adds keys to `[data]`.
    #[must_use]
    pub fn data(mut self, toml: &str) -> Self {
        self.data.push_str(toml);
        self.data.push('\n');
        self
    }

    /// Appends TOML as it stands: right after a destination its keys are that destination's.
    #[must_use]
    pub fn config(mut self, toml: &str) -> Self {
        self.config.push_str(toml);
        self.config.push('\n');
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes the config, starts the agent and waits until it serves.
    ///
    /// # Errors
    /// If it cannot be started, ends, or does not serve in time.
    pub async fn start(self) -> Result<Agent, ProcessError> {
        let mut agent = self.write()?;
        agent.restart().await?;
        Ok(agent)
    }

    /// Writes the config of an agent that is not started yet.
    ///
    /// # Errors
    /// If the config cannot be written.
    pub fn write(self) -> Result<Agent, ProcessError> {
        let (address, http_address) = (free_address(), free_address());
        let (directory, defaults) = (self.directory.path(), &self.destinations);
        let data = directory.join("data");
        let text = format!(
            "[listen]\ngrpc = \"{address}\"\nhttp = \"{http_address}\"\n{}\n[data]\ndir = {data:?}\n{}\n[defaults]\ndestinations = {defaults:?}\n\n{}",
            self.listen, self.data, self.config
        );
        fs::write(directory.join("config.toml"), text)
            .map_err(|source| io_error("write the config", source))?;
        Ok(Agent { setup: self, address, http_address, child: None, served_after: Duration::ZERO })
    }

    fn destination(mut self, name: &str, settings: &str) -> Self {
        self.destinations.push(name.to_owned());
        let table = format!("\n[destinations.{name}]\n{settings}");
        self.config.push_str(&table);
        self
    }
}

/// An agent that was started, and perhaps killed since.
#[derive(Debug)]
pub struct Agent {
    setup: Setup,
    address: SocketAddr,
    http_address: SocketAddr,
    child: Option<Child>,
    served_after: Duration,
}

impl Agent {
    /// Where it serves gRPC, also after a restart.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it serves metrics and health, also after a restart.
    #[must_use]
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// The directory that holds config, data, files and stderr.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.setup.directory()
    }

    /// The agent's `[data] dir`.
    #[must_use]
    pub fn data_directory(&self) -> PathBuf {
        self.directory().join("data")
    }

    /// Where the file destination of this name writes.
    #[must_use]
    pub fn output(&self, destination: &str) -> PathBuf {
        self.directory().join(destination)
    }

    /// From the last start of the process until it served.
    #[must_use]
    pub fn served_after(&self) -> Duration {
        self.served_after
    }

    /// Its memory and CPU time.
    ///
    /// # Panics
    /// If it does not run.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let process = self.process().as_raw_nonzero().get().unsigned_abs();
        Usage::of(process)
            .unwrap_or_else(|error| panic!("usage of the agent: {error}\n{}", self.stderr_end()))
    }

    /// Every dead letter of every destination, as the agent's own command exports them; it need not run.
    ///
    /// # Panics
    /// If the command fails or prints something else.
    #[must_use]
    pub fn dead_letters(&self) -> Vec<Letter> {
        let mut command = self.command(&["dead-letters", "export"]);
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{command:?} ended with {}: {stderr}", output.status);
        dead_letters::parse(&stdout).unwrap_or_else(|error| panic!("{command:?}: {error} in {stdout}"))
    }

    /// Everything that it wrote to stderr, over all its runs.
    #[must_use]
    pub fn stderr(&self) -> String {
        let bytes = fs::read(self.directory().join("stderr")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Runs another command of the agent's binary on this agent's config, to its end.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn execute(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// Sends SIGKILL and waits until the process is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only for a process that is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops the process in its tracks (SIGSTOP), as a machine without CPU time would.
    ///
    /// # Panics
    /// If it does not run.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a stopped process go on (SIGCONT).
    ///
    /// # Panics
    /// If it does not run.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks it to shut down (SIGTERM); a second time, to do so at once.
    ///
    /// # Panics
    /// If it does not run.
    pub fn request_shutdown(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// If it has not at the deadline; it then runs on.
    ///
    /// # Panics
    /// If it was not started.
    pub async fn ended(&mut self, deadline: Duration) -> Result<ExitStatus, ProcessError> {
        let start = Instant::now();
        loop {
            let child = self.child.as_mut().expect("only a started agent is awaited");
            match child.try_wait().map_err(|source| io_error("wait for the agent", source))? {
                Some(status) => {
                    self.child = None;
                    return Ok(status);
                }
                None if start.elapsed() > deadline => return Err(self.late("end", deadline)),
                None => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Asks it to shut down and waits until it has.
    ///
    /// # Errors
    /// If it has not ended at the deadline.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn terminate(&mut self, deadline: Duration) -> Result<ExitStatus, ProcessError> {
        self.request_shutdown();
        self.ended(deadline).await
    }

    /// Kills it if it runs, then starts it on the same directory and port and waits until it serves.
    ///
    /// # Errors
    /// If it cannot be started, ends, or does not serve in time.
    pub async fn restart(&mut self) -> Result<(), ProcessError> {
        self.kill();
        let start = Instant::now();
        self.spawn()?;
        self.serving(start).await?;
        self.served_after = start.elapsed();
        Ok(())
    }

    /// Starts the process, which must not run, and leaves it to itself.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(&mut self) -> Result<(), ProcessError> {
        let stderr = fs::OpenOptions::new().create(true).append(true).open(self.directory().join("stderr"));
        let stderr = stderr.map_err(|source| io_error("open the file for stderr", source))?;
        let mut command = self.command(&["run"]);
        command.stdout(Stdio::null()).stderr(stderr);
        let child = command.spawn();
        self.child =
            Some(child.map_err(|source| io_error(&format!("start {:?}", self.setup.binary), source))?);
        Ok(())
    }

    /// A command of the agent's binary on this agent's config.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.setup.binary);
        command.args(arguments).arg("--config").arg(self.directory().join("config.toml"));
        FOREIGN_VARIABLES.iter().for_each(|name| {
            command.env_remove(name);
        });
        command.envs(self.setup.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.directory()).stdin(Stdio::null());
        command
    }

    async fn serving(&mut self, start: Instant) -> Result<(), ProcessError> {
        while !answers(self.address, self.setup.tls.as_ref()).await {
            let child = self.child.as_mut().expect("restart() has just put it there");
            if let Some(status) = child.try_wait().map_err(|source| io_error("ask for the agent", source))? {
                self.child = None;
                return Err(ProcessError::Ended { status, stderr: self.stderr_end() });
            }
            if start.elapsed() > START_DEADLINE {
                return Err(self.late("serve", START_DEADLINE));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn process(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("a signal or question is for an agent that runs"))
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.process(), signal)
            .unwrap_or_else(|error| panic!("{signal:?} to the agent: {error}\n{}", self.stderr_end()));
    }

    fn late(&self, what: &'static str, deadline: Duration) -> ProcessError {
        ProcessError::Late { what, deadline, stderr: self.stderr_end() }
    }

    fn stderr_end(&self) -> String {
        let text = self.stderr();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            self.setup.directory.disable_cleanup(true);
            let (directory, end) = (self.directory(), self.stderr_end());
            // Nobody is left to tell if stderr is gone.
            let _ =
                writeln!(io::stderr(), "agent's directory kept: {directory:?}; its stderr ends with:\n{end}");
        }
    }
}

/// Whether the agent's health service answers SERVING.
pub async fn is_serving(address: SocketAddr) -> bool {
    answers(address, None).await
}

async fn answers(address: SocketAddr, tls: Option<&Client>) -> bool {
    let Ok(endpoint) = Endpoint::from_shared(format!("http://{address}")) else { return false };
    let channel = match tls {
        Some(client) => client.channel(address).await,
        None => endpoint.timeout(Duration::from_secs(1)).connect().await,
    };
    let Ok(channel) = channel else { return false };
    let request = HealthCheckRequest { service: SERVICE.to_owned() };
    let answer = HealthClient::new(channel).check(request).await;
    answer.is_ok_and(|answer| answer.into_inner().status() == ServingStatus::Serving)
}

/// Whether a process was ended by this signal, rather than by itself.
#[must_use]
pub fn ended_by(status: ExitStatus, signal: Signal) -> bool {
    status.signal() == Some(signal.as_raw())
}

/// A port on loopback that nobody listens on, below the range from which the system takes ports for clients: one of
/// those may be in use again by the time the agent binds it, or when it restarts.
#[must_use]
pub fn free_address() -> SocketAddr {
    loop {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(10_000..32_000)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn io_error(context: &str, source: io::Error) -> ProcessError {
    ProcessError::Io { context: context.to_owned(), source }
}
