//! Turns the bytes of a `google.protobuf.Struct` into JSON text in one pass, without a tree.
//!
//! What comes out is what a decoder with a tree would print, with these rules on top: every value has a kind, numbers
//! are finite, nesting is bounded, `objectID` is left out, and of an attribute that comes twice the last one counts.
//! Scratch memory is a small multiple of the text that was written, which itself is bounded; nothing recurses deeper
//! than [`DEPTH_MAX`]. Embedded messages in pieces, which protobuf would merge, are refused: no encoder writes them.

use std::hash::Hasher;

use rustc_hash::FxHasher;

use super::{
    fault::{Fault, Faults, Problem, shortened},
    text::write_quoted,
    wire::{Fields, Malformed, Wire},
};
use crate::record::DEPTH_MAX;

/// What a record must keep to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Bytes of JSON, inclusive; attributes that are replaced by a later one of their name count.
    pub(crate) bytes_max: usize,
    /// Whether Algolia's Increment, Decrement and Add may pass.
    pub(crate) allow_non_idempotent: bool,
    /// Writes each object's attributes in order of their names, so that two encodings of one object, whose maps come
    /// in any order, become the same text.
    pub(crate) sorted: bool,
}

/// Transcodes one record after another and keeps its scratch memory between them.
#[derive(Debug)]
pub(crate) struct Transcoder {
    rules: Rules,
    attributes: Vec<Attribute>,
    hashes: Vec<u64>,
    spare: Vec<u8>,
}

/// Where an attribute of an open object lies in the text: `"name":value` from `start` to `end`.
#[derive(Clone, Copy, Debug)]
struct Attribute {
    start: usize,
    name_end: usize,
    end: usize,
}

impl Transcoder {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, attributes: Vec::new(), hashes: Vec::new(), spare: Vec::new() }
    }

    /// Appends the JSON of the Struct `data` to `out`.
    ///
    /// # Errors
    /// With everything that is wrong, one fault at most for each first-level attribute; `out` is then of no use.
    pub(crate) fn transcode(
        &mut self,
        data: &[u8],
        object_id: &str,
        out: &mut Vec<u8>,
    ) -> Result<(), Faults> {
        self.attributes.clear();
        let mut record = Record {
            limit: out.len().saturating_add(self.rules.bytes_max),
            scratch: self,
            object_id: object_id.as_bytes(),
            named_object_id: None,
            operation: None,
            faults: Faults::default(),
            out,
        };
        if let Err(fault) = record.object(data, 1) {
            record.faults.push(*fault);
        }
        if let Some(found) = record.named_object_id.take() {
            record.faults.push(Fault { path: ".objectID".into(), problem: Problem::OtherObjectId { found } });
        }
        if record.faults.is_empty() { Ok(()) } else { Err(record.faults) }
    }
}

/// One record on its way.
struct Record<'t> {
    scratch: &'t mut Transcoder,
    out: &'t mut Vec<u8>,
    /// The length that `out` may reach.
    limit: usize,
    object_id: &'t [u8],
    /// What the last top-level `objectID` held, if it is not the object's id.
    named_object_id: Option<String>,
    /// What the last `_operation` of the open first-level attribute named, if it is not idempotent.
    operation: Option<&'static str>,
    faults: Faults,
}

