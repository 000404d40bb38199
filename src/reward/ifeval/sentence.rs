//! The sentences of a text, as NLTK's Punkt tokenizer finds them with its parameters for English (Kiss and Strunk,
//! "Unsupervised Multilingual Sentence Boundary Detection", Computational Linguistics 32, 2006; section numbers below
//! are those of the paper). A full stop, question or exclamation mark is looked at with the word before and the token
//! behind it; abbreviations, initials, numbers and the usual case of the next word decide whether a sentence ends
//! there. Version: NLTK 3.9. From 3.10 on, curly quotes and guillemets are quotes to it; here they are letters.

use super::text::{is_digit, is_space, is_word, trim_end};
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// The sentences, without the white space between them.
pub fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    // Closing quotes and brackets at the head of a part belong to the part before; this many bytes are gone from its
    // head.
    let mut taken = 0;
    let parts = parts(text);
    for (index, &(start, end)) in parts.iter().enumerate() {
        let start = start + taken;
        taken = 0;
        let mut until = end;
        if let Some(&(next, next_end)) = parts.get(index + 1)
            && let Some((closing, with_space)) = closing(text.get(next..next_end).unwrap_or(""))
        {
            until = next + closing;
            taken = with_space;
        }
        sentences.extend(text.get(start..until).filter(|sentence| !sentence.is_empty()));
    }
    sentences
}

/// The closing quotes and brackets that stand alone at the head of `text`: their length, without and with white space.
fn closing(text: &str) -> Option<(usize, usize)> {
    let mut end = 0;
    for c in text.chars() {
        if !matches!(c, '"' | '\'' | ')' | ']' | '}') {
            return None;
        }
        end += c.len_utf8();
        let rest = &text[end..];
        if rest.is_empty() || rest.starts_with(is_space) || rest.starts_with("--") {
            return Some((end, text.len() - rest.trim_start_matches(is_space).len()));
        }
    }
    None
}

/// Cuts the text at each mark that ends a sentence; the parts' byte ranges.
fn parts(text: &str) -> Vec<(usize, usize)> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut judge = |word: usize, mark: &Mark| {
        if breaks(&text[word..mark.context]) {
            parts.push((start, mark.end));
            start = mark.next;
        }
    };
    // The last mark, and the word that it stands behind. A mark that the next one's word contains (`Oh!!!`) does not
    // count.
    let mut last: Option<(Mark, usize)> = None;
    for (at, c) in text.char_indices().filter(|&(_, c)| matches!(c, '.' | '?' | '!')) {
        let Some(mark) = Mark::new(text, at + c.len_utf8()) else {
            continue;
        };
        let (behind, word) = last.as_ref().map_or((0, 0), |(mark, word)| (mark.end - 1, *word));
        // NLTK looks for ASCII white space only, and not at the place of the last mark.
        let is_separator = |c| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c');
        let word = match text[behind..at].rfind(is_separator) {
            None | Some(0) => word,
            Some(space) => behind + space + 1,
        };
        if let Some((previous, its_word)) = &last
            && previous.end - 1 <= word
        {
            judge(*its_word, previous);
        }
        last = Some((mark, word));
    }
    if let Some((mark, word)) = &last {
        judge(*word, mark);
    }
    parts.push((start, trim_end(text).len()));
    parts
}

/// A mark that may end a sentence, as bytes of the text: where it ends, where the next sentence would start, and the
/// end of what follows and is looked at.
struct Mark {
    end: usize,
    next: usize,
    context: usize,
}

impl Mark {
    /// The mark that ends at `end`, if punctuation follows, or white space and something else.
    fn new(text: &str, end: usize) -> Option<Self> {
        let rest = &text[end..];
        let first = rest.chars().next()?;
        if ends_word(first) {
            return Some(Self {
                end,
                next: end,
                context: end + first.len_utf8(),
            });
        }
        let token = rest.trim_start_matches(is_space);
        let next = text.len() - token.len();
        if next == end || token.is_empty() {
            return None;
        }
        let context = next + token.find(is_space).unwrap_or(token.len());
        Some(Self { end, next, context })
    }
}

/// Whether a sentence ends inside the text, before its last token.
fn breaks(text: &str) -> bool {
    let mut tokens = text.split('\n').flat_map(tokens).map(Token::new);
    let Some(mut token) = tokens.next() else {
        return false;
    };
    for next in tokens {
        token.revise(&next);
        if token.ends_sentence {
            return true;
        }
        token = next;
    }
    false
}

/// A token with what is known of it.
struct Token<'a> {
    text: &'a str,
    /// In lower case; all numbers are one kind.
    kind: String,
    ends_sentence: bool,
    is_abbreviation: bool,
    is_ellipsis: bool,
}

const NUMBER: &str = "##number##";

