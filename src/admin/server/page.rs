//! The dashboard: a page for browsers, in the binary with all that it needs. Its files hold no data: what it shows it asks
//! the API for, with the token that an operator types in.
//!
//! The page loads nothing from elsewhere, runs no script but its own files and is framed by nobody (Content Security
//! Policy Level 3), and a browser that knows trusted types lets it make no markup from text at all.

use axum::{Router, body::Body, response::Response, routing::get};
use http::{
    HeaderValue, Method,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
     trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// A file of the page: its path, its type and what it holds.
type File = (&'static str, &'static str, &'static str);

macro_rules! files {
    ($($path:literal, $name:literal, $content_type:expr;)*) => {
        [$(($path, $content_type, include_str!(concat!("../dashboard/", $name)))),*]
    };
}

/// All of them.
pub(super) static FILES: [File; 15] = files![
    "/", "index.html", HTML;
    "/dashboard/style.css", "style.css", CSS;
    "/dashboard/icon.svg", "icon.svg", "image/svg+xml";
    "/dashboard/main.js", "main.js", JAVASCRIPT;
    "/dashboard/api.js", "api.js", JAVASCRIPT;
    "/dashboard/page.js", "page.js", JAVASCRIPT;
    "/dashboard/past.js", "past.js", JAVASCRIPT;
    "/dashboard/verdict.js", "verdict.js", JAVASCRIPT;
    "/dashboard/destinations.js", "destinations.js", JAVASCRIPT;
    "/dashboard/letters.js", "letters.js", JAVASCRIPT;
    "/dashboard/replay.js", "replay.js", JAVASCRIPT;
    "/dashboard/agent.js", "agent.js", JAVASCRIPT;
    "/dashboard/chart.js", "chart.js", JAVASCRIPT;
    "/dashboard/dom.js", "dom.js", JAVASCRIPT;
    "/dashboard/words.js", "words.js", JAVASCRIPT;
];

/// The routes of the page.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().fold(Router::new(), |router, file| router.route(file.0, get(async move || answer(file))))
}

/// Whether somebody asks for a file of the page, which needs no token.
pub(super) fn is_of_page(method: &Method, path: &str) -> bool {
    matches!(*method, Method::GET | Method::HEAD) && FILES.iter().any(|(known, ..)| *known == path)
}

fn answer((_, content_type, text): &'static File) -> Response {
    let mut response = Response::new(Body::from(*text));
    let headers = [
        (CONTENT_TYPE, *content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // Another version of the agent has another page, and its parts must be of one.
        (CACHE_CONTROL, "no-store"),
    ];
    response.headers_mut().extend(headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}
