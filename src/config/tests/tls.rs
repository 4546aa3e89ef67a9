//! `[listen.tls]` and `trust_xfcc`: what is wrong with the files is told by key and line, and nothing that they hold. (G10)

use std::sync::LazyLock;

use harness::tls::{Authority, Identity};

use super::*;

struct Files {
    authority: Authority,
    agent: Identity,
    other: Identity,
}

static FILES: LazyLock<Files> = LazyLock::new(|| {
    let authority = Authority::new("agents");
    let (agent, other) = (authority.issue(&["localhost"]), authority.issue(&["localhost"]));
    Files { authority, agent, other }
});

fn surroundings() -> FixedEnvironment {
    let Files { authority, agent, other } = &*FILES;
    let leak = |text: String| -> &'static str { text.leak() };
    let both = leak(format!("{}{}", agent.key, agent.certificate));
    let cut = leak(agent.certificate[..agent.certificate.len() / 2].to_owned());
    let damaged =
        leak(agent.certificate.replacen("MII", "AII", 1).replacen("MIH", "AIH", 1).replacen("MIB", "AIB", 1));
    let one_line = leak(agent.key.replace('\n', ""));
    FixedEnvironment::new(
        &[],
        &[
            ("ca.pem", authority.certificate()),
            ("agent.pem", &agent.certificate),
            ("agent.key", &agent.key),
            ("other.key", &other.key),
            ("both.pem", both),
            ("cut.pem", cut),
            ("damaged.pem", damaged),
            ("one-line.key", one_line),
            ("empty", ""),
        ],
    )
}

fn listen(keys: &str) -> String {
    format!("[listen]\n{keys}\n{FILE}")
}

#[test]
fn certificates_are_read_with_their_keys() {
    let text = listen("tls = { cert = \"agent.pem\", key = \"agent.key\" }");
    let tls = checked(&text, &surroundings()).0.listen.tls.unwrap();
    assert!(tls.clients.is_none());
    assert_eq!(
        tls.files().map(|path| path.to_str().unwrap()).collect::<Vec<_>>(),
        ["agent.pem", "agent.key"]
    );

    // Both in one file, and whose certificates clients show.
    for (auth, expected) in [
        ("", ClientAuth::Required),
        (", client_auth = \"required\"", ClientAuth::Required),
        (", client_auth = \"optional\"", ClientAuth::Optional),
    ] {
        let text = listen(&format!(
            "tls = {{ cert = \"both.pem\", key = \"both.pem\", client_ca = \"ca.pem\"{auth} }}"
        ));
        let clients = checked(&text, &surroundings()).0.listen.tls.unwrap().clients.unwrap();
        assert_eq!((clients.auth, clients.authorities.len()), (expected, 1));
    }
    let plain = checked(FILE, &surroundings()).0.listen;
    assert!(plain.tls.is_none() && !plain.trust_xfcc);
    assert!(checked(&listen("trust_xfcc = true"), &surroundings()).0.listen.trust_xfcc);
}

#[test]
fn what_is_wrong_is_told_by_key_and_file() {
    const CERT: &str = "a PEM file with the agent's certificate, and then those that lead to its authority";
    const KEY: &str = "a PEM file with the certificate's private key, unencrypted: RSA, ECDSA of P-256 or P-384, or Ed25519";
    const CA: &str = "a PEM file with the certificates of the authorities that sign those of clients";
    for (keys, expected) in [
        (
            "",
            vec![
                format!("2:9 listen.tls.cert: missing ({CERT})"),
                format!("2:9 listen.tls.key: missing ({KEY})"),
            ],
        ),
        (
            "cert = \"none.pem\"\nkey = \"agent.key\"",
            vec![format!("3:8 listen.tls.cert: \"none.pem\" cannot be read: entity not found ({CERT})")],
        ),
        (
            "cert = \"agent.pem\"\nkey = \"other.key\"",
            vec![format!(
                "4:7 listen.tls.key: \"other.key\" is not the key of the certificate in agent.pem ({KEY})"
            )],
        ),
        (
            "cert = \"agent.key\"\nkey = \"agent.pem\"",
            vec![
                format!("3:8 listen.tls.cert: \"agent.key\" holds no certificate ({CERT})"),
                format!("4:7 listen.tls.key: \"agent.pem\" holds no private key that can be read ({KEY})"),
            ],
        ),
        (
            "cert = \"cut.pem\"\nkey = \"one-line.key\"",
            vec![
                format!(
                    "3:8 listen.tls.cert: \"cut.pem\" holds a certificate that is cut or damaged ({CERT})"
                ),
                format!("4:7 listen.tls.key: \"one-line.key\" holds no private key that can be read ({KEY})"),
            ],
        ),
        (
            "cert = \"damaged.pem\"\nkey = \"agent.key\"",
            vec![format!(
                "3:8 listen.tls.cert: \"damaged.pem\" begins with a certificate that is cut or damaged ({CERT})"
            )],
        ),
        (
            "cert = \"agent.pem\"\nkey = \"agent.key\"\nclient_ca = \"empty\"",
            vec![format!("5:13 listen.tls.client_ca: \"empty\" holds no certificate ({CA})")],
        ),
        (
            "cert = \"agent.pem\"\nkey = \"agent.key\"\nclient_ca = \"damaged.pem\"",
            vec![format!(
                "5:13 listen.tls.client_ca: \"damaged.pem\" holds a certificate that cannot be an authority's ({CA})"
            )],
        ),
        (
            "cert = \"agent.pem\"\nkey = \"agent.key\"\nclient_auth = \"optional\"",
            vec![format!("2:9 listen.tls.client_ca: missing ({CA}: `client_auth` is about them)")],
        ),
    ] {
        let text = format!("\n[listen.tls]\n{keys}\n{FILE}");
        assert_eq!(told(&text, &surroundings()), expected, "{keys}");
    }
}

