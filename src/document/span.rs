//! Positions in a text, in bytes and in Unicode code points.

use crate::error::{Error, Result};

/// A place in a text that knows its offset in bytes and in code points. Cost of a move: linear in its distance.
pub(super) struct Ruler<'a> {
    text: &'a str,
    bytes: usize,
    points: usize,
}

impl<'a> Ruler<'a> {
    /// Starts at the beginning of `text`.
    pub(super) fn new(text: &'a str) -> Self {
        Ruler { text, bytes: 0, points: 0 }
    }

    /// The code points before byte `bytes`, which is taken down to the border of a character in the text.
    pub(super) fn points_at(&mut self, bytes: usize) -> usize {
        while self.bytes > bytes && self.back() {}
        while let Some(next) = self.next_len().filter(|next| self.bytes + next <= bytes) {
            self.bytes += next;
            self.points += 1;
        }
        self.points
    }

    /// The bytes before code point `points`.
    ///
    /// # Errors
    /// `Invalid` if the text is shorter.
    pub(super) fn bytes_at(&mut self, points: usize) -> Result<usize> {
        while self.points > points && self.back() {}
        while self.points < points {
            let Some(next) = self.next_len() else {
                let reason = format!("position {points} is past the text of {} code points", self.points);
                return Err(Error::invalid("span", reason));
            };
            self.bytes += next;
            self.points += 1;
        }
        Ok(self.bytes)
    }

    fn next_len(&self) -> Option<usize> {
        self.text[self.bytes..].chars().next().map(char::len_utf8)
    }

    fn back(&mut self) -> bool {
        let Some(last) = self.text[..self.bytes].chars().next_back() else { return false };
        self.bytes -= last.len_utf8();
        self.points -= 1;
        true
    }
}
