//! The language of query texts, in which every text means something.
//!
//! Plain words are alternatives. `"a phrase"` is found as it stands, `prefix*` finds words that begin so, `+must` and
//! `-excluded` say what a document has to have and must not have. Whatever cannot be understood is searched for as words.

use std::collections::HashSet;
use std::ops::Range;

use super::analyzer::{Analyzer, Purpose, is_gram};
use crate::limits::QUERY_TERMS_MAX;

/// What a row is to have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Clause {
    /// A term.
    Term(String),
    /// A term that begins so.
    Prefix(String),
    /// Terms at these positions, counted from the first; at least two.
    Phrase(Vec<(u32, String)>),
}

/// A query text, understood. It has [`QUERY_TERMS_MAX`] terms at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TextQuery {
    /// Alternatives, none twice: what a row has of them makes its score. A row without any of them is not found.
    pub(crate) scored: Vec<Clause>,
    /// A document has to have each of these in one of its parts. Its terms are among the alternatives, too.
    pub(crate) required: Vec<Clause>,
    /// A document must have none of these in any of its parts.
    pub(crate) excluded: Vec<Clause>,
    /// The text without the marks of this language and what is excluded, if there are any: what to embed.
    pub(crate) plain: Option<String>,
    /// Whether there were more terms.
    pub(crate) cut: bool,
}

/// One piece of a query text.
#[derive(Debug)]
struct Piece<'q> {
    sign: Option<Sign>,
    text: &'q str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Must,
    Not,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Words,
    Phrase,
    Prefix,
}

impl TextQuery {
    /// Understands a query text. Cost: a pass over it.
    pub(crate) fn parse(text: &str, analyzer: &Analyzer) -> Self {
        let pieces = pieces(text);
        let mut query = TextQuery::default();
        for piece in &pieces {
            if !query.cut {
                query.add(piece, analyzer);
            }
        }
        if query.scored.is_empty() && !query.excluded.is_empty() {
            // Who excludes and asks for nothing looks for `-v`, or the like.
            query = TextQuery::default();
            for piece in pieces.iter().take(QUERY_TERMS_MAX) {
                query.add(&Piece { sign: None, ..*piece }, analyzer);
            }
        } else if pieces.iter().any(|piece| piece.sign.is_some() || piece.kind != Kind::Words) {
            let kept = pieces.iter().filter(|piece| piece.sign != Some(Sign::Not));
            query.plain = Some(kept.map(|piece| piece.text).collect::<Vec<_>>().join(" "));
        }
        query
    }

    /// All of a text as plain words; of a long one the first terms.
    pub(crate) fn of_words(text: &str, analyzer: &Analyzer) -> Self {
        let mut query = TextQuery::default();
        for text in text.split_whitespace() {
            if query.cut {
                break;
            }
            query.add(&Piece { sign: None, text, kind: Kind::Words }, analyzer);
        }
        query
    }

    /// Whether no row can be found.
    pub(crate) fn is_empty(&self) -> bool {
        self.scored.is_empty()
    }

    /// Whether it says more of a document than what it scores by.
    pub(crate) fn has_conditions(&self) -> bool {
        !self.required.is_empty() || !self.excluded.is_empty()
    }

    /// The terms that are scored, prefixes with their star.
    pub(crate) fn terms(&self) -> Vec<String> {
        let mut terms = Vec::new();
        for clause in &self.scored {
            match clause {
                Clause::Term(term) => terms.push(term.clone()),
                Clause::Prefix(term) => terms.push(format!("{term}*")),
                Clause::Phrase(phrase) => terms.extend(phrase.iter().map(|(_, term)| term.clone())),
            }
        }
        terms
    }

    /// Where a text has terms that are scored: ranges of bytes on borders of characters, in order and apart.
    pub(crate) fn highlights(&self, text: &str, analyzer: &Analyzer) -> Vec<Range<usize>> {
        let (mut terms, mut prefixes) = (HashSet::new(), Vec::new());
        for clause in &self.scored {
            match clause {
                Clause::Term(term) => terms.extend([term.as_str()]),
                Clause::Prefix(term) => prefixes.push(term.as_str()),
                Clause::Phrase(phrase) => terms.extend(phrase.iter().map(|(_, term)| term.as_str())),
            }
        }
        let mut found: Vec<Range<usize>> = Vec::new();
        analyzer.analyze(text, Purpose::Index, &mut |token| {
            if terms.contains(token.term) || prefixes.iter().any(|prefix| token.term.starts_with(prefix)) {
                match found.last_mut() {
                    Some(last) if token.offset.start <= last.end => {
                        last.end = last.end.max(token.offset.end);
                    }
                    _ => found.push(token.offset),
                }
            }
        });
        found
    }

