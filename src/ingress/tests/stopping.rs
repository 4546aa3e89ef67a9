//! Health, reflection, and the end. (G1, G2)

use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::*;
use crate::contract::SERVICE_NAME;

async fn health(channel: Channel, service: &str) -> ServingStatus {
    let request = HealthCheckRequest { service: service.into() };
    HealthClient::new(channel).check(request).await.unwrap().into_inner().status()
}

/// Health answers for the whole agent and for the service.
#[tokio::test]
async fn healthy() {
    let server = Running::start(limits());
    server.client().await.upsert_objects(small()).await.unwrap();
    for service in ["", SERVICE_NAME] {
        assert_eq!(health(server.channel().await, service).await, ServingStatus::Serving);
    }
}

/// A log that failed takes the agent out of service.
#[tokio::test]
async fn a_poisoned_log_is_not_healthy() {
    let server = Running::start(limits());
    *server.log.failure.lock().unwrap() = Some(AppendError::Poisoned { cause: "EIO".into() });
    server.client().await.upsert_objects(small()).await.unwrap_err();
    for service in ["", SERVICE_NAME] {
        assert_eq!(health(server.channel().await, service).await, ServingStatus::NotServing);
    }
}

/// An append that has begun is finished and answered; meanwhile health says NOT_SERVING and a new request is refused
/// with UNAVAILABLE. Then the server ends, although a health watch is still open.
#[tokio::test]
async fn stopping_finishes_what_has_begun() {
    let server = Running::start_with(limits(), Indexes::new([]), MemoryLog::closed());
    let client = server.client().await;
    let watch = HealthCheckRequest { service: SERVICE_NAME.into() };
    let mut watch = HealthClient::new(server.channel().await).watch(watch).await.unwrap().into_inner();
    // A watch may begin before the service is known.
    while watch.next().await.unwrap().unwrap().status() != ServingStatus::Serving {}
    let begun = tokio::spawn({
        let mut client = client.clone();
        async move { client.upsert_objects(small()).await }
    });
    until("an append", || server.log.waiting() == 1).await;

    server.shutdown.stop_intake();
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let mut client = client;
    let refused = client.upsert_objects(small()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(!server.serving.is_finished());

    server.log.gate.add_permits(1);
    begun.await.unwrap().unwrap();
    tokio::time::timeout(Duration::from_secs(10), server.serving).await.unwrap().unwrap();
    assert_eq!(server.log.waiting(), 1);
    assert!(watch.next().await.is_none_or(|end| end.is_err()));
}

/// An upload that stalls does not hold up the end.
#[tokio::test]
async fn stopping_does_not_wait_for_uploads() {
    let server = Running::start(Limits { receive_timeout: Duration::from_secs(600), ..limits() });
    let channel = server.channel().await;
    let request = http::Request::post("http://agent/sync.v1.SyncService/UpsertObjects")
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(Endless { announced: false }))
        .unwrap();
    let upload = tokio::spawn(tower::ServiceExt::oneshot(channel, request));
    until("a lease", || server.gauge.leased_bytes() > 0).await;
    server.shutdown.stop_intake();
    tokio::time::timeout(Duration::from_secs(10), server.serving).await.unwrap().unwrap();
    upload.await.unwrap().unwrap_err();
}

/// A body that announces a message and sends nothing of it.
struct Endless {
    announced: bool,
}

impl http_body::Body for Endless {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Status>>> {
        if std::mem::replace(&mut self.announced, true) {
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(bytes::Bytes::from_static(&[0, 0, 0, 1, 0])))))
    }
}

/// Reflection serves the published contract: the data is a Struct, not the bytes that the server works on.
#[tokio::test]
async fn reflection_serves_the_real_struct() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let server = Running::start(limits());
    let ask = |message: MessageRequest| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(message),
    };
    let mut client = ServerReflectionClient::new(server.channel().await);
    let mut answer = async |message| {
        let requests = tokio_stream::iter([ask(message)]);
        let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
        answers.next().await.unwrap().unwrap().message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(list) =
        answer(MessageRequest::ListServices(String::new())).await
    else {
        panic!("no list")
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for name in [SERVICE_NAME, "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let payload = MessageRequest::FileContainingSymbol("sync.v1.SyncPayload".into());
    let MessageResponse::FileDescriptorResponse(files) = answer(payload).await else { panic!("no file") };
    let file: prost_types::FileDescriptorProto =
        prost::Message::decode(&files.file_descriptor_proto[0][..]).unwrap();
    let payload = file.message_type.iter().find(|message| message.name() == "SyncPayload").unwrap();
    let data = payload.field.iter().find(|field| field.name() == "data").unwrap();
    assert_eq!(data.type_name(), ".google.protobuf.Struct");
    let r#struct = MessageRequest::FileContainingSymbol("google.protobuf.Struct".into());
    assert!(matches!(answer(r#struct).await, MessageResponse::FileDescriptorResponse(_)));
}

/// A method or service that is not there.
#[tokio::test]
async fn unknown_methods() {
    let server = Running::start(limits());
    for path in ["/sync.v1.SyncService/Nothing", "/sync.v2.SyncService/UpsertObjects", "/"] {
        let mut grpc = tonic::client::Grpc::new(server.channel().await);
        grpc.ready().await.unwrap();
        let request = tonic::Request::new(bytes::Bytes::new());
        let path = http::uri::PathAndQuery::from_static(path);
        let status = grpc.unary(request, path, original::RawClientCodec).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{status}");
    }
}
