//! Regular expressions of the filter language.

use regex::{Regex, RegexBuilder};

use crate::limits::REGEX_BYTES_MAX;

/// A compiled regular expression, found anywhere in a string. Matching takes time linear in the string.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    source: String,
    case: Case,
    regex: Regex,
}

/// Whether upper and lower case differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// They differ.
    Sensitive,
    /// They do not, by Unicode's simple case folding.
    Ignored,
}

impl Pattern {
    /// Compiles `source`; an error is the reason for people.
    pub(super) fn new(source: &str, case: Case) -> Result<Self, String> {
        let compiled = RegexBuilder::new(source)
            .case_insensitive(case == Case::Ignored)
            .size_limit(REGEX_BYTES_MAX)
            .dfa_size_limit(REGEX_BYTES_MAX)
            .build();
        match compiled {
            Ok(regex) => Ok(Pattern { source: source.to_owned(), case, regex }),
            Err(regex::Error::CompiledTooBig(limit)) => {
                Err(format!("the regular expression needs more than {limit} bytes when compiled"))
            }
            Err(error) => {
                // A syntax error comes as several lines with its own picture; the last one tells the reason.
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
                Err(format!("bad regular expression: {reason}"))
            }
        }
    }

    /// The expression as given.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Whether upper and lower case differ.
    pub(crate) fn case(&self) -> Case {
        self.case
    }

    /// Whether the expression is found in `text`.
    pub(crate) fn is_found_in(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.case == other.case
    }
}

impl Eq for Pattern {}
