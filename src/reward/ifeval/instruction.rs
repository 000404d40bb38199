//! One instruction that a response can be seen to follow: the 25 kinds of IFEval (Zhou et al., "Instruction-Following
//! Evaluation for Large Language Models", arXiv 2311.07911), read from an id and its arguments. Each check answers as
//! Google's `instruction_following_eval` does, oddities included, for a verdict is only worth something if it is the
//! one that others get. Where the reference draws a missing or impossible argument at random, reading is an error
//! here.

use super::arguments::{Arguments, Bound, InstructionError, bounded, pattern};
use super::json::is_json;
use super::language::detect;
use super::sentence::sentences;
use super::text::{constant, dotted, is_blank, is_lower, is_space, is_upper, trim};
use super::word;
use regex::Regex;
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// What a response is asked to be, to have or to avoid.
#[derive(Clone, Debug)]
pub struct Instruction {
    check: Check,
}

impl Instruction {
    /// Reads an element of `instruction_id_list` and the element of `kwargs` at the same place. Arguments that are null
    /// count as absent.
    ///
    /// # Errors
    ///
    /// The id is unknown, or an argument is missing, unknown to this kind or impossible.
    pub fn new(id: &str, arguments: &Map<String, Value>) -> Result<Self, InstructionError> {
        let check = Check::read(&mut Arguments::new(id, arguments))?;
        Ok(Self { check })
    }

    /// Whether the response follows the instruction as it stands (the strict verdict). A blank one follows none.
    pub fn follows(&self, response: &str) -> bool {
        !is_blank(response) && self.check.holds(response)
    }

    /// Whether the response follows the instruction without its first line, its last line, or both, or without
    /// asterisks, or as it stands (the loose verdict): a greeting, a farewell and Markdown are forgiven.
    pub fn follows_loosely(&self, response: &str) -> bool {
        let lines: Vec<&str> = response.split('\n').collect();
        let last = lines.len() - 1;
        let without = [(1, lines.len()), (0, last), (1, last)]
            .map(|(from, to)| trim(&lines.get(from..to).unwrap_or_default().join("\n")).to_owned());
        let mut variants = std::iter::once(response).chain(without.iter().map(String::as_str));
        variants.any(|text| self.follows(text) || text.contains('*') && self.follows(&text.replace('*', "")))
    }
}

#[derive(Clone, Debug)]
enum Check {
    Keywords(Vec<Regex>),
    KeywordFrequency(Regex, Bound),
    ForbiddenWords(Vec<Regex>),
    LetterFrequency(char, Bound),
    Language(String),
    Sentences(Bound),
    Paragraphs(usize),
    Words(Bound),
    ParagraphFirstWord {
        paragraphs: usize,
        nth: usize,
        word: String,
    },
    Placeholders(usize),
    Postscript(Regex),
    Bullets(usize),
    ConstrainedResponse,
    Highlights(usize),
    Sections(Regex, usize),
    Json,
    Title,
    TwoResponses,
    RepeatPrompt(String),
    EndPhrase(String),
    CapitalWords(Bound),
    EnglishCapitals,
    EnglishLowercase,
    NoComma,
    Quotation,
}

