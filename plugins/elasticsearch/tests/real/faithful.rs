//! The fake answers as the real one does: any operations, in any batches, with batches sent again, come to the same
//! verdicts and the same documents with the same versions. What the other tests find on the fake holds then.

use fakes::elasticsearch::{FakeElasticsearch, FieldType, Options};
use fastrand::Rng;
use plugin_api::{
    destination::Destination,
    operation::{Action, Batch},
};
use plugin_elasticsearch::{Elasticsearch, PartialUpdates, Settings};
use plugin_http::endpoint::Endpoint;

use crate::cluster::{Cluster, batch, now, operation, shown};

const IDS: [&str; 3] = ["a", "b", "c"];
const BODIES: [&str; 6] =
    [r#"{"n":1}"#, r#"{"n":2,"o":{"x":1}}"#, r#"{"o":{"y":2}}"#, r#"{"m":[3]}"#, "{}", r#"{"n":"bad"}"#];

#[tokio::test]
async fn the_fake_is_faithful() {
    for (index, partial_updates) in
        [("faithful-script", PartialUpdates::Script), ("faithful-merge", PartialUpdates::DeepMerge)]
    {
        let Some(cluster) = Cluster::find_with(|settings| settings.partial_updates = partial_updates) else {
            return;
        };
        let fake = FakeElasticsearch::start(Options::default()).await.unwrap();
        let endpoint = Endpoint::parse(&fake.url(), false).unwrap();
        let settings = Settings { partial_updates, ..Settings::new(vec![endpoint]) };
        let on_fake = Elasticsearch::new(settings).unwrap();
        let seed = 5;
        let mut rng = Rng::with_seed(seed);
        for life in 0..8 {
            let index = format!("{index}-{life}");
            cluster
                .make(&index, r#"{"mappings":{"properties":{"n":{"type":"integer"},"o":{"type":"object"}}}}"#)
                .await;
            fake.map_field(&index, "n", FieldType::Integer);
            fake.map_field(&index, "o", FieldType::Object);
            for (step, batch) in batches(&index, &mut rng).iter().enumerate() {
                let real = shown(&cluster.write(batch).await);
                let faked = shown(&on_fake.write(batch).await.unwrap().verdicts);
                let place = format!("seed {seed}, {index}, step {step}: {batch:?}");
                assert_eq!(faked, real, "{place}");
                for id in IDS {
                    let real = (cluster.get(&index, id).await, live_version(&cluster, &index, id).await);
                    let stored = fake.objects(&index).remove(id);
                    let version = stored.as_ref().and_then(|_| fake.version(&index, id));
                    assert_eq!((stored, version), real, "{id}, {place}");
                }
            }
        }
        assert_eq!(fake.violations(), [""; 0]);
    }
}

async fn live_version(cluster: &Cluster, index: &str, id: &str) -> Option<i64> {
    cluster.version(index, id).await
}

/// Batches of a few operations on a few keys; some are sent twice, some come late.
fn batches(index: &str, rng: &mut Rng) -> Vec<Batch> {
    let first = now();
    let mut made: Vec<Batch> = Vec::new();
    for number in 0..6 {
        let rows: Vec<_> = (0..rng.usize(1..6))
            .map(|_| {
                let action = Action::ALL[rng.usize(..Action::ALL.len())];
                let body = if action == Action::Delete { "" } else { BODIES[rng.usize(..BODIES.len())] };
                (action, IDS[rng.usize(..IDS.len())], body)
            })
            .collect();
        made.push(batch(index, first + 10 * number, &rows));
        if rng.bool() {
            let earlier = &made[rng.usize(..made.len())];
            let again = |o: &plugin_api::operation::Operation| {
                let body = std::str::from_utf8(&o.body).unwrap_or_default();
                operation(o.action, index, &o.key.object_id, body, o.version.0)
            };
            made.push(earlier.operations().iter().map(again).collect());
        }
    }
    made
}
