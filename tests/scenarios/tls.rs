//! TLS of the agent's own: certificates are renewed, broken, switched on and off while records pass.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Output},
};

use harness::{
    load::{
        control::Control,
        options::{Options, Until},
        run::run,
    },
    ndjson::Journal,
    process::{Agent, Setup},
    tls::{Authority, Client, Identity},
};
use serde_json::Value;
use sync_agent::contract::client::{
    ActionType, SyncPayload, UpsertObjectsRequest, sync_service_client::SyncServiceClient,
};
use tonic::{Request, transport::Channel};

use crate::support::{DEADLINE, eventually, file, lively, settled, setup};

/// The caller of every load.
const SHOP: &str = "spiffe://mesh.example/ns/shop/sa/shop";

/// Replaces a file as a renewal does: whole, by its name.
fn put(dir: &Path, name: &str, content: &str) {
    let new = dir.join(format!("{name}.new"));
    fs::write(&new, content).unwrap();
    fs::rename(new, dir.join(name)).unwrap();
}

fn put_identity(dir: &Path, identity: &Identity) {
    put(dir, "agent.key", &identity.key);
    put(dir, "agent.pem", &identity.certificate);
}

/// `[listen]`'s keys for certificates in this directory.
fn tls_of(dir: &Path) -> String {
    let path = |name: &str| dir.join(name);
    format!(
        "tls = {{ cert = {:?}, key = {:?}, client_ca = {:?} }}",
        path("agent.pem"),
        path("agent.key"),
        path("clients.pem")
    )
}

async fn execute(agent: &Agent, arguments: &[&str]) -> Output {
    tokio::task::block_in_place(|| agent.execute(arguments))
}

/// What a command prints, both ways.
async fn told(agent: &Agent, arguments: &[&str]) -> (bool, String) {
    let output = execute(agent, arguments).await;
    let words = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    (output.status.success(), words)
}

async fn status(agent: &Agent) -> Value {
    serde_json::from_slice(&execute(agent, &["status", "--json"]).await.stdout).unwrap()
}

fn request(id: &str) -> UpsertObjectsRequest {
    UpsertObjectsRequest {
        index_name: "probes".to_owned(),
        action_type: ActionType::DeleteObject.into(),
        payloads: vec![SyncPayload { object_id: id.to_owned(), data: None }],
        idempotency_key: String::new(),
    }
}

/// Whether a request on a new connection is accepted.
async fn is_let_in(client: &Client, address: SocketAddr, id: &str) -> bool {
    let Ok(channel) = client.channel(address).await else { return false };
    SyncServiceClient::new(channel).upsert_objects(request(id)).await.is_ok()
}

