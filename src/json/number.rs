//! The exact order of JSON number tokens by value.

use std::cmp::Ordering;

use crate::codec::{key, key_number};

/// Compares two number tokens by value, exactly: `1`, `1.0` and `10e-1` are equal, nothing is rounded.
///
/// Cost: linear in the tokens, whatever their exponents; no allocation.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    if let (Some(a), Some(b)) = (small_integer(a), small_integer(b)) {
        return a.cmp(&b);
    }
    let (a, b) = (Decimal::split(a), Decimal::split(b));
    match (a.sign(), b.sign()) {
        (1, 1) => a.compare_magnitude(&b),
        (-1, -1) => b.compare_magnitude(&a),
        (a, b) => a.cmp(&b),
    }
}

fn small_integer(token: &str) -> Option<i64> {
    if token.len() <= 18 { token.parse().ok() } else { None }
}

/// Appends bytes that order numbers by value: equal tokens give equal bytes, and no key is the beginning of another.
///
/// Digits past the first `digits_max`, and exponents of more than 17 digits, are cut: returns whether some were, so that
/// different numbers may share the key. A key that was cut is shared by none that was not.
pub(crate) fn sort_key(token: &str, digits_max: usize, out: &mut Vec<u8>) -> bool {
    let number = Decimal::split(token);
    let sign = number.sign();
    out.push(SIGN_ZERO.saturating_add_signed(sign));
    if sign == 0 {
        return false;
    }
    let start = out.len();
    let exponent = number.small_exponent();
    match exponent {
        Some(exponent) if exponent.abs() <= SHORT_EXPONENT => {
            out.push(EXPONENT_ZERO.saturating_add_signed(i8::try_from(exponent).unwrap_or(0)));
        }
        Some(exponent) => {
            out.push(if exponent < 0 { EXPONENT_SMALL } else { EXPONENT_LARGE });
            out.extend(key(exponent.wrapping_sub(i64::MIN).cast_unsigned()));
        }
        None => out.push(if number.exponent.sign < 0 { EXPONENT_TINY } else { EXPONENT_HUGE }),
    }
    let digits: Vec<u8> =
        number.whole.bytes().chain(number.fraction.bytes()).map(|digit| digit - b'0').collect();
    let len = digits.iter().rposition(|&digit| digit != 0).map_or(0, |last| last + 1);
    let cut = exponent.is_none() || len > digits_max;
    if exponent.is_some() {
        let kept = digits.get(..len.min(digits_max)).unwrap_or_default();
        out.extend(kept.chunks(2).map(|pair| 1 + 10 * pair[0] + pair.get(1).unwrap_or(&0)));
    }
    out.push(if cut { DIGITS_CUT } else { DIGITS_END });
    if sign < 0 {
        for byte in out.iter_mut().skip(start) {
            *byte = !*byte;
        }
    }
    cut
}

/// Whether a key of [`sort_key`] was cut.
pub(crate) fn is_cut(key: &[u8]) -> bool {
    match (key.first(), key.last()) {
        (Some(&sign), Some(&last)) if sign < SIGN_ZERO => last == !DIGITS_CUT,
        (Some(&sign), Some(&last)) if sign > SIGN_ZERO => last == DIGITS_CUT,
        _ => false,
    }
}

