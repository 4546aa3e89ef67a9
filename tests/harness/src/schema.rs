//! A config file judged by a JSON Schema, as an editor would judge it.

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

/// A schema.
pub struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Schema {
    /// Takes a schema, which must be one by its own draft's words.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn new(schema: &Value) -> Self {
        const NAME: &str = "https://schema.test/config";
        let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
        if let Err(error) = compiler.add_resource(NAME, schema.clone()) {
            panic!("no schema: {error:#}");
        }
        match compiler.compile(NAME, &mut schemas) {
            Ok(index) => Self { schemas, index },
            Err(error) => panic!("no schema: {error:#}"),
        }
    }

    /// Why it refuses a file; none if it does not.
    ///
    /// # Panics
    /// If the file is no TOML.
    #[must_use]
    pub fn refusal(&self, file: &str) -> Option<String> {
        let config: Value = toml::from_str(file).unwrap_or_else(|error| panic!("no TOML: {error}\n{file}"));
        self.schemas.validate(&config, self.index).err().map(|error| format!("{error:#}"))
    }
}
