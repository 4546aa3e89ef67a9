//! The one place that names the plugins: a destination's checked settings become the plugin of its type.

use std::{sync::Arc, time::Duration};

use plugin_algolia::Algolia;
use plugin_api::destination::Destination;
use plugin_elasticsearch::Elasticsearch;
use plugin_file::File;
use plugin_http::{endpoint::Endpoint, secret::Secret};

use super::StartError;
use crate::config::{
    self, AlgoliaSettings, Config, ElasticsearchAuth, ElasticsearchSettings, Kind, NonIdempotent,
    PartialUpdates,
};

/// A destination of a checked config. Connects to nobody yet.
pub(super) fn build(
    destination: &config::Destination,
    config: &Config,
) -> Result<Arc<dyn Destination>, StartError> {
    let failed = |reason: String| StartError::Destination { destination: destination.name.clone(), reason };
    Ok(match &destination.kind {
        Kind::File(file) => Arc::new(File::new(plugin_file::Settings {
            rotate_bytes: file.rotate_bytes,
            rotate_age: file.rotate_age,
            ..plugin_file::Settings::new(&file.dir)
        })),
        Kind::Algolia(algolia) => {
            let settings = algolia_settings(algolia, destination.timeout, config).map_err(failed)?;
            Arc::new(Algolia::new(settings).map_err(|error| failed(error.to_string()))?)
        }
        Kind::Elasticsearch(elasticsearch) => {
            let settings = elasticsearch_settings(elasticsearch, destination.timeout).map_err(failed)?;
            Arc::new(Elasticsearch::new(settings).map_err(|error| failed(error.to_string()))?)
        }
    })
}

fn algolia_settings(
    algolia: &AlgoliaSettings,
    timeout: Duration,
    config: &Config,
) -> Result<plugin_algolia::Settings, String> {
    let hosts = endpoints(&algolia.hosts, algolia.insecure)?;
    Ok(plugin_algolia::Settings {
        hosts: (!hosts.is_empty()).then_some(hosts),
        gzip: algolia.gzip,
        timeout,
        non_idempotent_operations: match config.limits.non_idempotent_operations {
            NonIdempotent::Allow => true,
            NonIdempotent::Refuse => false,
        },
        ..plugin_algolia::Settings::new(algolia.app_id.expose(), Secret::new(algolia.api_key.expose()))
    })
}

fn elasticsearch_settings(
    elasticsearch: &ElasticsearchSettings,
    timeout: Duration,
) -> Result<plugin_elasticsearch::Settings, String> {
    let secret = |secret: &config::Secret| Secret::new(secret.expose());
    Ok(plugin_elasticsearch::Settings {
        auth: match &elasticsearch.auth {
            ElasticsearchAuth::None => plugin_elasticsearch::Auth::None,
            ElasticsearchAuth::Basic { user, password } => {
                plugin_elasticsearch::Auth::Basic { user: user.clone(), password: secret(password) }
            }
            ElasticsearchAuth::ApiKey(key) => plugin_elasticsearch::Auth::ApiKey(secret(key)),
            ElasticsearchAuth::Bearer(token) => plugin_elasticsearch::Auth::Bearer(secret(token)),
        },
        authorities: elasticsearch.ca_file.as_ref().map(|file| file.pem.to_string()),
        gzip: elasticsearch.gzip,
        timeout,
        partial_updates: match elasticsearch.partial_updates {
            PartialUpdates::Script => plugin_elasticsearch::PartialUpdates::Script,
            PartialUpdates::DeepMerge => plugin_elasticsearch::PartialUpdates::DeepMerge,
        },
        ..plugin_elasticsearch::Settings::new(endpoints(&elasticsearch.nodes, elasticsearch.insecure)?)
    })
}

fn endpoints(urls: &[String], insecure: bool) -> Result<Vec<Endpoint>, String> {
    urls.iter().map(|url| Endpoint::parse(url, insecure).map_err(|error| error.to_string())).collect()
}
