//! `x-forwarded-client-cert`: what a sidecar says of the client whose certificate it has verified
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-client-cert>).
//!
//! Elements are separated by commas, their `key=value` pairs by semicolons; a value may be quoted, and then has `\"` for a
//! quote and `\\` for a backslash. Each proxy appends an element, so the sidecar's own is the rightmost one, and only that is
//! believed. What stands before it is the client's to choose: the end is found from the right, so that nothing there, such as a
//! quote that is never closed, can reach into it.

use std::borrow::Cow;

use super::caller::preferred;

/// Its name.
pub(crate) const HEADER: &str = "x-forwarded-client-cert";

/// The name in the rightmost element of these lines of the header; `None` if there is none, or it is garbage.
pub(crate) fn caller<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let lines: Vec<&[u8]> = lines.collect();
    let header = lines.join(&b',');
    let element = std::str::from_utf8(rightmost(&header)?).ok()?;
    let pairs = pairs(element.trim_matches([' ', '\t']))?;
    // A certificate without such a name has an empty one here.
    let of_kind = |kind: &'static str| {
        let is_one =
            move |(key, value): &&(&str, Cow<'_, str>)| key.eq_ignore_ascii_case(kind) && !value.is_empty();
        pairs.iter().filter(is_one).map(|(_, value)| &**value)
    };
    preferred(of_kind("URI"), of_kind("DNS")).map(str::to_owned)
}

/// What follows the last comma outside of quotes.
fn rightmost(header: &[u8]) -> Option<&[u8]> {
    let mut quoted = false;
    for (at, byte) in header.iter().enumerate().rev() {
        match byte {
            b'"' if !is_escaped(&header[..at]) => quoted = !quoted,
            b',' if !quoted => return Some(&header[at + 1..]),
            _ => {}
        }
    }
    (!quoted).then_some(header)
}

/// Whether what follows this is escaped: it ends with an odd number of backslashes.
fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// The pairs of an element; `None` if it is not made of pairs alone.
fn pairs(element: &str) -> Option<Vec<(&str, Cow<'_, str>)>> {
    let (mut pairs, mut rest) = (Vec::new(), element);
    loop {
        let (key, after) = rest.split_once('=')?;
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        let (value, after) = value(after)?;
        pairs.push((key, value));
        match after.strip_prefix(';') {
            Some(next) => rest = next,
            None if after.is_empty() => return Some(pairs),
            None => return None,
        }
    }
}