/// Ends the agent; then each record's index, id and caller, as its log has them.
async fn logged(agent: &mut Agent) -> Vec<(String, String, Option<String>)> {
    agent.kill();
    let output = execute(agent, &["log", "dump"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let record = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |field: &str| line[field].as_str().map(ToOwned::to_owned);
        (text("index").unwrap(), text("object_id").unwrap(), text("caller"))
    };
    String::from_utf8(output.stdout).unwrap().lines().map(record).collect()
}

/// The ids of the records that were sent one by one, with their callers, in the order in which they were accepted.
fn probes(logged: &[(String, String, Option<String>)]) -> Vec<(&str, Option<&str>)> {
    let probes = logged.iter().filter(|(index, ..)| index == "probes");
    probes.map(|(_, id, caller)| (&**id, caller.as_deref())).collect()
}

/// Waits until a load has come so much further.
async fn goes_on(control: &Control) {
    let before = control.acknowledged();
    eventually("the load goes on", || async { control.acknowledged() > before + 200 }).await;
}

/// Scenario: under load the agent's certificate is renewed by another authority, by files that are renamed in place; then its
/// key is replaced by one that is not the certificate's, and that is mended.
///
/// Protects G7 with G1 and G10: connections that are open go on throughout, new ones see the new certificate, a pair that does
/// not belong together is refused and the one before serves; the caller is in the log, and no key is in anything written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_renewed_under_load() {
    // What is sent one by one is not the load's.
    let apart = "[[indexes]]\nmatch = \"probes\"\ndestinations = [\"other\"]";
    let setup = setup().file("archive").file("other").config(apart);
    let dir = setup.directory().to_owned();
    let (first, second, clients) =
        (Authority::new("first"), Authority::new("second"), Authority::new("clients"));
    let (old, new) = (first.issue(&["localhost"]), second.issue(&["localhost"]));
    let shop = clients.issue(&["shop.example.com", SHOP]);
    put_identity(&dir, &old);
    put(&dir, "clients.pem", clients.certificate());
    let client = Client::new(first.certificate(), Some(&shop));
    let mut agent = setup.listen(&tls_of(&dir)).tls(client.clone()).start().await.unwrap();
    let address = agent.address();

    let options = Options { until: Until::Elapsed(100 * DEADLINE), tls: Some(client.clone()), ..lively() };
    let control = options.control.clone();
    let load = tokio::spawn(run(address, options));
    goes_on(&control).await;

    put_identity(&dir, &new);
    let renewed = Client::new(second.certificate(), Some(&shop));
    eventually("a new connection sees the new certificate", || is_let_in(&renewed, address, "renewed")).await;
    assert!(!is_let_in(&client, address, "late").await, "the old certificate is still shown");
    goes_on(&control).await;

    // The key comes first: on its own it is not the certificate's.
    put(&dir, "agent.key", &old.key);
    let (accepted, words) = told(&agent, &["reload"]).await;
    assert!(!accepted && words.contains("listen.tls.key") && words.contains("is not the key of"), "{words}");
    assert!(words.contains("config.toml:") && words.contains("agent.pem"), "{words}");
    assert!(is_let_in(&renewed, address, "kept").await, "the pair before it does not serve");
    let check =
        Command::new(env!("CARGO_BIN_EXE_sync-agent")).arg("check").arg(dir.join("config.toml")).output();
    let words_of_check = String::from_utf8_lossy(&check.unwrap().stderr).into_owned();
    assert!(words_of_check.contains("is not the key of"), "{words_of_check}");
    goes_on(&control).await;
    put_identity(&dir, &new);
    let (accepted, words_of_reload) = told(&agent, &["reload"]).await;
    assert!(accepted && status(&agent).await["config"]["refused"].is_null(), "{words_of_reload}");

    control.stop();
    let report = load.await.unwrap().unwrap();
    assert!(report.problems.is_empty() && report.requests.unknown == 0, "{:?}", report.problems);
    let mut journal = Journal::new(agent.output("archive"));
    settled(&report.history, || file(&mut journal)).await;
    let everything = format!("{}{words}{words_of_check}{}", agent.stderr(), status(&agent).await);
    for key in [&old.key, &new.key] {
        for line in key.lines().filter(|line| !line.contains("-----")) {
            assert!(!everything.contains(line), "a key's line is shown");
        }
    }
    let logged = logged(&mut agent).await;
    assert!(logged.iter().all(|(.., caller)| caller.as_deref() == Some(SHOP)));
    assert!(probes(&logged).len() == 2 && logged.len() > 600);
}

/// Scenario: clients without a certificate, with one of another authority and with one that has expired come to an agent that
/// asks for one; then the config asks for none, and a forged header is sent; then TLS is switched off and on again.
///
/// Protects G10: nobody is let in, or has a name, without a good certificate; and G7: all of it without a restart, and
/// connections that are open go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_let_in_follows_the_config() {
    let setup = setup().file("archive");
    let dir = setup.directory().to_owned();
    let (agents, clients) = (Authority::new("agents"), Authority::new("clients"));
    put_identity(&dir, &agents.issue(&["localhost"]));
    put(&dir, "clients.pem", clients.certificate());
    let of = |identity: Option<&Identity>| Client::new(agents.certificate(), identity);
    let shop = of(Some(&clients.issue(&[SHOP])));
    let mut agent = setup.listen(&tls_of(&dir)).tls(shop.clone()).start().await.unwrap();
    let address = agent.address();
    let strangers = [
        of(None),
        of(Some(&Authority::new("clients").issue(&[SHOP]))),
        of(Some(&clients.issue_expired(&[SHOP]))),
    ];
    for stranger in &strangers {
        assert!(!is_let_in(stranger, address, "stranger").await);
    }
    assert!(is_let_in(&shop, address, "named").await);

    // Whoever comes without a certificate is served without a name, whatever a header says.
    let path = agent.directory().join("config.toml");
    let strict = fs::read_to_string(&path).unwrap();
    let optional = strict.replace("clients.pem\" }", "clients.pem\", client_auth = \"optional\" }");
    let reload = async |text: &str| {
        fs::write(&path, text).unwrap();
        let (accepted, words) = told(&agent, &["reload"]).await;
        assert!(accepted, "{words}");
    };
    reload(&optional).await;
    let forged = |id: &str| {
        let mut request = Request::new(request(id));
        request.metadata_mut().insert("x-forwarded-client-cert", format!("URI={SHOP}").parse().unwrap());
        request
    };
    let mut unnamed = SyncServiceClient::new(strangers[0].channel(address).await.unwrap());
    unnamed.upsert_objects(forged("unnamed")).await.unwrap();
    assert!(
        !is_let_in(&strangers[1], address, "stranger").await
            && !is_let_in(&strangers[2], address, "stranger").await
    );

    let tls = tls_of(&dir);
    reload(&strict.replace(&tls, "")).await;
    let plain = async || SyncServiceClient::connect(format!("http://{address}")).await;
    let mut plainly = plain().await.unwrap();
    plainly.upsert_objects(forged("plain")).await.unwrap();
    assert!(!is_let_in(&shop, address, "late").await, "TLS is still spoken");
    unnamed.upsert_objects(request("open")).await.unwrap();
    reload(&strict).await;
    let late = match plain().await {
        Ok(mut late) => late.upsert_objects(request("late")).await.is_ok(),
        Err(_) => false,
    };
    assert!(!late, "plain connections are still taken");
    plainly.upsert_objects(request("still plain")).await.unwrap();
    assert!(is_let_in(&shop, address, "named again").await);
    let expected = [
        ("named", Some(SHOP)),
        ("unnamed", None),
        ("plain", None),
        ("open", None),
        ("still plain", None),
        ("named again", Some(SHOP)),
    ];
    assert_eq!(probes(&logged(&mut agent).await), expected);
}