    fn add(&mut self, piece: &Piece<'_>, analyzer: &Analyzer) {
        let mut terms = terms(piece.text, Purpose::Query, analyzer);
        let Some(&(first, _)) = terms.first() else { return };
        self.cut |= terms.len() > QUERY_TERMS_MAX;
        for (position, _) in &mut terms {
            *position -= first;
        }
        let mut words: Vec<Clause> = terms.iter().map(|(_, term)| Clause::Term(term.clone())).collect();
        if piece.kind == Kind::Prefix
            && let Some((_, last)) = self::terms(piece.text, Purpose::Prefix, analyzer).pop()
            && !is_gram(&last)
        {
            words.pop();
            words.push(Clause::Prefix(last));
        }
        // What stands together counts together where there is no score to tell much from little.
        let whole = match words.as_slice() {
            [one] => one.clone(),
            _ => Clause::Phrase(terms),
        };
        let scored = if piece.kind == Kind::Phrase { vec![whole.clone()] } else { words };
        if piece.sign == Some(Sign::Not) {
            if self.has_room_for(&whole) {
                self.excluded.push(whole);
            }
            return;
        }
        for clause in scored {
            if !self.scored.contains(&clause) && self.has_room_for(&clause) {
                self.scored.push(clause);
            }
        }
        if piece.sign == Some(Sign::Must) && !self.cut {
            self.required.push(whole);
        }
    }

    /// Whether a clause may be added; notes if one is left out.
    fn has_room_for(&mut self, clause: &Clause) -> bool {
        let count = |clause: &Clause| match clause {
            Clause::Phrase(terms) => terms.len(),
            Clause::Term(_) | Clause::Prefix(_) => 1,
        };
        let have: usize = self.scored.iter().chain(&self.excluded).map(count).sum();
        let fits = have + count(clause) <= QUERY_TERMS_MAX;
        self.cut |= !fits;
        fits
    }
}

/// The terms of a text with their positions.
fn terms(text: &str, purpose: Purpose, analyzer: &Analyzer) -> Vec<(u32, String)> {
    let mut terms = Vec::new();
    analyzer.analyze(text, purpose, &mut |token| {
        // A few more than may be used, so that what is too long is known to be.
        if terms.len() <= QUERY_TERMS_MAX {
            terms.push((token.position, token.term.to_owned()));
        }
    });
    terms
}

/// Quotation marks, each of which ends what another began.
const QUOTES: [char; 3] = ['"', '\u{201c}', '\u{201d}'];

/// Cuts a query text into pieces, at white space and around phrases.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return pieces };
        let sign = match first {
            '+' => Some(Sign::Must),
            '-' => Some(Sign::Not),
            _ => None,
        };
        // `--help` and `- ` are words.
        let sign = sign.filter(|_| {
            let second = rest[first.len_utf8()..].chars().next();
            second.is_some_and(|c| QUOTES.contains(&c) || c.is_alphanumeric())
        });
        if sign.is_some() {
            rest = &rest[first.len_utf8()..];
        }
        if let Some(quoted) = rest.strip_prefix(QUOTES) {
            if let Some(end) = quoted.find(QUOTES) {
                pieces.push(Piece { sign, text: &quoted[..end], kind: Kind::Phrase });
                let after = &quoted[end..];
                rest = after.strip_prefix(QUOTES).unwrap_or(after).trim_start_matches('*');
            } else {
                // One that is never ended says nothing; there is none after it.
                rest = quoted;
            }
            continue;
        }
        let end = rest.find(|c: char| c.is_whitespace() || QUOTES.contains(&c)).unwrap_or(rest.len());
        let word = &rest[..end];
        let begins = word.trim_end_matches('*');
        let is_prefix = begins.len() < word.len() && begins.ends_with(char::is_alphanumeric);
        let (text, kind) = if is_prefix { (begins, Kind::Prefix) } else { (word, Kind::Words) };
        pieces.push(Piece { sign, text, kind });
        rest = &rest[end..];
    }
}

#[cfg(test)]
mod tests;
