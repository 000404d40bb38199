//! The arguments of an instruction, read by name from the `kwargs` of a row. What cannot be used is an error in one
//! sentence that names the argument and the instruction.

use super::language::is_known;
use super::text::{constant, dotted, is_blank, is_word};
use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// Why an instruction cannot be checked, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstructionError(String);

impl InstructionError {
    pub(super) fn lengths(ids: usize, kwargs: usize) -> Self {
        Self(format!(
            "There are {ids} ids of instructions, but arguments for {kwargs}."
        ))
    }
}

impl std::fmt::Display for InstructionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InstructionError {}

/// The arguments of an instruction, and which of them have been read.
pub struct Arguments<'a> {
    id: &'a str,
    given: &'a Map<String, Value>,
    used: Vec<&'static str>,
}

impl<'a> Arguments<'a> {
    /// The arguments `given` to the instruction `id`.
    pub fn new(id: &'a str, given: &'a Map<String, Value>) -> Self {
        Self {
            id,
            given,
            used: Vec::new(),
        }
    }

    /// The id of the instruction.
    pub fn id(&self) -> &'a str {
        self.id
    }

    /// The error that no instruction has this id.
    pub fn unknown(&self) -> InstructionError {
        InstructionError(format!("There is no instruction {:?} in IFEval.", self.id))
    }

    /// The error that an argument has a problem.
    pub fn error(&self, name: &str, problem: &str) -> InstructionError {
        InstructionError(format!(
            "The argument {name:?} of the instruction {:?} {problem}.",
            self.id
        ))
    }

    fn get(&mut self, name: &'static str) -> Result<&'a Value, InstructionError> {
        self.used.push(name);
        let value = self.given.get(name).filter(|value| !value.is_null());
        value.ok_or_else(|| self.error(name, "is missing"))
    }

    /// An error if an argument is left that has not been read.
    pub fn all_used(&self) -> Result<(), InstructionError> {
        let unused = self
            .given
            .iter()
            .find(|(name, value)| !value.is_null() && !self.used.contains(&name.as_str()));
        unused.map_or(Ok(()), |(name, _)| Err(self.error(name, "is unknown")))
    }

    /// A whole number of 0 or more.
    pub fn number(&mut self, name: &'static str) -> Result<usize, InstructionError> {
        let value = self.get(name)?;
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
        number.ok_or_else(|| self.error(name, &format!("must be a whole number of 0 or more, not {value}")))
    }

    /// A text that is not blank.
    pub fn text(&mut self, name: &'static str) -> Result<&'a str, InstructionError> {
        let value = self.get(name)?;
        let text = value.as_str().filter(|text| !is_blank(text));
        text.ok_or_else(|| self.error(name, &format!("must be a text that is not blank, not {value}")))
    }

    /// One character, in lower case.
    pub fn letter(&mut self, name: &'static str) -> Result<char, InstructionError> {
        let text = self.text(name)?;
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(letter), None) => Ok(letter.to_lowercase().next().unwrap_or(letter)),
            _ => Err(self.error(name, &format!("must be one character, not {text:?}"))),
        }
    }

    /// The code of a language.
    pub fn language(&mut self, name: &'static str) -> Result<String, InstructionError> {
        let code = self.text(name)?;
        if is_known(code) {
            return Ok(code.to_owned());
        }
        Err(self.error(
            name,
            &format!("must be the code of a language that is detected, as \"en\", not {code:?}"),
        ))
    }

    /// A number, and whether a count must reach it or stay below it.
    pub fn bound(&mut self, relation: &'static str, number: &'static str) -> Result<Bound, InstructionError> {
        match self.text(relation)? {
            "less than" => Ok(Bound::LessThan(self.number(number)?)),
            "at least" => Ok(Bound::AtLeast(self.number(number)?)),
            other => Err(self.error(
                relation,
                &format!("must be \"less than\" or \"at least\", not {other:?}"),
            )),
        }
    }

    /// A list of words, each made a regex by `pattern`.
    pub fn patterns(
        &mut self,
        name: &'static str,
        pattern: fn(&str) -> String,
    ) -> Result<Vec<Regex>, InstructionError> {
        let value = self.get(name)?;
        let words = value.as_array().filter(|words| !words.is_empty());
        let words = words.and_then(|words| words.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        let Some(words) = words.filter(|words| words.iter().all(|word| !word.is_empty())) else {
            return Err(self.error(name, &format!("must be a list of words, not {value}")));
        };
        words
            .into_iter()
            .map(|word| self.regex(name, &pattern(word), true))
            .collect()
    }

    /// The regex that has been made of an argument. One for any case is for texts that are [`dotted`].
    pub fn regex(&self, name: &str, pattern: &str, any_case: bool) -> Result<Regex, InstructionError> {
        let dotted = if any_case { dotted(pattern) } else { pattern.into() };
        let regex = RegexBuilder::new(&dotted).case_insensitive(any_case).build();
        regex.map_err(|_| self.error(name, &format!("cannot be read as the regex {pattern:?}")))
    }
}

