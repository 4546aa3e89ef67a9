//! A transform of another version of the contract.

use exports::sync_agent::transform::transformer::Guest;

wit_bindgen::generate!({ inline: "
    package sync-agent:transform@2.0.0;

    interface transformer {
        transform: func(records: list<string>) -> list<string>;
    }

    world transform {
        export transformer;
    }
" });

struct OfTheFuture;

impl Guest for OfTheFuture {
    fn transform(records: Vec<String>) -> Vec<String> {
        records
    }
}

export!(OfTheFuture);