impl Check {
    fn read(arguments: &mut Arguments) -> Result<Self, InstructionError> {
        let check = match arguments.id() {
            "keywords:existence" => Self::Keywords(arguments.patterns("keywords", pattern)?),
            "keywords:frequency" => {
                let keyword = arguments.text("keyword")?;
                let regex = arguments.regex("keyword", &pattern(trim(keyword)), true)?;
                Self::KeywordFrequency(regex, arguments.bound("relation", "frequency")?)
            }
            "keywords:forbidden_words" => Self::ForbiddenWords(arguments.patterns("forbidden_words", bounded)?),
            "keywords:letter_frequency" => Self::LetterFrequency(
                arguments.letter("letter")?,
                arguments.bound("let_relation", "let_frequency")?,
            ),
            "language:response_language" => Self::Language(arguments.language("language")?),
            "length_constraints:number_sentences" => Self::Sentences(arguments.bound("relation", "num_sentences")?),
            "length_constraints:number_paragraphs" => Self::Paragraphs(arguments.number("num_paragraphs")?),
            "length_constraints:number_words" => Self::Words(arguments.bound("relation", "num_words")?),
            "length_constraints:nth_paragraph_first_word" => {
                let paragraphs = arguments.number("num_paragraphs")?;
                let nth = arguments.number("nth_paragraph")?;
                if !(1..=paragraphs).contains(&nth) {
                    return Err(arguments.error(
                        "nth_paragraph",
                        &format!("must be 1 to {paragraphs} (num_paragraphs), not {nth}"),
                    ));
                }
                let word = arguments.text("first_word")?.to_lowercase();
                Self::ParagraphFirstWord { paragraphs, nth, word }
            }
            "detectable_content:number_placeholders" => Self::Placeholders(arguments.number("num_placeholders")?),
            "detectable_content:postscript" => {
                let pattern = match trim(arguments.text("postscript_marker")?) {
                    "P.P.S" => r"p\.[\s\x1c-\x1f]?p\.[\s\x1c-\x1f]?s".to_owned(),
                    "P.S." => r"p\.[\s\x1c-\x1f]?s\.".to_owned(),
                    marker => pattern(&marker.to_lowercase()),
                };
                Self::Postscript(arguments.regex("postscript_marker", &pattern, false)?)
            }
            "detectable_format:number_bullet_lists" => Self::Bullets(arguments.number("num_bullets")?),
            "detectable_format:constrained_response" => Self::ConstrainedResponse,
            "detectable_format:number_highlighted_sections" => Self::Highlights(arguments.number("num_highlights")?),
            "detectable_format:multiple_sections" => {
                let splitter = pattern(trim(arguments.text("section_spliter")?));
                let regex = arguments.regex("section_spliter", &format!(r"{splitter}[\s\x1c-\x1f]?\d+"), false)?;
                Self::Sections(regex, arguments.number("num_sections")?)
            }
            "detectable_format:json_format" => Self::Json,
            "detectable_format:title" => Self::Title,
            "combination:two_responses" => Self::TwoResponses,
            "combination:repeat_prompt" => Self::RepeatPrompt(trim(arguments.text("prompt_to_repeat")?).to_lowercase()),
            "startend:end_checker" => Self::EndPhrase(trim(arguments.text("end_phrase")?).to_lowercase()),
            "change_case:capital_word_frequency" => {
                Self::CapitalWords(arguments.bound("capital_relation", "capital_frequency")?)
            }
            "change_case:english_capital" => Self::EnglishCapitals,
            "change_case:english_lowercase" => Self::EnglishLowercase,
            "punctuation:no_comma" => Self::NoComma,
            "startend:quotation" => Self::Quotation,
            _ => return Err(arguments.unknown()),
        };
        arguments.all_used()?;
        Ok(check)
    }

    fn holds(&self, text: &str) -> bool {
        match self {
            Self::Keywords(words) => {
                let text = dotted(text);
                words.iter().all(|word| word.is_match(&text))
            }
            Self::KeywordFrequency(word, bound) => bound.holds(word.find_iter(&dotted(text)).count()),
            Self::ForbiddenWords(words) => {
                let text = dotted(text);
                !words.iter().any(|word| word.is_match(&text))
            }
            Self::LetterFrequency(letter, bound) => bound.holds(text.to_lowercase().matches(*letter).count()),
            Self::Language(language) => detect(text).is_none_or(|detected| detected == language),
            Self::Sentences(bound) => bound.holds(sentences(text).len()),
            Self::Paragraphs(count) => has_paragraphs(text, *count),
            Self::Words(bound) => bound.holds(word::count(text)),
            Self::ParagraphFirstWord { paragraphs, nth, word } => has_first_word(text, *paragraphs, *nth, word),
            Self::Placeholders(count) => PLACEHOLDER.find_iter(text).count() >= *count,
            Self::Postscript(marker) => marker.is_match(&text.to_lowercase()),
            Self::Bullets(count) => STAR_BULLET.find_iter(text).count() + DASH_BULLET.find_iter(text).count() == *count,
            Self::ConstrainedResponse => OPTIONS.iter().any(|option| text.contains(option)),
            Self::Highlights(count) => highlights(text) >= *count,
            Self::Sections(section, count) => section.find_iter(text).count() >= *count,
            Self::Json => is_json(unfenced(text)),
            Self::Title => TITLE
                .find_iter(text)
                .any(|title| !is_blank(title.as_str().trim_start_matches('<').trim_end_matches('>'))),
            Self::TwoResponses => are_two_responses(text),
            Self::RepeatPrompt(prompt) => trim(text).to_lowercase().starts_with(prompt),
            Self::EndPhrase(phrase) => trim(text).trim_matches('"').to_lowercase().ends_with(phrase),
            Self::CapitalWords(bound) => bound.holds(word::treebank(text).iter().filter(|word| is_upper(word)).count()),
            Self::EnglishCapitals => is_upper(text) && detect(text).is_none_or(|language| language == "en"),
            Self::EnglishLowercase => is_lower(text) && detect(text).is_none_or(|language| language == "en"),
            Self::NoComma => !text.contains(','),
            Self::Quotation => {
                let text = trim(text);
                text.len() > 1 && text.starts_with('"') && text.ends_with('"')
            }
        }
    }
}

