//! Numbers as people and models write them: `1,234.50`, `-3`, `$-5`, `.5`, `2e3`, `40%`. A [`Number`] keeps decimal
//! digits and a power of ten, so comparing is exact: `18.00` equals `18`, `0.1` never becomes 0.1000000000000000055,
//! and a thousand digits are no harder than two. Digits are the ASCII ones; digits that continue a word or a name
//! (`H2O`, `x_1`) are no number, and a minus between two numbers (`10-12`) is no sign.

/// An exact decimal: ± digits · 10^exponent, in the one normal form (no zeros at either end of the digits), so that
/// equality of the fields is equality of the values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Number {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Number {
    /// All numbers in `text`, in order.
    pub fn all_in(text: &str) -> Vec<Self> {
        Scanner::new(text).map(|(number, _)| number).collect()
    }

    /// The last number in `text`: where a chain of thought puts its result.
    pub fn last_in(text: &str) -> Option<Self> {
        Scanner::new(text).last().map(|(number, _)| number)
    }

    /// The number that `text` consists of. White space around it, a currency or percent sign and one closing full
    /// stop are allowed, and nothing else.
    pub fn alone(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_suffix('.').unwrap_or(text);
        let text = text
            .strip_suffix(|c| c == '%' || is_currency(c))
            .unwrap_or(text)
            .trim_end();
        let mut found = Scanner::new(text);
        match found.next() {
            Some((number, span)) if span == (0..text.len()) => Some(number),
            _ => None,
        }
    }

    fn new(negative: bool, whole: &str, fraction: &str, exponent: i64) -> Self {
        let mut digits: String = whole.chars().filter(char::is_ascii_digit).collect();
        digits.push_str(fraction);
        let significant = digits.trim_end_matches('0');
        let zeros = (digits.len() - significant.len()) as i64;
        let significant = significant.trim_start_matches('0');
        if significant.is_empty() {
            return Self {
                negative: false,
                digits: String::new(),
                exponent: 0,
            };
        }
        Self {
            negative,
            digits: significant.to_owned(),
            exponent: exponent - fraction.len() as i64 + zeros,
        }
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self::new(value < 0, &value.unsigned_abs().to_string(), "", 0)
    }
}

/// Walks over a text once and yields each number with the bytes that it covers, sign and currency included.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The end of the run of ASCII digits that starts at byte `from`.
    fn digits_end(&self, from: usize) -> usize {
        let rest = &self.text.as_bytes()[from..];
        from + rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// The end of the whole part that starts at `from`; commas belong to it where they part groups of three.
    fn whole_end(&self, from: usize) -> usize {
        let mut end = self.digits_end(from);
        if (1..=3).contains(&(end - from)) {
            while self.byte(end) == Some(b',') && self.digits_end(end + 1) == end + 4 {
                end += 4;
            }
        }
        end
    }

    /// The power of ten after `from` (`e3`, `E-12`) and its end. Up to four digits, and no letter behind them: `5e`
    /// and `3ers` have none.
    fn exponent(&self, from: usize) -> Option<(i64, usize)> {
        if !matches!(self.byte(from)?, b'e' | b'E') {
            return None;
        }
        let signed = matches!(self.byte(from + 1)?, b'+' | b'-');
        let first = from + 1 + usize::from(signed);
        let end = self.digits_end(first);
        let more = self.text[end..].chars().next().is_some_and(char::is_alphanumeric);
        if !(1..=4).contains(&(end - first)) || more {
            return None;
        }
        let power = self.text[from + 1..end].parse().ok()?;
        Some((power, end))
    }

    /// Looks back from the first digit for a sign and a currency: whether the number is negative, and where it starts.
    fn sign(&self, start: usize) -> (bool, usize) {
        let mut negative = false;
        let mut signed = false;
        let mut currency = false;
        let mut first = start;
        while let Some(c) = self.text[..first].chars().next_back() {
            let before = first - c.len_utf8();
            if is_currency(c) && !currency {
                currency = true;
            } else if matches!(c, '-' | '−' | '+') && !signed {
                // After a letter, a digit or a closing bracket it is a dash or an operation.
                let operand = self.text[..before].chars().next_back();
                if operand.is_some_and(|c| c.is_alphanumeric() || matches!(c, ')' | ']' | '%')) {
                    break;
                }
                signed = true;
                negative = c != '+';
            } else {
                break;
            }
            first = before;
        }
        (negative, first)
    }
}

