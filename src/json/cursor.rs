//! The one scanner of JSON text: steps over tokens, checks them and says where one is wrong.

use super::Fault;

/// A position in a JSON text. The methods are called in the order of the grammar: `open` before `step`.
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    depth_max: usize,
    /// Nothing has been read since the last `open`: no comma is due.
    fresh: bool,
    /// White space has been skipped.
    spaced: bool,
}

impl<'a> Cursor<'a> {
    /// Starts at the beginning of `text`; brackets may nest `depth_max` deep.
    pub(crate) fn new(text: &'a str, depth_max: usize) -> Self {
        Cursor { text, at: 0, depth: 0, depth_max, fresh: false, spaced: false }
    }

    /// Where the cursor stands, in bytes.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Skips white space and returns the byte that follows, unread.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(self.at) {
            self.at += 1;
            self.spaced = true;
        }
        bytes.get(self.at).copied()
    }

    /// Whether white space has been skipped so far.
    pub(crate) fn is_spaced(&self) -> bool {
        self.spaced
    }

    /// Enters an object (`{`) or an array (`[`).
    pub(crate) fn open(&mut self, bracket: u8) -> Result<(), Fault> {
        if self.peek() != Some(bracket) {
            let wanted = if bracket == b'{' { "an object" } else { "an array" };
            return Err(self.unexpected(wanted));
        }
        if self.depth == self.depth_max {
            let reason = format!("nesting deeper than {}", self.depth_max);
            return Err(Fault { span: self.at..self.at + 1, reason });
        }
        self.at += 1;
        self.depth += 1;
        self.fresh = true;
        Ok(())
    }

    /// Goes to the next member or element of the innermost bracket; false when `close` ended it.
    pub(crate) fn step(&mut self, close: u8) -> Result<bool, Fault> {
        let next = self.peek();
        if next == Some(close) {
            self.at += 1;
            self.depth -= 1;
            self.fresh = false;
            return Ok(false);
        }
        if !self.fresh {
            if next != Some(b',') {
                return Err(self.unexpected(if close == b'}' { "`,` or `}`" } else { "`,` or `]`" }));
            }
            self.at += 1;
        }
        self.fresh = false;
        Ok(true)
    }

    /// Reads a key and its colon; the key comes as a string token.
    pub(crate) fn key(&mut self) -> Result<(usize, &'a str), Fault> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a key in double quotes"));
        }
        let at = self.at;
        let token = self.string()?;
        if self.peek() != Some(b':') {
            return Err(self.unexpected("`:`"));
        }
        self.at += 1;
        Ok((at, token))
    }

    /// Reads and checks one whole value and returns its text.
    pub(crate) fn value(&mut self) -> Result<&'a str, Fault> {
        let first = self.peek();
        let start = self.at;
        match first {
            Some(b'{') => {
                self.open(b'{')?;
                while self.step(b'}')? {
                    self.key()?;
                    self.value()?;
                }
            }
            Some(b'[') => {
                self.open(b'[')?;
                while self.step(b']')? {
                    self.value()?;
                }
            }
            _ => return self.scalar(),
        }
        Ok(&self.text[start..self.at])
    }

    /// Reads and checks one string, number, `true`, `false` or `null`.
    pub(crate) fn scalar(&mut self) -> Result<&'a str, Fault> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => Err(self.unexpected("a JSON value")),
        }
    }

    /// Requires that only white space is left.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("the end of the text")),
        }
    }

    fn word(&mut self, word: &str) -> Result<&'a str, Fault> {
        let start = self.at;
        if !self.text[start..].starts_with(word) {
            return Err(self.unexpected("a JSON value"));
        }
        self.at += word.len();
        Ok(&self.text[start..self.at])
    }

    fn number(&mut self) -> Result<&'a str, Fault> {
        let start = self.at;
        self.eat(b"-");
        if !self.eat(b"0") {
            self.digits()?;
        }
        if self.eat(b".") {
            self.digits()?;
        }
        if self.eat(b"eE") {
            self.eat(b"+-");
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    /// Steps over one byte if it is among `choices`.
    fn eat(&mut self, choices: &[u8]) -> bool {
        let found = self.text.as_bytes().get(self.at).is_some_and(|byte| choices.contains(byte));
        self.at += usize::from(found);
        found
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return Err(self.unexpected("a digit"));
        }
        self.at += count;
        Ok(())
    }

    fn string(&mut self) -> Result<&'a str, Fault> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        self.at += 1;
        loop {
            self.at += plain_length(&bytes[self.at..]);
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(&self.text[start..self.at]);
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.unexpected("no bare control character in a string")),
                None => {
                    let span = start..self.text.len();
                    return Err(Fault { span, reason: "string without an end".into() });
                }
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let start = self.at;
        let fault = |end: usize, reason: &str| Err(Fault { span: start..end, reason: reason.into() });
        match self.text.as_bytes().get(start + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at = start + 2,
            Some(b'u') => match self.unit(start) {
                Some(0xD800..=0xDBFF) => match self.unit(start + 6) {
                    Some(0xDC00..=0xDFFF) => self.at = start + 12,
                    _ => return fault(start + 6, "lone surrogate"),
                },
                Some(0xDC00..=0xDFFF) => return fault(start + 6, "lone surrogate"),
                Some(_) => self.at = start + 6,
                None => return fault(start + 2, "`\\u` without four hexadecimal digits"),
            },
            _ => return fault(start + 1, "invalid escape"),
        }
        Ok(())
    }

    /// The UTF-16 code unit of the escape `\uXXXX` at `at`.
    fn unit(&self, at: usize) -> Option<u32> {
        let digits = self.text.get(at..at + 6)?.strip_prefix("\\u")?;
        let hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if hex { u32::from_str_radix(digits, 16).ok() } else { None }
    }

    /// The fault of finding something else than `wanted` here.
    fn unexpected(&self, wanted: &str) -> Fault {
        match self.text[self.at..].chars().next() {
            Some(found) => Fault {
                span: self.at..self.at + found.len_utf8(),
                reason: format!("expected {wanted}, found {found:?}"),
            },
            None => Fault {
                span: self.at..self.at,
                reason: format!("expected {wanted}, found the end of the text"),
            },
        }
    }
}

/// How many bytes at the start of `bytes` are plain text of a string: no quote, backslash or control character.
///
/// Looks at eight bytes at once: `x - 0x01..` borrows into the high bit of a byte that was zero, and `x - 0x20..` into
/// that of one below 0x20. A borrow may mark later bytes wrongly, never earlier ones, so the first mark is right.
/// Source: S. E. Anderson, Bit Twiddling Hacks, "Determine if a word has a byte less than n".
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quotes = word ^ (ONES * u64::from(b'"'));
        let slashes = word ^ (ONES * u64::from(b'\\'));
        let marks = (quotes.wrapping_sub(ONES) & !quotes)
            | (slashes.wrapping_sub(ONES) & !slashes)
            | (word.wrapping_sub(ONES * 0x20) & !word);
        if marks & HIGHS != 0 {
            let within = (marks & HIGHS).trailing_zeros() / 8;
            return index * 8 + usize::try_from(within).unwrap_or(0);
        }
    }
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    words.len() * 8 + rest.iter().position(ends).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn plain_length_is_that_of_a_naive_loop(
            bytes in prop::collection::vec(prop_oneof![8 => 0x20_u8..=0xff, 1 => any::<u8>()], 0..40),
        ) {
            let naive = bytes.iter().take_while(|b| !matches!(b, b'"' | b'\\' | 0..0x20)).count();
            prop_assert_eq!(super::plain_length(&bytes), naive);
        }
    }
}
