//! What a transform is written with: one type, one function for each action, and [`transform!`].
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use transform_sdk::{NoConfig, Object, Outcome, Transform, transform};
//!
//! #[derive(Deserialize, Serialize)]
//! struct Product {
//!     name: String,
//!     #[serde(flatten)]
//!     others: Object,
//! }
//!
//! struct Shout;
//!
//! impl Transform for Shout {
//!     type Config = NoConfig;
//!     type Record = Product;
//!
//!     fn init(_index: &str, _config: NoConfig) -> Result<Self, String> {
//!         Ok(Self)
//!     }
//!
//!     fn save(&self, _id: &str, mut product: Product) -> Outcome {
//!         product.name = product.name.to_uppercase();
//!         Outcome::replace(&product)
//!     }
//! }
//!
//! transform!(Shout);
//! ```
//!
//! A transform is a function of one record. The agent recycles instances at will, may run a record twice, and runs
//! records in any order, so nothing may be kept from one record for another: hence `&self`. Delivery is at least once.
//!
//! A record that cannot be read as [`Transform::Record`] fails, with the path of the field: it alone becomes a dead
//! letter, and the others go on. A panic has the same effect but costs far more time.

mod outcome;
mod slots;

mod run;

#[doc(hidden)]
#[cfg(target_family = "wasm")]
#[allow(warnings, clippy::all, clippy::pedantic, unsafe_code, reason = "generated")]
#[rustfmt::skip]
pub mod bindings;
#[doc(hidden)]
#[cfg(target_family = "wasm")]
pub mod guest;

#[doc(hidden)]
pub mod log;

#[cfg(not(target_family = "wasm"))]
pub mod testing;

use serde::{Deserialize, de::DeserializeOwned};

/// Records are many small pieces of memory, for which the target's own allocator is slow.
#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();
pub use serde_json::{Value, json};

pub use self::{
    outcome::{Operation, Outcome},
    run::typed,
    slots::Slots,
};

/// A record of whatever attributes.
pub type Object = serde_json::Map<String, Value>;

/// The config of a transform that takes none: a key in it is an error.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// What becomes of the records of one index.
///
/// `id` is the object's id (`objectID`); it is not among the record's attributes.
pub trait Transform: Sized {
    /// The transform's `config` table. `#[serde(deny_unknown_fields)]` makes an operator's typing error visible.
    type Config: DeserializeOwned;

    /// A saved record: a type of your own, [`Object`] or [`Value`]. What a type of your own does not name is dropped,
    /// unless `#[serde(flatten)] others: Object` collects it.
    type Record: DeserializeOwned;

    /// Called once, before the first record.
    ///
    /// # Errors
    /// What is wrong with the config; the agent then refuses the module with these words.
    fn init(index: &str, config: Self::Config) -> Result<Self, String>;

    /// The whole object is replaced.
    fn save(&self, id: &str, record: Self::Record) -> Outcome;

    /// These first-level attributes are replaced, and the object is created if it is missing.
    ///
    /// Fails unless you write it: what [`Transform::save`] removes or computes could pass in a partial update.
    fn partial_update(&self, id: &str, attributes: Object) -> Outcome {
        let _ = (id, attributes);
        Outcome::fail(
            "this transform takes no partial updates: send the whole record, or write `partial_update`",
        )
    }

    /// These first-level attributes are replaced, and nothing is done if the object is missing.
    ///
    /// Fails unless you write it, as [`Transform::partial_update`] does.
    fn partial_update_no_create(&self, id: &str, attributes: Object) -> Outcome {
        let _ = (id, attributes);
        Outcome::fail(
            "this transform takes no partial updates: send the whole record, or write `partial_update_no_create`",
        )
    }

    /// The object is removed. A record that becomes other objects must delete these instead: see [`Slots`].
    fn delete(&self, id: &str) -> Outcome {
        let _ = id;
        Outcome::unchanged()
    }
}

/// Makes the type the transform of this module. Once in a crate of type `cdylib`; without effect elsewhere than in
/// WebAssembly, so that tests run natively.
#[macro_export]
macro_rules! transform {
    ($transform:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            ::std::thread_local! {
                static TRANSFORM: ::std::cell::OnceCell<$transform> = const { ::std::cell::OnceCell::new() };
            }

            struct Component;

            impl $crate::guest::Guest for Component {
                fn init(index: String, config: String) -> Result<(), String> {
                    TRANSFORM.with(|transform| $crate::guest::init(transform, &index, &config))
                }

                fn transform(records: Vec<$crate::guest::InputRecord>) -> Vec<$crate::guest::Outcome> {
                    TRANSFORM.with(|transform| $crate::guest::transform(transform, records))
                }
            }

    $crate::bindings::export!(Component with_types_in $crate::bindings);
        };

        // So that a native build knows that the type is used.
        #[cfg(not(target_family = "wasm"))]
        #[doc(hidden)]
        pub fn __transform(index: &str, config: &$crate::Value, line: &str) -> $crate::Value {
            $crate::testing::becomes::<$transform>(index, config, line)
        }
    };
}