/// Scenario: the agent stands behind a sidecar that names callers; then its config trusts it no more.
///
/// Protects G10: the header counts only where the config says so, from the reload on also on connections that are open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_is_trusted_as_long_as_the_config_says_so() {
    let mut agent = setup().file("archive").listen("trust_xfcc = true").start().await.unwrap();
    let channel =
        Channel::from_shared(format!("http://{}", agent.address())).unwrap().connect().await.unwrap();
    let mut client = SyncServiceClient::new(channel);
    let mut send = async |id: &str| {
        let mut request = Request::new(request(id));
        let header = format!("URI=spiffe://forged;Subject=\",By=spiffe://agent;Hash=00;URI={SHOP}");
        request.metadata_mut().insert("x-forwarded-client-cert", header.parse().unwrap());
        client.upsert_objects(request).await.unwrap();
    };
    send("trusted").await;
    let path = agent.directory().join("config.toml");
    let text = fs::read_to_string(&path).unwrap().replace("trust_xfcc = true", "");
    fs::write(&path, text).unwrap();
    let (accepted, words) = told(&agent, &["reload"]).await;
    assert!(accepted, "{words}");
    send("ignored").await;
    assert_eq!(probes(&logged(&mut agent).await), [("trusted", Some(SHOP)), ("ignored", None)]);
}

/// Scenario: `sync-agent send` with a certificate, without one, and with the files mixed up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_sends_by_tls() {
    let setup: Setup = setup().file("archive");
    let dir = setup.directory().to_owned();
    let (agents, clients) = (Authority::new("agents"), Authority::new("clients"));
    let shop = clients.issue(&[SHOP]);
    put_identity(&dir, &agents.issue(&["localhost"]));
    put(&dir, "clients.pem", clients.certificate());
    put(&dir, "ca.pem", agents.certificate());
    put(&dir, "shop.pem", &shop.certificate);
    put(&dir, "shop.key", &shop.key);
    put(&dir, "lines.ndjson", "{\"objectID\":\"1\",\"a\":1}\n");
    let client = Client::new(agents.certificate(), Some(&shop));
    let mut agent = setup.listen(&tls_of(&dir)).tls(client).start().await.unwrap();
    let target = format!("localhost:{}", agent.address().port());
    let send = async |files: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sync-agent"));
        command.args(["send", "--index", "products", "--target", &target]).args(files).arg("lines.ndjson");
        let output = tokio::task::block_in_place(|| command.current_dir(&dir).output().unwrap());
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, words) = send(&["--ca", "ca.pem", "--cert", "shop.pem", "--key", "shop.key"]).await;
    assert_eq!(code, Some(0), "{words}");
    let (code, words) = send(&["--ca", "clients.pem", "--cert", "shop.pem", "--key", "shop.key"]).await;
    assert!(code == Some(3) && words.contains("certificate"), "{words}");
    for (files, word) in [
        (&["--ca", "shop.key"][..], "shop.key: holds no certificate"),
        (&["--ca", "ca.pem", "--cert", "shop.pem", "--key", "agent.key"], "shop.pem with agent.key"),
        (&["--ca", "ca.pem", "--cert", "shop.pem", "--key", "none"], "none: cannot be read"),
        (&["--ca", "ca.pem", "--cert", "shop.pem"], "--key"),
    ] {
        let (code, words) = send(files).await;
        assert!(code == Some(2) && words.contains(word), "{word}: {words}");
        assert!(
            shop.key.lines().all(|line| line.contains("-----") || !words.contains(line)),
            "a key's line is shown"
        );
    }
    let expected = ("products".to_owned(), "1".to_owned(), Some(SHOP.to_owned()));
    assert_eq!(logged(&mut agent).await, [expected]);
}
