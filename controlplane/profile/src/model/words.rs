//! Values that are one of a few words.

/// A type whose values are written as words.
pub trait Word: Copy + Eq + 'static {
    /// Each value with its word and what it means.
    const WORDS: &'static [(Self, &'static str, &'static str)];

    #[must_use]
    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(value, ..)| *value == self).map_or("", |(_, word, _)| word)
    }

    #[must_use]
    fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, known, _)| *known == word).map(|(value, ..)| *value)
    }
}

/// Defines an enumeration of words: value = word, meaning. The first one is the default.
macro_rules! words {
    (
        $(#[$outer:meta])*
        pub enum $name:ident {
            $first:ident = $first_word:literal, $first_means:literal;
            $($value:ident = $word:literal, $means:literal;)*
        }
    ) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum $name {
            #[doc = $first_means]
            #[default]
            $first,
            $(#[doc = $means] $value,)*
        }

        impl $crate::model::Word for $name {
            const WORDS: &'static [(Self, &'static str, &'static str)] = &[
                (Self::$first, $first_word, $first_means),
                $((Self::$value, $word, $means),)*
            ];
        }

        impl $name {
            /// Words and meanings, for the schema.
            pub const TABLE: &'static [(&'static str, &'static str)] =
                &[($first_word, $first_means), $(($word, $means),)*];
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str($crate::model::Word::word(*self))
            }
        }
    };
}
pub(crate) use words;