/// Whoever is let in by a certificate of their own could name anybody in a header.
#[test]
fn a_header_is_not_trusted_beside_tls() {
    let text = listen("trust_xfcc = true\ntls = { cert = \"agent.pem\", key = \"agent.key\" }");
    let told = told(&text, &surroundings());
    let [told] = &told[..] else { panic!("{told:?}") };
    assert!(
        told.starts_with("3:7 listen.tls: ") && told.contains("whoever has a certificate could name anybody"),
        "{told}"
    );
}

/// A key that stands in the config itself is not shown, nor is what a file holds, nor what a checked config holds.
#[test]
fn keys_are_never_shown() {
    let Files { agent, .. } = &*FILES;
    let secret = agent.key.lines().nth(1).unwrap();
    let literal = format!("[listen.tls]\ncert = \"agent.pem\"\nkey = '''{}'''\n{FILE}", agent.key);
    let errors = errors(&literal, &surroundings());
    let told = format!("{errors}{errors:?}{}", errors.render(false));
    assert!(told.contains("must not stand in the config itself") && !told.contains(secret), "{told}");
    for key in ["one-line.key", "cut.pem", "other.key"] {
        let text = format!("[listen.tls]\ncert = \"one-line.key\"\nkey = \"{key}\"\n{FILE}");
        let errors = super::errors(&text, &surroundings());
        let told = format!("{errors}{errors:?}{}", errors.render(false));
        assert!(!told.contains(&secret[..20]), "{told}");
    }
    let text = listen("tls = { cert = \"agent.pem\", key = \"agent.key\", client_ca = \"ca.pem\" }");
    let config = checked(&text, &surroundings()).0;
    let shown = format!("{config:?}{}", serde_json::to_string(&listing::listen(&config)).unwrap());
    assert!(shown.contains("agent.key") && !shown.contains(secret), "{shown}");
    let bytes: Vec<String> =
        config.listen.tls.unwrap().identity.cert[0][..8].iter().map(u8::to_string).collect();
    assert!(!shown.contains(&bytes.join(", ")), "{shown}");
}

/// A reload tells what differs: other files by their names, the same ones with other contents without those.
#[test]
fn changes_are_told_without_contents() {
    let Files { authority, agent, other } = &*FILES;
    let between = |before: (&str, FixedEnvironment), after: (&str, FixedEnvironment)| {
        let changes = Changes::between(&checked(before.0, &before.1).0, &checked(after.0, &after.1).0);
        assert!(changes.needs_restart.is_empty(), "{changes:?}");
        changes.list.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let text = listen("tls = { cert = \"agent.pem\", key = \"agent.key\", client_ca = \"ca.pem\" }");
    let with = |identity: &'static Identity, ca: &'static str| {
        FixedEnvironment::new(
            &[],
            &[("agent.pem", &identity.certificate), ("agent.key", &identity.key), ("ca.pem", ca)],
        )
    };
    let ca = authority.certificate();
    assert!(between((&text, with(agent, ca)), (&text, with(agent, ca))).is_empty());
    for after in [with(other, ca), with(agent, &other.certificate)] {
        let told = between((&text, with(agent, ca)), (&text, after));
        assert_eq!(told, ["~ setting listen (a certificate's or key's content)"]);
    }
    let optional = text.replace("\"ca.pem\"", "\"ca.pem\", client_auth = \"optional\"");
    let told = between((&text, with(agent, ca)), (&optional, with(agent, ca)));
    assert_eq!(told, ["~ setting listen (tls.client_auth: required -> optional)"]);
    let told = between((&text, with(agent, ca)), (&listen("trust_xfcc = true"), with(agent, ca)));
    assert_eq!(
        told,
        [
            "~ setting listen (trust_xfcc: false -> true, tls.cert: agent.pem -> none, tls.key: agent.key -> none, \
          tls.client_ca: ca.pem -> none, tls.client_auth: required -> none)"
        ]
    );
}
