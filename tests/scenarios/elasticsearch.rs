//! Elasticsearch is the destination, and whatever can go wrong there does, while the agent is killed.

use std::time::Duration;

use fakes::elasticsearch::{Fault, HostState};
use harness::{
    elasticsearch,
    journal::Marks,
    load::{
        options::{Options as Load, Until},
        run::run,
    },
};

use crate::support::{DEADLINE, IMPATIENT, fake_elasticsearch, lively, settled, setup};

/// Scenario: under load of every action on few keys, Elasticsearch cuts connections before and after applying, throttles
/// items and whole requests, hangs and is down in turn; and each time the agent is killed and started again.
///
/// Protects G3, G4 and G5: everything that was acknowledged arrives or is superseded, each key ends at its newest, and
/// nothing is dead-lettered: versions make it harmless that much of it is sent twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_elasticsearch_fails_in_every_way() {
    let fake = fake_elasticsearch().await;
    let mut agent = setup().elasticsearch("mirror", &fake.url()).config(IMPATIENT).start().await.unwrap();
    let busy = || Fault::Items {
        status: 429,
        kind: "rejected_execution_exception".to_owned(),
        reason: "the queue is full".to_owned(),
    };
    let (mut requests, mut marks) = (Vec::new(), Marks::default());
    let mut options = Load { until: Until::Elapsed(DEADLINE), ..lively() };
    for trouble in 0..6 {
        let load = tokio::spawn(run(agent.address(), options.clone()));
        fake.wait_for_operations(fake.operation_count() + 500).await;
        match trouble {
            0 => fake.fail_next(3, Fault::CutAfterApplying),
            1 => fake.fail_next(3, Fault::Cut),
            2 => fake.fail_next(5, busy()),
            3 => fake.fail_next(5, Fault::Throttled { retry_after: None }),
            4 => fake.fail_next(2, Fault::Hang),
            _ => fake.set_hosts(HostState::Refusing).await.unwrap(),
        }
        // Not a wait for something: the moment of the kill is what is tried out.
        tokio::time::sleep(Duration::from_millis(150 + 170 * trouble)).await;
        agent.kill();
        let report = load.await.unwrap().unwrap();
        options.first_sequence = report.next_sequence;
        requests.extend(report.history);
        // What was applied last may not have been answered.
        let applied = fake.journal().len();
        marks.cuts.push(applied);
        marks.restarts.push(applied);
        fake.set_hosts(HostState::Serving).await.unwrap();
        agent.restart().await.unwrap();
    }
    fake.recover();
    settled(&requests, || elasticsearch::destination(&fake.journal(), &marks)).await;
    assert_eq!(agent.dead_letters(), []);
    assert_eq!(fake.violations(), Vec::<String>::new());
}
