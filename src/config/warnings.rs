//! What a config does that an operator should know, and that refuses nothing.

use super::checked::{AlgoliaSettings, Config, ElasticsearchSettings, Kind, Transform};

/// Each in a sentence.
#[must_use]
pub fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.permissions.is_empty() && !config.listen.grpc.ip().is_loopback() {
        let address = config.listen.grpc;
        warnings.push(format!(
            "whoever reaches {address} may do everything to every index: no [[permissions]] say who may do what"
        ));
    }
    if config.listen.trust_xfcc && !config.listen.grpc.ip().is_loopback() {
        let address = config.listen.grpc;
        warnings
            .push(format!("whoever reaches {address} past the sidecar can name anybody: listen.trust_xfcc"));
    }
    let asks_for_names =
        config.listen.trust_xfcc || config.listen.tls.as_ref().is_some_and(|tls| tls.clients.is_some());
    if !asks_for_names && config.permissions.iter().any(|rule| &*rule.caller != "*") {
        let words = "[[permissions]] name callers, and nobody has a name without listen.tls.client_ca or listen.trust_xfcc";
        warnings.push(words.to_owned());
    }
    if let Some(address) = config.listen.admin.filter(|address| !address.ip().is_loopback()) {
        warnings.push(format!(
            "{address} takes the admin token in the clear: reach it by a tunnel, or put TLS before it"
        ));
    }
    for destination in &config.destinations {
        match &destination.kind {
            Kind::Algolia(AlgoliaSettings { insecure: true, .. })
            | Kind::Elasticsearch(ElasticsearchSettings { insecure: true, .. }) => {
                let name = &destination.name;
                warnings.push(format!("destinations.{name} may send keys and records in the clear"));
            }
            Kind::Algolia(_) | Kind::Elasticsearch(_) | Kind::File(_) => {}
        }
    }
    for Transform { name, .. } in &config.transforms {
        if !config.indexes.iter().any(|rule| rule.transform.as_ref() == Some(name)) {
            warnings.push(format!("transforms.{name} runs on nothing: no index rule names it"));
        }
    }
    warnings
}
