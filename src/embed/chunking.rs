//! Cuts texts into parts that a model reads whole.

use std::ops::Range;
use std::str::FromStr;

use text_splitter::{ChunkConfig, ChunkSizer, TextSplitter};
use tokenizers::Tokenizer;

use super::Fit;
use crate::error::{Error, Result};

/// The first bytes of a text that are tokenized to see whether it is short enough. They are doubled until they are
/// enough, so that a long text is not tokenized whole to learn that it is long.
const FIRST_BYTES: usize = 8 << 10;

/// How texts that are longer than the model reads are cut into parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chunking {
    /// Into parts as long as the model reads, at ends of sentences where there are any.
    #[default]
    Auto,
    /// Not at all: the model reads the beginning, and such texts are counted as truncated.
    Off,
    /// Into parts of at most so many tokens, whether or not the model could read more.
    Tokens {
        /// The most tokens of a part, with the marks that the model puts around it.
        size: usize,
        /// At most so many tokens at the end of a part are the beginning of the next as well.
        overlap: usize,
    },
}

impl FromStr for Chunking {
    type Err = Error;

    /// Reads `auto`, `off`, `TOKENS` or `TOKENS,OVERLAP`.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = || {
            Error::invalid("chunking", format!("{text:?} is none of auto, off, TOKENS and TOKENS,OVERLAP"))
        };
        let number = |digits: &str| digits.parse().map_err(|_| invalid());
        match text {
            "auto" => Ok(Chunking::Auto),
            "off" => Ok(Chunking::Off),
            _ => {
                let (size, overlap) = text.split_once(',').unwrap_or((text, "0"));
                Ok(Chunking::Tokens { size: number(size)?, overlap: number(overlap)? })
            }
        }
    }
}

/// The ways in which a model's tokenizer is used to measure texts.
pub(super) struct Measure {
    tokenizer: Tokenizer,
    /// The tokens that the model puts around every text.
    marks: usize,
    /// The most tokens that the model reads, with the marks.
    tokens_max: usize,
    /// The most tokens of a part and the overlap, without the marks; `None` to cut nothing.
    parts: Option<(usize, usize)>,
}

impl Measure {
    /// # Errors
    /// `Invalid` for parts that are longer than the model reads, or not longer than the marks and the overlap.
    pub(super) fn new(tokenizer: Tokenizer, tokens_max: usize, chunking: Chunking) -> Result<Self> {
        let marks = count(&tokenizer, "", true);
        let (size, overlap) = match chunking {
            Chunking::Auto | Chunking::Off => (tokens_max, 0),
            Chunking::Tokens { size, overlap } => (size, overlap),
        };
        let smallest = marks.saturating_add(overlap).saturating_add(1);
        if !(smallest..=tokens_max).contains(&size) {
            let reason = format!(
                "a part of {size} tokens with an overlap of {overlap} cannot be, expected {smallest} to {tokens_max} \
                 tokens for this model, of which {marks} are its own"
            );
            return Err(Error::invalid("chunking", reason));
        }
        let parts = (chunking != Chunking::Off).then(|| (size - marks, overlap));
        Ok(Measure { tokenizer, marks, tokens_max, parts })
    }

    pub(super) fn tokens_max(&self) -> usize {
        self.tokens_max
    }