const OPTIONS: [&str; 3] = ["My answer is yes.", "My answer is no.", "My answer is maybe."];

static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| constant(r"\[.*?\]"));
static STAR_BULLET: LazyLock<Regex> = LazyLock::new(|| constant(r"(?m)^[\s\x1c-\x1f]*\*[^*].*$"));
static DASH_BULLET: LazyLock<Regex> = LazyLock::new(|| constant(r"(?m)^[\s\x1c-\x1f]*-.*$"));
static HIGHLIGHT: LazyLock<Regex> = LazyLock::new(|| constant(r"\*[^\n*]*\*"));
static DOUBLE_HIGHLIGHT: LazyLock<Regex> = LazyLock::new(|| constant(r"\*\*[^\n*]*\*\*"));
static TITLE: LazyLock<Regex> = LazyLock::new(|| constant(r"<<[^\n]+>>"));
static DIVIDER: LazyLock<Regex> = LazyLock::new(|| constant(r"[\s\x1c-\x1f]?\*\*\*[\s\x1c-\x1f]?"));

/// Exactly `count` paragraphs with `***` between them; none is blank but before the first and behind the last.
fn has_paragraphs(text: &str, count: usize) -> bool {
    let paragraphs: Vec<bool> = DIVIDER.split(text).map(is_blank).collect();
    let inner = paragraphs.get(1..paragraphs.len() - 1).unwrap_or_default();
    !inner.contains(&true) && paragraphs.iter().filter(|&&blank| !blank).count() == count
}

/// Exactly `count` paragraphs with blank lines between them, the `nth` of which begins with `word` in any case. Blank
/// paragraphs are not counted, but have a place.
fn has_first_word(text: &str, count: usize, nth: usize, word: &str) -> bool {
    let paragraphs: Vec<&str> = text.split("\n\n").collect();
    let first = paragraphs[..]
        .get(nth - 1)
        .and_then(|text| text.split(is_space).find(|word| !word.is_empty()));
    let Some(first) = first else {
        return false;
    };
    let first = first.trim_start_matches('\'').trim_start_matches('"');
    let end = first.find(['.', ',', '?', '!', '\'', '"']).unwrap_or(first.len());
    let lower: String = first[..end].chars().flat_map(char::to_lowercase).collect();
    lower == word && paragraphs.iter().filter(|text| !is_blank(text)).count() == count
}

/// How many pieces stand between single and between double asterisks.
fn highlights(text: &str) -> usize {
    let has_content = |found: &regex::Match| !is_blank(found.as_str().trim_matches('*'));
    HIGHLIGHT.find_iter(text).filter(has_content).count() + DOUBLE_HIGHLIGHT.find_iter(text).filter(has_content).count()
}

/// The text without a Markdown code fence around it.
fn unfenced(text: &str) -> &str {
    let mut text = trim(text);
    for fence in ["```json", "```Json", "```JSON", "```"] {
        text = text.strip_prefix(fence).unwrap_or(text);
    }
    trim(text.strip_suffix("```").unwrap_or(text))
}