impl<'a> Token<'a> {
    /// The first pass (section 3): what the token alone tells.
    fn new(text: &'a str) -> Self {
        let lower = text.to_lowercase();
        let is_ellipsis = text.len() > 1 && text.bytes().all(|byte| byte == b'.');
        let mut token = Self {
            text,
            kind: String::new(),
            ends_sentence: matches!(text, "." | "?" | "!"),
            is_abbreviation: false,
            is_ellipsis,
        };
        if !token.ends_sentence
            && !is_ellipsis
            && !text.ends_with("..")
            && let Some(stem) = lower.strip_suffix('.')
        {
            let last = stem.rsplit('-').next().unwrap_or(stem);
            token.is_abbreviation = PARAMETERS.abbreviations.contains(stem) || PARAMETERS.abbreviations.contains(last);
            token.ends_sentence = !token.is_abbreviation;
        }
        token.kind = if is_number(&lower) { NUMBER.to_owned() } else { lower };
        token
    }

    /// The second pass (section 4): what the next token tells.
    fn revise(&mut self, next: &Token) {
        if !self.text.ends_with('.') {
            return;
        }
        let (kind, next_kind) = (self.stem(), next.stem_if_last());
        let is_initial = self.is_initial();
        // 4.1.2: the two words are known to stand together.
        if PARAMETERS.collocations.contains(&(kind, next_kind)) {
            self.ends_sentence = false;
            self.is_abbreviation = true;
            return;
        }
        // 4.2: an abbreviation may end a sentence as well.
        if (self.is_abbreviation || self.is_ellipsis) && !is_initial {
            let starter = next.is_capitalized() && PARAMETERS.starters.contains(next_kind);
            if next.starts_sentence() == Some(true) || starter {
                self.ends_sentence = true;
                return;
            }
        }
        // 4.3: an initial or an ordinal number ends none if the next word starts none.
        if is_initial || kind == NUMBER {
            let stays = match next.starts_sentence() {
                Some(starts) => !starts,
                // A name: never seen in lower case.
                None => is_initial && next.is_capitalized() && !PARAMETERS.words.contains_key(next_kind),
            };
            if stays {
                self.ends_sentence = false;
                self.is_abbreviation = true;
            }
        }
    }

    /// 4.1.1: whether the token's case, against the case that the word usually has, tells that it starts a sentence.
    fn starts_sentence(&self) -> Option<bool> {
        if matches!(self.text, ";" | ":" | "," | "." | "!" | "?") {
            return Some(false);
        }
        let word = PARAMETERS.words.get(self.stem_if_last());
        if self.is_capitalized() && matches!(word, Some(Word::Starter | Word::StarterInAnyCase)) {
            return Some(true);
        }
        let is_small = self.text.starts_with(char::is_lowercase);
        (is_small && !matches!(word, Some(Word::StarterInAnyCase))).then_some(false)
    }

    /// The kind without a full stop at its end.
    fn stem(&self) -> &str {
        self.kind
            .strip_suffix('.')
            .filter(|stem| !stem.is_empty())
            .unwrap_or(&self.kind)
    }

    fn stem_if_last(&self) -> &str {
        if self.ends_sentence { self.stem() } else { &self.kind }
    }

    fn is_capitalized(&self) -> bool {
        self.text.starts_with(char::is_uppercase)
    }

    /// A letter and a full stop.
    fn is_initial(&self) -> bool {
        let mut chars = self.text.chars();
        chars.next().is_some_and(|c| is_word(c) && !is_digit(c)) && chars.as_str() == "."
    }
}

/// Digits with points, commas and hyphens among them; a sign or a point may stand before, a full stop behind.
fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let text = text.strip_prefix(['.', ',']).unwrap_or(text);
    text.starts_with(is_digit) && text.chars().all(|c| is_digit(c) || matches!(c, ',' | '.' | '-'))
}

/// The tokens of a line: words with the full stop that follows them, and single signs.
fn tokens(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(is_space);
        let first = rest.chars().next()?;
        let end = match run(rest) {
            0 if starts_word(first) => word_end(rest, first.len_utf8()),
            0 => first.len_utf8(),
            run => run,
        };
        let token = &rest[..end];
        rest = &rest[end..];
        Some(token)
    })
}

/// The end of the word whose first character ends at `from`.
fn word_end(text: &str, from: usize) -> usize {
    let ends = |rest: &str| rest.is_empty() || rest.starts_with(|c| is_space(c) || ends_word(c)) || run(rest) > 0;
    let rest = &text[from..];
    let length = rest.char_indices().find_map(|(at, c)| {
        let here = &rest[at..];
        (ends(here) || c == ',' && ends(&here[1..])).then_some(at)
    });
    from + length.unwrap_or(rest.len())
}

/// The length of the dashes, dots or spaced dots at the head of the text; 0 if there are fewer than two (spaced:
/// three).
fn run(text: &str) -> usize {
    for sign in [b'-', b'.'] {
        let length = text.bytes().take_while(|&byte| byte == sign).count();
        if length > 1 {
            return length;
        }
    }
    let (mut dots, mut end, mut rest) = (0, 0, text);
    while let Some(behind) = rest.strip_prefix('.') {
        dots += 1;
        end = text.len() - behind.len();
        match behind.chars().next() {
            Some(c) if is_space(c) => rest = &behind[c.len_utf8()..],
            _ => break,
        }
    }
    if dots > 2 { end } else { 0 }
}