    /// What the model would read of a text at most, and its number of tokens, the marks included: exact up to what the
    /// model reads, then only known to be more.
    pub(super) fn read<'a>(&self, text: &'a str) -> (&'a str, usize) {
        let (head, tokens) = self.bounded(text, self.tokens_max - self.marks);
        (head, tokens + self.marks)
    }

    /// A beginning of the text that has more than `max` tokens, or the whole text; and its tokens.
    fn bounded<'a>(&self, text: &'a str, max: usize) -> (&'a str, usize) {
        let mut bytes = FIRST_BYTES;
        loop {
            let head = head(text, bytes);
            let tokens = count(&self.tokenizer, head, false);
            if tokens > max || head.len() == text.len() {
                return (head, tokens);
            }
            bytes = bytes.saturating_mul(2);
        }
    }

    /// The parts of a text: its whole span if it is short enough, else spans without the white space around them.
    pub(super) fn split(&self, text: &str) -> Vec<Range<usize>> {
        let whole = || std::iter::once(0..text.len()).collect::<Vec<_>>();
        let Some((size, overlap)) = self.parts else { return whole() };
        if self.bounded(text, size).1 <= size {
            return whole();
        }
        let sizer = PartSizer { measure: self, size };
        let Ok(config) = ChunkConfig::new(size).with_sizer(sizer).with_overlap(overlap) else {
            return whole();
        };
        let splitter = TextSplitter::new(config);
        let spans: Vec<_> =
            splitter.chunk_indices(text).map(|(start, part)| start..start + part.len()).collect();
        if spans.is_empty() { whole() } else { spans }
    }

    /// The tokens of texts for each character of theirs, both without the model's marks; 0 for no characters.
    #[expect(clippy::cast_precision_loss, reason = "a ratio of two counts, to be read by people")]
    pub(super) fn tokens_per_char(&self, texts: &[&str]) -> f64 {
        let (mut tokens, mut chars) = (0, 0);
        for text in texts {
            let head = head(text, FIRST_BYTES);
            tokens += count(&self.tokenizer, head, false);
            chars += head.chars().count();
        }
        if chars == 0 { 0.0 } else { tokens as f64 / chars as f64 }
    }
}

/// What tokenizers call what they do not know.
const UNKNOWN: [&str; 2] = ["[UNK]", "<unk>"];

impl Measure {
    /// How the model reads the beginning of a text; `None` if the tokenizer cannot take it.
    pub(super) fn fit(&self, text: &str) -> Option<Fit> {
        let text = head(text, FIRST_BYTES);
        let encoding = self.tokenizer.encode(text, false).ok()?;
        // Where a letter begins, and whether a token has it together with another letter, or has it at all.
        let mut known = vec![false; text.len()];
        for (token, &(start, end)) in encoding.get_tokens().iter().zip(encoding.get_offsets()) {
            let Some(part) = text.get(start..end).filter(|_| !UNKNOWN.contains(&token.as_str())) else {
                continue;
            };
            let letters = || part.char_indices().filter(|(_, c)| c.is_alphabetic());
            let is_word = letters().nth(1).is_some();
            for (at, _) in letters().filter(|(_, c)| is_word || is_ideograph(*c)) {
                known[start + at] = true;
            }
        }
        let mut fit = Fit::default();
        let mut at = 0;
        for word in text.split(|c: char| !c.is_alphabetic()) {
            let is_long = word.chars().nth(1).is_some();
            for (place, _) in word.char_indices().filter(|_| is_long) {
                fit.letters += 1;
                fit.lost += usize::from(!known[at + place]);
            }
            at += word.len();
            at += text[at..].chars().next().map_or(0, char::len_utf8);
        }
        Some(fit)
    }
}

/// Whether a character is much of a word, or all of it: models made for such languages, too, read them one by one.
fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}')
}

/// Measures candidates for a part; those that are much too long are only known to be so.
struct PartSizer<'a> {
    measure: &'a Measure,
    size: usize,
}

impl ChunkSizer for PartSizer<'_> {
    fn size(&self, chunk: &str) -> usize {
        self.measure.bounded(chunk, self.size).1
    }
}

/// The tokens of a text. One that the tokenizer cannot take counts as one for each byte, so that it is cut down.
fn count(tokenizer: &Tokenizer, text: &str, marks: bool) -> usize {
    tokenizer.encode_fast(text, marks).map_or(text.len(), |encoding| encoding.len())
}

/// The beginning of a text: about so many bytes, up to a white space, or to a border of characters if none is near.
fn head(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let end = text.floor_char_boundary(bytes);
    let space = text[..end].rfind(char::is_whitespace).filter(|space| space * 2 > end);
    &text[..space.unwrap_or(end)]
}
