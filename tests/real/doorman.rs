//! Stands before the agent as an agent does that is full, ending or slow: answers some calls of a producer with what the
//! table of `proto/README.md` names, hands all others on, and notes how each of them came.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message as _;
use sync_agent::contract::{
    client::{UpsertObjectsRequest, sync_service_client::SyncServiceClient},
    server::{
        UpsertObjectsResponse,
        sync_service_server::{SyncService, SyncServiceServer},
    },
};
use tokio::task::AbortHandle;
use tonic::{
    Code, Request, Response, Status, async_trait,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_types::{ErrorDetails, StatusExt as _};

/// What becomes of one call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// The agent gets it and answers.
    Through,
    /// The agent gets it, but its answer is lost on the way back.
    AnswerLost,
    /// Refused with this code, and with when to come back.
    Refused(Code, Option<Duration>),
}

/// How a call came.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) key: String,
    pub(crate) at: Instant,
    pub(crate) from: SocketAddr,
    /// The `grpc-timeout` that its deadline became.
    pub(crate) timeout: Option<String>,
}

/// A server that a producer takes for the agent; gone on drop.
pub(crate) struct Doorman {
    pub(crate) address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    serving: AbortHandle,
}

struct Door {
    agent: SyncServiceClient<Channel>,
    /// Of the calls to come, in order; those after it go through.
    fates: Mutex<VecDeque<Fate>>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Doorman {
    pub(crate) async fn before(agent: SocketAddr, fates: &[Fate]) -> Self {
        let calls = Arc::<Mutex<Vec<Call>>>::default();
        let agent = SyncServiceClient::connect(format!("http://{agent}")).await.unwrap();
        let fates = Mutex::new(fates.iter().copied().collect());
        let door = SyncServiceServer::new(Door { agent, fates, calls: calls.clone() });
        let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = incoming.local_addr().unwrap();
        let serving = tokio::spawn(Server::builder().add_service(door).serve_with_incoming(incoming));
        Self { address, calls, serving: serving.abort_handle() }
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

impl Drop for Doorman {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[async_trait]
impl SyncService for Door {
    async fn upsert_objects(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<UpsertObjectsResponse>, Status> {
        let timeout = request.metadata().get("grpc-timeout").map(|it| it.to_str().unwrap().to_owned());
        let from = request.remote_addr().unwrap();
        let request = UpsertObjectsRequest::decode(request.into_inner()).unwrap();
        let call = Call { key: request.idempotency_key.clone(), at: Instant::now(), from, timeout };
        self.calls.lock().unwrap().push(call);
        let fate = self.fates.lock().unwrap().pop_front().unwrap_or(Fate::Through);
        if let Fate::Refused(code, retry_after) = fate {
            let details = match retry_after {
                Some(after) => ErrorDetails::with_retry_info(Some(after)),
                None => ErrorDetails::new(),
            };
            return Err(Status::with_error_details(code, "refused by the doorman", details));
        }
        let answer = self.agent.clone().upsert_objects(request).await?.into_inner();
        match fate {
            Fate::AnswerLost => Err(Status::unavailable("the answer was lost")),
            _ => Ok(Response::new(UpsertObjectsResponse {
                request_id: answer.request_id,
                message: answer.message,
            })),
        }
    }
}
