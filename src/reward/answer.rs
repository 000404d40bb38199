//! Does a response give the right answer? Five readings of that question, from the strictest to the most forgiving:
//! [`exact`], [`first_word`], [`regex()`], [`number`], [`contains`]. White space around either side never counts, an
//! answer that is empty is never given, and [`Case`] says whether letters of other case are other letters.

use super::number::Number;
use regex::Regex;
use std::borrow::Cow;

/// Whether `Positive` is `positive`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// It is not.
    Sensitive,
    /// It is; letters are compared in lower case.
    Insensitive,
}

impl Case {
    fn fold(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Sensitive => Cow::Borrowed(text),
            Self::Insensitive => Cow::Owned(text.to_lowercase()),
        }
    }

    /// Whether two texts are the same, apart from white space around them.
    pub fn same(self, one: &str, other: &str) -> bool {
        self.fold(one.trim()) == self.fold(other.trim())
    }
}

/// The response is the answer and nothing else.
pub fn exact(response: &str, answer: &str, case: Case) -> bool {
    !answer.trim().is_empty() && case.same(response, answer)
}

/// The first word of the response is the answer: `Positive.` and `**positive** because …` give `positive`, while
/// `positive/negative` and `It is positive` do not.
pub fn first_word(response: &str, answer: &str, case: Case) -> bool {
    match (word(response), word(answer)) {
        (Some(found), Some(wanted)) => case.same(found, wanted),
        _ => false,
    }
}

/// The first match of `pattern` in the response captures, as its group 1, the answer: the same text, or the same
/// number in another spelling. To read the last match instead, let the pattern begin with `(?s).*`.
pub fn regex(response: &str, pattern: &Regex, answer: &str, case: Case) -> bool {
    let Some(found) = pattern.captures(response).and_then(|groups| groups.get(1)) else {
        return false;
    };
    let same_number = || Number::alone(found.as_str()).is_some_and(|number| Number::alone(answer) == Some(number));
    exact(found.as_str(), answer, case) || same_number()
}

/// The last number in the response equals the last number in the answer, however the two are written.
pub fn number(response: &str, answer: &str) -> bool {
    Number::last_in(answer).is_some_and(|wanted| Number::last_in(response) == Some(wanted))
}

/// The response mentions the answer somewhere, as whole words (see [`mention`]). The most forgiving judge, and the
/// easiest to cheat: a response that mentions every possible answer contains the right one.
pub fn contains(response: &str, answer: &str, case: Case) -> bool {
    mention(&case.fold(response), &case.fold(answer)).is_some()
}

/// Where `text` first mentions `phrase`, in bytes. `cat` is mentioned in `a cat, a dog` and not in `concatenate`. Only
/// scripts with letter case, and digits, are held to whole words, because the others do not all put spaces between
/// them. Letters are compared as they are: fold both sides first to ignore case.
pub fn mention(text: &str, phrase: &str) -> Option<usize> {
    let phrase = phrase.trim();
    let first = phrase.chars().next()?;
    let last = phrase.chars().next_back()?;
    let mut from = 0;
    while let Some(found) = text[from..].find(phrase) {
        let start = from + found;
        let before = text[..start].chars().next_back();
        let after = text[start + phrase.len()..].chars().next();
        if !before.is_some_and(|c| one_word(c, first)) && !after.is_some_and(|c| one_word(last, c)) {
            return Some(start);
        }
        from = start + first.len_utf8();
    }
    None
}

/// Whether two neighbouring characters belong to one word.
fn one_word(left: char, right: char) -> bool {
    let spaced = |c: char| c.is_lowercase() || c.is_uppercase() || c.is_numeric() || c == '_';
    spaced(left) && spaced(right)
}

/// The first word of a text without the punctuation around it; bullets and quotes that stand alone are passed over.
fn word(text: &str) -> Option<&str> {
    text.split_whitespace()
        .map(|token| token.trim_matches(|c: char| !c.is_alphanumeric()))
        .find(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::Case::{Insensitive, Sensitive};
    use super::*;

    #[test]
    fn exact_is_the_whole_response() {
        assert!(exact(" positive\n", "positive", Sensitive));
        assert!(!exact("Positive", "positive", Sensitive));
        assert!(exact("Positive", "positive", Insensitive));
        assert!(exact("ÉTÉ", "été", Insensitive));
        assert!(!exact("positive.", "positive", Insensitive));
        assert!(!exact("", "", Insensitive));
        assert!(!exact(" ", "\t", Insensitive));
        assert!(!exact(&"positive ".repeat(200_000), "positive", Insensitive));
    }

    #[test]
    fn the_first_word_stands_free_of_punctuation() {
        for response in [
            "positive",
            "Positive.",
            "**Positive**",
            "- positive",
            "\"POSITIVE\", I think",
            "positive\nnegative",
        ] {
            assert!(first_word(response, "positive", Insensitive), "{response}");
        }
        for response in [
            "",
            "…",
            "positive/negative",
            "It is positive",
            "positively",
            "pos itive",
        ] {
            assert!(!first_word(response, "positive", Insensitive), "{response}");
        }
        assert!(!first_word("Positive", "positive", Sensitive));
        assert!(!first_word("", "", Sensitive));
        assert!(first_word("не плохо", "НЕ", Insensitive));
    }

    #[test]
    fn a_group_is_compared_as_text_or_as_number() {
        let pattern = Regex::new(r"answer is (\S+)").expect("valid");
        assert!(regex("so the answer is Yes and", &pattern, "yes", Insensitive));
        assert!(!regex("so the answer is Yes and", &pattern, "yes", Sensitive));
        assert!(regex("the answer is $1,000.", &pattern, "1000", Sensitive));
        assert!(regex("answer is 1 answer is 2", &pattern, "1", Sensitive));
        assert!(!regex("", &pattern, "yes", Sensitive));
        let last = Regex::new(r"(?s).*answer is (\S+)").expect("valid");
        assert!(regex("answer is 1\nanswer is 2", &last, "2", Sensitive));
        let optional = Regex::new("a|(b)").expect("valid");
        assert!(!regex("a", &optional, "a", Sensitive));
    }

    #[test]
    fn the_last_number_decides() {
        assert!(number("3 + 4 = 7", "7"));
        assert!(number("It costs $1,200.00.", "reasoning with 3 steps #### 1200"));
        assert!(!number("7, no, 8", "7"));
        assert!(!number("seven", "7"));
        assert!(!number("", "7"));
        assert!(!number("7", "seven"));
    }

    #[test]
    fn contains_wants_whole_words() {
        assert!(contains("An Elephant, of course", "elephant", Insensitive));
        assert!(!contains("An Elephant, of course", "elephant", Sensitive));
        assert!(!contains("concatenate", "cat", Insensitive));
        assert!(contains("concatenate the cat", "cat", Insensitive));
        assert!(!contains("cats", "cat", Insensitive));
        assert!(!contains("42", "4", Insensitive));
        assert!(contains("首都是北京市", "北京", Sensitive));
        assert!(contains("ice  cream, ice cream", " ice cream ", Sensitive));
        assert!(!contains("", "cat", Insensitive));
        assert!(!contains("anything", "", Insensitive));
        assert!(!contains(&"concatenate ".repeat(100_000), "cat", Insensitive));
    }

    #[test]
    fn a_mention_has_a_place() {
        assert_eq!(mention("the mouse and the elephant", "elephant"), Some(18));
        assert_eq!(mention("éé é", "é"), Some(5));
    }
}
