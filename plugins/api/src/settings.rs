//! How a setting is declared: each key of the config file once, with what it decides, its form, its limits and its
//! default. The config's reader takes limits and defaults from here and knows no other key; the JSON Schema and the
//! reference are made of the same.
//!
//! A plugin declares the keys that only its type of destination has. Nothing here reads a value: that is the config's.

/// One kibibyte.
pub const KIB: u64 = 1024;
/// One mebibyte.
pub const MIB: u64 = 1024 * KIB;
/// One gibibyte.
pub const GIB: u64 = 1024 * MIB;
/// One tebibyte.
pub const TIB: u64 = 1024 * GIB;

/// One millisecond, in the nanoseconds of [`Form::Duration`].
pub const MILLISECOND: u64 = 1_000_000;
/// One second, in nanoseconds.
pub const SECOND: u64 = 1_000 * MILLISECOND;
/// One hour, in nanoseconds.
pub const HOUR: u64 = 3_600 * SECOND;

/// A key of a table.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As it is written, without the tables around it.
    pub name: &'static str,
    /// What it decides, in sentences.
    pub meaning: &'static str,
    /// What it holds.
    pub form: Form,
    /// What holds without it.
    pub absent: Absent,
    /// Whether a change of it takes a restart; all others are live.
    pub restart: bool,
}

/// What holds where a key is left out.
#[derive(Clone, Copy, Debug)]
pub enum Absent {
    /// The default that its form names; those of its keys, for a table.
    Default,
    /// This, in words: it has no value that could be written.
    Means(&'static str),
    /// Another key of the same table, of which there is exactly one.
    Another,
    /// The config is refused.
    Refused,
}

/// What a key holds.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// Bytes.
    Size(Bounds),
    /// A number of things.
    Count(Bounds),
    /// A length of time, in nanoseconds.
    Duration(Bounds),
    /// True or false, with the default.
    Flag(bool),
    /// One of several words.
    Word {
        /// All of them.
        words: &'static [&'static str],
        /// One of them, unless [`Key::absent`] tells more.
        default: Option<&'static str>,
    },
    /// A string.
    Text(Text),
    /// An array of strings, at least one.
    Texts(Text),
    /// Where a secret is: a table with one of [`SECRET`].
    Secret,
    /// A table that is not ours to understand.
    Free,
    /// A table.
    Table(&'static [Key]),
    /// A table with exactly one of these keys.
    OneOf(&'static [Key]),
    /// An array of tables.
    List(&'static [Key]),
    /// A table of tables, each with a name that the operator chose.
    Named(&'static [Key]),
    /// The same, where each has the keys of its type, too.
    Destinations {
        /// What every type has; `type` among them.
        keys: &'static [Key],
        /// The types.
        types: &'static [Type],
    },
}

/// What a secret's table names.
pub const SECRET: &[Key] = &[
    Key::new("env", Form::Text(Text::new("name of an environment variable")), "The variable that holds it.")
        .alone(),
    Key::new("file", Form::Text(Text::PATH), "The file that holds it, on a single line.").alone(),
];

/// A type of destination.
#[derive(Clone, Copy, Debug)]
pub struct Type {
    /// As `type` names it.
    pub name: &'static str,
    /// What it is, in sentences.
    pub meaning: &'static str,
    /// The keys that only this type has.
    pub keys: &'static [Key],
    /// The default of `batch.operations_max`.
    pub batch_operations: u64,
}

/// A string's form.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// What it is, without an article.
    pub noun: &'static str,
    /// What it matches, as a regular expression; it may match more than is accepted.
    pub pattern: Option<&'static str>,
    /// The default, unless [`Key::absent`] tells more.
    pub default: Option<&'static str>,
}

/// The default of a quantity and its limits, which are inclusive.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// None unless [`Key::absent`] tells what holds without a value.
    pub default: Option<Amount>,
    /// The least.
    pub from: Amount,
    /// The most.
    pub to: Amount,
}

/// A number that may depend on one other key; within [`Bounds`] all depend on the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// This one.
    Is(u64),
    /// What the key says, divided.
    Share(&'static str, u64),
    /// This one, or what the key says, divided, if that is less.
    Lesser(u64, &'static str, u64),
    /// This one, or what the key says, if that is more.
    Greater(u64, &'static str),
    /// [`Type::batch_operations`].
    OfType,
}

impl Key {
    /// A key that may be left out, and that a reload changes.
    #[must_use]
    pub const fn new(name: &'static str, form: Form, meaning: &'static str) -> Self {
        Self { name, meaning, form, absent: Absent::Default, restart: false }
    }

    /// What holds without it, in words.
    #[must_use]
    pub const fn or(mut self, means: &'static str) -> Self {
        self.absent = Absent::Means(means);
        self
    }

    /// It is one of the keys of a [`Form::OneOf`].
    #[must_use]
    pub const fn alone(mut self) -> Self {
        self.absent = Absent::Another;
        self
    }

    /// It must be there.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.absent = Absent::Refused;
        self
    }

    /// A change of it takes a restart.
    #[must_use]
    pub const fn restart(mut self) -> Self {
        self.restart = true;
        self
    }
}

impl Form {
    /// The keys of the table or tables that it is; without those of a destination's type.
    #[must_use]
    pub const fn keys(&self) -> &'static [Key] {
        match self {
            Self::Table(keys) | Self::OneOf(keys) | Self::List(keys) | Self::Named(keys) => keys,
            Self::Destinations { keys, .. } => keys,
            Self::Secret => SECRET,
            Self::Size(_) | Self::Count(_) | Self::Duration(_) | Self::Flag(_) | Self::Word { .. } => &[],
            Self::Text(_) | Self::Texts(_) | Self::Free => &[],
        }
    }
}

impl Text {
    /// A path.
    pub const PATH: Self = Self::new("path");
    /// A host's URL, without a path.
    pub const HOST: Self = Self::new("URL without a path").matching("^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@]+/?$");

    /// Any string that is not empty.
    #[must_use]
    pub const fn new(noun: &'static str) -> Self {
        Self { noun, pattern: None, default: None }
    }

    /// One that matches a regular expression.
    #[must_use]
    pub const fn matching(mut self, pattern: &'static str) -> Self {
        self.pattern = Some(pattern);
        self
    }

    /// With a default.
    #[must_use]
    pub const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }
}

