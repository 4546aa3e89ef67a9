//! A transform that writes into each saved record which build of it ran: `"build":"0000000000"`. A test makes another
//! build by overwriting the digits in the compiled module.

use std::hint::black_box;

use exports::sync_agent::transform::transformer::{Guest, InputRecord, Outcome};

wit_bindgen::generate!({ path: "../../../transforms/wit", world: "transform" });

/// Found in the compiled module by what stands before the digits.
static BUILD: &str = "stamps-build:0000000000";

struct Stamps;

impl Guest for Stamps {
    fn init(_index: String, _config: String) -> Result<(), String> {
        Ok(())
    }

    fn transform(records: Vec<InputRecord>) -> Vec<Outcome> {
        // Without it the compiler would take the digits apart.
        let build = black_box(BUILD).trim_start_matches("stamps-build:");
        records.into_iter().map(|record| stamp(build, record.data)).collect()
    }
}

/// A body is one JSON object; what stands in it is left as it is.
fn stamp(build: &str, data: Option<String>) -> Outcome {
    let Some(data) = data else { return Outcome::Unchanged };
    let rest = data.trim_start().trim_start_matches('{').trim_start();
    let comma = if rest.starts_with('}') { "" } else { "," };
    Outcome::Replace(format!("{{\"build\":\"{build}\"{comma}{rest}"))
}

export!(Stamps);