/// A number that a count must reach, or must not reach.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// The count must stay below it.
    LessThan(usize),
    /// The count must reach it.
    AtLeast(usize),
}

impl Bound {
    /// Whether the count is as asked.
    pub fn holds(self, count: usize) -> bool {
        match self {
            Self::LessThan(limit) => count < limit,
            Self::AtLeast(limit) => count >= limit,
        }
    }
}

/// The pattern of a keyword, which the reference takes for a regex. Only a keyword with a sign of their language is
/// one; any other stands for itself.
pub fn pattern(keyword: &str) -> String {
    if is_pattern(keyword) {
        translated(keyword)
    } else {
        regex::escape(keyword)
    }
}

/// The pattern as Rust writes it: in Python a brace that opens no repetition stands for itself, as do signs in brackets
/// that open a set within a set here, and a repetition may leave out its lower bound.
fn translated(pattern: &str) -> String {
    static REPETITION: LazyLock<Regex> = LazyLock::new(|| constant(r"^\{([0-9]*)(,?)([0-9]*)\}"));
    let mut written = String::with_capacity(pattern.len());
    // Where the set in brackets that is open has its first sign.
    let mut set: Option<usize> = None;
    let mut at = 0;
    while let Some(c) = pattern[at..].chars().next() {
        let rest = &pattern[at..];
        let mut length = c.len_utf8();
        match (c, set) {
            ('\\', _) => {
                length += rest[1..].chars().next().map_or(0, char::len_utf8);
                written += &rest[..length];
            }
            ('[', None) => {
                length += usize::from(rest[1..].starts_with('^'));
                set = Some(at + length);
                written += &rest[..length];
            }
            (']', Some(first)) if first < at => {
                set = None;
                written.push(c);
            }
            ('[' | ']' | '&' | '~', Some(_)) => written.extend(['\\', c]),
            ('{', None) => match REPETITION.captures(rest) {
                Some(found) if found.get_match().len() > 2 => {
                    length = found.get_match().len();
                    let from = if found[1].is_empty() { "0" } else { &found[1] };
                    written.extend(["{", from, &found[2], &found[3], "}"]);
                }
                _ => written += r"\{",
            },
            _ => written.push(c),
        }
        at += length;
    }
    written
}

fn is_pattern(keyword: &str) -> bool {
    keyword.contains(['.', '^', '$', '*', '+', '?', '{', '}', '[', ']', '\\', '|', '(', ')'])
}

