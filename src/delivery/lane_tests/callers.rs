//! Who sent a request stays with it: in its spans, its letters and what whoever looks is shown.

use fakes::algolia::Poison;
use plugin_api::operation::Action;
use tokio::time::timeout;

use super::{
    bench::{Bench, DEADLINE, at},
    transforms::transforms,
};
use crate::{
    dead_letter::Stage,
    delivery::replay::{Request, State},
    log::interface::{Append, Attributes, Log as _},
    record::PayloadWriter,
    runtime::{Attribute, Span, Tracer},
    tap::Filter,
    transform::Limits,
};

const SHOP: &str = "spiffe://mesh/ns/shop/sa/web";
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn request(index: &str, keys: &[&str], caller: Option<&str>) -> Append {
    let mut payload = PayloadWriter::new(Action::Save, index, 64);
    for key in keys {
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(br#"{"sequence":1}"#);
            Ok::<_, ()>(())
        };
        payload.record(key, write).unwrap();
    }
    let attributes = Attributes {
        caller: caller.map(Into::into),
        traceparent: Some(TRACE.to_owned()),
        ..Attributes::default()
    };
    Append { records: keys.len() as u32, payload: payload.into_bytes(), attributes }
}

fn caller_of(span: &Span) -> Option<&str> {
    let found = span.attributes.iter().find(|(name, _)| *name == "caller");
    found.map(|(_, value)| match value {
        Attribute::Text(text) => text.as_str(),
        Attribute::Number(number) => panic!("{number} is no caller"),
    })
}

/// Scenario: of a caller's records one fails in its transform and one at the destination; another request has no caller.
/// The one that the destination refused is replayed, and refused again.
///
/// Every span, letter and event of the first request names its caller, also after the replay; of the second none does.
#[tokio::test]
async fn a_request_is_its_callers_to_the_end() {
    let mut bench = Bench::new().await;
    bench.transforms = Some(transforms(r#"{"behave":"fail","only":"1"}"#, Limits::default()));
    let (tracer, mut spans) = Tracer::new();
    tracer.switch(true);
    bench.tracer = tracer;
    bench.fake.poison("2", Poison::Named);
    let mut looking = bench.tap.listen(Filter::default(), 100).unwrap();
    let mut lane = bench.start().await;
    lane.log.append(request("products", &["1", "2", "3"], Some(SHOP))).await.unwrap();
    lane.until("the first is settled", |now| now.delivered == at(3)).await;
    lane.log.append(request("products", &["4"], None)).await.unwrap();
    lane.until("all is settled", |now| now.delivered == at(4)).await;

    for _ in 0..4 {
        let event = timeout(DEADLINE, looking.next()).await.expect("there is one more");
        let expected = (&*event.record.change.key.object_id != "4").then_some(SHOP);
        assert_eq!(event.source.caller.as_deref(), expected, "{event:?}");
    }
    let letters = || {
        let mut letters: Vec<_> =
            bench.letters().into_iter().map(|l| (l.stage, l.attempts, l.source.caller)).collect();
        letters.sort_by_key(|(stage, ..)| stage.as_str());
        letters
    };
    let shop = || Some(SHOP.into());
    assert_eq!(letters(), [(Stage::Delivery, 1, shop()), (Stage::Transform, 0, shop())]);
    let mut progress = lane.replays.start(Request::default()).unwrap();
    let ended = timeout(DEADLINE, progress.wait_for(|now| !now.state.goes_on())).await;
    assert_eq!(ended.expect("it ends").expect("it is watched").state, State::Done);
    assert_eq!(
        letters(),
        [(Stage::Delivery, 2, shop()), (Stage::Transform, 0, shop())],
        "they were sent again"
    );
    lane.stop().await;

    let mut seen = Vec::new();
    while let Ok(span) = spans.try_recv() {
        seen.push((span.name.to_string(), caller_of(&span).map(str::to_owned)));
    }
    for name in ["transform bend", "attempt", "deliver search"] {
        let of_name: Vec<_> =
            seen.iter().filter(|(of, _)| of == name).map(|(_, caller)| caller.as_deref()).collect();
        let (last, before) = of_name.split_last().expect(name);
        assert!(
            last.is_none() && !before.is_empty() && before.iter().all(|caller| *caller == Some(SHOP)),
            "{name}: {of_name:?}"
        );
    }
}
