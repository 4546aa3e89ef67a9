//! A fake Algolia with one host, and a plugin that knows its key.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use fakes::algolia::{
    Action as Sent, FakeAlgolia, Fault as Failing, HostState, Options, Poison as Poisonous,
};
use plugin_algolia::{Algolia, Settings};
use plugin_api::{
    destination::Destination,
    operation::{Action, Key},
    testing::{Applied, Fault, Poison, State, Subject},
};
use plugin_http::{endpoint::Endpoint, secret::Secret};
use uuid::Uuid;

pub(crate) struct Application {
    fake: FakeAlgolia,
    /// Another for each test, so that whose it is is known where it is found.
    api_key: String,
}

#[async_trait]
impl Subject for Application {
    async fn start() -> Self {
        let api_key = format!("key-{}", Uuid::new_v4());
        let options = Options { api_key: api_key.clone(), ..Options::default() };
        let fake = FakeAlgolia::start(options).await.expect("loopback sockets can be opened");
        Self { fake, api_key }
    }

    fn destination(&self) -> Arc<dyn Destination> {
        let host = Endpoint::parse(&self.fake.url(), false).expect("loopback is allowed");
        let settings = Settings {
            hosts: Some(vec![host]),
            gzip: false,
            timeout: Duration::from_millis(1500),
            ..Settings::new(Options::default().app_id, Secret::new(self.api_key.as_str()))
        };
        Arc::new(Algolia::new(settings).expect("the settings are right"))
    }

    async fn inject(&self, fault: Fault) -> bool {
        let refused = |status, message: &str| Failing::Refused { status, message: message.to_owned() };
        let next = |fault| self.fake.fail_next(1, fault);
        match fault {
            Fault::Throttled { retry_after } => {
                let retry_after = retry_after.map(|pause| pause.as_secs().to_string());
                next(Failing::Throttled { retry_after });
            }
            Fault::Unavailable => next(refused(503, "Service unavailable")),
            Fault::ServerError => next(refused(500, "Internal server error")),
            Fault::Cut => next(Failing::Cut),
            Fault::CutAfterApplying => next(Failing::CutAfterApplying),
            Fault::Slow => next(Failing::Delay(Duration::from_millis(30))),
            Fault::Hold => next(Failing::Hold),
            Fault::TooLarge => next(Failing::Html(413)),
            Fault::Echo => next(refused(400, &format!("no such key: {}", self.api_key))),
            Fault::Redirect(to) => next(Failing::Redirect(format!("{to}/1/indexes/products/batch"))),
            Fault::Overloaded => self.fake.fail_all(refused(503, "Service unavailable")),
            Fault::Page => self.fake.fail_all(Failing::Html(400)),
            Fault::Down => self.set_host(HostState::Refusing).await,
            Fault::NotServing => self.set_host(HostState::Failing(503)).await,
            Fault::Refused => self.fake.set_api_key("another"),
            Fault::RefusedIndex(index) => self.fake.remove_index(&index),
            Fault::Poison { mark, poison } => {
                let poison = match poison {
                    Poison::Named => Poisonous::Named,
                    Poison::Anonymous => Poisonous::Anonymous,
                    Poison::ServerError => Poisonous::ServerError,
                    Poison::Hang => Poisonous::Hang,
                    // A batch is applied whole or not at all.
                    Poison::ItemError => return false,
                };
                self.fake.poison_text(&mark, poison);
            }
            // A batch is applied whole or not at all, and a broken request is none.
            Fault::Partly | Fault::Torn => return false,
        }
        true
    }

    async fn recover(&self) {
        self.fake.recover();
        self.fake.cure();
        self.fake.restore_indexes();
        self.fake.set_api_key(&self.api_key);
        self.set_host(HostState::Serving).await;
    }

    fn unmet(&self) -> usize {
        self.fake.faults_left()
    }

    async fn release(&self) -> usize {
        self.fake.apply_held()
    }

    async fn state(&self) -> State {
        let mut state = State::default();
        for index in self.fake.operations().keys() {
            for (object_id, mut object) in self.fake.objects(index) {
                object.as_object_mut().expect("a record is an object").remove("objectID");
                let key = Key { index: index.as_str().into(), object_id: object_id.into() };
                state.objects.insert(key, object);
            }
        }
        let applied = self.fake.journal().into_iter().map(|applied| {
            let action = match applied.action {
                Sent::UpdateObject => Action::Save,
                Sent::PartialUpdateObject => Action::PartialUpdate,
                Sent::PartialUpdateObjectNoCreate => Action::PartialUpdateNoCreate,
                Sent::DeleteObject => Action::Delete,
                Sent::AddObject | Sent::Delete | Sent::Clear => panic!("{applied:?} must never be sent"),
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

impl Application {
    async fn set_host(&self, state: HostState) {
        self.fake.set_hosts(state).await.expect("its port is reserved");
    }
}