impl Bounds {
    /// A default and limits that depend on nothing.
    #[must_use]
    pub const fn fixed(default: u64, from: u64, to: u64) -> Self {
        Self { default: Some(Amount::Is(default)), from: Amount::Is(from), to: Amount::Is(to) }
    }

    /// Limits of what may be left out.
    #[must_use]
    pub const fn optional(from: u64, to: u64) -> Self {
        Self { default: None, from: Amount::Is(from), to: Amount::Is(to) }
    }

    /// The other key that the default or a limit depends on.
    #[must_use]
    pub fn other(&self) -> Option<&'static str> {
        [self.default, Some(self.from), Some(self.to)].into_iter().flatten().find_map(Amount::other)
    }
}

impl Amount {
    /// The number, where the other key says `other`; or where the type has so many.
    #[must_use]
    pub const fn of(self, other: u64) -> u64 {
        match self {
            Self::Is(amount) => amount,
            Self::Share(_, divisor) => other / divisor,
            Self::Lesser(amount, _, divisor) if amount < other / divisor => amount,
            Self::Lesser(_, _, divisor) => other / divisor,
            Self::Greater(amount, _) if amount > other => amount,
            Self::Greater(..) | Self::OfType => other,
        }
    }

    /// The key that it depends on.
    #[must_use]
    pub const fn other(self) -> Option<&'static str> {
        match self {
            Self::Share(key, _) | Self::Lesser(_, key, _) | Self::Greater(_, key) => Some(key),
            Self::Is(_) | Self::OfType => None,
        }
    }
}
