//! A transform whose author changed the contract and kept its version.

use exports::sync_agent::transform::transformer::{Guest, Outcome};

wit_bindgen::generate!({ inline: "
    package sync-agent:transform@1.0.0;

    interface transformer {
        variant outcome { unchanged, replace(string) }
        init: func(index: string, config: string) -> result<_, string>;
        transform: func(records: list<string>) -> list<outcome>;
    }

    world transform {
        export transformer;
    }
" });

struct Changed;

impl Guest for Changed {
    fn init(_index: String, _config: String) -> Result<(), String> {
        Ok(())
    }

    fn transform(records: Vec<String>) -> Vec<Outcome> {
        records.into_iter().map(Outcome::Replace).collect()
    }
}

export!(Changed);
