//! A transform that reads the clock, which no transform gets.

use exports::sync_agent::transform::transformer::{Guest, InputRecord, Outcome};

wit_bindgen::generate!({ path: "../../../transforms/wit", world: "transform" });

struct ReadsClock;

impl Guest for ReadsClock {
    fn init(_index: String, _config: String) -> Result<(), String> {
        Ok(())
    }

    fn transform(records: Vec<InputRecord>) -> Vec<Outcome> {
        let now = std::time::SystemTime::now();
        records.iter().map(|_| Outcome::Replace(format!("{{\"at\":\"{now:?}\"}}"))).collect()
    }
}

export!(ReadsClock);
