//! Pictures of errors in a user's text: the line with carets under the fault.

use unicode_width::UnicodeWidthChar;

use crate::error::Error;

/// The columns of a picture, at most.
const WIDTH_MAX: usize = 76;
/// Stands for text that is cut.
const CUT: &str = "...";

impl Error {
    /// Shows the place of an error in the text that the user gave: two lines, the second with carets. Wide characters
    /// count two columns; a long line is cut around the place to at most 76 columns. None for errors without a place.
    pub fn caret(&self) -> Option<String> {
        match self {
            Error::Filter { text, span, .. } => Some(picture(text, span.start, span.end)),
            _ => None,
        }
    }
}

/// A character as shown, its width in columns, and whether it is at fault.
struct Cell {
    shown: char,
    width: usize,
    marked: bool,
}

/// Draws the line of `text` in which byte `start` is, with carets from there to byte `end` or the end of the line.
fn picture(text: &str, start: usize, end: usize) -> String {
    let start = floor(text, start);
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let mut cells = Vec::new();
    let mut first = None;
    for (at, c) in text[line_start..line_end].char_indices() {
        let at = line_start + at;
        let shown = if c.is_control() { ' ' } else { c };
        let marked = (start..end.max(start + 1)).contains(&at);
        if at >= start && first.is_none() {
            first = Some(cells.len());
        }
        cells.push(Cell { shown, width: shown.width().unwrap_or(0), marked });
    }
    let first = first.unwrap_or(cells.len());
    if first == cells.len() {
        // The place is the end of the line: one column to point at.
        cells.push(Cell { shown: ' ', width: 1, marked: true });
    } else if cells.iter().all(|cell| !cell.marked || cell.width == 0) {
        // Only combining characters are at fault: they have no column of their own.
        cells[first].width = 1;
    }
    draw(&cells, window(&cells, first))
}

/// The cells to show: all, or as many as fit with the cell `first` and a third of the room before it.
fn window(cells: &[Cell], first: usize) -> std::ops::Range<usize> {
    let total: usize = cells.iter().map(|cell| cell.width).sum();
    if total <= WIDTH_MAX {
        return 0..cells.len();
    }
    let room = WIDTH_MAX - 2 * CUT.len();
    let (mut start, mut used) = (first, 0);
    let after: usize = cells[first..].iter().map(|cell| cell.width).sum();
    let before = (room / 3).max(room.saturating_sub(after));
    while start > 0 && used + cells[start - 1].width <= before {
        start -= 1;
        used += cells[start].width;
    }
    used += cells[first].width;
    let mut end = first + 1;
    while end < cells.len() && used + cells[end].width <= room {
        used += cells[end].width;
        end += 1;
    }
    start..end
}

fn draw(cells: &[Cell], shown: std::ops::Range<usize>) -> String {
    let (mut line, mut carets) = (String::new(), String::new());
    if shown.start > 0 {
        line.push_str(CUT);
        carets.push_str("   ");
    }
    for cell in &cells[shown.clone()] {
        line.push(cell.shown);
        carets.extend(std::iter::repeat_n(if cell.marked { '^' } else { ' ' }, cell.width));
    }
    if shown.end < cells.len() {
        line.push_str(CUT);
    }
    format!("{}\n{}", line.trim_end(), carets.trim_end())
}

/// The border of a character at or before byte `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn carets_stand_under_the_fault() {
        for (text, start, end, wanted) in [
            ("{\"a\": 1}", 1, 4, "{\"a\": 1}\n ^^^"),
            ("{\"a\"", 4, 4, "{\"a\"\n    ^"),
            ("", 0, 0, "\n^"),
            ("{\"\u{ad6d}\u{ac00}\": x}", 11, 12, "{\"\u{ad6d}\u{ac00}\": x}\n         ^"),
            ("{\"\u{ad6d}\u{ac00}\": x}", 1, 9, "{\"\u{ad6d}\u{ac00}\": x}\n ^^^^^^"),
            ("{\n\t\"a\": [\n1]}", 8, 12, " \"a\": [\n      ^"),
            ("\u{301}", 0, 2, "\u{301}\n^"),
            ("e\u{301}x", 3, 4, "e\u{301}x\n ^"),
        ] {
            assert_eq!(picture(text, start, end), wanted, "{text}");
        }
    }

    #[test]
    fn long_lines_are_cut_around_the_fault() {
        let text = format!("{}!!{}", "a".repeat(500), "b".repeat(500));
        let drawn = picture(&text, 500, 502);
        let wanted = format!("...{}!!{}...\n{}^^", "a".repeat(23), "b".repeat(45), " ".repeat(26));
        assert_eq!(drawn, wanted);
        let drawn = picture(&text, 1001, 1002);
        let wanted = format!("...{}\n{}^", "b".repeat(70), " ".repeat(72));
        assert_eq!(drawn, wanted);
        let drawn = picture(&text, 0, 1002);
        assert_eq!(drawn, format!("{}...\n{}", "a".repeat(70), "^".repeat(70)));
    }

    proptest! {
        #[test]
        fn any_place_is_drawn_within_the_width(text: String, start: usize, end: usize) {
            let start = start % (text.len() + 2);
            let drawn = picture(&text, start, end);
            let lines: Vec<_> = drawn.split('\n').collect();
            prop_assert_eq!(lines.len(), 2);
            prop_assert!(lines[1].contains('^'), "{}", drawn);
            prop_assert!(lines[1].len() <= WIDTH_MAX, "{}", drawn);
        }
    }
}
