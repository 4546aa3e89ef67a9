//! Reads the JSON text that a guest returned, once and without a tree: it is one object, whole, not too deep, and names
//! no other object than its own.

use std::{fmt, ops::Range};

use crate::record::DEPTH_MAX;

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    at: usize,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    NotAnObject,
    Ends,
    Unexpected { wanted: &'static str },
    Control,
    Escape,
    HalfPair,
    Number,
    NotFinite,
    TooDeep,
    OtherObjectId,
    Trailing,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::NotAnObject => f.write_str("is not a JSON object: return the text of one object, {...}"),
            Problem::TooDeep => {
                write!(
                    f,
                    "is nested more than {DEPTH_MAX} objects and lists deep (byte {}): flatten it",
                    self.at
                )
            }
            Problem::OtherObjectId => write!(
                f,
                "has an objectID that is not the object's id (byte {}): leave objectID out of the body, and to write \
                 another object emit an operation with its id",
                self.at
            ),
            problem => {
                let problem = match problem {
                    Problem::Ends => "the text ends too early",
                    Problem::Unexpected { wanted } => wanted,
                    Problem::Control => "a string has a control character that is not escaped",
                    Problem::Escape => "a string has an escape that JSON does not know",
                    Problem::HalfPair => "a string has half of a surrogate pair",
                    Problem::Number => "a number is not written as JSON writes it",
                    Problem::NotFinite => "a number is too large",
                    _ => "the object is followed by something else",
                };
                write!(f, "is not valid JSON at byte {}: {problem}; let a JSON library write it", self.at)
            }
        }
    }
}

/// Checks a text. Gives the places of the top-level members `objectID`, from the name to the end of the value, which all
/// hold the object's id.
pub(super) fn scan(text: &str, object_id: &str) -> Result<Vec<Range<usize>>, Fault> {
    let mut scanner = Scanner { text, bytes: text.as_bytes(), at: 0, depth: 0, lists: 0 };
    scanner.object(object_id)
}

/// Writes the text without those members.
pub(super) fn without(text: &str, members: &[Range<usize>]) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut from = 0;
    for member in members {
        kept.push_str(&text[from..member.start]);
        let after = text[member.end..].trim_ascii_start();
        from = text.len() - after.len();
        if after.starts_with(',') {
            from += 1;
        } else {
            // It was the last member: the comma before it goes.
            kept.truncate(kept.trim_ascii_end().len());
            if kept.ends_with(',') {
                kept.pop();
            }
        }
    }
    kept.push_str(&text[from..]);
    kept
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    /// One bit for each open object (0) or list (1), the innermost lowest.
    lists: u64,
}

const _: () = assert!(DEPTH_MAX <= u64::BITS as usize, "one bit for each level");

type Scanned<T> = Result<T, Fault>;

