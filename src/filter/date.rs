//! Instants of RFC 3339 dates.

use std::cmp::Ordering;

use jiff::SignedDuration;
use jiff::civil::{self, DateTime};

/// A date operand: an instant and the text it was given as. Ordered and equal by the instant.
#[derive(Clone, Debug)]
pub(crate) struct Date {
    text: String,
    instant: SignedDuration,
}

impl Date {
    /// Reads an RFC 3339 date and time with its offset, or a plain date, which is its midnight in UTC.
    pub(crate) fn parse(text: &str) -> Option<Date> {
        instant(text).map(|instant| Date { text: text.to_owned(), instant })
    }

    /// The date as given.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The time since 1970-01-01T00:00:00Z, negative before.
    pub(crate) fn instant(&self) -> SignedDuration {
        self.instant
    }
}

impl PartialEq for Date {
    fn eq(&self, other: &Self) -> bool {
        self.instant == other.instant
    }
}

impl Eq for Date {}

impl PartialOrd for Date {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Date {
    fn cmp(&self, other: &Self) -> Ordering {
        self.instant.cmp(&other.instant)
    }
}

/// The time from 1970-01-01T00:00:00Z to the instant that `text` names, if it is an RFC 3339 date and time or a plain
/// date of the years 0000 to 9999. A leap second is the second before it; up to nine decimals are read.
///
/// Computed on the civil calendar, because a `jiff::Timestamp` ends before 9999-12-31 does.
pub(crate) fn instant(text: &str) -> Option<SignedDuration> {
    let bytes = text.as_bytes();
    if !has_shape(bytes, b"0000-00-00") {
        return None;
    }
    if bytes.len() == 10 {
        let midnight = text.parse::<civil::Date>().ok()?.to_datetime(civil::Time::midnight());
        return Some(since_epoch(midnight));
    }
    if !matches!(bytes[10], b'T' | b't' | b' ') || !has_shape(&bytes[11..], b"00:00:00") {
        return None;
    }
    let zone = 19 + bytes[19..].iter().position(|byte| !matches!(byte, b'.' | b'0'..=b'9'))?;
    let clock = text[..zone].parse::<DateTime>().ok()?;
    since_epoch(clock).checked_sub(offset(&text[zone..])?)
}

fn since_epoch(clock: DateTime) -> SignedDuration {
    clock.duration_since(civil::date(1970, 1, 1).to_datetime(civil::Time::midnight()))
}

/// The offset from UTC of `Z` or `+09:00`.
fn offset(zone: &str) -> Option<SignedDuration> {
    if zone == "Z" || zone == "z" {
        return Some(SignedDuration::ZERO);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    if zone.len() != 6 || !has_shape(&zone.as_bytes()[1..], b"00:00") {
        return None;
    }
    let (hours, minutes) = (zone[1..3].parse::<i64>().ok()?, zone[4..6].parse::<i64>().ok()?);
    (hours < 24 && minutes < 60).then(|| SignedDuration::from_mins(sign * (hours * 60 + minutes)))
}

/// Whether `bytes` starts like `shape`, in which 0 stands for any digit.
fn has_shape(bytes: &[u8], shape: &[u8]) -> bool {
    bytes.len() >= shape.len()
        && bytes
            .iter()
            .zip(shape)
            .all(|(byte, &like)| if like == b'0' { byte.is_ascii_digit() } else { *byte == like })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_instant_has_many_texts() {
        let same = [
            "2026-11-22T19:00:00Z",
            "2026-11-23T04:00:00+09:00",
            "2026-11-22t19:00:00.000z",
            "2026-11-22 19:00:00-00:00",
            "2026-11-22T15:30:00-03:30",
        ];
        for text in same {
            assert_eq!(instant(text), Some(SignedDuration::from_secs(1_795_374_000)), "{text}");
        }
        assert_eq!(instant("2026-11-23"), instant("2026-11-23T00:00:00Z"));
        assert_eq!(instant("1970-01-01"), Some(SignedDuration::ZERO));
        assert_eq!(instant("2016-12-31T23:59:60Z"), instant("2016-12-31T23:59:59Z"));
    }

    #[test]
    fn the_ends_of_the_calendar_are_dates() {
        let rising = [
            "0000-01-01",
            "0001-01-01T00:00:00Z",
            "1969-12-31T23:59:59.999999999Z",
            "1970-01-01T00:00:00.000000001Z",
            "9999-12-31",
            "9999-12-31T23:59:59.999999999Z",
            "9999-12-31T23:59:59.999999999-23:59",
        ];
        let instants: Vec<_> = rising.iter().map(|text| instant(text).unwrap()).collect();
        assert!(instants.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn other_texts_are_no_dates() {
        for text in [
            "",
            "2026",
            "2026-11",
            "2026-1-1",
            "2026-02-30",
            "2026-13-01",
            "20261123",
            "2026-11-23 ",
            "2026-11-23T04:00:00",
            "2026-11-23T04:00Z",
            "2026-11-23T04:00:00+0900",
            "2026-11-23T04:00:00+09",
            "2026-11-23T04:00:00+24:00",
            "2026-11-23T04:00:00+09:60",
            "2026-11-23T24:00:00Z",
            "2026-11-23T04:00:00.Z",
            "2026-11-23T04:00:00Z ",
            "2026-11-23T04:00:00+09:00[Asia/Seoul]",
            "2026-11-23T04:00:00..5Z",
            "2026-11-2\u{663}T04:00:00Z",
            "2026-11-23T04:00:00+0\u{e9}:00",
            "+002026-11-23",
        ] {
            assert_eq!(instant(text), None, "{text}");
        }
    }
}
