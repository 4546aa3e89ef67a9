//! Spans of what becomes of a request, for producers who trace theirs: a well-formed traceparent with the sampled flag
//! (<https://www.w3.org/TR/trace-context/>). It lies in the log beside the request, so that whoever delivers hours later, or
//! after a restart, tells it to the same trace.
//!
//! Whoever tells a span never waits: what does not fit into the queue is dropped and counted.

use std::{
    borrow::Cow,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use plugin_api::identity::{RequestId, Timestamp};
use ring::digest::{Context as Digest, SHA256};
use tokio::sync::mpsc;

use super::{Clock as _, Counter, SystemClock};

/// A place in a trace: the trace, and the span under which others hang.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Which trace.
    pub trace: [u8; 16],
    /// Which span of it.
    pub span: SpanId,
}

/// Names a span within its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(pub [u8; 8]);

/// Something that was done for a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Under what it hangs.
    pub parent: TraceContext,
    /// Its own name in the trace.
    pub id: SpanId,
    /// What was done.
    pub name: Cow<'static, str>,
    /// On which side of what.
    pub kind: SpanKind,
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// What else there is to tell.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// Why it did not succeed.
    pub error: Option<String>,
}

/// On which side of a call something was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Within the agent.
    Internal,
    /// It answered.
    Server,
    /// It asked.
    Client,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// Words.
    Text(String),
    /// A number.
    Number(u64),
}

/// Takes spans. Its clones are one.
#[derive(Clone, Debug)]
pub struct Tracer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    is_on: AtomicBool,
    queue: mpsc::Sender<Span>,
    dropped: Counter,
}

/// Spans that wait to be exported.
const QUEUE_SPANS_MAX: usize = 4096;

impl TraceContext {
    /// Where a producer's span is, if it is sampled.
    #[must_use]
    pub fn sampled(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-').skip(1);
        let (trace, span, flags) = (hex(parts.next()?)?, hex(parts.next()?)?, hex::<1>(parts.next()?)?);
        (flags[0] & 1 == 1).then_some(Self { trace, span: SpanId(span) })
    }

    /// The same trace, under another span.
    #[must_use]
    pub fn under(self, span: SpanId) -> Self {
        Self { span, ..self }
    }
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

impl SpanId {
    /// The span of a request in which something was done once: the same whoever asks, whenever.
    #[must_use]
    pub fn of(request_id: RequestId, what: &str) -> Self {
        let mut digest = Digest::new(&SHA256);
        digest.update(request_id.0.as_bytes());
        digest.update(what.as_bytes());
        let mut id = [0; 8];
        id.copy_from_slice(&digest.finish().as_ref()[..8]);
        Self(id)
    }

    /// One that nobody else has.
    #[must_use]
    pub fn random() -> Self {
        // 0 is none.
        Self(fastrand::u64(1..).to_be_bytes())
    }

    /// The span in which a request was accepted.
    #[must_use]
    pub fn of_accept(request_id: RequestId) -> Self {
        Self::of(request_id, "accept")
    }
}

impl Attribute {
    /// What is displayed, without what is beyond its first 256 bytes.
    pub fn text(value: impl std::fmt::Display) -> Self {
        const BYTES_MAX: usize = 256;
        let mut text = String::new();
        // What is written to a string is always written.
        let _ = write!(text, "{value}");
        text.truncate(text.floor_char_boundary(BYTES_MAX));
        Self::Text(text)
    }
}

impl Tracer {
    /// A tracer, and where its spans come out; off until told otherwise.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Span>) {
        let (queue, spans) = mpsc::channel(QUEUE_SPANS_MAX);
        let (is_on, dropped) = (AtomicBool::new(false), Counter::default());
        (Self(Arc::new(Inner { is_on, queue, dropped })), spans)
    }

    /// One that is off for good.
    #[must_use]
    pub fn off() -> Self {
        Self::new().0
    }

    /// Whether anybody wants spans.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_on.load(Ordering::Relaxed)
    }

    /// Lets somebody want them, or nobody.
    pub fn switch(&self, is_on: bool) {
        self.0.is_on.store(is_on, Ordering::Relaxed);
    }

    /// Where a producer's span is, if it is sampled and anybody wants to know.
    #[must_use]
    pub fn sampled(&self, traceparent: Option<&str>) -> Option<TraceContext> {
        traceparent.filter(|_| self.is_on()).and_then(TraceContext::sampled)
    }

    /// Tells a span. Never waits.
    pub fn tell(&self, span: Span) {
        if self.is_on() && self.0.queue.try_send(span).is_err() {
            self.drop_spans(1);
        }
    }

    /// Spans are not told for want of room.
    pub fn drop_spans(&self, count: usize) {
        self.0.dropped.add(count as u64);
    }

    /// How many were not told.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped.get()
    }

    /// The time of spans.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        SystemClock.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// The producer's flag decides, and nothing that is no traceparent is one.
    #[test]
    fn the_sampled_flag_decides() {
        let context = TraceContext::sampled(SAMPLED).unwrap();
        assert_eq!((context.trace[0], context.span.0[7]), (0x0a, 0x31));
        for other in [&SAMPLED.replace("-01", "-00"), "", "00", "00-é-é-01", &SAMPLED[..54]] {
            assert_eq!(TraceContext::sampled(other), None, "{other}");
        }
    }

    fn span() -> Span {
        Span {
            parent: TraceContext::sampled(SAMPLED).unwrap(),
            id: SpanId::random(),
            name: "accept".into(),
            kind: SpanKind::Server,
            began: Timestamp(1),
            ended: Timestamp(2),
            attributes: Vec::new(),
            error: None,
        }
    }

    /// Nobody waits for whoever exports: what is too much is dropped and counted, and nothing while nobody wants spans.
    #[test]
    fn a_full_queue_drops_and_counts() {
        let (tracer, mut spans) = Tracer::new();
        tracer.tell(span());
        assert!(spans.try_recv().is_err() && tracer.sampled(Some(SAMPLED)).is_none());
        tracer.switch(true);
        assert!(tracer.sampled(Some(SAMPLED)).is_some());
        (0..QUEUE_SPANS_MAX + 3).for_each(|_| tracer.tell(span()));
        assert_eq!(tracer.dropped(), 3);
    }
}