impl Iterator for Scanner<'_> {
    type Item = (Number, std::ops::Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.text.as_bytes().get(self.at..)?;
            let start = self.at + rest.iter().position(u8::is_ascii_digit)?;
            let before = self.text[..start].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                self.at = self.digits_end(start);
                continue;
            }
            // A point right before the digits is a decimal point unless a digit stands before it (`3.14.15`).
            let bare = before == Some('.')
                && !self.text[..start - 1]
                    .chars()
                    .next_back()
                    .is_some_and(char::is_alphanumeric);
            let (whole, fraction, mut end) = if bare {
                let end = self.digits_end(start);
                ("", &self.text[start..end], end)
            } else {
                let whole_end = self.whole_end(start);
                let fraction_end = match self.byte(whole_end) {
                    Some(b'.') => self.digits_end(whole_end + 1),
                    _ => whole_end,
                };
                let fraction = self.text.get(whole_end + 1..fraction_end).unwrap_or("");
                let end = if fraction.is_empty() { whole_end } else { fraction_end };
                (&self.text[start..whole_end], fraction, end)
            };
            let mut power = 0;
            if let Some((exponent, after)) = self.exponent(end) {
                (power, end) = (exponent, after);
            }
            let (negative, first) = self.sign(if bare { start - 1 } else { start });
            self.at = end;
            return Some((Number::new(negative, whole, fraction, power), first..end));
        }
    }
}

fn is_currency(c: char) -> bool {
    matches!(c, '$' | '€' | '£' | '¥' | '₹' | '₩' | '¢')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(text: &str, same: &str) -> bool {
        let number = Number::alone(same).expect("the test writes a number");
        Number::last_in(text) == Some(number)
    }

    #[test]
    fn one_value_has_many_spellings() {
        let equal = [
            ("18.00", "18"),
            ("$1,234.50", "1234.5"),
            ("1,000,000", "1000000"),
            ("-$5", "-5"),
            ("$-5", "-5"),
            ("−5", "-5"),
            ("+7", "7"),
            (".5", "0.5"),
            ("-.5", "-0.50"),
            ("-0", "0"),
            ("007", "7"),
            ("2e3", "2000"),
            ("2.5E-1", "0.25"),
            ("40%", "40"),
            ("The answer is 42.", "42"),
            ("**42**", "42"),
            ("\\boxed{42}", "42"),
            ("= €1.000", "1"),
        ];
        for (text, same) in equal {
            assert!(is(text, same), "{text} against {same}: {:?}", Number::last_in(text));
        }
        assert!(!is("3.33", "3.333"));
        assert!(!is("5", "-5"));
    }

    #[test]
    fn what_is_no_sign_and_no_number() {
        let n = |values: &[i64]| values.iter().map(|&value| Number::from(value)).collect::<Vec<_>>();
        assert_eq!(Number::all_in("pages 10-12"), n(&[10, 12]));
        assert_eq!(Number::all_in("5 - 3 = 2"), n(&[5, 3, 2]));
        assert_eq!(Number::all_in("- 5 apples\n- 6 pears"), n(&[5, 6]));
        assert_eq!(Number::all_in("1,2,3"), n(&[1, 2, 3]));
        assert_eq!(Number::all_in("12,345,678 and 1,23"), n(&[12_345_678, 1, 23]));
        assert_eq!(Number::all_in("H2O, x_1, Qwen2"), n(&[]));
        assert_eq!(Number::all_in("5e and 3ers and 4kg"), n(&[5, 3, 4]));
        assert_eq!(Number::all_in("no. Or … – ٤٢ ½"), n(&[]));
        assert_eq!(Number::all_in(""), n(&[]));
    }

    #[test]
    fn alone_means_alone() {
        for text in ["42", " -3.5 \n", "$1,000.", "42%", "42 %", "7€", "+1"] {
            assert!(Number::alone(text).is_some(), "{text}");
        }
        for text in [
            "",
            "  ",
            ".",
            "-",
            "forty-two",
            "42 apples",
            "It is 42",
            "1 2",
            "4 + 5",
            "**42**",
            "4-5",
            "--5",
        ] {
            assert_eq!(Number::alone(text), None, "{text}");
        }
    }

    #[test]
    fn a_long_number_is_read_exactly_and_soon() {
        let long = "7".repeat(1_000_000);
        assert_eq!(Number::alone(&long).map(|number| number.digits.len()), Some(1_000_000));
        assert_ne!(Number::last_in(&long), Number::last_in(&format!("{long}7")));
        assert_eq!(Number::all_in(&"1,000 ".repeat(100_000)).len(), 100_000);
        assert_eq!(Number::all_in(&"-$".repeat(500_000)).len(), 0);
    }

    #[test]
    fn a_whole_number_is_what_is_written_with_its_digits() {
        for value in [-1_234_567, -5, 0, 5, 100, i64::MAX, i64::MIN] {
            assert_eq!(Some(Number::from(value)), Number::alone(&value.to_string()), "{value}");
        }
    }

    /// Up to four digits and nothing behind them make a power of ten.
    #[test]
    fn what_looks_like_a_power_of_ten_may_be_none() {
        let n = |values: &[i64]| values.iter().map(|&value| Number::from(value)).collect::<Vec<_>>();
        assert!(is("1e+05", "100000") && is("1e0002", "100"));
        assert_eq!(Number::all_in("1e12345"), n(&[1]));
        assert_eq!(Number::all_in("2e3x and 2e3, 2e and 2e-"), n(&[2, 2000, 2, 2]));
        // The second point stands behind a digit.
        assert_eq!(
            Number::all_in("3.14.15"),
            [Number::alone("3.14").expect("a number"), Number::from(15)]
        );
        assert!(is("version .15", "0.15") && is("x.15", "15"));
    }
}