/// The pattern of a keyword with the boundary of a word at both ends.
pub fn bounded(keyword: &str) -> String {
    let (Some(first), Some(last)) = (keyword.chars().next(), keyword.chars().next_back()) else {
        return r"\b".to_owned();
    };
    if is_pattern(keyword) {
        return format!(r"\b{}\b", translated(keyword));
    }
    // Python's boundary, spelled out: the word goes on in no letter, number or underscore, but a mark may follow.
    let before = if is_word(first) {
        r"(?:^|[^\p{L}\p{N}_])"
    } else {
        r"[\p{L}\p{N}_]"
    };
    let behind = if is_word(last) {
        r"(?:$|[^\p{L}\p{N}_])"
    } else {
        r"[\p{L}\p{N}_]"
    };
    format!("{before}{}{behind}", regex::escape(keyword))
}

#[cfg(test)]
mod tests {
    use super::super::Instruction;
    use serde_json::{Value, json};

    fn error(id: &str, arguments: Value) -> String {
        let arguments = arguments.as_object().expect("an object").clone();
        Instruction::new(id, &arguments)
            .map(|_| ())
            .expect_err("an error")
            .to_string()
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        assert_eq!(
            error("no:such", json!({})),
            "There is no instruction \"no:such\" in IFEval."
        );
        let cases = [
            ("keywords:existence", json!({}), "\"keywords\"", "is missing"),
            (
                "keywords:existence",
                json!({"keywords": null}),
                "\"keywords\"",
                "is missing",
            ),
            (
                "keywords:existence",
                json!({"keywords": []}),
                "\"keywords\"",
                "must be a list of words, not []",
            ),
            (
                "keywords:existence",
                json!({"keywords": ["a", ""]}),
                "\"keywords\"",
                "must be a list of words",
            ),
            (
                "keywords:existence",
                json!({"keywords": ["(?=a)"]}),
                "\"keywords\"",
                "cannot be read as the regex \"(?=a)\"",
            ),
            (
                "keywords:forbidden_words",
                json!({"forbidden_words": "a"}),
                "\"forbidden_words\"",
                "must be a list of words",
            ),
            (
                "keywords:frequency",
                json!({"keyword": " ", "frequency": 1, "relation": "at least"}),
                "\"keyword\"",
                "not blank",
            ),
            (
                "keywords:frequency",
                json!({"keyword": "a", "frequency": -1, "relation": "at least"}),
                "\"frequency\"",
                "not -1",
            ),
            (
                "keywords:frequency",
                json!({"keyword": "a", "frequency": 1, "relation": "at most"}),
                "\"relation\"",
                "not \"at most\"",
            ),
            (
                "keywords:letter_frequency",
                json!({"letter": "ab", "let_frequency": 1, "let_relation": "at least"}),
                "\"letter\"",
                "one character",
            ),
            (
                "language:response_language",
                json!({"language": "xx"}),
                "\"language\"",
                "not \"xx\"",
            ),
            (
                "length_constraints:number_words",
                json!({"num_words": "5", "relation": "at least"}),
                "\"num_words\"",
                "whole number",
            ),
            (
                "length_constraints:number_words",
                json!({"num_words": 5.5, "relation": "at least"}),
                "\"num_words\"",
                "whole number",
            ),
            (
                "length_constraints:nth_paragraph_first_word",
                json!({"num_paragraphs": 2, "nth_paragraph": 3, "first_word": "a"}),
                "\"nth_paragraph\"",
                "must be 1 to 2 (num_paragraphs), not 3",
            ),
            (
                "punctuation:no_comma",
                json!({"num_words": 5}),
                "\"num_words\"",
                "is unknown",
            ),
        ];
        for (id, arguments, name, problem) in cases {
            let error = error(id, arguments);
            assert!(
                error.starts_with(&format!("The argument {name} of the instruction {id:?}")),
                "{error}"
            );
            assert!(error.contains(problem) && error.ends_with('.'), "{error}");
        }
    }

    #[test]
    fn null_is_absent() {
        let arguments = json!({"num_words": null, "relation": null});
        assert!(Instruction::new("punctuation:no_comma", arguments.as_object().expect("an object")).is_ok());
    }
}
