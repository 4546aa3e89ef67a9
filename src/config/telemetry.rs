//! `[telemetry]`.

use http::{Uri, uri::Scheme};

use super::{
    checked::Telemetry,
    reader::{Table, Value},
};

pub(super) fn read(mut table: Table<'_>) -> Telemetry {
    let otlp = table.take("otlp").and_then(|value| address(&value));
    table.finish();
    Telemetry { otlp }
}

/// Credentials and TLS are the collector's that runs beside the agent.
fn address(value: &Value<'_>) -> Option<String> {
    let accepted = "where a collector takes OTLP over gRPC, such as \"http://127.0.0.1:4317\"";
    let text = value.string(accepted)?;
    if text.contains('@') {
        value.wrong_secretly("holds credentials, which a collector beside the agent would have", accepted);
        return None;
    }
    let uri = text.parse::<Uri>().ok();
    let is_address = uri.is_some_and(|uri| {
        uri.scheme() == Some(&Scheme::HTTP)
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.port_u16().is_some()
            && uri.path() == "/"
            && uri.query().is_none()
    });
    if !is_address {
        value.wrong("is not the address of a collector", accepted);
        return None;
    }
    Some(text.to_owned())
}