/// A token of the number that a key of [`sort_key`] stands for; none for other bytes and for keys that were cut.
pub(crate) fn from_sort_key(key: &[u8]) -> Option<String> {
    let (&sign, rest) = key.split_first()?;
    let mask = match sign.cmp(&SIGN_ZERO) {
        Ordering::Equal => return rest.is_empty().then(|| "0".to_owned()),
        Ordering::Less => u8::MAX,
        Ordering::Greater => 0,
    };
    let rest: Vec<u8> = rest.iter().map(|byte| byte ^ mask).collect();
    let (&first, rest) = rest.split_first()?;
    let (exponent, rest) = match first {
        EXPONENT_SMALL | EXPONENT_LARGE => {
            let (bytes, rest) = rest.split_at_checked(size_of::<u64>())?;
            (key_number(bytes)?.cast_signed().wrapping_add(i64::MIN), rest)
        }
        EXPONENT_TINY | EXPONENT_HUGE => return None,
        short => (i64::from(short) - i64::from(EXPONENT_ZERO), rest),
    };
    let (&last, pairs) = rest.split_last()?;
    if last != DIGITS_END || !pairs.iter().all(|pair| (1..=100).contains(pair)) {
        return None;
    }
    let digits: String = pairs
        .iter()
        .flat_map(|pair| [(pair - 1) / 10, (pair - 1) % 10])
        .map(|digit| char::from(b'0' + digit))
        .collect();
    let sign = if sign < SIGN_ZERO { "-" } else { "" };
    Some(format!("{sign}{}", plain(digits.trim_end_matches('0'), exponent)?))
}

/// Writes `0.digits * 10^exponent` as people do.
fn plain(digits: &str, exponent: i64) -> Option<String> {
    let len = i64::try_from(digits.len()).ok()?;
    let zeros = |n: i64| "0".repeat(usize::try_from(n).unwrap_or(0));
    match exponent {
        -6..=0 => Some(format!("0.{}{digits}", zeros(-exponent))),
        1..=64 if len <= exponent && exponent - len <= 20 => {
            Some(format!("{digits}{}", zeros(exponent - len)))
        }
        _ if (1..len).contains(&exponent) => {
            let (whole, fraction) = digits.split_at_checked(usize::try_from(exponent).ok()?)?;
            Some(format!("{whole}.{fraction}"))
        }
        _ => {
            let (whole, fraction) = digits.split_at_checked(1)?;
            let point = if fraction.is_empty() { "" } else { "." };
            Some(format!("{whole}{point}{fraction}e{}", exponent - 1))
        }
    }
}

const SIGN_ZERO: u8 = 1;
/// Exponents up to this size take one byte.
const SHORT_EXPONENT: i64 = 100;
const EXPONENT_TINY: u8 = 1;
const EXPONENT_SMALL: u8 = 16;
const EXPONENT_ZERO: u8 = 128;
const EXPONENT_LARGE: u8 = 240;
const EXPONENT_HUGE: u8 = 255;
const DIGITS_END: u8 = 0;
const DIGITS_CUT: u8 = 255;

/// A number as `0.D * 10^(point + exponent)`, where D is `whole` followed by `fraction` and starts with no zero.
struct Decimal<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    point: i128,
    exponent: Exponent<'a>,
}

/// A decimal exponent of any number of digits.
struct Exponent<'a> {
    sign: i128,
    digits: &'a str,
}

