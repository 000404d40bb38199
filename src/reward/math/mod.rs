//! Answers to the problems of the data set MATH: which one a solution gives ([`boxed_answer`]), how it is spelled
//! without what does not count ([`normalize`]), and whether it is the right one ([`grade`]), as the grader of OpenAI's
//! PRM800K judges (Lightman et al., 2023, "Let's Verify Step by Step"; the repository `openai/prm800k`). Where that
//! grader asks SymPy whether a difference simplifies to zero, an exact evaluation decides here, and what it cannot
//! decide is not equal. All of it takes any text, never panics and ends soon.

mod expression;
mod extraction;
mod latex;
mod normalization;
mod polynomial;
mod problem;
mod spelling;
mod value;

pub use extraction::boxed_answer;
pub use normalization::normalize;

use regex::Regex;
use std::sync::LazyLock;

/// Longest answer, in bytes, of which more than the normal form is compared.
const LONGEST: usize = 4096;

/// How many different letters an expression may have to be evaluated, `sqrt` and `frac` aside.
const LETTERS: usize = 2;

const BRACKETS: [char; 4] = ['(', ')', '[', ']'];

/// Whether `given` is the answer `ground_truth`: both have the same normal form or the same spelling, or their parts
/// are equal one by one. A tuple or an interval has the parts between its commas and the same brackets on both sides;
/// any other answer is one part. Of two fractions of whole numbers only the same one is right (`2/4` is not `1/2`),
/// and for a whole number no other expression is (`1+1` is not `2`).
pub fn grade(given: &str, ground_truth: &str) -> bool {
    if normalize(ground_truth) == normalize(given) {
        return true;
    }
    if ground_truth.len() > LONGEST || given.len() > LONGEST {
        return false;
    }
    let (truth, given) = (spelling::spelled(ground_truth), spelling::spelled(given));
    if truth == given {
        return true;
    }
    if given.is_empty() {
        return false;
    }
    let (truth_parts, given_parts) = (parts(&truth), parts(&given));
    let ends = |text: &str| (text.chars().next(), text.chars().next_back());
    truth_parts.len() == given_parts.len()
        && (truth_parts.len() == 1 || ends(&truth) == ends(&given))
        && truth_parts
            .iter()
            .zip(&given_parts)
            .all(|(truth, given)| same_part(truth, given))
}

/// The parts of a tuple or an interval, or the one part of anything else; none of nothing.
fn parts(answer: &str) -> Vec<String> {
    let answer = spelling::without_thousands(answer);
    let inside = answer
        .strip_prefix(BRACKETS)
        .and_then(|rest| rest.strip_suffix(BRACKETS))
        .filter(|inside| !inside.is_empty() && !inside.contains(BRACKETS));
    match inside {
        Some(inside) => inside.split(',').map(|part| part.trim().to_owned()).collect(),
        None if answer.is_empty() => Vec::new(),
        None => vec![answer],
    }
}

fn same_part(truth: &str, given: &str) -> bool {
    if is_fraction(truth) && is_fraction(given) {
        return truth == given;
    }
    let whole = |part| spelling::whole_number(part).is_some();
    whole(truth) == whole(given) && evaluable(truth, given) && expression::equal(truth, given) == Ok(true)
}

/// A fraction of whole numbers. As in the source, one more sign may follow either of them.
fn is_fraction(part: &str) -> bool {
    static FRACTION: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^-?[0-9]+.?/0*[1-9][0-9]*.?\n?$").expect("the pattern is a constant and valid"));
    FRACTION.is_match(part)
}

/// Whether the source would let SymPy see the two expressions: not too many letters, no exponent in brackets, no tower
/// of powers and no exponent of more than one digit.
fn evaluable(truth: &str, given: &str) -> bool {
    static POWERS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\^[({]|\^[0-9]+\^|\^[0-9][0-9]").expect("the pattern is a constant and valid"));
    let both = format!("({truth})-({given})");
    if POWERS.is_match(&both) {
        return false;
    }
    let mut letters = Vec::new();
    for letter in both
        .replace("sqrt", "")
        .replace("frac", "")
        .chars()
        .filter(|c| c.is_alphabetic())
    {
        if !letters.contains(&letter) {
            letters.push(letter);
        }
        if letters.len() > LETTERS {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_answers() {
        for (given, truth) in [
            ("x=\\frac{448}{15625}", "\\frac{448}{15625}"),
            ("(\\frac{11}{2})", "\\frac{11}{2}"),
            ("3.0", "3"),
            ("900000000", "900,000,000"),
            ("\\frac43.0", "\\frac43"),
            ("\\frac{1}{3} \\text{meters}", "1/3"),
            (
                "$\\left( \\frac{3}{2}, -13 \\right)$",
                "\\left( \\frac{3}{2}, -13 \\right)",
            ),
            ("(1.5, 2)", "(\\frac{3}{2}, 2)"),
            ("11 + 11\\sqrt{5}", "11 \\sqrt{5} + 11"),
            ("2\\cdot 3x", "6x"),
            ("-80 + 15x", "15x - 80"),
            ("\\text{east}\\%", "\\text{east}"),
            ("0.5", "\\frac{1}{2}"),
            ("", ""),
        ] {
            assert!(grade(given, truth), "{given} against {truth}");
        }
    }

    #[test]
    fn wrong_answers() {
        for (given, truth) in [
            ("18/2", "9"),
            ("\\frac{2}{4}", "\\frac{1}{2}"),
            ("10-1", "9"),
            ("(2, 3]", "(2, 3)"),
            ("(3, 2)", "(2, 3)"),
            ("2, 3", "(2, 3)"),
            ("(2, 3, 4)", "(2, 3)"),
            ("-\\pi", "\\pi"),
            ("x^{10}-1", "-1+x^{10}"),
            ("0.0833333333333333", "\\frac{1}{12}"),
            ("2000 units", "2000"),
            ("1/0", "2/0"),
            ("", "1"),
            ("1", ""),
        ] {
            assert!(!grade(given, truth), "{given} against {truth}");
        }
    }

    #[test]
    fn hostile_answers_are_graded_soon() {
        let million = |unit: &str| unit.repeat(1_000_000 / unit.len());
        let short = |unit: &str| unit.repeat(LONGEST / unit.len());
        for unit in [
            "{",
            "}",
            "(",
            "\\frac",
            "\\sqrt{",
            "9^",
            "1,",
            "-",
            "x(",
            "\\text{ ",
            "1 ",
            "\\begin{a}",
            "é",
        ] {
            assert!(!grade(&million(unit), "7"), "{unit}");
            assert!(!grade(&short(unit), "7x+1"), "{unit}");
            assert!(!grade("7x+1", &short(unit)), "{unit}");
        }
        for given in [
            "9^9^9^9",
            "9**9**9**9",
            "1/0",
            "0/0+x",
            "2^-99999",
            "1e99999",
            "\\frac{1}{0}",
            "\u{0}",
            "\\",
        ] {
            assert!(!grade(given, "7x+1"), "{given}");
        }
    }
}
