//! Numbers as people and models write them: `1,234.50`, `-3`, `$-5`, `.5`, `2e3`, `40%`, `USD42`, `４２`. A [`Number`]
//! keeps decimal digits and a power of ten, so comparing is exact: `18.00` equals `18`, `0.1` never becomes
//! 0.1000000000000000055, and a thousand digits are no harder than two. The rules, each a way in which a reader tells a
//! number from what only looks like one:
//!
//! - Digits are the decimal digits of any script (`٤٢`, `४२`), and characters that are not seen do not count. Number
//!   words and `四十二` are no numbers.
//! - Digits behind a letter with case or an underscore continue a name (`H2O`, `x_1`, `Qwen2.5`) and are no number,
//!   but behind a currency code of ISO 4217 (`USD42`) or a command of LaTeX (`\leq5`) they are. Behind a letter
//!   without case they are (`答案是42`, `정답은42`), as those scripts put no space there.
//! - A minus, also an en dash, is a sign unless an operand stands before it: a number, a closing bracket, a letter of a
//!   script with spaces (`10-12`, `COVID-19`), or a counter that follows the second number too (`3天-5天`).
//! - Groups of three digits are one number where commas part them, as `{,}` and `\,` of LaTeX, apostrophes, and spaces
//!   that do not break (NBSP, thin space) do; commas may also part them as in India (`1,00,000`). A common space
//!   parts numbers as well as groups. It is taken to part groups where a later group begins with 0, as no number does
//!   (`12 050`), or where the text has no other number (`It is 12 500.`), and to part numbers elsewhere
//!   (`in 2019 100 people`).
//! - `1.000` is one: the point is the decimal point. So is the Arabic `٫`, and `٬` is a comma.

use super::script::{decimal, is_cased, is_hangul, is_ideographic, is_invisible, is_mark, is_unspaced, narrow};
use std::borrow::Cow;
use std::ops::Range;

/// What parts groups of three digits. The first three part as in India too, and the last one is the common space.
const SEPARATORS: [&str; 12] = [
    ",\\!", ",", "{,}", "\\,", "{\\,}", "'", "’", "\u{a0}", "\u{202f}", "\u{2009}", "\u{2007}", " ",
];

/// Which of [`SEPARATORS`] is the comma.
const COMMA: usize = 1;

/// How many of [`SEPARATORS`] part as in India.
const INDIAN: usize = 3;

/// The currency codes of ISO 4217 that are in use.
const CURRENCIES: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN \
    BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD \
    HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD \
    MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON \
    RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX \
    USD UYU UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG";

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
        numbers(&ascii(text)).map(|(number, _)| number).collect()
    }

    /// The last number in `text`: where a chain of thought puts its result.
    pub fn last_in(text: &str) -> Option<Self> {
        numbers(&ascii(text)).last().map(|(number, _)| number)
    }

    /// The number that `text` consists of. White space around it, a currency or percent sign or a currency code and
    /// one closing full stop are allowed, and nothing else.
    pub fn alone(text: &str) -> Option<Self> {
        let text = ascii(text);
        let text = text.trim();
        let text = text.strip_suffix(['.', '。', '｡', '।', '۔', '။', '។']).unwrap_or(text);
        let bare = text
            .strip_suffix(|c| c == '%' || is_currency(c))
            .or_else(|| CURRENCIES.split(' ').find_map(|code| text.strip_suffix(code)));
        let text = bare.unwrap_or(text).trim_end();
        match numbers(text).next() {
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

/// The text with ASCII digits and points for those of other scripts, without what is not seen. The full-width comma is
/// a comma between full-width digits only: elsewhere it ends a clause.
fn ascii(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return text.into();
    }
    let wide = |c: Option<&char>| matches!(c, Some('０'..='９'));
    let mut plain = String::with_capacity(text.len());
    let mut before = None;
    // The keycap of an emoji digit is drawn around it.
    let mut seen = text.chars().filter(|&c| !is_invisible(c) && c != '\u{20e3}').peekable();
    while let Some(c) = seen.next() {
        plain.push(match c {
            '，' if !wide(before.as_ref()) || !wide(seen.peek()) => c,
            '٫' => '.',
            '٬' => ',',
            '٪' => '%',
            c => decimal(c).map_or(narrow(c), |value| char::from(b'0' + value)),
        });
        before = Some(c);
    }
    plain.into()
}

/// The numbers of a text that went through [`ascii`]. Common spaces part groups of the one number of a text, and
/// numbers if there are several.
fn numbers(text: &str) -> Scanner<'_> {
    let spaced = Scanner::new(text, true);
    match spaced.clone().nth(1) {
        None => spaced,
        Some(_) => Scanner::new(text, false),
    }
}

