//! Does a response have the form that was asked for? Each check here can be decided by reading the text, so an
//! instruction that asks for it is verifiable. An empty response has no form and obeys nothing. There is no check
//! that counts sentences: abbreviations, decimals and ellipses make every short rule for it wrong too often to be
//! the ground of a reward.

use super::answer::{Case, mention};
use super::number::Number;
use super::script::{is_mark, is_word, plain};
use regex::Regex;
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// Longest item of a [`comma_list`], in words; beyond it, commas are those of a sentence.
const ITEM_WORDS: usize = 4;

/// One word: letters and digits, with hyphens or apostrophes only inside it, and punctuation around it. `Paris.` is
/// one, `New York` and `yes/no` are not. A script that does not separate its words passes with any number of them up to
/// a punctuation mark: `東京。` is one, `東京、大阪` is not. What is not seen does not count.
pub fn one_word(text: &str) -> bool {
    static ONE_WORD: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^[\p{P}\p{S}]*[\p{L}\p{N}\p{M}]+(?:[-'’‐‑·־׳״][\p{L}\p{N}\p{M}]+)*[\p{P}\p{S}]*$")
            .expect("the pattern is a constant and valid")
    });
    ONE_WORD.is_match(plain(text).trim())
}

/// Nothing but one number (see [`Number::alone`]).
pub fn only_number(text: &str) -> bool {
    Number::alone(text).is_some()
}

/// At least one capital letter and no small one.
pub fn all_capitals(text: &str) -> bool {
    text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase)
}

/// At least one small letter and no capital.
pub fn all_lowercase(text: &str) -> bool {
    text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase)
}

/// The bullet points: what stands after `- ` or `* ` on the lines that begin so. Other lines may stand around them; a
/// rule (`- - -`) and a bullet without a word are none.
pub fn bullets(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| {
            let line = line.trim();
            line.strip_prefix("- ").or_else(|| line.strip_prefix("* "))
        })
        .filter(|content| has_word(content))
        .collect()
}

/// The JSON object that the text consists of, bare or in one Markdown code fence.
pub fn json_object(text: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(unfenced(text.trim())) {
        Ok(Value::Object(map)) => Some(map),
        _ => None,
    }
}

/// A JSON object that has all of `keys`, each with a value other than null.
pub fn json_with_keys(text: &str, keys: &[&str]) -> bool {
    let has = |map: &Map<String, Value>, key: &str| map.get(key).is_some_and(|value| !value.is_null());
    json_object(text).is_some_and(|map| keys.iter().all(|key| has(&map, key)))
}

/// The text begins with `phrase` as whole words; quotes and markup may stand before it.
pub fn starts_with(text: &str, phrase: &str, case: Case) -> bool {
    let (text, phrase) = folded(text, phrase, case);
    let text = text.trim_start_matches(|c: char| !is_word(c) && (c.is_whitespace() || !phrase.starts_with(c)));
    text.starts_with(&*phrase) && mention(text, &phrase) == Some(0)
}

/// The text ends with `phrase` as whole words; quotes, markup and a full stop may stand after it.
pub fn ends_with(text: &str, phrase: &str, case: Case) -> bool {
    let (text, phrase) = folded(text, phrase, case);
    let text = text.trim_end_matches(|c: char| !is_word(c) && (c.is_whitespace() || !phrase.ends_with(c)));
    let Some(head) = text.strip_suffix(&*phrase) else {
        return false;
    };
    // One letter of context, with its marks, is enough for `mention` to see whether the phrase continues a word.
    let mut letters = head.char_indices().rev();
    let before = letters.find(|&(_, c)| !is_mark(c)).map_or(0, |(start, _)| start);
    mention(&text[before..], &phrase) == Some(head.len() - before)
}

/// At least one word and at most `n`. A word is what white space separates, unless it is punctuation only.
pub fn at_most_words(text: &str, n: usize) -> bool {
    (1..=n).contains(
        &text
            .split_whitespace()
            .filter(|token| has_word(token))
            .take(n.saturating_add(1))
            .count(),
    )
}

/// The items of a comma-separated list that is the whole text: one line, each item up to four words, `and` or `or`
/// before the last one forgiven, as is a closing full stop. Prose is none: an item with a colon, a semicolon, a
/// question or an exclamation mark makes the text something else.
pub fn comma_list(text: &str) -> Option<Vec<&str>> {
    let text = text.trim();
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.contains(['\n', ':', ';', '?', '!']) {
        return None;
    }
    let mut items: Vec<&str> = text.split(',').map(str::trim).collect();
    if let Some(last) = items.last_mut() {
        let bare = last.strip_prefix("and ").or_else(|| last.strip_prefix("or "));
        *last = bare.unwrap_or(last).trim();
    }
    let fine = |item: &&str| has_word(item) && item.split_whitespace().nth(ITEM_WORDS).is_none();
    items.iter().all(fine).then_some(items)
}