impl Scanner<'_> {
    fn object(&mut self, object_id: &str) -> Scanned<Vec<Range<usize>>> {
        let mut own = Vec::new();
        self.space();
        if self.peek() != Some(b'{') {
            return Err(self.fault(Problem::NotAnObject));
        }
        let mut opened = self.value()?;
        while self.depth > 0 {
            self.space();
            let in_list = self.lists & 1 == 1;
            match self.peek() {
                Some(b']') if in_list => {
                    self.close();
                    opened = false;
                    continue;
                }
                Some(b'}') if !in_list => {
                    self.close();
                    opened = false;
                    continue;
                }
                Some(b',') if !opened => self.at += 1,
                Some(_) if opened => {}
                Some(_) => return Err(self.unexpected("a comma is missing, or the end of an object or list")),
                None => return Err(self.fault(Problem::Ends)),
            }
            self.space();
            let name_at = self.at;
            if in_list {
                opened = self.value()?;
            } else {
                let is_object_id = self.name()? && self.depth == 1;
                let value_at = self.at;
                opened = self.value()?;
                if is_object_id {
                    if opened || !is_text(&self.text[value_at..self.at], object_id) {
                        return Err(Fault { at: value_at, problem: Problem::OtherObjectId });
                    }
                    own.push(name_at..self.at);
                }
            }
        }
        self.space();
        if self.at < self.bytes.len() { Err(self.fault(Problem::Trailing)) } else { Ok(own) }
    }

    /// Passes over a member's name and the colon after it. Tells whether the name is `objectID`.
    fn name(&mut self) -> Scanned<bool> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("the name of a member is missing"));
        }
        let start = self.at;
        self.string()?;
        let is_object_id = is_text(&self.text[start..self.at], "objectID");
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.unexpected("a colon is missing"));
        }
        self.at += 1;
        self.space();
        Ok(is_object_id)
    }

    /// Passes over a value, or into an object or list: then it returns true.
    fn value(&mut self) -> Scanned<bool> {
        match self.peek() {
            Some(b'{') => return self.open(0),
            Some(b'[') => return self.open(1),
            Some(b'"') => self.string()?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.literal("true")?,
            Some(b'f') => self.literal("false")?,
            Some(b'n') => self.literal("null")?,
            Some(_) => return Err(self.unexpected("a value is missing")),
            None => return Err(self.fault(Problem::Ends)),
        }
        Ok(false)
    }

    fn open(&mut self, kind: u64) -> Scanned<bool> {
        if self.depth == DEPTH_MAX {
            return Err(self.fault(Problem::TooDeep));
        }
        self.depth += 1;
        self.lists = self.lists << 1 | kind;
        self.at += 1;
        Ok(true)
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.lists >>= 1;
        self.at += 1;
    }

    fn string(&mut self) -> Scanned<()> {
        self.at += 1;
        loop {
            let rest = &self.bytes[self.at..];
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
            self.at += plain.unwrap_or(rest.len());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.fault(Problem::Control)),
                None => return Err(self.fault(Problem::Ends)),
            }
        }
    }

    fn escape(&mut self) -> Scanned<()> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let unit = self.unit()?;
                let pair = match unit {
                    0xd800..=0xdbff if self.bytes[self.at..].starts_with(b"\\u") => {
                        matches!(self.unit()?, 0xdc00..=0xdfff)
                    }
                    0xd800..=0xdfff => false,
                    _ => true,
                };
                if !pair {
                    return Err(self.fault(Problem::HalfPair));
                }
            }
            _ => return Err(self.fault(Problem::Escape)),
        }
        Ok(())
    }

    /// Passes over `\uXXXX`.
    fn unit(&mut self) -> Scanned<u32> {
        let digits = self.bytes.get(self.at + 2..self.at + 6).unwrap_or_default();
        let mut unit = 0;
        for digit in digits {
            let Some(digit) = char::from(*digit).to_digit(16) else {
                return Err(self.fault(Problem::Escape));
            };
            unit = unit << 4 | digit;
        }
        if digits.is_empty() {
            return Err(self.fault(Problem::Escape));
        }
        self.at += 6;
        Ok(unit)
    }

    fn number(&mut self) -> Scanned<()> {
        /// Below ten to this power every number is finite.
        const DIGITS_FINITE: usize = 300;
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        let mut large = self.at - start > DIGITS_FINITE;
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
            large = true;
        }
        if large && !self.text[start..self.at].parse().is_ok_and(f64::is_finite) {
            return Err(Fault { at: start, problem: Problem::NotFinite });
        }
        Ok(())
    }

    fn digits(&mut self) -> Scanned<()> {
        let count = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(self.fault(Problem::Number)) } else { Ok(()) }
    }

    fn literal(&mut self, literal: &str) -> Scanned<()> {
        if !self.bytes[self.at..].starts_with(literal.as_bytes()) {
            return Err(self.unexpected("a value is missing"));
        }
        self.at += literal.len();
        Ok(())
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[cold]
    fn unexpected(&self, wanted: &'static str) -> Fault {
        self.fault(Problem::Unexpected { wanted })
    }

    #[cold]
    fn fault(&self, problem: Problem) -> Fault {
        Fault { at: self.at, problem }
    }
}