/// Walks over a text once and yields each number with the bytes that it covers, sign and currency included.
#[derive(Clone)]
struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// Whether common spaces part groups wherever there are groups.
    spaced: bool,
    /// Up to where groups were looked for in vain, per separator and then for those of India: a second look would find
    /// nothing, and third and fourth looks would make long texts slow.
    vain: [usize; SEPARATORS.len() + INDIAN],
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str, spaced: bool) -> Self {
        Self {
            text,
            at: 0,
            spaced,
            vain: [0; SEPARATORS.len() + INDIAN],
        }
    }

    /// The end of the run of ASCII digits that starts at byte `from`.
    fn digits_end(&self, from: usize) -> usize {
        let rest = &self.text.as_bytes()[from..];
        from + rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn char_before(&self, at: usize) -> Option<char> {
        self.text[..at].chars().next_back()
    }

    /// The end of the whole part that starts at `from`: one run of digits, or groups.
    fn whole_end(&mut self, from: usize) -> usize {
        let end = self.digits_end(from);
        if !(1..=3).contains(&(end - from)) {
            return end;
        }
        let Some(index) = SEPARATORS
            .iter()
            .position(|separator| self.text[end..].starts_with(separator))
        else {
            return end;
        };
        let grouped = if index == COMMA {
            Some(self.groups_end(end, SEPARATORS[index], 3)).filter(|&grouped| grouped > end)
        } else {
            self.groups(from, end, index)
        };
        grouped.or_else(|| self.indian_groups(from, end, index)).unwrap_or(end)
    }

    /// The end of the groups of exactly `size` digits behind `from`, each after a separator.
    fn groups_end(&self, from: usize, separator: &str, size: usize) -> usize {
        let mut end = from;
        while self.text[end..].starts_with(separator) {
            let first = end + separator.len();
            if self.digits_end(first) != first + size {
                break;
            }
            end = first + size;
        }
        end
    }

    /// Whether a separator and a digit stand at `at`.
    fn goes_on(&self, at: usize, separator: &str) -> bool {
        self.text[at..].starts_with(separator)
            && self
                .byte(at + separator.len())
                .is_some_and(|byte| byte.is_ascii_digit())
    }

    /// The end of groups of three whose first stands at `from..end`. None of them begins with 0 but later ones, and
    /// no more digits follow.
    fn groups(&mut self, from: usize, end: usize, index: usize) -> Option<usize> {
        let separator = SEPARATORS[index];
        if from < self.vain[index] || self.byte(from) == Some(b'0') {
            return None;
        }
        let last = self.groups_end(end, separator, 3);
        let common = index + 1 == SEPARATORS.len();
        let zero = || {
            let step = separator.len() + 3;
            (end..last)
                .step_by(step)
                .any(|at| self.byte(at + separator.len()) == Some(b'0'))
        };
        if last == end || self.goes_on(last, separator) || common && !self.spaced && !zero() {
            self.vain[index] = last;
            return None;
        }
        Some(last)
    }

    /// The end of groups as in India, the first of which stands at `from..end`: one or two digits, then twos, then three.
    fn indian_groups(&mut self, from: usize, end: usize, index: usize) -> Option<usize> {
        let slot = SEPARATORS.len() + index;
        if index >= INDIAN || end - from > 2 || from < self.vain[slot] {
            return None;
        }
        let separator = SEPARATORS[index];
        let twos = self.groups_end(end, separator, 2);
        let first = twos + separator.len();
        let last = first + 3;
        if twos == end
            || !self.goes_on(twos, separator)
            || self.digits_end(first) != last
            || self.goes_on(last, separator)
        {
            self.vain[slot] = twos;
            return None;
        }
        Some(last)
    }

    /// The power of ten after `from` (`e3`, `E-12`) and its end. Up to four digits, and no letter behind them but one
    /// of a script that puts no space there: `5e` and `3ers` have none.
    fn exponent(&self, from: usize) -> Option<(i64, usize)> {
        if !matches!(self.byte(from)?, b'e' | b'E') {
            return None;
        }
        let signed = matches!(self.byte(from + 1)?, b'+' | b'-');
        let first = from + 1 + usize::from(signed);
        let end = self.digits_end(first);
        let more = |c: char| c.is_alphanumeric() && !stands_against_digits(c);
        if !(1..=4).contains(&(end - first)) || self.text[end..].chars().next().is_some_and(more) {
            return None;
        }
        let power = self.text[from + 1..end].parse().ok()?;
        Some((power, end))
    }

    /// Whether digits at `start` continue a name. A command of LaTeX is none.
    fn continues_a_name(&self, start: usize) -> bool {
        let letter = self.text[..start].chars().rev().find(|&c| !is_mark(c));
        letter.is_some_and(|c| is_cased(c) || c == '_') && self.code(start).is_none() && !self.is_command(start)
    }

    /// Whether a command of LaTeX ends at `end` that takes no argument, as `\leq` does. `\frac12` holds no number 12. The
    /// longest that stands before digits has some ten letters.
    fn is_command(&self, end: usize) -> bool {
        let name = self.text.as_bytes()[..end].iter().rev().take(16);
        let letters = name.take_while(|byte| byte.is_ascii_alphabetic()).count();
        let start = end - letters;
        letters > 0
            && self.char_before(start) == Some('\\')
            && !["frac", "binom", "sqrt"]
                .iter()
                .any(|taking| self.text[start..end].ends_with(taking))
    }

    /// Where the currency code that ends at `end` starts.
    fn code(&self, end: usize) -> Option<usize> {
        let start = end.checked_sub(3)?;
        let code = self.text.get(start..end)?;
        let free = || {
            let before = self.char_before(start);
            !before.is_some_and(|c| is_cased(c) || c.is_numeric() || is_mark(c) || c == '_')
        };
        let known = || CURRENCIES.split(' ').any(|known| known == code);
        (code.bytes().all(|byte| byte.is_ascii_uppercase()) && free() && known()).then_some(start)
    }

    /// Looks back from the first digit of the number at `start..end` for a sign and a currency: whether the number is
    /// negative, and where it starts.
    fn sign(&self, start: usize, end: usize) -> (bool, usize) {
        let mut negative = false;
        let mut signed = false;
        let mut currency = false;
        let mut first = start;
        while let Some(c) = self.char_before(first) {
            let before = first - c.len_utf8();
            if is_currency(c) && !currency {
                currency = true;
                first = before;
            } else if let Some(code) = self.code(first).filter(|_| !currency) {
                currency = true;
                first = code;
            } else if matches!(c, '-' | '−' | '﹣' | '–' | '+') && !signed {
                if self.is_operand(before, end, c == '–') {
                    break;
                }
                signed = true;
                negative = c != '+';
                first = before;
            } else {
                break;
            }
        }
        (negative, first)
    }

    /// Whether what ends at `before` makes the sign behind it a dash or an operation; the number behind the sign ends at
    /// `end`. An en dash has such a thing before it over spaces as well.
    fn is_operand(&self, before: usize, end: usize, en_dash: bool) -> bool {
        let head = &self.text[..before];
        let Some(c) = head.chars().next_back() else {
            return false;
        };
        if en_dash && c.is_whitespace() {
            let c = head.trim_end().chars().next_back();
            return c.is_some_and(|c| c.is_numeric() || matches!(c, ')' | ']' | '%'));
        }
        if !stands_against_digits(c) {
            return c.is_alphanumeric() || is_mark(c) || matches!(c, ')' | ']' | '%');
        }
        // `3天-5天`
        let counter: usize = head
            .chars()
            .rev()
            .take(4)
            .take_while(|&c| stands_against_digits(c))
            .map(char::len_utf8)
            .sum();
        let (number, counter) = head.split_at(before - counter);
        number.ends_with(|c: char| c.is_ascii_digit()) && self.text[end..].starts_with(counter)
    }
}

