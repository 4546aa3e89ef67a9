//! `type = "elasticsearch"`: the keys that only this type has.

use std::path::PathBuf;

use super::checked_host;
use crate::config::{
    checked::{CaFile, ElasticsearchAuth, ElasticsearchSettings, IndexNames, PartialUpdates},
    environment::Environment,
    reader::{Table, Value},
    secret::{secret, secret_of},
};

/// Without more than one kind of it.
const AUTH: &str = "one of { basic = { user = \"NAME\", password = SECRET } }, { api_key = SECRET } and { bearer = SECRET }, \
                    where SECRET is { env = \"NAME\" } or { file = \"PATH\" }";

/// Characters that no index's name has there.
const FORBIDDEN: &str = "\\/*?\"<>| ,#:";

/// Reads and checks them.
pub(super) fn elasticsearch(
    table: &mut Table<'_>,
    environment: &dyn Environment,
) -> Option<ElasticsearchSettings> {
    let insecure = table.boolean("insecure");
    let gzip = table.boolean("gzip");
    let nodes = nodes(table, insecure);
    let auth = match table.take("auth") {
        Some(value) => auth(&value, environment),
        None => Some(ElasticsearchAuth::None),
    };
    let ca_file = match table.take("ca_file") {
        Some(value) => ca_file(&value, environment).map(Some),
        None => Some(None),
    };
    let words = [("script", PartialUpdates::Script), ("deep_merge", PartialUpdates::DeepMerge)];
    let partial_updates = table.choice("partial_updates", words);
    Some(ElasticsearchSettings { nodes, auth: auth?, ca_file: ca_file?, insecure, gzip, partial_updates })
}

/// Notes what Elasticsearch would refuse in every name.
pub(super) fn check_names(names: &IndexNames, value: &Value<'_>) {
    let (before, after) = names.parts();
    let accepted =
        "lowercase, without any of \\ / * ? \" < > | , # : or a space, and not starting with _ - +";
    let is_wrong = |c: char| FORBIDDEN.contains(c) || c.is_uppercase();
    if before.starts_with(['_', '-', '+']) || before.chars().chain(after.chars()).any(is_wrong) {
        value.wrong("makes names that Elasticsearch refuses", accepted);
    }
}

fn nodes(table: &mut Table<'_>, insecure: bool) -> Vec<String> {
    let accepted = "an array of URLs, such as [\"https://es-1:9200\", \"https://es-2:9200\"]";
    let Some(value) = table.take("nodes") else {
        table.missing("nodes", accepted);
        return Vec::new();
    };
    let nodes = value.items(accepted);
    if nodes.is_empty() && value.is_array() {
        value.wrong("without a node", accepted);
    }
    nodes.iter().filter_map(|node| checked_host(node, insecure, "auth")).collect()
}

fn auth(value: &Value<'_>, environment: &dyn Environment) -> Option<ElasticsearchAuth> {
    let Some(mut table) = value.as_table() else {
        value.wrong_secretly("is not a table", AUTH);
        return None;
    };
    let kinds = (table.take("basic"), table.take("api_key"), table.take("bearer"));
    let auth = match &kinds {
        (Some(basic), None, None) => self::basic(basic, environment),
        (None, Some(key), None) => secret_of(key, environment).map(ElasticsearchAuth::ApiKey),
        (None, None, Some(token)) => secret_of(token, environment).map(ElasticsearchAuth::Bearer),
        (None, None, None) => {
            value.wrong_secretly("names no way to log in", AUTH);
            return None;
        }
        _ => {
            value.wrong_secretly("names more than one way to log in", AUTH);
            return None;
        }
    };
    table.finish();
    auth
}

fn basic(value: &Value<'_>, environment: &dyn Environment) -> Option<ElasticsearchAuth> {
    let Some(mut table) = value.as_table() else {
        value.wrong_secretly("is not a table", "{ user = \"NAME\", password = SECRET }");
        return None;
    };
    let accepted = "a user's name, without a colon";
    let user = match table.take("user") {
        Some(user) => user.string(accepted).and_then(|name| {
            let fits = !name.contains(':') && !name.chars().any(char::is_control);
            if !fits {
                user.wrong("is not a user's name", accepted);
            }
            fits.then(|| name.to_owned())
        }),
        None => {
            table.missing("user", accepted);
            None
        }
    };
    let password = secret(&mut table, "password", environment);
    table.finish();
    Some(ElasticsearchAuth::Basic { user: user?, password: password? })
}

/// Reads the file at once, so that one that is missing is found before anything starts.
fn ca_file(value: &Value<'_>, environment: &dyn Environment) -> Option<CaFile> {
    let accepted = "a PEM file with the certificates of the authorities to trust";
    let path = PathBuf::from(value.string(accepted)?);
    match environment.secret_file(&path) {
        Ok(pem) if pem.contains("-----BEGIN CERTIFICATE-----") => Some(CaFile { path, pem: pem.into() }),
        Ok(_) => {
            value.wrong("holds no certificate", accepted);
            None
        }
        Err(error) => {
            value.wrong(&format!("cannot be read: {error}"), accepted);
            None
        }
    }
}
