//! The real server, asked and told what no destination would.

use std::{collections::BTreeMap, env, time::Duration};

use reqwest::{Client, Method, header::CONTENT_TYPE};
use serde_json::Value;

/// A server without credentials.
pub(crate) struct Server {
    pub(crate) url: String,
    client: Client,
}

impl Server {
    /// The one that the environment tells of, if there is one.
    pub(crate) fn find() -> Option<Self> {
        let url = env::var("OPENSEARCH_URL").ok().filter(|url| !url.is_empty());
        if url.is_none() {
            eprintln!("skipped: OPENSEARCH_URL is not set (tests/real/opensearch/run sets it)");
        }
        url.map(Self::at)
    }

    pub(crate) fn at(url: String) -> Self {
        let client = plugin_http::client::client("test", None).expect("it needs nothing");
        Self { url, client }
    }

    /// Asks for something that must succeed.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: &str) -> Value {
        let (status, answer) = self.try_ask(method, path, body).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// Asks for something.
    pub(crate) async fn try_ask(&self, method: Method, path: &str, body: &str) -> (u16, Value) {
        let request = self.client.request(method, format!("{}{path}", self.url));
        let request = request.header(CONTENT_TYPE, "application/json").body(body.to_owned());
        let response = request.send().await.expect("the server answers");
        let status = response.status().as_u16();
        let answer = response.bytes().await.expect("the answer comes whole");
        (status, serde_json::from_slice(&answer).unwrap_or_default())
    }

    /// Every document of these indexes, by index and id, with these attributes; 10,000 at most. A closed index has none.
    pub(crate) async fn documents(
        &self,
        indexes: &str,
        attributes: &str,
    ) -> BTreeMap<(String, String), Value> {
        const OPTIONS: &str = "ignore_unavailable=true&allow_no_indices=true";
        self.ask(Method::POST, &format!("/{indexes}/_refresh?{OPTIONS}"), "").await;
        let path = format!("/{indexes}/_search?size=10000&_source={attributes}&{OPTIONS}");
        let mut answer = loop {
            match self.try_ask(Method::GET, &path, "").await {
                (200, answer) => break answer,
                // An index that is only being made has no shard to ask.
                (503, _) => tokio::time::sleep(Duration::from_millis(50)).await,
                (status, answer) => panic!("{path}: {status} {answer}"),
            }
        };
        let hits = answer["hits"]["hits"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        hits.into_iter()
            .map(|mut hit| ((text(&hit["_index"]), text(&hit["_id"])), hit["_source"].take()))
            .collect()
    }
}
