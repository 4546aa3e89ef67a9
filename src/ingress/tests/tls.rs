//! TLS of the port itself: who gets in with which certificate, and under which name. (G9, G10)

use std::{fs, path::Path};

use harness::tls::{Authority, Client as Tls, Identity};
use plugin_api::operation::Action;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::{Code, Request};

use super::*;
use crate::config::{Listen, Permission, ProcessEnvironment, load_text};

/// An authority of the agent and one of its clients, and where their files are.
struct Site {
    dir: TempDir,
    agents: Authority,
    clients: Authority,
}

/// What the config says of clients.
const NOBODY_ASKED: &str = "";
const REQUIRED: &str = "client_ca = \"CLIENTS\"\n";
const OPTIONAL: &str = "client_ca = \"CLIENTS\"\nclient_auth = \"optional\"\n";

impl Site {
    fn new() -> Self {
        let (agents, clients) = (Authority::new("agents"), Authority::new("clients"));
        let site = Self { dir: tempfile::tempdir().unwrap(), agents, clients };
        site.put(&site.agents.issue(&["localhost"]));
        fs::write(site.path("clients.pem"), site.clients.certificate()).unwrap();
        site
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// Makes this the agent's certificate.
    fn put(&self, identity: &Identity) {
        fs::write(self.path("agent.pem"), &identity.certificate).unwrap();
        fs::write(self.path("agent.key"), &identity.key).unwrap();
    }

    fn entrance(&self, clients: &str) -> Entrance {
        Entrance::of(&listen(self.dir.path(), clients)).unwrap()
    }

    fn start(&self, clients: &str, limits: Limits) -> Running {
        Running::start_at(self.entrance(clients), limits, Indexes::new([]), MemoryLog::open())
    }

    /// A client that trusts the agents' authority.
    fn client(&self, identity: Option<&Identity>) -> Tls {
        Tls::new(self.agents.certificate(), identity)
    }
}

/// `[listen]` as the config's own reader has it.
fn listen(dir: &Path, clients: &str) -> Listen {
    let file = |name: &str| dir.join(name).display().to_string();
    let text = format!(
        "[listen.tls]\ncert = \"{}\"\nkey = \"{}\"\n{}[destinations.out]\ntype = \"file\"\ndir = \"out\"\n",
        file("agent.pem"),
        file("agent.key"),
        clients.replace("CLIENTS", &file("clients.pem"))
    );
    load_text(None, text, &ProcessEnvironment).unwrap().config.listen
}

/// Sends one request.
async fn send(server: &Running, client: &Tls) -> Result<(), Status> {
    let channel =
        client.channel(server.address).await.map_err(|error| Status::unavailable(error.to_string()))?;
    Client::new(channel).upsert_objects(small()).await.map(drop)
}

/// Whose certificate the agent asks for is let in under the name of it: the SPIFFE ID, else the first URI, else the first DNS
/// name. A header changes nothing of that.
#[tokio::test]
async fn a_certificate_names_its_caller() {
    let site = Site::new();
    let server = site.start(REQUIRED, limits());
    let long = format!("spiffe://{}", "a".repeat(600));
    for (names, caller) in [
        (
            &["shop.example.com", "https://shop", "spiffe://mesh/shop", "spiffe://mesh/other"][..],
            Some("spiffe://mesh/shop"),
        ),
        (&["shop.example.com", "https://shop"], Some("https://shop")),
        (&["shop.example.com", "www.example.com"], Some("shop.example.com")),
        (&[], None),
        // The name that counts cannot be one: no other is taken in its place.
        (&[&long, "shop.example.com"], None),
    ] {
        let identity = site.clients.issue(names);
        let channel = site.client(Some(&identity)).channel(server.address).await.unwrap();
        let mut request = Request::new(small());
        request.metadata_mut().insert("x-forwarded-client-cert", "URI=spiffe://forged".parse().unwrap());
        Client::new(channel).upsert_objects(request).await.unwrap();
        assert_eq!(server.callers().pop().unwrap().as_deref(), caller, "{names:?}");
    }
}

/// Without a certificate, with one of another authority (also of the same name), and with one that has expired, nobody gets
/// in, and nothing of theirs is accepted; the next one with a good certificate does.
#[tokio::test]
async fn who_has_no_good_certificate_is_refused() {
    let site = Site::new();
    let names = &["spiffe://mesh/shop"];
    let (good, expired) = (site.clients.issue(names), site.clients.issue_expired(names));
    let foreign = Authority::new("clients").issue(names);
    for (clients, refused) in [
        (REQUIRED, &[None, Some(&foreign), Some(&expired)][..]),
        // Who need not show a certificate must not show a bad one.
        (OPTIONAL, &[Some(&foreign), Some(&expired)]),
    ] {
        let server = site.start(clients, limits());
        for identity in refused {
            let status = send(&server, &site.client(*identity)).await.unwrap_err();
            assert!(matches!(status.code(), Code::Unavailable | Code::Unknown), "{identity:?}: {status}");
        }
        assert_eq!(server.callers(), []);
        send(&server, &site.client(Some(&good))).await.unwrap();
        assert_eq!(server.callers(), [Some("spiffe://mesh/shop".to_owned())]);
    }
}

/// Whoever need not show a certificate, or is not asked for one, is served without a name; a header gives them none.
#[tokio::test]
async fn without_a_certificate_there_is_no_name() {
    let site = Site::new();
    let shop = site.clients.issue(&["spiffe://mesh/shop"]);
    for (clients, identity) in [(OPTIONAL, None), (NOBODY_ASKED, None), (NOBODY_ASKED, Some(&shop))] {
        let server = site.start(clients, limits());
        let channel = site.client(identity).channel(server.address).await.unwrap();
        let mut client = Client::new(channel);
        client.upsert_objects(small()).await.unwrap();
        // Neither does a listener that trusts headers from now on: this connection has TLS, so no sidecar stands before it.
        let grpc = (Ipv4Addr::LOCALHOST, 0).into();
        let trusting = Listen { grpc, http: None, admin: None, trust_xfcc: true, tls: None };
        server.enter_by(Entrance::of(&trusting).unwrap());
        let mut request = Request::new(small());
        request.metadata_mut().insert("x-forwarded-client-cert", "URI=spiffe://forged".parse().unwrap());
        client.upsert_objects(request).await.unwrap();
        assert_eq!(server.callers(), [None, None]);
    }
}

/// A good certificate alone allows nothing where rules say who may do what: whoever they do not name is refused by name, and
/// nothing of theirs is accepted.
#[tokio::test]
async fn a_good_certificate_is_no_permission() {
    let site = Site::new();
    let server = site.start(REQUIRED, limits());
    let shop = Permission {
        caller: "spiffe://mesh/shop".into(),
        indexes: vec!["*".into()],
        actions: vec![Action::Save],
    };
    let terms = Terms { permissions: Permissions::new(&[shop]), ..terms_of(limits()) };
    server.policy.change(Terms { entrance: site.entrance(REQUIRED), ..terms });
    let of = |name: &str| site.client(Some(&site.clients.issue(&[name])));
    let refused = send(&server, &of("spiffe://mesh/other")).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let words = refused.message();
    assert!(words.contains("spiffe://mesh/other") && words.contains("products"), "{words}");
    send(&server, &of("spiffe://mesh/shop")).await.unwrap();
    assert_eq!(server.callers(), [Some("spiffe://mesh/shop".to_owned())]);
}

/// Certificates are renewed while a connection is open: it goes on, and the next one sees the new one. The authority of clients
/// is replaced, too.
#[tokio::test]
async fn open_connections_outlive_their_certificate() {
    let site = Site::new();
    let server = site.start(REQUIRED, limits());
    let shop = site.clients.issue(&["spiffe://mesh/shop"]);
    let mut open = Client::new(site.client(Some(&shop)).channel(server.address).await.unwrap());
    open.upsert_objects(small()).await.unwrap();

    let (agents, clients) = (Authority::new("agents"), Authority::new("clients"));
    site.put(&agents.issue(&["localhost"]));
    fs::write(site.path("clients.pem"), clients.certificate()).unwrap();
    server.enter_by(site.entrance(REQUIRED));

    open.upsert_objects(small()).await.unwrap();
    send(&server, &site.client(Some(&shop))).await.unwrap_err();
    send(&server, &Tls::new(agents.certificate(), Some(&shop))).await.unwrap_err();
    let other = clients.issue(&["spiffe://mesh/other"]);
    send(&server, &Tls::new(agents.certificate(), Some(&other))).await.unwrap();
    let callers: Vec<String> = server.callers().into_iter().flatten().collect();
    assert_eq!(callers, ["spiffe://mesh/shop", "spiffe://mesh/shop", "spiffe://mesh/other"]);
}

/// Reads until the other side closes; what it had said by then.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    // A reset is an end, too.
    let _ = timeout(Duration::from_secs(10), stream.read_to_end(&mut said)).await.expect("it is closed");
    said
}

