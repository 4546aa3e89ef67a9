//! A fake cluster with one node, and a plugin that knows its key.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use fakes::elasticsearch::{
    Action as Sent, Auth as Known, FakeElasticsearch, Fault as Failing, HostState, IndexState, Options,
    Poison as Poisonous,
};
use plugin_api::{
    destination::Destination,
    operation::{Action, Key},
    testing::{Applied, Fault, Poison, State, Subject},
};
use plugin_elasticsearch::{Auth, Elasticsearch, Settings};
use plugin_http::{endpoint::Endpoint, secret::Secret};
use uuid::Uuid;

pub(crate) struct Cluster {
    fake: FakeElasticsearch,
    /// Another for each test, so that whose it is is known where it is found.
    api_key: String,
    /// How long the plugin waits.
    timeout: Duration,
}

#[async_trait]
impl Subject for Cluster {
    async fn start() -> Self {
        Self::start_with(Options::default(), Duration::from_millis(1500)).await
    }

    fn destination(&self) -> Arc<dyn Destination> {
        let node = Endpoint::parse(&self.fake.url(), false).expect("loopback is allowed");
        let settings = Settings {
            auth: Auth::ApiKey(Secret::new(self.api_key.as_str())),
            gzip: false,
            timeout: self.timeout,
            ..Settings::new(vec![node])
        };
        Arc::new(Elasticsearch::new(settings).expect("the settings are right"))
    }

    async fn inject(&self, fault: Fault) -> bool {
        let refused = |status, kind: &str, reason: &str| Failing::Refused {
            status,
            kind: kind.to_owned(),
            reason: reason.to_owned(),
        };
        let unavailable = || refused(503, "cluster_block_exception", "no master");
        let next = |fault| self.fake.fail_next(1, fault);
        match fault {
            Fault::Throttled { retry_after } => {
                let retry_after = retry_after.map(|pause| pause.as_secs().to_string());
                next(Failing::Throttled { retry_after });
            }
            Fault::Unavailable => next(unavailable()),
            Fault::ServerError => next(refused(500, "null_pointer_exception", "cannot invoke")),
            Fault::Cut => next(Failing::Cut),
            Fault::CutAfterApplying => next(Failing::CutAfterApplying),
            Fault::Slow => next(Failing::Delay(Duration::from_millis(30))),
            Fault::Hold => next(Failing::Hold),
            Fault::Partly => next(Failing::SomeItems {
                status: 429,
                kind: "rejected_execution_exception".to_owned(),
                reason: "the queue is full".to_owned(),
            }),
            Fault::TooLarge => next(Failing::Answered { status: 413, body: String::new() }),
            Fault::Echo => {
                next(refused(400, "security_exception", &format!("no such key: {}", self.api_key)))
            }
            Fault::Redirect(to) => next(Failing::Redirect(format!("{to}/_bulk"))),
            Fault::Overloaded => self.fake.fail_all(unavailable()),
            Fault::Page => self.fake.fail_all(Failing::Html(400)),
            Fault::Down => self.set_host(HostState::Refusing).await,
            Fault::NotServing => self.set_host(HostState::Failing(503)).await,
            Fault::Refused => self.fake.set_auth(known("another")),
            Fault::RefusedIndex(index) => self.fake.set_index(&index, IndexState::Closed),
            Fault::Poison { mark, poison } => {
                let poison = match poison {
                    Poison::Named => Poisonous::unparsable(),
                    Poison::ItemError => Poisonous::Item {
                        status: 500,
                        kind: "null_pointer_exception".to_owned(),
                        reason: "cannot invoke".to_owned(),
                    },
                    Poison::Anonymous => Poisonous::Anonymous,
                    Poison::ServerError => Poisonous::ServerError,
                    Poison::Hang => Poisonous::Hang,
                };
                self.fake.poison_text(&mark, poison);
            }
            // A broken request is none.
            Fault::Torn => return false,
        }
        true
    }

    async fn recover(&self) {
        self.fake.recover();
        self.fake.cure();
        self.fake.open_indexes();
        self.fake.set_auth(known(&self.api_key));
        self.set_host(HostState::Serving).await;
    }

    fn unmet(&self) -> usize {
        self.fake.faults_left()
    }

    async fn release(&self) -> usize {
        self.fake.apply_held().await
    }

    async fn state(&self) -> State {
        let mut state = State::default();
        for index in self.fake.operations().keys() {
            for (object_id, object) in self.fake.objects(index) {
                let key = Key { index: index.as_str().into(), object_id: object_id.into() };
                state.objects.insert(key, object);
            }
        }
        let applied = self.fake.journal().into_iter().map(|applied| {
            let action = match applied.action {
                Sent::Index => Action::Save,
                Sent::Update => Action::PartialUpdate,
                Sent::Delete => Action::Delete,
                Sent::Create => panic!("{applied:?} must never be sent"),
            };
            Applied::new(&applied.index, &applied.object_id, action, &applied.body)
        });
        state.applied = Some(applied.collect());
        state
    }

    fn secrets(&self) -> Vec<String> {
        vec![self.api_key.clone()]
    }

    fn violations(&self) -> Vec<String> {
        self.fake.violations()
    }
}

impl Cluster {
    /// Starts one that asks for a key.
    pub(crate) async fn start_with(options: Options, timeout: Duration) -> Self {
        let api_key = Uuid::new_v4().simple().to_string();
        let options = Options { auth: known(&api_key), ..options };
        let fake = FakeElasticsearch::start(options).await.expect("loopback sockets can be opened");
        Self { fake, api_key, timeout }
    }

    async fn set_host(&self, state: HostState) {
        self.fake.set_hosts(state).await.expect("its port is reserved");
    }
}

/// The cluster's side of a key.
fn known(api_key: &str) -> Known {
    Known::Header(format!("ApiKey {api_key}"))
}
