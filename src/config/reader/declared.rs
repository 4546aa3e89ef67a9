//! Values with their limits and defaults, as they are declared.

use std::ops::RangeInclusive;

use plugin_api::settings::{Amount, Form};
use toml::de::DeValue;

use super::{Table, Value, one_of};
use crate::config::units::Quantity;

impl Table<'_> {
    /// A quantity within its limits, or its default.
    pub(in crate::config) fn quantity<Q: Quantity>(&mut self, key: &'static str) -> Q {
        self.quantity_by(key, Q::from_amount(0))
    }

    /// A quantity whose default or limits depend on `other`, which its declaration names.
    pub(in crate::config) fn quantity_by<Q: Quantity>(&mut self, key: &'static str, other: Q) -> Q {
        let (given, default) = self.given(key, other);
        given.or(default).unwrap_or_else(|| {
            self.defect(key, "has no default");
            other
        })
    }

    /// A quantity within its limits, where no value stands for no limit.
    pub(in crate::config) fn optional<Q: Quantity>(&mut self, key: &'static str) -> Option<Q> {
        self.given(key, Q::from_amount(0)).0
    }

    /// What a quantity's key says, and its default.
    fn given<Q: Quantity>(&mut self, key: &'static str, other: Q) -> (Option<Q>, Option<Q>) {
        let value = self.take(key);
        let Some(bounds) = self.form(key).and_then(|form| Q::bounds(&form)) else {
            self.defect(key, &format!("is read as {}, but not declared as one", Q::NOUN));
            return (None, None);
        };
        let other = other.amount();
        let amount = |amount: Amount| Q::from_amount(amount.of(other));
        let range = amount(bounds.from)..=amount(bounds.to);
        (value.and_then(|value| value.quantity(&range)), bounds.default.map(amount))
    }

    /// `true` or `false`.
    pub(in crate::config) fn boolean(&mut self, key: &'static str) -> bool {
        let value = self.take(key);
        let Some(Form::Flag(default)) = self.form(key) else {
            self.defect(key, "is read as a flag, but not declared as one");
            return false;
        };
        let Some(value) = value else { return default };
        match value.inner.get_ref() {
            DeValue::Boolean(boolean) => return *boolean,
            _ => value.wrong("is not a boolean", "true or false"),
        }
        default
    }

    /// One of the words that are declared, each with what it means; the first of them where there is neither a word nor
    /// a default.
    pub(in crate::config) fn choice<T: Copy, const N: usize>(
        &mut self,
        key: &'static str,
        meanings: [(&'static str, T); N],
    ) -> T {
        const { assert!(N > 0) };
        let value = self.take(key);
        let (words, default) = match self.form(key) {
            Some(Form::Word { words, default })
                if words.iter().copied().eq(meanings.map(|(word, _)| word)) =>
            {
                (words, default)
            }
            _ => {
                self.defect(key, "does not have the words that are declared");
                return meanings[0].1;
            }
        };
        let accepted = one_of(words.iter().copied());
        let given = value.as_ref().and_then(|value| value.string(&accepted));
        let meaning =
            |text: &str| meanings.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        let chosen = given.and_then(meaning);
        if let (Some(value), Some(_), None) = (&value, given, chosen) {
            value.wrong("is unknown", accepted);
        }
        chosen.or(default.and_then(meaning)).unwrap_or(meanings[0].1)
    }
}

impl Value<'_> {
    fn quantity<Q: Quantity>(&self, range: &RangeInclusive<Q>) -> Option<Q> {
        let parsed = match self.inner.get_ref() {
            DeValue::String(text) => Q::parse(text),
            DeValue::Integer(integer) if Q::INTEGER && integer.radix() == 10 => Q::parse(integer.as_str()),
            _ => None,
        };
        match parsed {
            Some(quantity) if range.contains(&quantity) => return Some(quantity),
            Some(_) => self.wrong("is out of range", Q::accepted(range)),
            None => self.wrong(&format!("is not {}", Q::NOUN), Q::accepted(range)),
        }
        None
    }
}
