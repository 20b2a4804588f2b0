//! The languages whose words can be stemmed.

use std::fmt;
use std::str::FromStr;

use rust_stemmers::{Algorithm, Stemmer};

use crate::error::{Error, Result};

/// A language whose words a store can reduce to their stems, so that `connected` finds `connections`.
///
/// Parsed from its English name or its ISO 639-1 code: `english`, `en`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
#[non_exhaustive]
pub enum Language {
    Arabic,
    Danish,
    Dutch,
    English,
    Finnish,
    French,
    German,
    Greek,
    Hungarian,
    Italian,
    Norwegian,
    Portuguese,
    Romanian,
    Russian,
    Spanish,
    Swedish,
    Tamil,
    Turkish,
}

/// Each language, its name, its code and its stemmer.
const LANGUAGES: [(Language, &str, &str, Algorithm); 18] = [
    (Language::Arabic, "arabic", "ar", Algorithm::Arabic),
    (Language::Danish, "danish", "da", Algorithm::Danish),
    (Language::Dutch, "dutch", "nl", Algorithm::Dutch),
    (Language::English, "english", "en", Algorithm::English),
    (Language::Finnish, "finnish", "fi", Algorithm::Finnish),
    (Language::French, "french", "fr", Algorithm::French),
    (Language::German, "german", "de", Algorithm::German),
    (Language::Greek, "greek", "el", Algorithm::Greek),
    (Language::Hungarian, "hungarian", "hu", Algorithm::Hungarian),
    (Language::Italian, "italian", "it", Algorithm::Italian),
    (Language::Norwegian, "norwegian", "no", Algorithm::Norwegian),
    (Language::Portuguese, "portuguese", "pt", Algorithm::Portuguese),
    (Language::Romanian, "romanian", "ro", Algorithm::Romanian),
    (Language::Russian, "russian", "ru", Algorithm::Russian),
    (Language::Spanish, "spanish", "es", Algorithm::Spanish),
    (Language::Swedish, "swedish", "sv", Algorithm::Swedish),
    (Language::Tamil, "tamil", "ta", Algorithm::Tamil),
    (Language::Turkish, "turkish", "tr", Algorithm::Turkish),
];

impl Language {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Language> {
        LANGUAGES.iter().map(|row| row.0)
    }

    fn row(self) -> &'static (Language, &'static str, &'static str, Algorithm) {
        // Each has a row: a test asks for all.
        LANGUAGES.iter().find(|row| row.0 == self).unwrap_or(&LANGUAGES[3])
    }

    /// The name used in files, on the command line and in messages.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    pub(super) fn stemmer(self) -> Stemmer {
        Stemmer::create(self.row().3)
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Language {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let is_meant = |row: &&(Language, &str, &str, Algorithm)| {
            name.eq_ignore_ascii_case(row.1) || name.eq_ignore_ascii_case(row.2)
        };
        LANGUAGES.iter().find(is_meant).map(|row| row.0).ok_or_else(|| {
            let names: Vec<&str> = LANGUAGES.iter().map(|row| row.1).collect();
            Error::invalid("language", format!("{name:?} is none of {}", names.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_a_name_and_a_stemmer() {
        assert_eq!(Language::all().count(), LANGUAGES.len());
        for language in Language::all() {
            assert_eq!(language.row().0, language);
            assert_eq!(language.name().parse::<Language>().unwrap(), language);
            assert_eq!(language.row().2.parse::<Language>().unwrap(), language);
            language.stemmer().stem("words");
        }
        assert_eq!("EN".parse::<Language>().unwrap(), Language::English);
        let message = "klingon".parse::<Language>().unwrap_err().to_string();
        assert!(message.contains("\"klingon\"") && message.contains("english"), "{message}");
    }
}
