//! A scraper of the agent's metrics and its health, as strict as the documents of both formats: what a lenient one would
//! pass over is an error here.
//!
//! Not the agent's own code, on purpose: it reads what Prometheus reads
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>,
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>).

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// What Prometheus accepts first.
pub const OPEN_METRICS: &str =
    "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// What its `Content-Type` says.
    pub content_type: String,
    /// Its body.
    pub body: String,
}

/// Everything that was exposed at one moment.
#[derive(Clone, Debug, Default)]
pub struct Scrape {
    /// The families by name, as the samples of a counter are named: with `_total`.
    pub families: BTreeMap<String, Family>,
}

/// One metric.
#[derive(Clone, Debug, Default)]
pub struct Family {
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// What it tells.
    pub help: String,
    /// Its unit; empty if none is told.
    pub unit: String,
    /// Each value with the suffix of its name (empty, `_bucket`, `_sum`, `_count`) and its labels.
    pub samples: BTreeMap<(String, Labels), f64>,
}

type Labels = BTreeMap<String, String>;

/// Asks for a path.
///
/// # Errors
/// If nobody answers in HTTP.
pub async fn get(address: SocketAddr, path: &str, accept: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    let text = String::from_utf8(bytes).map_err(io::Error::other)?;
    let broken = || io::Error::other(format!("no answer in HTTP: {text:?}"));
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(broken)?;
    let content_type = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default();
    Ok(Answer { status, content_type: content_type.to_owned(), body: body.to_owned() })
}

/// Scrapes in Prometheus's own format.
///
/// # Panics
/// If nobody answers, or not as that format wants it.
pub async fn scrape(address: SocketAddr) -> Scrape {
    let answer = get(address, "/metrics", "*/*").await.unwrap_or_else(|error| panic!("{address}: {error}"));
    assert_eq!((answer.status, &*answer.content_type), (200, "text/plain; version=0.0.4; charset=utf-8"));
    parse(&answer.body).unwrap_or_else(|error| panic!("{error} in:\n{}", answer.body))
}

/// Scrapes in OpenMetrics.
///
/// # Panics
/// If nobody answers, or not as that format wants it.
pub async fn scrape_open(address: SocketAddr) -> Scrape {
    let answer =
        get(address, "/metrics", OPEN_METRICS).await.unwrap_or_else(|error| panic!("{address}: {error}"));
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!((answer.status, &*answer.content_type), (200, content_type));
    parse_open(&answer.body).unwrap_or_else(|error| panic!("{error} in:\n{}", answer.body))
}

/// Reads Prometheus's own format.
///
/// # Errors
/// With what is wrong.
pub fn parse(text: &str) -> Result<Scrape, String> {
    read(text, false)
}

/// Reads OpenMetrics.
///
/// # Errors
/// With what is wrong.
pub fn parse_open(text: &str) -> Result<Scrape, String> {
    let text = text.strip_suffix("# EOF\n").ok_or("no # EOF at the end")?;
    read(text, true)
}

fn read(text: &str, open: bool) -> Result<Scrape, String> {
    if !text.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    let mut scrape = Scrape::default();
    let mut current: Option<String> = None;
    for line in text.lines() {
        let wrong = |what: &str| format!("{what}: {line:?}");
        if let Some(comment) = line.strip_prefix("# ") {
            let mut parts = comment.splitn(3, ' ');
            let (word, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let rest = parts.next().ok_or_else(|| wrong("nothing behind the name"))?;
            let name = if open && is_counter(text, name) { format!("{name}_total") } else { name.to_owned() };
            match word {
                "HELP" => {
                    let family = Family { help: rest.to_owned(), ..Family::default() };
                    if scrape.families.insert(name.clone(), family).is_some() {
                        return Err(wrong("the family is there twice"));
                    }
                    current = Some(name);
                    continue;
                }
                "TYPE" | "UNIT" => {
                    let family = current.as_ref().filter(|current| **current == name);
                    let family = family.and_then(|name| scrape.families.get_mut(name));
                    let family = family.filter(|family| family.samples.is_empty());
                    let family = family.ok_or_else(|| wrong("not right behind the family's HELP"))?;
                    let field = if word == "TYPE" { &mut family.kind } else { &mut family.unit };
                    if !field.is_empty() || (word == "UNIT" && !open) {
                        return Err(wrong("told twice, or in the wrong format"));
                    }
                    rest.clone_into(field);
                    continue;
                }
                _ => return Err(wrong("an unknown comment")),
            }
        }
        let name = current.as_ref().ok_or_else(|| wrong("a sample without a family"))?;
        let family = scrape.families.get_mut(name).ok_or_else(|| wrong("a sample without a family"))?;
        let (full, labels, value) = sample(line).ok_or_else(|| wrong("no sample"))?;
        let suffix = full.strip_prefix(&**name).ok_or_else(|| wrong("a sample of another family"))?;
        let allowed: &[&str] = match &*family.kind {
            "counter" if name.ends_with("_total") && value >= 0.0 => &[""],
            "gauge" if !name.ends_with("_total") => &[""],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => return Err(wrong("a sample of no kind, or against its kind")),
        };
        if !allowed.contains(&suffix) {
            return Err(wrong("a name that its kind does not have"));
        }
        if family.samples.insert((suffix.to_owned(), labels), value).is_some() {
            return Err(wrong("the same sample twice"));
        }
    }
    for (name, family) in &scrape.families {
        if family.kind == "histogram" {
            histogram(family).map_err(|what| format!("{name}: {what}"))?;
        }
    }
    Ok(scrape)
}

/// Whether OpenMetrics's name without `_total` is a counter's.
fn is_counter(text: &str, name: &str) -> bool {
    text.contains(&format!("# TYPE {name} counter\n"))
}

/// A name, labels and a value.
fn sample(line: &str) -> Option<(&str, Labels, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Labels::new();
    if let Some(mut inside) = rest.strip_prefix('{') {
        loop {
            let (label, after) = inside.split_once("=\"")?;
            let plain = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
            if label.is_empty() || !label.bytes().all(plain) {
                return None;
            }
            let (value, after) = quoted(after)?;
            if labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            match after.strip_prefix(',') {
                Some(next) => inside = next,
                None => {
                    rest = after.strip_prefix('}')?;
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ')?;
    let value = match value {
        "+Inf" => f64::INFINITY,
        plain if plain.bytes().all(|byte| byte.is_ascii_digit() || b".e-".contains(&byte)) => {
            plain.parse().ok()?
        }
        _ => return None,
    };
    Some((name, labels, value))
}

/// A value up to its closing quote, which is passed over.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match letters.next()?.1 {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                _ => return None,
            }),
            other => value.push(other),
        }
    }
    None
}