/// A value, its embedded message unread.
#[derive(Clone, Copy, Debug)]
enum Kind<'a> {
    Null,
    Number(f64),
    Text(&'a [u8]),
    Bool(bool),
    Object(&'a [u8]),
    List(&'a [u8]),
}

type Done = Result<(), Box<Fault>>;

impl Record<'_> {
    /// Writes a Struct: `map<string, Value> fields = 1`.
    fn object(&mut self, message: &[u8], depth: usize) -> Done {
        self.enter(depth)?;
        self.out.push(b'{');
        let first = self.scratch.attributes.len();
        let mut ascending = true;
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next().map_err(Fault::boxed)? {
            let entry = match field {
                (1, Wire::Bytes(entry)) => entry,
                (1, _) => return Err(Fault::boxed(WRONG_WIRE_TYPE)),
                _ => continue,
            };
            let (before, open) = (self.out.len(), self.scratch.attributes.len());
            match self.attribute(entry, depth, first) {
                Ok(in_order) => ascending &= in_order,
                Err(fault) if depth == 1 && !matches!(fault.problem, Problem::TooLarge { .. }) => {
                    self.faults.push(*fault);
                    self.out.truncate(before);
                    self.scratch.attributes.truncate(open);
                }
                Err(fault) => return Err(fault),
            }
        }
        if !ascending && (self.scratch.rules.sorted || self.has_duplicates(first)) {
            self.rewrite(first);
        }
        self.scratch.attributes.truncate(first);
        self.out.push(b'}');
        self.check_size()
    }

    /// Writes an entry of a Struct's map: `string key = 1`, `Value value = 2`. Tells whether its name comes after that
    /// of the attribute before it.
    fn attribute(&mut self, entry: &[u8], depth: usize, first: usize) -> Result<bool, Box<Fault>> {
        let (mut name, mut value) = (&[][..], None);
        let mut fields = Fields::new(entry);
        while let Some(field) = fields.next().map_err(Fault::boxed)? {
            match field {
                (1, Wire::Bytes(text)) => name = text,
                (2, Wire::Bytes(_)) if value.is_some() => {
                    return Err(Fault::boxed(Problem::Twice).in_attribute(name));
                }
                (2, Wire::Bytes(message)) => value = Some(message),
                (1 | 2, _) => return Err(Fault::boxed(WRONG_WIRE_TYPE).in_attribute(name)),
                _ => {}
            }
        }
        self.named(name, value.unwrap_or_default(), depth, first).map_err(|fault| fault.in_attribute(name))
    }

    fn named(&mut self, name: &[u8], value: &[u8], depth: usize, first: usize) -> Result<bool, Box<Fault>> {
        let kind = kind_of(value)?;
        if depth == 1 && name == b"objectID" {
            self.named_object_id = other_id(kind, self.object_id);
            return Ok(true);
        }
        let previous = self.scratch.attributes[first..].last().copied();
        if previous.is_some() {
            self.out.push(b',');
        }
        let start = self.out.len();
        self.text(name)?;
        let name_end = self.out.len();
        self.out.push(b':');
        match depth {
            1 => self.first_level(kind)?,
            2 if name == b"_operation" => {
                self.operation = non_idempotent(kind);
                self.value(kind, depth)?;
            }
            _ => self.value(kind, depth)?,
        }
        let attribute = Attribute { start, name_end, end: self.out.len() };
        self.scratch.attributes.push(attribute);
        Ok(previous.is_none_or(|previous| self.ascend(&previous, &attribute)))
    }

    /// Whether the first attribute's name, as it is written, comes before the second's.
    #[inline]
    fn ascend(&self, a: &Attribute, b: &Attribute) -> bool {
        let (name, other) = (&self.out[a.start..a.name_end], &self.out[b.start..b.name_end]);
        // Eight bytes at once, though they reach beyond short names: no quoted text begins with another one, so two
        // names differ within the shorter of them or not at all.
        if let (Some(x), Some(y)) = (self.out[a.start..].first_chunk(), self.out[b.start..].first_chunk()) {
            let (x, y) = (u64::from_be_bytes(*x), u64::from_be_bytes(*y));
            if ((x ^ y).leading_zeros() as usize) < 8 * name.len().min(8) {
                return x < y;
            }
        }
        name < other
    }

    fn first_level(&mut self, kind: Kind<'_>) -> Done {
        self.operation = None;
        self.value(kind, 1)?;
        match (kind, self.operation) {
            (Kind::Object(_), Some(operation)) if !self.scratch.rules.allow_non_idempotent => {
                Err(Fault::boxed(Problem::NonIdempotent { operation }))
            }
            _ => Ok(()),
        }
    }

    /// Writes a value that an object or list at `depth` holds.
    fn value(&mut self, kind: Kind<'_>, depth: usize) -> Done {
        match kind {
            Kind::Null => self.out.extend_from_slice(b"null"),
            Kind::Bool(true) => self.out.extend_from_slice(b"true"),
            Kind::Bool(false) => self.out.extend_from_slice(b"false"),
            Kind::Number(number) => self.number(number)?,
            Kind::Text(text) => self.text(text)?,
            Kind::Object(message) => return self.object(message, depth + 1),
            Kind::List(message) => return self.list(message, depth + 1),
        }
        self.check_size()
    }

    /// Writes a ListValue: `repeated Value values = 1`.
    fn list(&mut self, message: &[u8], depth: usize) -> Done {
        self.enter(depth)?;
        self.out.push(b'[');
        let mut index = 0;
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next().map_err(Fault::boxed)? {
            let item = match field {
                (1, Wire::Bytes(item)) => item,
                (1, _) => return Err(Fault::boxed(WRONG_WIRE_TYPE)),
                _ => continue,
            };
            if index > 0 {
                self.out.push(b',');
            }
            kind_of(item).and_then(|kind| self.value(kind, depth)).map_err(|fault| fault.in_item(index))?;
            index += 1;
        }
        self.out.push(b']');
        self.check_size()
    }

    /// An integral number below 2^53 in magnitude as an integer, others in the shortest form that reads back as the
    /// same double.
    fn number(&mut self, number: f64) -> Done {
        const INTEGRAL_BELOW: f64 = (1_u64 << 53) as f64;
        let integral = number as i64;
        if number.abs() < INTEGRAL_BELOW && integral as f64 == number {
            self.out.extend_from_slice(itoa::Buffer::new().format(integral).as_bytes());
        } else if number.is_finite() {
            self.out.extend_from_slice(zmij::Buffer::new().format_finite(number).as_bytes());
        } else {
            return Err(Fault::boxed(Problem::NotFinite(number)));
        }
        Ok(())
    }

    fn text(&mut self, text: &[u8]) -> Done {
        if text.len() > self.limit.saturating_sub(self.out.len()) {
            return Err(self.too_large());
        }
        write_quoted(self.out, text).map_err(|_| Fault::boxed(Problem::NotUtf8))
    }

    fn enter(&self, depth: usize) -> Done {
        if depth > DEPTH_MAX { Err(Fault::boxed(Problem::TooDeep { limit: DEPTH_MAX })) } else { Ok(()) }
    }

    fn check_size(&self) -> Done {
        if self.out.len() > self.limit { Err(self.too_large()) } else { Ok(()) }
    }

    #[cold]
    fn too_large(&self) -> Box<Fault> {
        Fault::boxed(Problem::TooLarge { limit: self.scratch.rules.bytes_max })
    }

    /// Whether two attributes of the innermost object may have the same name. Names are compared pair by pair only
    /// where there are few, so that a hostile object with very many costs no more than its sorting.
    fn has_duplicates(&mut self, first: usize) -> bool {
        const FEW: usize = 32;
        let Transcoder { attributes, hashes, .. } = &mut *self.scratch;
        hashes.clear();
        hashes.extend(attributes[first..].iter().map(|attribute| {
            let mut hasher = FxHasher::default();
            hasher.write(&self.out[attribute.start..attribute.name_end]);
            hasher.finish()
        }));
        if hashes.len() <= FEW {
            return (1..hashes.len()).any(|end| hashes[..end].contains(&hashes[end]));
        }
        hashes.sort_unstable();
        hashes.windows(2).any(|pair| pair[0] == pair[1])
    }

    /// Writes the innermost object's attributes again, by name ascending, of each name the last one.
    #[cold]
    fn rewrite(&mut self, first: usize) {
        let Transcoder { attributes, spare, .. } = &mut *self.scratch;
        let attributes = &mut attributes[first..];
        let Some(begin) = attributes.first().map(|attribute| attribute.start) else { return };
        let name = |attribute: &Attribute| &self.out[attribute.start..attribute.name_end];
        attributes.sort_unstable_by(|a, b| name(a).cmp(name(b)).then(a.start.cmp(&b.start)));
        spare.clear();
        for (index, attribute) in attributes.iter().enumerate() {
            if attributes.get(index + 1).is_some_and(|next| name(next) == name(attribute)) {
                continue;
            }
            if !spare.is_empty() {
                spare.push(b',');
            }
            spare.extend_from_slice(&self.out[attribute.start..attribute.end]);
        }
        self.out.truncate(begin);
        self.out.extend_from_slice(spare);
    }
}

const WRONG_WIRE_TYPE: Malformed =
    Malformed::new("a field of google.protobuf.Struct has the wrong wire type");

/// Reads a Value: a oneof, of which the last field counts; the contents of those before it are not looked at.
fn kind_of(message: &[u8]) -> Result<Kind<'_>, Box<Fault>> {
    let mut kind = None;
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next().map_err(Fault::boxed)? {
        let found = match field {
            (1, Wire::Varint(_)) => Kind::Null,
            (2, Wire::Fixed64(bits)) => Kind::Number(f64::from_bits(bits)),
            (3, Wire::Bytes(text)) => Kind::Text(text),
            (4, Wire::Varint(value)) => Kind::Bool(value != 0),
            (5, Wire::Bytes(message)) => Kind::Object(message),
            (6, Wire::Bytes(message)) => Kind::List(message),
            (1..=6, _) => return Err(Fault::boxed(WRONG_WIRE_TYPE)),
            _ => continue,
        };
        if let (Some(Kind::Object(_)), Kind::Object(_)) | (Some(Kind::List(_)), Kind::List(_)) = (kind, found)
        {
            return Err(Fault::boxed(Problem::Twice));
        }
        kind = Some(found);
    }
    kind.ok_or_else(|| Fault::boxed(Problem::NoKind))
}

/// Algolia's operations that count twice when they are sent twice
/// (<https://www.algolia.com/doc/guides/sending-and-managing-data/send-and-update-your-data/how-to/incremental-updates/>).
fn non_idempotent(kind: Kind<'_>) -> Option<&'static str> {
    let Kind::Text(name) = kind else { return None };
    ["Increment", "Decrement", "Add"].into_iter().find(|operation| operation.as_bytes() == name)
}

/// What `objectID` holds, if it is anything but the object's id.
#[cold]
fn other_id(kind: Kind<'_>, object_id: &[u8]) -> Option<String> {
    match kind {
        Kind::Text(text) if text == object_id => None,
        Kind::Text(text) => Some(format!("\"{}\"", shortened(&String::from_utf8_lossy(text)))),
        Kind::Null => Some("null".into()),
        Kind::Number(number) => Some(format!("the number {number}")),
        Kind::Bool(value) => Some(value.to_string()),
        Kind::Object(_) => Some("an object".into()),
        Kind::List(_) => Some("a list".into()),
    }
}

#[cfg(test)]
mod tests;