impl<'a> Decimal<'a> {
    fn split(token: &'a str) -> Self {
        let (negative, token) = match token.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, token),
        };
        let (mantissa, exponent) = token.split_once(['e', 'E']).unwrap_or((token, ""));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let whole = whole.trim_start_matches('0');
        let (fraction, point) = if whole.is_empty() {
            let digits = fraction.trim_start_matches('0');
            (digits, -count(fraction.len() - digits.len()))
        } else {
            (fraction, count(whole.len()))
        };
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, exponent.strip_prefix('+').unwrap_or(exponent)),
        };
        let exponent = Exponent { sign, digits: digits.trim_start_matches('0') };
        Decimal { negative, whole, fraction, point, exponent }
    }

    fn sign(&self) -> i8 {
        match (self.whole.is_empty() && self.fraction.is_empty(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }

    /// The exponent of `0.D`, unless it is written with too many digits.
    fn small_exponent(&self) -> Option<i64> {
        let written =
            if self.exponent.digits.is_empty() { 0 } else { self.exponent.digits.parse::<i64>().ok()? };
        if self.exponent.digits.len() > 17 {
            return None;
        }
        i64::try_from(self.exponent.sign * i128::from(written) + self.point).ok()
    }

    /// Compares the absolute values of two numbers that are not zero.
    fn compare_magnitude(&self, other: &Decimal<'_>) -> Ordering {
        let distance = self.exponent.minus(&other.exponent) + self.point - other.point;
        distance.cmp(&0).then_with(|| self.compare_digits(other))
    }

    fn compare_digits(&self, other: &Decimal<'_>) -> Ordering {
        let mut left = self.whole.bytes().chain(self.fraction.bytes());
        let mut right = other.whole.bytes().chain(other.fraction.bytes());
        loop {
            match (left.next(), right.next()) {
                (None, None) => return Ordering::Equal,
                (a, b) => match a.unwrap_or(b'0').cmp(&b.unwrap_or(b'0')) {
                    Ordering::Equal => {}
                    unequal => return unequal,
                },
            }
        }
    }
}

impl Exponent<'_> {
    /// The difference of two exponents, exact up to 10^30 and of the right sign beyond.
    ///
    /// Horner's rule from the first digit: past a few units no later digits bring the sum back towards zero, so
    /// clamping keeps the sign.
    fn minus(&self, other: &Exponent<'_>) -> i128 {
        const BOUND: i128 = 10_i128.pow(30);
        let length = self.digits.len().max(other.digits.len());
        let mut sum: i128 = 0;
        for place in (0..length).rev() {
            let digit = self.sign * self.digit(place) - other.sign * other.digit(place);
            sum = (sum * 10 + digit).clamp(-BOUND, BOUND);
        }
        sum
    }

    /// The digit of weight 10^`place`.
    fn digit(&self, place: usize) -> i128 {
        let digits = self.digits.as_bytes();
        let byte = digits.len().checked_sub(place + 1).and_then(|at| digits.get(at));
        byte.map_or(0, |byte| i128::from(byte - b'0'))
    }
}