/// Whether a valid JSON value is a string that holds `wanted`.
fn is_text(value: &str, wanted: &str) -> bool {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return false };
    inner == wanted
        || inner.contains('\\') && serde_json::from_str::<String>(value).is_ok_and(|text| text == wanted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problem(text: &str) -> String {
        scan(text, "1").unwrap_err().to_string()
    }

    /// What is an object passes; each kind of mistake is named with its place.
    #[test]
    fn mistakes_are_named() {
        for fine in [
            "{}",
            " { \"a\" : [ 1 , -0.5e-3 , true,false , null , {} , [] ] } \n",
            r#"{"a":"\u00e9\n\ud83d\ude00","b":1e308,"":0}"#,
        ] {
            assert_eq!(scan(fine, "1"), Ok(vec![]), "{fine}");
        }
        for other in ["", "[]", "\"a\"", "1", "null", "undefined", "<html>"] {
            assert!(problem(other).starts_with("is not a JSON object"), "{other}");
        }
        for (text, words) in [
            ("{", "byte 1: the text ends too early"),
            (r#"{"a":"#, "byte 5: the text ends too early"),
            (r#"{"a"#, "byte 3: the text ends too early"),
            (r#"{"a":1,}"#, "byte 7: the name of a member is missing"),
            (r#"{"a":[1,]}"#, "byte 8: a value is missing"),
            (r#"{"a":[1}"#, "byte 7: a comma is missing"),
            (r#"{"a":1]"#, "byte 6: a comma is missing"),
            (r#"{"a" 1}"#, "byte 5: a colon is missing"),
            (r#"{a:1}"#, "byte 1: the name of a member is missing"),
            (r#"{,"a":1}"#, "byte 1: the name of a member is missing"),
            (r#"{"a":NaN}"#, "byte 5: a value is missing"),
            (r#"{"a":nul}"#, "byte 5: a value is missing"),
            (r#"{"a":01}"#, "byte 6: a comma is missing"),
            (r#"{"a":1.}"#, "byte 7: a number"),
            (r#"{"a":-}"#, "byte 6: a number"),
            (r#"{"a":1e999}"#, "byte 5: a number is too large"),
            ("{\"a\":\"\n\"}", "byte 6: a string has a control character"),
            (r#"{"a":"\x"}"#, "byte 6: a string has an escape"),
            (r#"{"a":"\u12"#, "byte 6: a string has an escape"),
            (r#"{"a":"\u12g4"}"#, "byte 6: a string has an escape"),
            (r#"{"a":"\ud800"}"#, "half of a surrogate pair"),
            (r#"{"a":"\ud800\u0041"}"#, "half of a surrogate pair"),
            (r#"{"a":"\udc00"}"#, "half of a surrogate pair"),
            ("{} {}", "byte 3: the object is followed by something else"),
        ] {
            assert!(problem(text).contains(words), "{text}: {}", problem(text));
        }
    }

    /// 64 levels, the object included, and no more; a million of them do not end the stack.
    #[test]
    fn depth_is_bounded() {
        let deep = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert_eq!(scan(&deep(DEPTH_MAX), "1"), Ok(vec![]));
        assert!(problem(&deep(DEPTH_MAX + 1)).starts_with("is nested more than 64"));
        assert!(problem(&deep(1_000_000)).starts_with("is nested more than 64"));
    }

    /// The object's own id is taken out wherever it stands, in whatever form; any other is a mistake; deeper ones are
    /// the author's business.
    #[test]
    fn own_object_id_is_taken_out() {
        for (text, stripped) in [
            (r#"{"objectID":"1"}"#, "{}"),
            (r#"{"objectID":"1","a":2}"#, r#"{"a":2}"#),
            (r#"{"a":2,"objectID":"1"}"#, r#"{"a":2}"#),
            (r#"{ "a":2 , "objectID" : "1" , "b":3 }"#, r#"{ "a":2 ,  "b":3 }"#),
            (r#"{ "a":2 , "objectID" : "1" }"#, r#"{ "a":2 }"#),
            (r#"{"objectID":"1","objectID":"1"}"#, "{}"),
            (r#"{"objectID":"1","a":2,"objectID":"1"}"#, r#"{"a":2}"#),
            (r#"{"object\u0049D":"\u0031","a":{"objectID":7}}"#, r#"{"a":{"objectID":7}}"#),
        ] {
            let members = scan(text, "1").unwrap();
            let without = without(text, &members);
            assert_eq!(without, stripped, "{text}");
            assert_eq!(scan(&without, "1"), Ok(vec![]));
        }
        for other in
            [r#"{"objectID":"2"}"#, r#"{"objectID":1}"#, r#"{"objectID":["1"]}"#, r#"{"objectID":null}"#]
        {
            assert!(problem(other).starts_with("has an objectID that is not"), "{other}");
        }
    }

    proptest! {
        /// On texts near JSON the scan agrees with serde_json, but for what it refuses on purpose.
        #[test]
        fn agrees_with_serde_json(text in r#"\{("[a\\u"{}:,0-9de. \[\]-]{0,12}|"a":|1e5|null|,|\{|\}|\[|\]){0,8}\}"#) {
            let known = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text);
            prop_assert_eq!(scan(&text, "1").is_ok(), known.is_ok(), "{:?} {:?}", scan(&text, "1"), known);
        }
    }
}
