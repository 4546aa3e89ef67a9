//! What a caller may do changes while it sends.

use std::{fs, time::Duration};

use harness::{
    load::{
        options::{Mix, Options, Pace, Until},
        run::run,
    },
    ndjson::Journal,
};
use sync_agent::contract::client::{
    ActionType, UpsertObjectsRequest, sync_service_client::SyncServiceClient,
};
use tonic::Code;

use crate::support::{DEADLINE, file, lively, settled, setup};

/// How often the rules change.
const RELOADS: usize = 20;

/// Scenario: under load rules are taken away and given back again and again, by edits of the config.
///
/// Protects G7 with G1 and G3: from the reload's answer on exactly what the rules allow is accepted; what was refused is
/// nowhere, what was accepted is delivered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_change_under_load() {
    let agent = setup().file("archive").start().await.unwrap();
    let path = agent.directory().join("config.toml");
    let open = fs::read_to_string(&path).unwrap();
    let closed = format!("{open}\n[[permissions]]\ncaller = \"*\"\nindexes = [\"*0\", \"*1\"]\n");
    let options = Options {
        until: Until::Elapsed(100 * DEADLINE),
        // Refused operations would put deletes side by side, which the checker cannot tell apart.
        mix: Mix { save: 3, partial_update: 3, delete: 0 },
        pace: Pace::Open { requests_per_second: 500.0 },
        ..lively()
    };
    let control = options.control.clone();
    let load = tokio::spawn(run(agent.address(), options));
    let mut client = SyncServiceClient::connect(format!("http://{}", agent.address())).await.unwrap();
    // Wrong in another way, so that it leaves nothing where it is allowed.
    let request = UpsertObjectsRequest {
        index_name: "products-002".to_owned(),
        action_type: ActionType::DeleteObject.into(),
        ..UpsertObjectsRequest::default()
    };
    for number in 0..RELOADS {
        let (text, allowed) = if number % 2 == 0 { (&closed, false) } else { (&open, true) };
        fs::write(&path, text).unwrap();
        let output = tokio::task::block_in_place(|| agent.execute(&["reload"]));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let refused = client.upsert_objects(request.clone()).await.unwrap_err();
        let code = if allowed { Code::InvalidArgument } else { Code::PermissionDenied };
        assert_eq!(refused.code(), code, "reload {number}: {refused}");
        let before = control.acknowledged();
        let goes_on = async {
            while control.acknowledged() < before + 50 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(DEADLINE, goes_on).await.expect("what is allowed goes on");
    }
    control.stop();
    let report = load.await.unwrap().unwrap();
    let refused: u64 = report.problems.values().sum();
    assert!(report.problems.keys().all(|why| why.contains("may not")), "{:?}", report.problems);
    assert!(refused > 20 && report.requests.unknown == 0, "{:?}", report.requests);
    let mut journal = Journal::new(agent.output("archive"));
    settled(&report.history, || file(&mut journal)).await;
    assert_eq!(agent.dead_letters(), []);
}
