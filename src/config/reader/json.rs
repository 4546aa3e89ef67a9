//! A value of any shape as JSON text, for a part of the config that is not ours to understand.

use toml::de::DeValue;

use super::Value;

impl Value<'_> {
    /// The value as JSON; `None` after noting everything in it that JSON has no word for.
    pub(in crate::config) fn json(&self) -> Option<serde_json::Value> {
        match self.inner.get_ref() {
            DeValue::String(text) => Some(text.as_ref().into()),
            DeValue::Boolean(boolean) => Some((*boolean).into()),
            DeValue::Integer(integer) => {
                let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
                if number.is_none() {
                    self.wrong("is out of range", "an integer of 64 bits, or a string");
                }
                number.map(Into::into)
            }
            DeValue::Float(float) => {
                let number = float.as_str().parse().ok().and_then(serde_json::Number::from_f64);
                if number.is_none() {
                    self.wrong("is no number in JSON", "a finite number, or a string");
                }
                number.map(Into::into)
            }
            DeValue::Datetime(datetime) => {
                self.wrong("is a time, which JSON does not have", format!("a string: \"{datetime}\""));
                None
            }
            DeValue::Array(_) => {
                // Every item is looked at, whatever is wrong with those before it.
                let items: Vec<_> = self.items("an array").iter().map(Value::json).collect();
                items.into_iter().collect::<Option<Vec<_>>>().map(Into::into)
            }
            DeValue::Table(_) => {
                let entries = self.as_table()?.take_all().into_iter();
                let entries: Vec<_> =
                    entries.map(|(key, value)| Some((key.to_owned(), value.json()?))).collect();
                entries.into_iter().collect::<Option<serde_json::Map<_, _>>>().map(Into::into)
            }
        }
    }
}