/// At least one word and no comma, of any script.
pub fn no_commas(text: &str) -> bool {
    has_word(text) && !text.contains([',', '，', '、', '،'])
}

/// The whole text stands in double quotes, straight or curly, and there is a word in them.
pub fn quoted(text: &str) -> bool {
    let text = text.trim();
    let inside = text
        .strip_prefix(['"', '“'])
        .and_then(|rest| rest.strip_suffix(['"', '”']));
    inside.is_some_and(has_word)
}

/// Whether there is a letter or a digit at all.
pub fn has_word(text: &str) -> bool {
    text.contains(char::is_alphanumeric)
}

/// The inside of one Markdown code fence that spans the text, or the text.
pub(super) fn unfenced(text: &str) -> &str {
    let inside = || {
        let body = text.strip_prefix("```")?.strip_suffix("```")?;
        let (language, body) = body.split_once('\n')?;
        (language.trim().is_empty() || language.trim().eq_ignore_ascii_case("json")).then_some(body)
    };
    inside().unwrap_or(text)
}

fn folded(text: &str, phrase: &str, case: Case) -> (String, String) {
    let (text, phrase) = (plain(text), plain(phrase));
    match case {
        Case::Sensitive => (text.into_owned(), phrase.trim().to_owned()),
        Case::Insensitive => (text.to_lowercase(), phrase.trim().to_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::Case::{Insensitive, Sensitive};
    use super::*;

    const NOTHING: [&str; 6] = ["", " ", "\n\t", "…", "- ", "\u{200b}"];

    #[test]
    fn nothing_obeys_nothing() {
        for text in NOTHING {
            assert!(
                !one_word(text) && !only_number(text) && !all_capitals(text) && !all_lowercase(text),
                "{text:?}"
            );
            assert!(
                bullets(text).is_empty() && json_object(text).is_none() && !no_commas(text),
                "{text:?}"
            );
            assert!(
                !starts_with(text, "Sure", Insensitive) && !ends_with(text, "DONE", Insensitive),
                "{text:?}"
            );
            assert!(
                !starts_with(text, "", Sensitive) && !ends_with(text, "", Sensitive),
                "{text:?}"
            );
            assert!(
                !at_most_words(text, 5) && comma_list(text).is_none() && !quoted(text),
                "{text:?}"
            );
        }
    }

    #[test]
    fn one_word_is_one() {
        for text in [
            "Paris",
            " Paris.\n",
            "**Paris**",
            "\"yes\"",
            "well-known",
            "don't",
            "42",
            "Zürich",
            "cafe\u{301}",
            "東京",
        ] {
            assert!(one_word(text), "{text:?}");
        }
        for text in [
            "New York",
            "yes/no",
            "yes,no",
            "a\nb",
            "- Paris",
            "!!!",
            "one_word two",
            "half–open",
        ] {
            assert!(!one_word(text), "{text:?}");
        }
        assert!(one_word(&"a".repeat(1_000_000)));
        assert!(!one_word(&"a ".repeat(1_000_000)));
    }

    #[test]
    fn capitals_and_small_letters() {
        assert!(all_capitals("THE ANSWER IS 42!"));
        assert!(all_capitals("ÉTÉ"));
        assert!(!all_capitals("THE ANSWER iS"));
        assert!(!all_capitals("42"));
        assert!(!all_capitals("東京"));
        assert!(!all_capitals("STRAßE"));
        assert!(all_lowercase("the answer is 42!"));
        assert!(all_lowercase("straße"));
        assert!(!all_lowercase("The answer"));
        assert!(!all_lowercase("42"));
    }

    #[test]
    fn bullets_are_lines() {
        assert_eq!(bullets("- a\n- b\n* c"), ["a", "b", "c"]);
        assert_eq!(
            bullets("Here are two:\n\n  - a, b\r\n  - **c**: d\nDone."),
            ["a, b", "**c**: d"]
        );
        assert!(bullets("1. a\n2. b").is_empty());
        assert!(bullets("-a\n*b\n**c**").is_empty());
        assert!(bullets("- - -\n* * *\n- \n-").is_empty());
        assert_eq!(bullets(&"- é\n".repeat(100_000)).len(), 100_000);
    }

    #[test]
    fn json_stands_alone() {
        assert!(json_with_keys(r#"{"answer": "cold"}"#, &["answer"]));
        assert!(json_with_keys(" {\"a\": 1, \"b\": [2]}\n", &["a", "b"]));
        assert!(json_with_keys("```json\n{\"answer\": 4}\n```", &["answer"]));
        assert!(json_with_keys("```\n{\"answer\": 4}```", &["answer"]));
        for text in [
            "{}",
            "[]",
            "\"answer\"",
            r#"{"Answer": 1}"#,
            r#"{"answer": null}"#,
            r#"{"answer": 1"#,
            r#"The JSON is {"answer": 1}"#,
            r#"{"answer": 1} {"answer": 2}"#,
            "{'answer': 1}",
            r#"{"answer": 1e999}"#,
        ] {
            assert!(!json_with_keys(text, &["answer"]), "{text}");
        }
        assert!(json_object(&"{\"a\":".repeat(100_000)).is_none());
    }

    #[test]
    fn the_two_ends() {
        assert!(starts_with("Sure, it is cold.", "Sure", Sensitive));
        assert!(starts_with(" \"Sure\", it is", "sure", Insensitive));
        assert!(starts_with("# Title", "#", Sensitive));
        assert!(!starts_with("sure", "Sure", Sensitive));
        assert!(!starts_with("Surely not", "Sure", Insensitive));
        assert!(!starts_with("It is, sure", "Sure", Insensitive));
        assert!(ends_with("It is cold. DONE", "DONE", Sensitive));
        assert!(ends_with("It is cold.\nDONE.\n", "DONE", Sensitive));
        assert!(ends_with("It is cold. **DONE**", "done", Insensitive));
        assert!(ends_with("DONE", "DONE", Sensitive));
        assert!(ends_with("Is it?", "it?", Sensitive));
        assert!(!ends_with("Is it.", "it?", Sensitive));
        assert!(!ends_with("It is UNDONE", "DONE", Sensitive));
        assert!(!ends_with("It is éDONE", "DONE", Sensitive));
        assert!(!ends_with("done", "DONE", Sensitive));
        assert!(!ends_with("DONE, he said", "DONE", Sensitive));
        assert!(ends_with(&format!("{}DONE", "é ".repeat(500_000)), "DONE", Sensitive));
    }

    #[test]
    fn words_are_counted() {
        assert!(at_most_words("It is cold.", 3));
        assert!(at_most_words("It - is - cold", 3));
        assert!(!at_most_words("It is very cold.", 3));
        assert!(!at_most_words("It", 0));
        assert!(at_most_words("It", usize::MAX));
    }

    #[test]
    fn a_comma_list_is_the_whole_text() {
        assert_eq!(comma_list("apple, pear, plum"), Some(vec!["apple", "pear", "plum"]));
        assert_eq!(
            comma_list("Apple,pear, and ice cream.\n"),
            Some(vec!["Apple", "pear", "ice cream"])
        );
        assert_eq!(comma_list("apple"), Some(vec!["apple"]));
        for text in [
            "apple, pear,",
            ", apple",
            "Here they are: apple, pear",
            "apple,\npear",
            "Well, I would say that it depends, of course",
            "a, b!",
        ] {
            assert_eq!(comma_list(text), None, "{text}");
        }
    }

    #[test]
    fn commas_and_quotes() {
        assert!(no_commas("apple and pear"));
        assert!(!no_commas("apple, pear"));
        assert!(!no_commas("苹果，梨"));
        assert!(quoted("\"It is cold.\""));
        assert!(quoted(" “It is cold.”\n"));
        assert!(!quoted("\"\""));
        assert!(!quoted("\""));
        assert!(!quoted("It is \"cold\""));
        assert!(!quoted("'It is cold.'"));
    }

    #[test]
    fn words_of_other_scripts() {
        for text in [
            "東京。",
            "「東京」",
            "सकारात्मक।",
            "\u{200f}إيجابي\u{200f}",
            "می\u{200c}خواهم",
            "\u{feff}Paris",
            "서울.",
            "（Ｂ）",
            "צה״ל",
            "col·lecció",
            "กรุงเทพ",
        ] {
            assert!(one_word(text), "{text}");
        }
        for text in [
            "東京、大阪",
            "苹果，梨",
            "是/否",
            "서울 부산",
            "東京　大阪",
            "肯定。因为",
            "「」",
        ] {
            assert!(!one_word(text), "{text}");
        }
        assert!(
            starts_with("「肯定」，因为", "肯定", Sensitive) && starts_with("\u{feff}Ｓｕｒｅ！", "sure", Insensitive)
        );
        assert!(!starts_with("कला", "कल", Sensitive));
        assert!(ends_with("答案是肯定。", "肯定", Sensitive) && ends_with("यह सच्", "सच्", Sensitive));
        assert!(ends_with("DONE\u{200f}\u{feff}", "done", Insensitive));
        assert!(!ends_with("un cafe\u{301}", "cafe", Sensitive) && !ends_with("e\u{301}DONE", "DONE", Sensitive));
        for unit in ["\u{301}", "。", "कि", "\u{200b}", "한", "１"] {
            let text = unit.repeat(200_000);
            let _ = (
                one_word(&text),
                starts_with(&text, "कल", Sensitive),
                ends_with(&text, unit, Insensitive),
            );
        }
    }
}
