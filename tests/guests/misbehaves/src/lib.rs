//! A transform that does what its config says: `{"behave": "loop"}` and so on, on every record or, with
//! `"only": "ID"`, on the record of that id alone; the others are left unchanged.

use std::{
    hash::BuildHasher,
    hint::black_box,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use exports::sync_agent::transform::transformer::{Guest, InputRecord, Outcome};
use sync_agent::transform::{
    log::{self, Level},
    types::{Document, Operation},
};

wit_bindgen::generate!({ path: "../../../transforms/wit", world: "transform" });

struct Misbehaves;

static INDEX: OnceLock<String> = OnceLock::new();
static CONFIG: OnceLock<String> = OnceLock::new();

impl Guest for Misbehaves {
    fn init(index: String, config: String) -> Result<(), String> {
        INDEX.get_or_init(|| index);
        let config = CONFIG.get_or_init(|| config);
        let behave = text(config, "behave").unwrap_or_default();
        match behave {
            "init_error" => return Err("the table has no `currency`".to_owned()),
            "init_loop" => endless(),
            "init_panic" => panic!("nothing to start with"),
            "init_memory" => hoard(),
            "init_large" => drop(black_box(vec![1_u8; 24 << 20])),
            _ => {}
        }
        Ok(())
    }

    fn transform(records: Vec<InputRecord>) -> Vec<Outcome> {
        let config = CONFIG.get().map_or("", String::as_str);
        let behave = text(config, "behave").unwrap_or_default();
        let only = text(config, "only");
        let concerns = |record: &InputRecord| only.is_none_or(|id| id == record.object_id);
        if behave == "wrong_count" && records.iter().any(concerns) {
            return Vec::new();
        }
        let outcome = |record| if concerns(&record) { misbehave(behave, record) } else { Outcome::Unchanged };
        records.into_iter().map(outcome).collect()
    }
}

fn misbehave(behave: &str, record: InputRecord) -> Outcome {
    let id = record.object_id;
    match behave {
        "loop" => endless(),
        "panic" => panic!("no price in {id}\nand a second line"),
        "trap" => core::arch::wasm32::unreachable(),
        "recurse" => Outcome::Fail(nest(u64::MAX).to_string()),
        "memory" => hoard(),
        "exit" => std::process::exit(3),
        "huge_return" => huge(),
        "identity" => record.data.map_or(Outcome::Unchanged, Outcome::Replace),
        "replace_anyway" => Outcome::Replace("{}".to_owned()),
        "bad_json" => Outcome::Replace("{\"price\": 1,}".to_owned()),
        "not_an_object" => Outcome::Replace("[1, 2]".to_owned()),
        "other_object_id" => Outcome::Replace("{\"objectID\":\"another\"}".to_owned()),
        "large" => Outcome::Replace(format!("{{\"a\":\"{}\"}}", "x".repeat(100_000))),
        "empty_id" => emit(["fine", ""]),
        "long_id" => emit(["fine", &"x".repeat(513)]),
        "emit" => Outcome::Emit(vec![
            Operation::Save(document(&format!("{id}-a"), "{\"objectID\":\"OTHER\"}".replace("OTHER", &format!("{id}-a")))),
            Operation::PartialUpdate(document(&id, "{\"n\":1}".to_owned())),
            Operation::PartialUpdateNoCreate(document("third", "{}".to_owned())),
            Operation::Delete(format!("{id}-b")),
        ]),
        "emit_nothing" => Outcome::Emit(Vec::new()),
        "emit_bad_json" => {
            Outcome::Emit(vec![Operation::Delete("x".to_owned()), Operation::Save(document("y", "nonsense".to_owned()))])
        }
        "skip" => Outcome::Skip,
        "fail" => Outcome::Fail("the price is negative\nindeed".to_owned()),
        "fail_silently" => Outcome::Fail(String::new()),
        "log" => {
            log::write(Level::Warn, &format!("saw {id}\nERROR forged \u{1b}[31m"));
            Outcome::Unchanged
        }
        "log_long" => {
            log::write(Level::Info, &"€".repeat(1_000));
            Outcome::Unchanged
        }
        "log_flood" => {
            (0..100_000).for_each(|number| log::write(Level::Error, &format!("line {number}")));
            Outcome::Unchanged
        }
        "print_flood" => {
            (0..20_000).for_each(|number| eprintln!("line {number} of what nobody reads"));
            println!("and one of stdout");
            Outcome::Unchanged
        }
        "random" => {
            let hash = std::collections::hash_map::RandomState::new().hash_one(0);
            Outcome::Replace(format!("{{\"random\":{}}}", hash >> 12))
        }
        "index" => Outcome::Replace(format!("{{\"index\":\"{}\"}}", INDEX.get().map_or("", String::as_str))),
        "grow" => {
            std::mem::forget(black_box(vec![1_u8; 1 << 20]));
            Outcome::Unchanged
        }
        "count" => {
            static SEEN: AtomicU32 = AtomicU32::new(0);
            Outcome::Replace(format!("{{\"seen\":{}}}", SEEN.fetch_add(1, Ordering::Relaxed)))
        }
        "slow" => {
            (0..2_000_000_u64).for_each(|number| { black_box(number); });
            Outcome::Unchanged
        }
        "tag" => Outcome::Replace(format!("{{\"tag\":\"{}\"}}", CONFIG.get().map_or("", |config| text(config, "tag").unwrap_or("")))),
        _ => Outcome::Unchanged,
    }
}

fn emit<const N: usize>(ids: [&str; N]) -> Outcome {
    Outcome::Emit(ids.into_iter().map(|id| Operation::Save(document(id, "{}".to_owned()))).collect())
}

fn document(object_id: &str, data: String) -> Document {
    Document { object_id: object_id.to_owned(), data }
}

fn endless() -> ! {
    loop {
        black_box(());
    }
}

fn hoard() -> ! {
    loop {
        std::mem::forget(black_box(vec![1_u8; 1 << 20]));
    }
}

fn nest(depth: u64) -> u64 {
    if black_box(depth) == 0 { 0 } else { black_box(nest(depth - 1)) + 1 }
}

/// A gigabyte within 64 MiB: a thousand bodies that are all the same megabyte.
fn huge() -> Outcome {
    let body = vec![b' '; 1 << 20].leak();
    let alias = || {
        let (start, bytes) = (body.as_ptr().cast_mut(), body.len());
        // SAFETY: none; they would be freed a thousand times. The host stops the guest before that.
        let data = unsafe { String::from_raw_parts(start, bytes, bytes) };
        Operation::Save(document("one", data))
    };
    Outcome::Emit((0..1_000).map(|_| alias()).collect())
}

/// The text of that name in a flat JSON object without escapes.
fn text<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = json.split_once(&format!("\"{name}\":\""))?;
    after.split_once('"').map(|(value, _)| value)
}

export!(Misbehaves);