/// Plain HTTP/2 and TLS 1.1 are closed, and the latter is told which alert it is.
#[tokio::test]
async fn what_is_no_tls_or_too_old_is_closed() {
    let site = Site::new();
    let server = site.start(NOBODY_ASKED, limits());
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let said = until_closed(&mut plain).await;
    assert!(!said.starts_with(b"\0"), "it answers in HTTP/2");

    // A hello of TLS 1.1 (RFC 4346, 7.4.1.2) that offers TLS_RSA_WITH_AES_128_CBC_SHA, and RSA with SHA-256 for signatures.
    let signatures = [0, 8, 0, 13, 0, 4, 0, 2, 4, 1];
    let body = [&[3, 2][..], &[7; 32], &[0], &[0, 2, 0, 0x2f], &[1, 0], &signatures].concat();
    let hello = [&[1, 0, 0, body.len() as u8][..], &body].concat();
    let record = [&[22, 3, 1, 0, hello.len() as u8][..], &hello].concat();
    let mut old = TcpStream::connect(server.address).await.unwrap();
    old.write_all(&record).await.unwrap();
    let said = until_closed(&mut old).await;
    const FATAL_PROTOCOL_VERSION: [u8; 2] = [2, 70];
    assert_eq!((said[0], &said[5..]), (21, &FATAL_PROTOCOL_VERSION[..]), "{said:?}");

    send(&server, &site.client(None)).await.unwrap();
}

