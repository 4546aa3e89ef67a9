//! `[listen]`.

use std::net::SocketAddr;

use super::{
    checked::Listen,
    environment::Environment,
    reader::{Table, Value},
    tls,
};

pub(super) fn read(mut table: Table<'_>, environment: &dyn Environment) -> Listen {
    let grpc = table.take("grpc");
    let grpc = grpc.and_then(|value| address(&value)).unwrap_or(([127, 0, 0, 1], 50051).into());
    let mut taken = vec![("listen.grpc", grpc)];
    let http = match table.take("http") {
        Some(value) if value.as_str() == Some("off") => None,
        Some(value) => own_address(&value, &taken),
        None => Some(([127, 0, 0, 1], 9600).into()),
    };
    taken.extend(http.map(|http| ("listen.http", http)));
    let admin = table.take("admin").and_then(|value| own_address(&value, &taken));
    let trust_xfcc = table.boolean("trust_xfcc");
    let tls = table.take("tls").and_then(|value| {
        if trust_xfcc {
            let reason =
                "that cannot stand beside `trust_xfcc = true`: whoever has a certificate could name anybody";
            value.wrong(
                reason,
                "`trust_xfcc` behind a sidecar, which has the certificates, or this table without one",
            );
        }
        tls::read(value.table()?, environment)
    });
    table.finish();
    Listen { grpc, http, admin, trust_xfcc, tls }
}

/// An address that nothing else listens on; port 0 never is.
fn own_address(value: &Value<'_>, taken: &[(&str, SocketAddr)]) -> Option<SocketAddr> {
    let address = address(value)?;
    if let Some((key, _)) = taken.iter().find(|(_, taken)| *taken == address && address.port() != 0) {
        value.wrong(&format!("is the address of {key}"), "an address and a port of its own");
    }
    Some(address)
}

fn address(value: &Value<'_>) -> Option<SocketAddr> {
    let accepted = match value.path.as_str() {
        "listen.http" => "an address and a port, such as \"127.0.0.1:9600\" or \"0.0.0.0:9600\", or \"off\"",
        _ => "an address and a port, such as \"127.0.0.1:50051\", \"0.0.0.0:50051\" or \"[::1]:50051\"",
    };
    let address = value.string(accepted)?.parse();
    if address.is_err() {
        value.wrong("is not an address with a port", accepted);
    }
    address.ok()
}
