//! Who a request is from when it comes by a sidecar, and when it only says so. (G10)

use tonic::Request;

use super::*;
use crate::config::Listen;

const SHOP: &str =
    "By=spiffe://mesh/ns/data-sync/sa/sync-agent;Hash=00;Subject=\"\";URI=spiffe://mesh/ns/shop/sa/shop";

fn entrance(trust_xfcc: bool) -> Entrance {
    let grpc = (Ipv4Addr::LOCALHOST, 0).into();
    Entrance::of(&Listen { grpc, http: None, admin: None, trust_xfcc, tls: None }).unwrap()
}

fn server(trust_xfcc: bool) -> Running {
    Running::start_at(entrance(trust_xfcc), limits(), Indexes::new([]), MemoryLog::open())
}

/// A request with these lines of the header.
fn naming(lines: &[&str]) -> Request<UpsertObjectsRequest> {
    let mut request = Request::new(small());
    for line in lines {
        request.metadata_mut().append("x-forwarded-client-cert", line.parse().unwrap());
    }
    request
}

/// A listener that does not trust the header ignores it, whatever it holds.
#[tokio::test]
async fn a_forged_header_names_nobody() {
    let server = server(false);
    let mut client = server.client().await;
    for lines in [&[SHOP][..], &["garbage\"", SHOP], &[]] {
        client.upsert_objects(naming(lines)).await.unwrap();
    }
    assert_eq!(server.callers(), [None, None, None]);
}

/// The sidecar's own element is the last of the last line. What a client has sent before it names nobody, and garbage in its
/// place does not make an earlier element count.
#[tokio::test]
async fn the_sidecars_element_names_the_caller() {
    let server = server(true);
    let mut client = server.client().await;
    let shop = Some("spiffe://mesh/ns/shop/sa/shop".to_owned());
    let forged = format!("URI=spiffe://mesh/ns/admin/sa/admin,{SHOP}");
    let swallowing = format!("URI=spiffe://mesh/ns/admin/sa/admin;Subject=\",{SHOP}");
    let cut = format!("{SHOP},URI=\"spiffe://mesh/ns/admin/sa/admin");
    for (lines, caller) in [
        (&[SHOP][..], shop.clone()),
        (&[&forged], shop.clone()),
        (&[&swallowing], shop.clone()),
        (&["URI=spiffe://mesh/ns/admin/sa/admin", SHOP], shop.clone()),
        (&["\"", "URI=spiffe://mesh/ns/admin/sa/admin;DNS=\"", SHOP], shop.clone()),
        (&["By=spiffe://a;DNS=shop.example.com;DNS=b"], Some("shop.example.com".to_owned())),
        (&[SHOP, ""], None),
        (&[SHOP, "garbage"], None),
        (&[SHOP, ";;;"], None),
        (&[&cut], None),
        (&["By=spiffe://a;Hash=00;Subject=\"CN=shop\""], None),
        (&[], None),
    ] {
        client.upsert_objects(naming(lines)).await.unwrap();
        assert_eq!(server.callers().pop().unwrap(), caller, "{lines:?}");
    }
}

/// Bytes that are no text, and a name that is too long, name nobody: the request is accepted without a caller.
#[tokio::test]
async fn what_cannot_be_a_name_is_none() {
    let server = server(true);
    let mut client = server.client().await;
    let long = format!("URI=spiffe://{}", "a".repeat(600));
    for value in [&b"URI=spiffe://\xff\xfe"[..], b"URI=\xc3", long.as_bytes()] {
        let mut request = naming(&["URI=spiffe://before"]);
        let headers = std::mem::take(request.metadata_mut()).into_headers();
        let mut headers = http::HeaderMap::from_iter(headers.into_iter().filter_map(|(k, v)| Some((k?, v))));
        headers.append("x-forwarded-client-cert", http::HeaderValue::from_bytes(value).unwrap());
        *request.metadata_mut() = tonic::metadata::MetadataMap::from_headers(headers);
        client.upsert_objects(request).await.unwrap();
    }
    assert_eq!(server.callers(), [None, None, None]);
}

/// The header is asked for each request: who is named no more after a reload is named no more on connections that are open.
#[tokio::test]
async fn trust_ends_at_once() {
    let server = server(true);
    let mut client = server.client().await;
    for trusts in [true, false, true] {
        server.enter_by(entrance(trusts));
        client.upsert_objects(naming(&[SHOP])).await.unwrap();
    }
    let shop = Some("spiffe://mesh/ns/shop/sa/shop".to_owned());
    assert_eq!(server.callers(), [shop.clone(), None, shop]);
}