/// A value, and what follows it.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, after) = text.split_at(text.find(';').unwrap_or(text.len()));
        return (!value.contains('"')).then_some((value.into(), after));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value.into(), &quoted[at + 1..])),
            '\\' => {
                let (_, escaped) = characters.next()?;
                if !matches!(escaped, '"' | '\\') {
                    value.push('\\');
                }
                value.push(escaped);
            }
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, test_runner::FileFailurePersistence};

    use super::*;

    fn of(header: &str) -> Option<String> {
        caller([header.as_bytes()].into_iter())
    }

    /// What Envoy's documentation and Istio's sidecars write.
    #[test]
    fn names_of_the_documentation() {
        for (header, name) in [
            (
                "By=http://frontend.lyft.com;Hash=468ed3;URI=http://testclient.lyft.com",
                "http://testclient.lyft.com",
            ),
            (
                "By=http://frontend.lyft.com;Hash=468ed3;Subject=\"/C=US/ST=CA/L=San Francisco/OU=Lyft/CN=Test Client\";\
                 URI=http://testclient.lyft.com",
                "http://testclient.lyft.com",
            ),
            (
                "By=http://frontend.lyft.com;URI=http://testclient.lyft.com;DNS=lyft.com;DNS=www.lyft.com",
                "http://testclient.lyft.com",
            ),
            (
                "By=spiffe://cluster.local/ns/data-sync/sa/sync-agent;Hash=0f3d;Subject=\"\";\
                 URI=spiffe://cluster.local/ns/catalogue/sa/catalogue",
                "spiffe://cluster.local/ns/catalogue/sa/catalogue",
            ),
            ("DNS=shop.example.com;DNS=www.example.com", "shop.example.com"),
            ("URI=;DNS=shop.example.com", "shop.example.com"),
            ("URI=https://a;URI=spiffe://b;URI=spiffe://c", "spiffe://b"),
            ("uri=\"spiffe://a;b,c=\\\"d\\\"\"", "spiffe://a;b,c=\"d\""),
            (" URI=spiffe://a ", "spiffe://a"),
            ("Subject=\"CN=a\\\\\";URI=spiffe://a", "spiffe://a"),
        ] {
            assert_eq!(of(header).as_deref(), Some(name), "{header}");
        }
    }

    /// The rightmost element counts, whatever stands before it, and over several lines.
    #[test]
    fn the_rightmost_element_counts() {
        for before in [
            "URI=spiffe://evil",
            "",
            ";;;",
            "\"",
            "URI=spiffe://evil;Subject=\"",
            "\\",
            "\u{e9}\"\\\"",
            "a=\"b\"c\",",
        ] {
            for element in
                ["By=spiffe://me;Subject=\"CN=\\\"a,b\\\"\";URI=spiffe://shop", "URI=\"spiffe://shop\""]
            {
                assert_eq!(of(&format!("{before},{element}")).as_deref(), Some("spiffe://shop"), "{before}");
                let lines = [before.as_bytes(), b"URI=spiffe://between", element.as_bytes()];
                assert_eq!(caller(lines.into_iter()).as_deref(), Some("spiffe://shop"), "{before}");
            }
        }
    }

    /// Garbage at the end names nobody, and never whom an element before it names.
    #[test]
    fn garbage_names_nobody() {
        let long = format!("URI=spiffe://{}", "a".repeat(504));
        assert!(of(&long[..long.len() - 1]).is_some_and(|name| name.len() == 512));
        for garbage in [
            "",
            " ",
            "URI",
            "=spiffe://a",
            "URI=spiffe://a;",
            ";URI=spiffe://a",
            "URI=\"spiffe://a",
            "URI=spiffe://a\"",
            "URI=\"spiffe://a\"b",
            "URI=\"spiffe://a\\\"",
            "U RI=spiffe://a",
            "By=spiffe://a;Hash=00",
            "URI=spiffe://a\u{7f}",
            "URI=spiffe://a\u{85}",
            "URI=spiffe://a;x",
            &long,
            // The name that counts is too long: the next best is not taken in its place.
            &format!("{long};URI=https://b;DNS=c"),
        ] {
            assert_eq!(of(garbage), None, "{garbage}");
            assert_eq!(of(&format!("URI=spiffe://evil,{garbage}")), None, "{garbage}");
        }
        assert_eq!(caller([&b"URI=spiffe://\xff"[..]].into_iter()), None);
        assert_eq!(caller(std::iter::empty()), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/seeds/xfcc.txt"))),
            ..ProptestConfig::default()
        })]

        /// Bytes without sense neither panic nor name somebody unseen.
        #[test]
        fn any_bytes(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..4)) {
            if let Some(name) = caller(lines.iter().map(|line| &line[..])) {
                prop_assert!(name.len() <= 512 && !name.chars().any(char::is_control));
            }
        }

        /// Whatever a client sends before it, the sidecar's element decides; also if both are full of what the grammar is
        /// made of.
        #[test]
        fn nothing_reaches_into_the_last_element(
            before in "[\"\\\\,;=aURI:/]{0,40}",
            subject in "[\"\\\\,;=aURI:/]{0,40}",
        ) {
            let escaped = subject.replace('\\', "\\\\").replace('"', "\\\"");
            let header = format!("{before},By=spiffe://me;Subject=\"{escaped}\";URI=spiffe://shop");
            prop_assert_eq!(of(&header), Some("spiffe://shop".to_owned()));
        }
    }
}