/// Handshakes that say nothing, or a byte now and then, hold up nobody and are closed after the time that a connection has for
/// its first bytes; so are connections that shake hands and then say nothing.
#[tokio::test]
async fn slow_handshakes_are_closed_and_delay_nobody() {
    const PATIENCE: Duration = Duration::from_millis(700);
    let site = Site::new();
    let server = site.start(NOBODY_ASKED, Limits { receive_timeout: PATIENCE, ..limits() });
    let begun = Instant::now();
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut dripping = TcpStream::connect(server.address).await.unwrap();
    let mut shaken = site.client(None).connect(server.address).await.unwrap();
    // A hello of 512 bytes begins, and its bytes come one by one.
    dripping.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).await.unwrap();
    let dripping = tokio::spawn(async move {
        let (mut reads, mut writes) = dripping.split();
        let drip = async {
            while writes.write_all(&[7]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let mut byte = [0];
        tokio::select! {
            // Either tells of the end.
            biased;
            read = reads.read(&mut byte) => assert!(matches!(read, Ok(0) | Err(_)), "{byte:?}"),
            () = drip => {}
        }
    });
    let others = begun.elapsed();
    for _ in 0..5 {
        send(&server, &site.client(None)).await.unwrap();
    }
    assert!(begun.elapsed() - others < PATIENCE, "the others waited for the slow ones");
    assert_eq!(until_closed(&mut silent).await, b"");
    timeout(Duration::from_secs(10), dripping).await.expect("it is closed").unwrap();
    let mut said = Vec::new();
    let _ = timeout(Duration::from_secs(10), shaken.read_to_end(&mut said)).await.expect("it is closed");
    assert!(begun.elapsed() >= PATIENCE);
    send(&server, &site.client(None)).await.unwrap();
}

/// A handshake counts as a connection: there are only so many, and one that is over makes room.
#[tokio::test]
async fn handshakes_are_limited() {
    let site = Site::new();
    let server = site.start(NOBODY_ASKED, Limits { connections_max: 2, ..limits() });
    let held = [
        TcpStream::connect(server.address).await.unwrap(),
        TcpStream::connect(server.address).await.unwrap(),
    ];
    let mut third = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(until_closed(&mut third).await, b"");
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(10);
    while send(&server, &site.client(None)).await.is_err() {
        assert!(Instant::now() < deadline, "those that are over make no room");
    }
}