/// Buckets grow up to the count, which `+Inf` has, too.
fn histogram(family: &Family) -> Result<(), String> {
    let mut series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for ((suffix, labels), value) in &family.samples {
        if suffix == "_bucket" {
            let mut labels = labels.clone();
            let bound = labels.remove("le").ok_or("a bucket without a bound")?;
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().map_err(|_| bound)? };
            series.entry(labels).or_default().push((bound, *value));
        }
    }
    let all: BTreeSet<_> = family.samples.keys().filter(|(suffix, _)| suffix == "_count").collect();
    if all.len() != series.len() {
        return Err("counts without buckets, or buckets without counts".to_owned());
    }
    for (labels, mut buckets) in series {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let of = |suffix: &str| family.samples.get(&(suffix.to_owned(), labels.clone()));
        let (Some(count), Some(_)) = (of("_count"), of("_sum")) else {
            return Err(format!("{labels:?} has no count or no sum"));
        };
        if !buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1)
            || buckets.last() != Some(&(f64::INFINITY, *count))
        {
            return Err(format!("{labels:?} has buckets {buckets:?} and count {count}"));
        }
    }
    Ok(())
}

impl Scrape {
    /// The value of a sample; the name of a histogram's with its suffix.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).unwrap_or_else(|| panic!("there is no {name} {labels:?}"))
    }

    /// The same, if there is one.
    #[must_use]
    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels: Labels =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        ["", "_bucket", "_sum", "_count"].iter().find_map(|suffix| {
            let family = self.families.get(name.strip_suffix(suffix)?)?;
            family.samples.get(&((*suffix).to_owned(), labels.clone())).copied()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# HELP a_total Help.\n# TYPE a_total counter\na_total{b=\"c\\\"\\\\\\n,}\"} 1\n\
                        # HELP h Help.\n# TYPE h histogram\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3.5\nh_count 2\n";

    #[test]
    fn reads_what_is_well_formed() {
        let scrape = parse(GOOD).unwrap();
        assert_eq!(scrape.value("a_total", &[("b", "c\"\\\n,}")]), 1.0);
        assert_eq!((scrape.value("h_sum", &[]), scrape.value("h_count", &[])), (3.5, 2.0));
        assert_eq!(scrape.value("h_bucket", &[("le", "+Inf")]), 2.0);
        let open = GOOD
            .replace("P a_total", "P a")
            .replace("E a_total", "E a")
            .replace("h histogram\n", "h histogram\n# UNIT h seconds\n");
        let open = parse_open(&format!("{open}# EOF\n")).unwrap();
        assert_eq!((&*open.families["h"].unit, &*open.families["a_total"].kind), ("seconds", "counter"));
    }

    /// Each of these is what a scraper would refuse, or silently take for something else.
    #[test]
    fn refuses_what_is_not() {
        for (was, is) in [
            ("b=\"c", "b=\"\\c"),
            ("b=\"c", "b c=\"c"),
            ("} 1\n#", "} -1\n#"),
            ("} 1\n#", "} one\n#"),
            ("} 1\n#", "} 1 \n#"),
            ("# TYPE a_total counter", "# TYPE a_total gauge"),
            ("# TYPE h histogram\n", ""),
            ("h_sum 3.5\n", ""),
            ("h_count 2", "h_count 3"),
            ("h_bucket{le=\"1.0\"} 1", "h_bucket{le=\"1.0\"} 3"),
            ("h_sum 3.5", "h_sum 3.5\nh_sum 3.5"),
            ("h_sum 3.5", "a_total 3.5"),
            ("# HELP h", "# HELP a_total"),
        ] {
            assert!(GOOD.contains(was), "{was}");
            assert!(parse(&GOOD.replacen(was, is, 1)).is_err(), "{was} -> {is}");
        }
        assert!(parse(GOOD.trim_end()).is_err() && parse_open(GOOD).is_err());
    }
}