/// A length of text as a signed number.
fn count(length: usize) -> i128 {
    i128::try_from(length).unwrap_or(i128::MAX / 4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_values_are_equal_however_written() {
        for group in [
            &["1", "1.0", "10e-1", "1e0", "0.1e1", "0.01E+2", "1.000e-0", "100e-2"][..],
            &["0", "-0", "0.0", "0e999999999999999999999999", "-0.000e-7"],
            &["1e40", "10000000000000000000000000000000000000000", "10e39"],
            &["1e99999999999999999999999999999999999999", "10e99999999999999999999999999999999999998"],
            &["-2.50", "-25e-1"],
        ] {
            for a in group {
                for b in group {
                    assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
                }
            }
        }
    }

    #[test]
    fn order_is_exact() {
        let rising = [
            "-1e100000000000000000000000000000000000000001",
            "-1e100000000000000000000000000000000000000000",
            "-9007199254740993",
            "-9007199254740992",
            "-1.1",
            "-1",
            "-1e-999999999",
            "0",
            "1e-1000000000000000000000000000000000000000000",
            "1e-999999999",
            "0.1",
            "0.1000000000000000055511151231257827021181583404541015625",
            "0.10000000000000001",
            "1",
            "9007199254740992",
            "9007199254740992.5",
            "9007199254740993",
            "18446744073709551615",
            "18446744073709551616",
            "1e999999998",
            "9.99e999999998",
            "1e999999999",
            "1e100000000000000000000000000000000000000000",
        ];
        for (i, a) in rising.iter().enumerate() {
            for (j, b) in rising.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} {b}");
            }
        }
    }

    /// `digits * 10^exponent` written with the decimal point moved left by `shift`.
    fn token(digits: i64, exponent: i32, shift: usize) -> String {
        let text = format!("{:0>width$}", digits.unsigned_abs(), width = shift + 1);
        let (whole, fraction) = text.split_at(text.len() - shift);
        let sign = if digits < 0 { "-" } else { "" };
        let point = if shift == 0 { "" } else { "." };
        format!("{sign}{whole}{point}{fraction}e{}", exponent + i32::try_from(shift).unwrap())
    }

    /// The key, and whether it was cut.
    fn keyed(token: &str) -> (Vec<u8>, bool) {
        let mut key = Vec::new();
        let cut = sort_key(token, 40, &mut key);
        assert_eq!(is_cut(&key), cut, "{token}");
        match from_sort_key(&key) {
            Some(again) => assert_eq!(compare(&again, token), Ordering::Equal, "{token} {again}"),
            None => assert!(cut, "{token}"),
        }
        (key, cut)
    }

    /// Numbers of the same key are equal unless it was cut; other keys are in the order of the numbers.
    fn keys_agree(a: &str, b: &str) {
        let ((left, cut), (right, also)) = (keyed(a), keyed(b));
        let order = left.cmp(&right);
        if cut && order.is_eq() {
            assert!(also, "{a} {b}");
        } else {
            assert_eq!(order, compare(a, b), "{a} {b}");
        }
        assert!(order.is_eq() || !left.starts_with(&right), "{a} {b}");
    }

    #[test]
    fn keys_of_strange_numbers() {
        let nines = "9".repeat(41);
        let tokens = [
            "0",
            "-0.0e7",
            "1",
            "1.0",
            "10e-1",
            "-1",
            "12",
            "120",
            "1.2e3",
            "-12",
            "0.1",
            "-0.01",
            "1e100",
            "1e101",
            "-1e101",
            "1e-101",
            "1e-99",
            "9.9e99999999999999999",
            "1e999999999999999999999",
            "-1e999999999999999999999",
            "2e999999999999999999999",
            "1e-999999999999999999999",
            "-1e-999999999999999999999",
            &nines,
            &nines[..40],
            "18446744073709551616",
            "9007199254740993",
            "9007199254740992",
            "0.1000000000000000055",
        ];
        for a in tokens {
            for b in tokens {
                keys_agree(a, b);
            }
        }
    }

    proptest! {
        #[test]
        fn keys_sort_as_numbers(
            a in -9_999_i64..9_999, b in -9_999_i64..9_999, ea in -130_i32..130, eb in -130_i32..130,
            sa in 0_usize..60, sb in 0_usize..60,
        ) {
            keys_agree(&token(a, ea, sa), &token(b, eb, sb));
            keys_agree(&a.to_string(), &token(b, eb % 3, sb));
        }

        #[test]
        fn keys_of_integers_are_exact(a: i128, step in -2_i128..3) {
            keys_agree(&a.to_string(), &a.saturating_add(step).to_string());
        }

        #[test]
        fn agrees_with_scaled_integers(
            a in -99_999_999_i64..99_999_999, b in -99_999_999_i64..99_999_999,
            ea in 0_i32..12, eb in 0_i32..12, sa in 0_usize..12, sb in 0_usize..12,
        ) {
            let scaled = |digits: i64, e: i32| i128::from(digits) * 10_i128.pow(e.unsigned_abs());
            let expected = scaled(a, ea).cmp(&scaled(b, eb));
            prop_assert_eq!(compare(&token(a, ea - 6, sa), &token(b, eb - 6, sb)), expected);
        }

        #[test]
        fn integers_agree_with_i128(a: i128, b: i128) {
            prop_assert_eq!(compare(&a.to_string(), &b.to_string()), a.cmp(&b));
            prop_assert_eq!(compare(&format!("{a}.0"), &format!("{b}e0")), a.cmp(&b));
        }

        #[test]
        fn shifting_the_point_changes_nothing(digits: i64, exponent in -1000_i32..1000, shift in 0_usize..40) {
            let plain = token(digits, exponent, 0);
            prop_assert_eq!(compare(&plain, &token(digits, exponent, shift)), Ordering::Equal);
        }
    }
}
