//! Answers `unchanged` without a look at the record: what it costs to call a transform at all. `sync-agent transform
//! bench` puts it beside the module that it measures. It goes below the kit, which would read the record.

#[cfg(target_family = "wasm")]
mod component {
    use transform_sdk::{
        bindings::export,
        guest::{Guest, InputRecord, Outcome},
    };

    struct Unchanged;

    impl Guest for Unchanged {
        fn init(_index: String, _config: String) -> Result<(), String> {
            Ok(())
        }

        fn transform(records: Vec<InputRecord>) -> Vec<Outcome> {
            records.iter().map(|_| Outcome::Unchanged).collect()
        }
    }

    export!(Unchanged with_types_in transform_sdk::bindings);
}
