//! Closed lists of words, and words of documents that may come from a newer daemon.

use std::{cmp::Ordering, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A closed list of words: an enumeration whose variants have one stable spelling each.
pub trait Vocabulary: Copy + Eq + 'static {
    /// Every word, in the order of the enumeration.
    fn all() -> &'static [Self];

    /// The spelling in documents, labels and conditions.
    fn as_word(self) -> &'static str;

    /// The word with this spelling, if the list has it.
    fn from_word(word: &str) -> Option<Self> {
        Self::all().iter().copied().find(|known| known.as_word() == word)
    }
}

/// Declares an enumeration together with its words, so that neither can be without the other.
///
/// The enumeration gets `ALL`, `as_str` and `from_word`; it prints, serializes and deserializes as
/// its words.
macro_rules! words {
    (
        $(#[$about:meta])*
        pub enum $name:ident {
            $($(#[$doc:meta])* $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// Every word, in the order of the enumeration.
            pub const ALL: [Self; [$(Self::$variant),+].len()] = [$(Self::$variant),+];

            /// The spelling in documents, labels and conditions.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// The word with this spelling, if the list has it.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                <Self as $crate::Vocabulary>::from_word(word)
            }
        }

        impl $crate::Vocabulary for $name {
            fn all() -> &'static [Self] {
                &Self::ALL
            }

            fn as_word(self) -> &'static str {
                self.as_str()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word: String = serde::Deserialize::deserialize(deserializer)?;
                Self::from_word(&word).ok_or_else(|| {
                    serde::de::Error::custom(format_args!("unknown word `{word}`"))
                })
            }
        }
    };
}

pub(crate) use words;

/// A word of a document: one of the list `T`, or one that a newer daemon added.
///
/// It serializes as the plain word, and compares and sorts by its spelling.
#[derive(Clone, Debug)]
pub enum Word<T> {
    /// A word of the list.
    Known(T),
    /// Any other word, kept as it was read.
    Unknown(String),
}

impl<T: Vocabulary> Word<T> {
    /// The spelling.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(word) => word.as_word(),
            Self::Unknown(word) => word,
        }
    }

    /// The word of the list, unless it is a newer one.
    #[must_use]
    pub fn known(&self) -> Option<T> {
        match self {
            Self::Known(word) => Some(*word),
            Self::Unknown(_) => None,
        }
    }
}

impl<T: Vocabulary> From<T> for Word<T> {
    fn from(word: T) -> Self {
        Self::Known(word)
    }
}

impl<T: Vocabulary> PartialEq<T> for Word<T> {
    fn eq(&self, other: &T) -> bool {
        self.known() == Some(*other)
    }
}

impl<T: Vocabulary> PartialEq for Word<T> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl<T: Vocabulary> Eq for Word<T> {}

impl<T: Vocabulary> PartialOrd for Word<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Vocabulary> Ord for Word<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl<T: Vocabulary> fmt::Display for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<T: Vocabulary> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de, T: Vocabulary> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        Ok(T::from_word(&word).map_or(Self::Unknown(word), Self::Known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Action, Decision, Direction, EventOutcome, EventReason, FellBack, OutcomeKind, Passed,
        PodGroup, Reason, Refused, Server, Side, State,
        state::{CallerAddressState, WorkloadState},
    };

    /// Every word has one spelling, which leads back to it, also through JSON.
    fn check<T>()
    where
        T: Vocabulary + fmt::Debug + Serialize + for<'de> Deserialize<'de>,
    {
        for word in T::all() {
            assert_eq!(T::from_word(word.as_word()), Some(*word));
            let json = serde_json::to_string(word).expect("a string");
            assert_eq!(json, format!("\"{}\"", word.as_word()));
            assert_eq!(serde_json::from_str::<T>(&json).expect("is known"), *word);
            assert_eq!(serde_json::from_str::<Word<T>>(&json).expect("a word"), *word);
        }
        assert!(serde_json::from_str::<T>("\"from a newer daemon\"").is_err());
    }

    #[test]
    fn every_word_has_one_spelling() {
        check::<Action>();
        check::<CallerAddressState>();
        check::<Decision>();
        check::<Direction>();
        check::<EventOutcome>();
        check::<EventReason>();
        check::<FellBack>();
        check::<OutcomeKind>();
        check::<Passed>();
        check::<PodGroup>();
        check::<Reason>();
        check::<Refused>();
        check::<Server>();
        check::<Side>();
        check::<State>();
        check::<WorkloadState>();
    }

    #[test]
    fn an_unknown_word_is_kept() {
        let word: Word<State> = serde_json::from_str("\"paused\"").expect("any string");
        assert_eq!(word, Word::Unknown("paused".to_owned()));
        assert_eq!((word.known(), word.as_str()), (None, "paused"));
        assert_eq!(serde_json::to_string(&word).expect("a string"), "\"paused\"");
    }

    #[test]
    fn words_sort_by_their_spelling() {
        let word = |decision| Word::from(decision);
        let mut words = Decision::ALL.map(word).to_vec();
        words.push(Word::Unknown("late".to_owned()));
        words.sort();
        let sorted: Vec<_> = words.iter().map(Word::as_str).collect();
        let expected = [
            "earlier_rule",
            "error",
            "fell_back",
            "late",
            "matched",
            "no_match",
            "outside_share",
            "undecided",
        ];
        assert_eq!(sorted, expected);
    }
}
