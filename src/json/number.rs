//! The exact order of JSON number tokens by value.

use std::cmp::Ordering;

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

    proptest! {
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