impl Iterator for Scanner<'_> {
    type Item = (Number, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.text.as_bytes().get(self.at..)?;
            let start = self.at + rest.iter().position(u8::is_ascii_digit)?;
            if self.continues_a_name(start) {
                self.at = self.digits_end(start);
                // `Qwen2.5` is one name.
                while self.byte(self.at) == Some(b'.') && self.digits_end(self.at + 1) > self.at + 1 {
                    self.at = self.digits_end(self.at + 1);
                }
                continue;
            }
            // A point right before the digits is a decimal point unless it ends a number (`3.14.15`) or a word; Chinese
            // and Japanese do not end words with it.
            let ends = |c: char| (c.is_alphanumeric() || is_mark(c)) && !is_ideographic(c);
            let bare = self.char_before(start) == Some('.') && !self.char_before(start - 1).is_some_and(ends);
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
            let (negative, first) = self.sign(if bare { start - 1 } else { start }, end);
            self.at = end;
            return Some((Number::new(negative, whole, fraction, power), first..end));
        }
    }
}

/// Whether digits stand directly against letters of the script of `c`, so that neither makes a name of the other.
fn stands_against_digits(c: char) -> bool {
    is_unspaced(c) || is_hangul(c)
}

/// The signs of Unicode's general category `Sc`.
fn is_currency(c: char) -> bool {
    matches!(
        c,
        '$' | '¢'..='¥' | '֏' | '؋' | '৲' | '৳' | '৻' | '૱' | '௹' | '฿' | '៛' | '₠'..='\u{20cf}' | '﷼' | '﹩' | '￠' | '￡'
            | '￥' | '￦'
    )
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
        // The dash has a space behind it, and a fraction sign is no decimal digit.
        assert_eq!(Number::all_in("no. Or … – ٤٢ ½"), n(&[42]));
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

    /// What lm-evaluation-harness's flexible extraction reads of the same text, without what its comparison ignores.
    fn harness(text: &str) -> Option<Number> {
        let found = crate::reward::gsm8k::flexible(text)?.replace([',', '$'], "");
        Number::alone(&found)
    }

    /// The gold answers and responses of the case `19-judges-other-scripts`, and more of their kinds.
    #[test]
    fn numbers_are_found_in_any_script() {
        let same = [
            ("42", "答案是42"),
            ("42", "答案是42。"),
            ("42", "一共有42个苹果"),
            ("42", "答えは42です"),
            ("42", "정답은42입니다"),
            ("42", "คำตอบคือ42"),
            ("42", "ຄຳຕອບແມ່ນ42"),
            ("42", "ចម្លើយគឺ42។"),
            ("42", "उत्तर42है"),
            ("42", "答案是 42"),
            ("42", "答案：42"),
            ("42", "答案是２e１，不对，是４２"),
            ("1200", "总共1,200元"),
            ("-5", "结果为-5"),
            ("-5", "答えは−5です"),
            ("-5", "정답은-5입니다"),
            ("0.5", "答案是.5"),
            ("2000", "2e3元"),
            ("42", "€42"),
            ("42", "USD42"),
            ("42", "答案是USD42"),
            ("42", "42USD"),
            ("-42", "-EUR42"),
            ("42", "HK$42"),
            ("42", "x=42"),
            ("42", "$42$"),
            ("42", r"\boxed{42}"),
            ("4200", r"4{,}200"),
            ("4200000", r"4\,200\,000"),
            ("4200", r"4,\!200"),
            ("100000", "₹1,00,000"),
            ("12345678.5", "Rs.1,23,45,678.50"),
            ("-5", "–5"),
            ("-5", "= –5"),
            ("0.5", ".5"),
            ("42", "42\u{200b}"),
            ("42", "\u{feff}42"),
            ("42", "4\u{200d}2"),
            ("-5", "\u{200f}-\u{200e}5"),
            ("42", "４２"),
            ("-1234.5", "－１，２３４．５"),
            ("42", "الجواب ٤٢"),
            ("42", "الجواب٤٢"),
            ("1234.5", "١٬٢٣٤٫٥"),
            ("42", "٤٢٪"),
            ("42", "उत्तर ४२ है"),
            ("42", "4️⃣2️⃣"),
            ("1000", "1'000"),
            ("1000000", "1’000’000"),
            ("500", "พ.ศ.500"),
            ("5.6", r"$|x-2|\leq5.6$"),
            ("0.999", r"\lfloor0.999\rfloor"),
        ];
        for (gold, text) in same {
            assert!(is(text, gold), "{text}: {:?}", Number::last_in(text));
        }
        let n = |values: &[i64]| values.iter().map(|&value| Number::from(value)).collect::<Vec<_>>();
        for text in [
            "H2O42",
            "x_1",
            "Qwen2",
            "Qwen2.5",
            "ε0",
            "Ъ7",
            "e\u{301}4",
            "Ｈ２Ｏ",
            "ABC42",
            "AUSD42",
            "四十二",
            "x²",
            r"\frac12",
            r"\sqrt2",
            "½",
        ] {
            assert_eq!(Number::all_in(text), n(&[]), "{text}");
        }
        assert_eq!(Number::all_in("共7个，不是8"), n(&[7, 8]));
        assert_eq!(Number::all_in("１，２，３ 和 7，100"), n(&[1, 2, 3, 7, 100]));
        assert_eq!(
            Number::all_in("第3-5页，COVID-19，코로나 10–12, ב-7"),
            n(&[3, 5, 19, 10, 12, 7])
        );
        assert_eq!(
            Number::all_in("3天-5天，10分钟-20分钟，5 – 7"),
            n(&[3, 5, 10, 20, 5, 7])
        );
        assert_eq!(Number::all_in("3减8等于-5"), n(&[3, 8, -5]));
    }

    #[test]
    fn spaces_part_groups_or_numbers() {
        for text in [
            "1 000",
            "1\u{a0}000",
            "1\u{202f}000",
            "1\u{2009}000",
            "It is 1 000 then",
            "3 and then 1 000.",
        ] {
            assert!(is(text, "1000"), "{text}: {:?}", Number::all_in(text));
        }
        for (text, value) in [
            ("5 100", 5100),
            ("**12 500**", 12_500),
            ("-$1 234 567", -1_234_567),
            ("12 050 apples", 12_050),
        ] {
            assert_eq!(Number::all_in(text), [Number::from(value)], "{text}");
        }
        let n = |values: &[i64]| values.iter().map(|&value| Number::from(value)).collect::<Vec<_>>();
        let several: [(&str, &[i64]); 9] = [
            ("in 2019 100 people", &[2019, 100]),
            ("3 and 4", &[3, 4]),
            ("1 2", &[1, 2]),
            ("room 5 100 beds, 7 nurses", &[5, 100, 7]),
            ("10 200\n300", &[10, 200, 300]),
            ("1  000", &[1, 0]),
            ("030 123 456", &[30, 123, 456]),
            ("555 010 1234", &[555, 10, 1234]),
            ("1\u{a0}000 and 2\u{a0}5", &[1000, 2, 5]),
        ];
        for (text, values) in several {
            assert_eq!(Number::all_in(text), n(values), "{text}");
        }
        // Nothing tells three numbers from groups of one.
        assert_eq!(Number::all_in("10 200 300"), n(&[10_200_300]));
    }

    #[test]
    fn commas_part_groups_of_three_or_of_india() {
        let n = |values: &[i64]| values.iter().map(|&value| Number::from(value)).collect::<Vec<_>>();
        let read: [(&str, &[i64]); 7] = [
            ("1,00,000", &[100_000]),
            ("12,34,567", &[1_234_567]),
            ("123,45,678", &[123, 45_678]),
            ("1,23,45", &[1, 23, 45]),
            ("1,23,456,78", &[1, 23_456, 78]),
            ("1,23,4567", &[1, 23, 4567]),
            ("1,234,56,789", &[1234, 56_789]),
        ];
        for (text, values) in read {
            assert_eq!(Number::all_in(text), n(values), "{text}");
        }
    }

    /// Where the two read different numbers, and what a reader says.
    #[test]
    fn the_harness_reads_most_of_it_alike() {
        let alike = [
            "答案是42",
            "정답은42입니다",
            "คำตอบคือ42",
            "总共1,200元",
            "结果为-5",
            "USD42",
            "x=42",
            "1,00,000",
            "共7个，不是8",
            "42\u{200b}",
            "3 and 4",
            "in 2019 100 people",
        ];
        for text in alike {
            assert!(
                Number::last_in(text).is_some() && Number::last_in(text) == harness(text),
                "{text}"
            );
        }
        let differ = [
            ("H2O42", None, Some("42")),
            ("x_1", None, Some("1")),
            ("pages 10-12", Some("12"), Some("-12")),
            (r"4{,}200", Some("4200"), Some("200")),
            ("1 000", Some("1000"), Some("0")),
            ("–5", Some("-5"), Some("5")),
            ("2e3", Some("2000"), Some("3")),
            ("1,2,3", Some("3"), Some("123")),
            ("It is 7...", Some("7"), None),
            ("٤٢", Some("42"), None),
        ];
        for (text, ours, theirs) in differ {
            let value = |number: Option<&str>| number.and_then(Number::alone);
            assert_eq!(
                (Number::last_in(text), harness(text)),
                (value(ours), value(theirs)),
                "{text}"
            );
        }
    }

    /// The gold answers of the case `20-large-integers`.
    #[test]
    fn numbers_that_no_float_holds_are_compared_exactly() {
        let all = [
            "18446744073709551615",
            "18446744073709551616",
            "123456789012345678901234567890",
            "-9223372036854775809",
            "9007199254740993",
            "9007199254740992",
            "1.10",
            "1.1000000000000000888",
            "0.00001",
            "1E3",
            "-0",
            "1e400",
            "1e401",
            "1e9999",
        ];
        for (i, one) in all.iter().enumerate() {
            for (j, other) in all.iter().enumerate() {
                assert_eq!(Number::alone(one) == Number::alone(other), i == j, "{one} {other}");
            }
        }
        let same = [
            ("1.10", "1.1"),
            ("0.00001", "1e-05"),
            ("1E3", "1,000"),
            ("-0", "0.0"),
            ("1e400", &format!("1{}", "0".repeat(400))),
        ];
        for (one, other) in same {
            assert!(
                Number::alone(one).is_some() && Number::alone(one) == Number::alone(other),
                "{one} {other}"
            );
        }
    }

    #[test]
    fn long_texts_of_other_scripts_are_read_soon() {
        let units = [
            "1 000 ",
            "100 ",
            "1,22,",
            "1,22",
            "22,",
            "１，",
            "1\u{a0}000\u{a0}",
            "1'",
            "\u{301}",
            "USD",
            "USD1",
            "天-",
            "3天-",
            "– ",
            " ",
            "4{,}",
            "\u{200b}",
            "٤٬",
            "1e",
            ".5",
            "A.1",
            "\\a1",
        ];
        for unit in units {
            for end in ["", "0", "1", "0000"] {
                let text = unit.repeat(200_000 / unit.len()) + end;
                let start = std::time::Instant::now();
                let _ = (Number::last_in(&text), Number::alone(&text));
                assert!(start.elapsed().as_secs() < 5, "{unit}");
            }
        }
    }
}