/// Two different texts with six asterisks between them; nothing blank but before the first and behind the last.
fn are_two_responses(text: &str) -> bool {
    let parts: Vec<&str> = text.split("******").map(trim).collect();
    let inner = parts.get(1..parts.len() - 1).unwrap_or_default();
    let responses: Vec<&&str> = parts.iter().filter(|part| !part.is_empty()).collect();
    !inner.contains(&"") && responses.len() == 2 && responses[0] != responses[1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(id: &str, arguments: Value) -> Instruction {
        let arguments = arguments.as_object().expect("an object");
        Instruction::new(id, arguments).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Asserts which texts follow, strictly.
    fn check(id: &str, arguments: Value, follow: &[&str], others: &[&str]) {
        let instruction = read(id, arguments);
        for text in follow {
            assert!(instruction.follows(text), "{id} should hold: {text:?}");
        }
        for text in others {
            assert!(!instruction.follows(text), "{id} should not hold: {text:?}");
        }
        for text in ["", " ", "\n\u{3000}"] {
            assert!(
                !instruction.follows(text) && !instruction.follows_loosely(text),
                "{id}: {text:?}"
            );
        }
    }

    #[test]
    fn keywords() {
        // Anywhere, in any case, as regexes.
        check(
            "keywords:existence",
            json!({"keywords": ["cat", "dog"]}),
            &["Concatenate DOGMA"],
            &["cat", "dog"],
        );
        check(
            "keywords:existence",
            json!({"keywords": ["a.c", "#1"]}),
            &["abc #1"],
            &["ac #1", "abc 1"],
        );
        // The letters i, dotted and not, are one in any case.
        let turkish = json!({"keywords": ["istanbul", "ılık"]});
        check(
            "keywords:existence",
            turkish,
            &["İSTANBUL ILIK", "ıstanbul ilik"],
            &["stanbul ılık"],
        );
        check(
            "keywords:forbidden_words",
            json!({"forbidden_words": ["ışık", "I.S"]}),
            &["işıks", "xi.s"],
            &["IŞIK", "so i.s", "ı.s!", "İxs"],
        );
        // Braces and brackets as Python has them.
        let braces = json!({"keywords": ["{name}", "a{,2}b", "x{2}", "[[a&&]c"]});
        check(
            "keywords:existence",
            braces,
            &["{name} b xx &c", "{NAME} aab xx [c"],
            &["name b xx &c", "{name} a xx &c", "{name} b x &c", "{name} b xx c"],
        );
        check(
            "keywords:forbidden_words",
            json!({"forbidden_words": ["a{b"]}),
            &["a{bc", "ab"],
            &["A{B"],
        );
        // As words; a mark is no part of one, and a sign needs a word beside it.
        let forbidden = json!({"forbidden_words": ["cafe", "#tag"]});
        check(
            "keywords:forbidden_words",
            forbidden,
            &["cafes", "#tag", "decafe"],
            &["A CAFE.", "cafe\u{301}", "x#tag"],
        );
        let at_least = json!({"keyword": "Cat ", "frequency": 2, "relation": "at least"});
        check("keywords:frequency", at_least, &["cat Cat", "concatcat"], &["cat"]);
        let less = json!({"keyword": "cat", "frequency": 2, "relation": "less than"});
        check("keywords:frequency", less, &["cat", "x"], &["cat cat"]);
        let letters = json!({"letter": "Q", "let_frequency": 2, "let_relation": "at least"});
        check("keywords:letter_frequency", letters, &["qQ"], &["q"]);
        let signs = json!({"letter": "#", "let_frequency": 2, "let_relation": "less than"});
        check("keywords:letter_frequency", signs, &["#", "x"], &["##"]);
    }

    #[test]
    fn language() {
        let hindi = "यह एक वाक्य है और यह हिन्दी में है।";
        // Where there is nothing to detect, the reference is content.
        check(
            "language:response_language",
            json!({"language": "hi"}),
            &[hindi, "123"],
            &["This is an English sentence."],
        );
        let shout = "THIS IS AN ENGLISH SENTENCE IN CAPITALS.";
        check(
            "change_case:english_capital",
            json!({}),
            &[shout],
            &["THIS IS AN ENGLISH SENTENCe", "123", "ЭТО ПРЕДЛОЖЕНИЕ"],
        );
        let whisper = "this is an english sentence.";
        check(
            "change_case:english_lowercase",
            json!({}),
            &[whisper],
            &["This is an english sentence.", "123", "это предложение"],
        );
    }

    #[test]
    fn length() {
        let less = json!({"num_sentences": 2, "relation": "less than"});
        check(
            "length_constraints:number_sentences",
            less,
            &["Dr. Who is here.", "no end"],
            &["One. Two."],
        );
        let at_least = json!({"num_words": 3, "relation": "at least"});
        check(
            "length_constraints:number_words",
            at_least,
            &["a b c", "don't do"],
            &["a b", "…"],
        );
        let two = json!({"num_paragraphs": 2});
        let follow = ["a\n***\nb", "***a***b***", "a *** b", "a****"];
        check(
            "length_constraints:number_paragraphs",
            two,
            &follow,
            &["a", "a***b***c", "a*** ***b", "***"],
        );
        let nth = json!({"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Hello"});
        let follow = ["a\n\nhello, you", "a\n\n\n'\"HELLO!\" b", "a\n\n hello"];
        let others = [
            "hello\n\na",
            "a\n\nhello\n\nb",
            "a\n\n\n\nhello",
            "a\n\n\"'hello",
            "hello",
        ];
        check("length_constraints:nth_paragraph_first_word", nth, &follow, &others);
    }

    #[test]
    fn content_and_format() {
        let two = json!({"num_placeholders": 2});
        check(
            "detectable_content:number_placeholders",
            two,
            &["[a] []", "[[a] [b]]"],
            &["[a]", "[a\n] [b]", "[["],
        );
        let postscript = json!({"postscript_marker": "P.S."});
        check(
            "detectable_content:postscript",
            postscript,
            &["Hi. P. S. x", "p.s."],
            &["PS: x", "P.S"],
        );
        let post_postscript = json!({"postscript_marker": "P.P.S"});
        check(
            "detectable_content:postscript",
            post_postscript,
            &["p. p. s", "P.P.S."],
            &["P.S.", "p.p.  s"],
        );
        check(
            "detectable_content:postscript",
            json!({"postscript_marker": "NB"}),
            &["nb: x"],
            &["n.b."],
        );
        let three = json!({"num_bullets": 3});
        let follow = ["* a\n* b\n- c", "  *a\n\n*b\n\n*c", "-\n-\n-"];
        check(
            "detectable_format:number_bullet_lists",
            three,
            &follow,
            &["* a\n* b", "**a**\n* b\n* c", "1. a\n2. b\n3. c"],
        );
        let options = ["My answer is yes.", "Well. My answer is maybe. Or not."];
        check(
            "detectable_format:constrained_response",
            json!({}),
            &options,
            &["My answer is yes", "my answer is no."],
        );
        let highlights = json!({"num_highlights": 2});
        let follow = ["*a* *b*", "**a** **b**", "**a** and *b*"];
        check(
            "detectable_format:number_highlighted_sections",
            highlights,
            &follow,
            &["*a*", "* * *b*", "*a\n* *b\n*"],
        );
        let sections = json!({"section_spliter": "Section", "num_sections": 2});
        check(
            "detectable_format:multiple_sections",
            sections,
            &["Section 1 a\nSection 2 b"],
            &["Section A", "SECTION 1 SECTION 2"],
        );
        let follow = ["{\"a\": 1}", "```json\n[1]\n```", "```\n\"a\"```", "12"];
        check(
            "detectable_format:json_format",
            json!({}),
            &follow,
            &["{'a': 1}", "Here: {}", "```javascript\n1```"],
        );
        check(
            "detectable_format:title",
            json!({}),
            &["<<a>>", "x <<<a>>> y"],
            &["<<>>", "<< >>", "<a>", "<<a\n>>"],
        );
    }

    #[test]
    fn combination_and_ends() {
        let follow = ["a ****** b", "******a******b******"];
        check(
            "combination:two_responses",
            json!({}),
            &follow,
            &["a", "a******a", "a******b******c", "a************b"],
        );
        let prompt = json!({"prompt_to_repeat": " Say Hi. "});
        check(
            "combination:repeat_prompt",
            prompt,
            &["say hi. Hi!", "\n Say hi."],
            &["Hi! Say hi.", "Say"],
        );
        let phrase = json!({"end_phrase": "The End. "});
        check(
            "startend:end_checker",
            phrase,
            &["… the end.", "\"x THE END.\"\n"],
            &["The end. Or not", "The end"],
        );
        check(
            "startend:quotation",
            json!({}),
            &["\"a\"", " \"a\" b\"\n", "\"\""],
            &["\"", "“a”", "\"a"],
        );
        check("punctuation:no_comma", json!({}), &["a; b", "a，b"], &["a, b"]);
        let capitals = json!({"capital_frequency": 2, "capital_relation": "at least"});
        check(
            "change_case:capital_word_frequency",
            capitals,
            &["I AM here", "CAN'T"],
            &["I am", "A-B c", "Aa Bb"],
        );
        let less = json!({"capital_frequency": 1, "capital_relation": "less than"});
        check(
            "change_case:capital_word_frequency",
            less,
            &["no capitals", "Some Here"],
            &["ONE"],
        );
    }

    #[test]
    fn the_loose_verdict_forgives_lines_and_asterisks() {
        let quoted = read("startend:quotation", json!({}));
        for text in [
            "\"a\"",
            "Sure!\n\"a\"",
            "\"a\"\nBye",
            "Sure!\n\n\"a\"\n\nBye",
            "**\"a\"**",
            "Sure!\n*\"a\"*\nBye",
        ] {
            assert!(quoted.follows_loosely(text), "{text:?}");
        }
        for text in ["Sure!", "Sure!\nYes\n\"a\"", "Sure!\n", "***"] {
            assert!(!quoted.follows_loosely(text), "{text:?}");
        }
        let no_comma = read("punctuation:no_comma", json!({}));
        assert!(
            no_comma.follows_loosely("a,\nb") && !no_comma.follows_loosely("a,") && !no_comma.follows_loosely(",\n")
        );
    }

    /// Endless texts, and texts of one sign only.
    #[test]
    fn nothing_panics_or_hangs() {
        let instructions = [
            read("keywords:existence", json!({"keywords": ["zebra"]})),
            read("keywords:forbidden_words", json!({"forbidden_words": ["zebra", "#"]})),
            read(
                "keywords:frequency",
                json!({"keyword": "a", "frequency": 3, "relation": "at least"}),
            ),
            read(
                "keywords:letter_frequency",
                json!({"letter": "z", "let_frequency": 3, "let_relation": "at least"}),
            ),
            read("language:response_language", json!({"language": "sw"})),
            read(
                "length_constraints:number_sentences",
                json!({"num_sentences": 9, "relation": "less than"}),
            ),
            read("length_constraints:number_paragraphs", json!({"num_paragraphs": 9})),
            read(
                "length_constraints:number_words",
                json!({"num_words": 9, "relation": "less than"}),
            ),
            read(
                "length_constraints:nth_paragraph_first_word",
                json!({"num_paragraphs": 9, "nth_paragraph": 2, "first_word": "a"}),
            ),
            read("detectable_content:number_placeholders", json!({"num_placeholders": 9})),
            read("detectable_content:postscript", json!({"postscript_marker": "P.P.S"})),
            read("detectable_format:number_bullet_lists", json!({"num_bullets": 9})),
            read("detectable_format:constrained_response", json!({})),
            read(
                "detectable_format:number_highlighted_sections",
                json!({"num_highlights": 9}),
            ),
            read(
                "detectable_format:multiple_sections",
                json!({"section_spliter": "Section", "num_sections": 9}),
            ),
            read("detectable_format:json_format", json!({})),
            read("detectable_format:title", json!({})),
            read("combination:two_responses", json!({})),
            read("combination:repeat_prompt", json!({"prompt_to_repeat": "Say hi."})),
            read("startend:end_checker", json!({"end_phrase": "zebra"})),
            read(
                "change_case:capital_word_frequency",
                json!({"capital_frequency": 9, "capital_relation": "less than"}),
            ),
            read("change_case:english_capital", json!({})),
            read("change_case:english_lowercase", json!({})),
            read("punctuation:no_comma", json!({})),
            read("startend:quotation", json!({})),
        ];
        let signs = [
            "\0",
            " ",
            "\n",
            "\n*",
            "*",
            "-",
            "\"",
            "'",
            "[",
            "<",
            "<<",
            "{",
            "{\"a\":",
            ".",
            ". ",
            "?",
            "p.",
            "Section ",
            "a",
            "A ",
            "é",
            "\u{301}",
            "🎉",
            "a\n",
            "***\n",
            "http://a@",
            "हि",
        ];
        for sign in signs {
            for text in [sign.to_owned(), sign.repeat(5000)] {
                for instruction in &instructions {
                    let strict = instruction.follows(&text);
                    assert!(
                        !strict || instruction.follows_loosely(&text),
                        "{instruction:?} {sign:?}"
                    );
                }
            }
        }
    }
}