/// What no word starts with.
fn starts_word(c: char) -> bool {
    !matches!(
        c,
        '(' | '"' | '`' | '{' | '[' | ':' | ';' | '&' | '#' | '*' | '@' | ')' | '}' | ']' | '-' | ','
    )
}

/// What no word contains.
fn ends_word(c: char) -> bool {
    matches!(
        c,
        ')' | '"' | ';' | '}' | ']' | '*' | ':' | '@' | '\'' | '(' | '{' | '[' | '?' | '!'
    )
}

static PARAMETERS: LazyLock<Parameters> = LazyLock::new(|| Parameters::read(include_str!("punkt.txt")));

/// How a word that occurs in lower case occurs otherwise. The corpus's six flags for each word come to these three, for
/// three questions are asked of them; a word that is not listed is taken for one that is always capitalized.
#[derive(Clone, Copy)]
enum Word {
    /// Capitalized inside of sentences too.
    Small,
    /// Capitalized only at the start of sentences.
    Starter,
    /// Never capitalized, and at the start of sentences in lower case.
    StarterInAnyCase,
}

/// What Punkt has learned from English.
struct Parameters {
    abbreviations: HashSet<&'static str>,
    /// Words that often start sentences.
    starters: HashSet<&'static str>,
    /// Pairs of a word with a full stop and a word, which no sentence ends between.
    collocations: HashSet<(&'static str, &'static str)>,
    words: HashMap<&'static str, Word>,
}

impl Parameters {
    fn read(text: &'static str) -> Self {
        let mut parameters = Self {
            abbreviations: HashSet::new(),
            starters: HashSet::new(),
            collocations: HashSet::new(),
            words: HashMap::new(),
        };
        let mut section = "";
        for line in text.lines().skip_while(|line| line.starts_with("# ")) {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = name;
                continue;
            }
            match section {
                "abbreviations" => drop(parameters.abbreviations.insert(line)),
                "starters" => drop(parameters.starters.insert(line)),
                "collocations" => parameters.collocations.extend(line.split_once('\t')),
                "small" => drop(parameters.words.insert(line, Word::Small)),
                "small, starter" => drop(parameters.words.insert(line, Word::Starter)),
                "small, starter in any case" => drop(parameters.words.insert(line, Word::StarterInAnyCase)),
                _ => unreachable!("the script writes these sections"),
            }
        }
        parameters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected sentences are those of NLTK 3.9.1.
    #[test]
    fn sentences_are_those_of_nltk() {
        let cases: [(&str, &[&str]); 10] = [
            (
                "Dr. Smith went to Washington, D.C. on Jan. 5. He met J. R. Smith there. It cost $3.50 (approx. 4 euros).",
                &[
                    "Dr. Smith went to Washington, D.C. on Jan. 5.",
                    "He met J. R. Smith there.",
                    "It cost $3.50 (approx.",
                    "4 euros).",
                ],
            ),
            (
                "He said \"Stop!\" Then he left. (Really.) \"Why?\" she asked.",
                &[
                    "He said \"Stop!\"",
                    "Then he left.",
                    "(Really.)",
                    "\"Why?\"",
                    "she asked.",
                ],
            ),
            ("Wait... what? Oh!!! I see.", &["Wait... what?", "Oh!!!", "I see."]),
            (
                "e.g. this one, i.e. the last, etc. And so on",
                &["e.g.", "this one, i.e.", "the last, etc.", "And so on"],
            ),
            (
                "I live in the U.S. It is big. The U.S. Senate met at 5 p.m. Then all left.",
                &[
                    "I live in the U.S.",
                    "It is big.",
                    "The U.S. Senate met at 5 p.m. Then all left.",
                ],
            ),
            ("One.\n\nTwo.Three. four", &["One.", "Two.Three.", "four"]),
            (
                "Mr. X. said \"Hi.\" -- \"Hello.\"--and left.",
                &["Mr. X. said \"Hi.\"", "-- \"Hello.\"", "--and left."],
            ),
            ("1. First\n2. Second", &["1.", "First\n2.", "Second"]),
            (
                "He ended . . . . Then he began.",
                &["He ended .", ".", ".", ".", "Then he began."],
            ),
            (
                "“Hello.” She said. « Oui. » Non.",
                &["“Hello.” She said.", "« Oui.", "» Non."],
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(sentences(text), expected, "{text}");
        }
        // Only ASCII white space parts the words before a mark.
        assert_eq!(sentences(" . \u{a0}a.\u{a0}B. c? D"), [" .", "a.\u{a0}B.", "c?", "D"]);
    }

    #[test]
    fn a_text_may_have_no_sentence_or_no_end() {
        assert!(sentences("").is_empty() && sentences(" \n\u{3000}").is_empty());
        assert_eq!(sentences("."), ["."]);
        assert_eq!(sentences("東京。京都"), ["東京。京都"]);
        for (text, count) in [
            ("?", 1),
            ("a", 1),
            ("a.", 1),
            (". ", 100_000),
            ("a. B ", 1),
            ("\"'", 1),
            ("-", 1),
            ("!\u{a0}", 2),
        ] {
            let found = sentences(&text.repeat(100_000)).len();
            assert!(found >= count, "{text:?}: {found}");
        }
    }
}
