//! The second thing that is compared of two answers: their spelling as plain text. The rules are those of `_normalize`
//! in the grader of OpenAI's PRM800K, in the same order: units and words for millions go, LaTeX becomes text (see
//! [`latex`]), a mixed number becomes a sum, spaces and braces go, letters become small ones, and what Python would
//! read as a whole number is written as one.

use super::latex;
use super::normalization::inside_text;
use regex::Regex;
use std::sync::LazyLock;

const UNITS: [&str; 16] = [
    "degree",
    "cm",
    "centimeter",
    "meter",
    "mile",
    "second",
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "year",
    "foot",
    "feet",
    "inch",
    "yard",
];

/// How far a number may be from a whole one and still count as it.
const WHOLE: f64 = 1e-7;

/// The answer in the grader's own spelling.
pub fn spelled(answer: &str) -> String {
    static THIN_COMMA: LazyLock<Regex> = LazyLock::new(|| pattern(r",\\! *"));
    static MINUS: LazyLock<Regex> = LazyLock::new(|| pattern("- *"));
    static MIXED: LazyLock<Regex> = LazyLock::new(|| pattern("([0-9]) +([0-9])"));
    let mut text = inside_text(answer).unwrap_or(answer).to_owned();
    for (from, to) in [
        ("\\%", "%"),
        ("\\$", "$"),
        ("$", ""),
        ("%", ""),
        (" or ", " , "),
        (" and ", " , "),
        ("million", "*10^6"),
        ("billion", "*10^9"),
        ("trillion", "*10^12"),
    ] {
        text = text.replace(from, to);
    }
    let mut text = without_units(text);
    if text.len() > 1 && text.starts_with('{') && text.ends_with('}') {
        text = text[1..text.len() - 1].to_owned();
    }
    let mut text = THIN_COMMA.replace_all(&text, "").into_owned();
    if let Some(number) = python_float(&text)
        && is_whole(number)
    {
        text = whole(number.round());
    }
    if text.contains('\\') {
        text = latex_text(&text).unwrap_or(text);
    }
    let text = MINUS.replace_all(&text, "-");
    let text = MIXED.replace_all(&text, "$1+$2");
    let text = text.replace([' ', '{', '}'], "").to_lowercase();
    match whole_number(&text) {
        Some(number) => whole(number.trunc()),
        None => text,
    }
}

/// The text without units, their plurals and their powers, and without the sign of degrees.
fn without_units(mut text: String) -> String {
    static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
        let unit = |unit: &&str| pattern(&format!(r"{unit}(es)?s? *(\^[0-9]+)?"));
        let degrees = pattern(r"\^ *\\circ");
        UNITS.iter().map(unit).chain([degrees]).collect()
    });
    for pattern in PATTERNS.iter() {
        if pattern.is_match(&text) {
            text = pattern.replace_all(&text, "").into_owned();
        }
    }
    text
}

fn latex_text(latex: &str) -> Option<String> {
    let latex = latex.replace("\\tfrac", "\\frac").replace("\\dfrac", "\\frac");
    let mut text = latex::plain_text(&latex.replace("\\frac", " \\frac"))?;
    for (from, to) in [
        ("√", "sqrt"),
        ("π", "pi"),
        ("∞", "inf"),
        ("∪", "U"),
        ("·", "*"),
        ("×", "*"),
    ] {
        text = text.replace(from, to);
    }
    Some(text.trim().to_owned())
}

/// The text without the commas that part the thousands of a number. As in the source, a comma stays in
/// `1,111,111,111`, because a match takes the comma behind it along and what is left has six digits in a row.
pub fn without_thousands(text: &str) -> String {
    static COMMA: LazyLock<Regex> = LazyLock::new(|| pattern(r"(\d),(\d\d\d)($|\D)"));
    let mut text = text.to_owned();
    while COMMA.is_match(&text) {
        text = COMMA.replace_all(&text, "${1}${2}${3}").into_owned();
    }
    text
}

/// The number that the text is, if it is a whole one; commas may part its thousands.
pub fn whole_number(text: &str) -> Option<f64> {
    python_float(&without_thousands(text)).filter(|&number| is_whole(number))
}

fn is_whole(number: f64) -> bool {
    (number - number.round()).abs() <= WHOLE
}

fn whole(number: f64) -> String {
    // Adding zero turns the zero below zero into the one that Python has.
    format!("{:.0}", number + 0.0)
}

/// A number as Python's `float` reads it: white space around it, underscores between digits.
fn python_float(text: &str) -> Option<f64> {
    let text = text.trim();
    if !text.contains('_') {
        return text.parse().ok();
    }
    let bytes = text.as_bytes();
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let between_digits = |(at, _): (usize, _)| digit(at.checked_sub(1)) && digit(Some(at + 1));
    let fine = text.match_indices('_').all(between_digits);
    fine.then(|| text.replace('_', "").parse().ok()).flatten()
}

fn pattern(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant and valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_one_spelling() {
        let pairs = [
            ("3.00", "3"),
            ("-0.0", "0"),
            ("1e3", "1000"),
            ("1e400", "1e400"),
            ("0.00000001", "0"),
            ("3,250", "3250"),
            ("11,\\! 111,\\! 111,\\! 100", "11111111100"),
            ("5 million", "5*10^6"),
            ("12 cm^2", "12"),
            ("30 inches", "30"),
            ("\\$18.90", "18.90"),
            ("55^\\circ", "55"),
            ("1\\frac{4}{5}", "1+4/5"),
            ("7 3/4", "7+3/4"),
            ("- 5", "-5"),
            ("\\text{(B)}", "(b)"),
            ("x^{2}", "x^2"),
            ("{1,2}", "1,2"),
            ("52_8", "528"),
            ("1 or 2", "1,2"),
            ("2\\sqrt", "2\\sqrt"),
            ("", ""),
            ("{", ""),
        ];
        for (answer, spelling) in pairs {
            assert_eq!(spelled(answer), spelling, "{answer}");
        }
    }

    #[test]
    fn thousands_lose_their_commas() {
        assert_eq!(without_thousands("1,234,567 and 1,23"), "1234567 and 1,23");
        assert_eq!(without_thousands("1,111,111,111"), "1111,111111");
        assert_eq!(without_thousands("12,345;6,789"), "12345;6789");
        assert_eq!(without_thousands("(1,200,3)"), "(1200,3)");
        assert_eq!(whole_number("3,250"), Some(3250.0));
        for text in ["", "x", "3.5", "inf", "nan", "1__0", "_1", "1_", "1,23"] {
            assert_eq!(whole_number(text), None, "{text}");
        }
    }

    #[test]
    fn long_texts_are_read_soon() {
        for unit in ["1,234", "9", "1 ", "- ", "cm^1", "{", "1,111,", "million", "1_", "\\!"] {
            let _ = spelled(&unit.repeat(4096 / unit.len()));
        }
    }
}
