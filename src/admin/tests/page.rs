//! The dashboard's page: who gets it, what it may load, and that nothing in it makes markup from data. What it does is
//! tried in a browser (`tests/real/chromium`).

use std::{fs, path::Path};

use super::{
    Bench,
    http::{over_tcp, over_unix, request},
};

/// Every file of the page, as it lies beside the code.
fn sources() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/dashboard");
    let files = fs::read_dir(directory).unwrap().map(|file| file.unwrap());
    files
        .map(|file| (file.file_name().into_string().unwrap(), fs::read_to_string(file.path()).unwrap()))
        .collect()
}

/// Where a file is served.
fn path_of(name: &str) -> String {
    if name == "index.html" { "/".to_owned() } else { format!("/dashboard/{name}") }
}

/// Scenario: a browser without a token loads the page. It gets every file, each with its type, and with a policy under
/// which nothing is loaded or run but these.
#[tokio::test]
async fn the_page_needs_no_token_and_may_do_little() {
    let bench = Bench::start();
    for (name, text) in sources() {
        let path = path_of(&name);
        let answer = over_tcp(&bench, &request(&format!("GET {path}"), "Host: localhost\r\n", "")).await;
        assert_eq!((answer.status, &answer.body), (200, &text), "{path}");
        let head = answer.head.to_lowercase();
        let content_type = match name.rsplit_once('.').unwrap().1 {
            "html" => "text/html; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("{other}"),
        };
        for header in [
            &format!("content-type: {content_type}\r\n"),
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
             connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'; trusted-types 'none'\r\n",
            "x-content-type-options: nosniff\r\n",
            "referrer-policy: no-referrer\r\n",
            "cache-control: no-store\r\n",
        ] {
            assert!(head.contains(header), "{path} lacks {header:?}: {head}");
        }
        assert!(!head.contains("unsafe-inline") && !head.contains("unsafe-eval"), "{head}");
        let answer = over_tcp(&bench, &request(&format!("HEAD {path}"), "Host: localhost\r\n", "")).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path}");
    }
    bench.stop().await;
}

/// Scenario: another method, a stranger's host name, a stranger's page, the socket. There the page is as closed as all else.
#[tokio::test]
async fn the_page_is_for_this_origin_alone() {
    let bench = Bench::start();
    for (name, _) in sources() {
        let path = path_of(&name);
        let status =
            async |line: &str, headers: &str| over_tcp(&bench, &request(line, headers, "")).await.status;
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            assert_eq!(
                status(&format!("{method} {path}"), "Host: localhost\r\n").await,
                401,
                "{method} {path}"
            );
        }
        let get = format!("GET {path}");
        assert_eq!(status(&get, "Host: evil.example\r\n").await, 403, "{path}");
        assert_eq!(status(&get, "Host: localhost\r\nOrigin: http://evil.example\r\n").await, 403, "{path}");
        assert_eq!(over_unix(&bench, &request(&get, "", "")).await.status, 404, "{path}");
    }
    bench.stop().await;
}

/// Whatever the page shows is text: no file of it so much as names what makes markup or code from a string, holds a script
/// or a style within the markup, or names another host.
#[test]
fn nothing_makes_markup_from_data() {
    let forbidden = [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "setHTML",
        "parseFromString",
        "createContextualFragment",
        "srcdoc",
        "eval(",
        "Function(",
        "setTimeout(\"",
        "javascript:",
        "//cdn",
        "https://",
    ];
    let sources = sources();
    assert!(sources.len() > 10);
    for (name, text) in &sources {
        for word in forbidden {
            assert!(!text.contains(word), "{name} has {word}");
        }
        let addresses = text.matches("http://").count();
        let of_svg = text.matches("http://www.w3.org/2000/svg").count();
        assert_eq!(addresses, of_svg, "{name} names a host");
    }
    let page = &sources.iter().find(|(name, _)| name == "index.html").unwrap().1;
    assert!(!page.contains("style=") && !page.contains("<style") && !page.contains(" on"), "{page}");
    assert_eq!(
        page.matches("<script").count(),
        page.matches("<script type=\"module\" src=\"/dashboard/").count()
    );
}
