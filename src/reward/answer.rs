//! Does a response give the right answer? Five readings of that question, from the strictest to the most forgiving:
//! [`exact`], [`first_word`], [`regex()`], [`number`], [`contains`]. White space around either side never counts, an
//! answer that is empty is never given, and [`Case`] says whether letters of other case are other letters. Nor do
//! characters that are not seen count (byte order marks, marks of the writing direction), and the full-width forms of
//! ASCII (`Ａ`, `！`) are ASCII. Of accents, the composed and the decomposed form are two texts.

use super::number::Number;
use super::script::{is_cased, is_mark, is_unspaced, is_word, plain};
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
            Self::Sensitive => plain(text),
            Self::Insensitive => Cow::Owned(plain(text).to_lowercase()),
        }
    }

    /// Whether two texts are the same, apart from white space around them and what is not seen.
    pub fn same(self, one: &str, other: &str) -> bool {
        self.fold(one).trim() == self.fold(other).trim()
    }
}

/// The response is the answer and nothing else.
pub fn exact(response: &str, answer: &str, case: Case) -> bool {
    !plain(answer).trim().is_empty() && case.same(response, answer)
}

/// The first word of the response is the answer: `Positive.` and `**positive** because …` give `positive`, while
/// `positive/negative` and `It is positive` do not. In a script without spaces the first word is what stands before the
/// first punctuation mark: `肯定。因为…` gives `肯定`, `肯定/否定` and `肯定因为…` do not. An ending that says
/// no more than "it is" may follow there and in Korean (`肯定的`, `ポジティブです`, `긍정입니다`).
pub fn first_word(response: &str, answer: &str, case: Case) -> bool {
    let (Some(found), Some(wanted)) = (word(response), word(answer)) else {
        return false;
    };
    case.same(found, wanted)
        || ENDINGS
            .iter()
            .filter_map(|ending| found.strip_suffix(ending))
            .any(|stem| !stem.is_empty() && case.same(stem, wanted))
}

/// What makes a sentence of an answer without changing it: the Chinese particle of adjectives, copulas of Japanese and
/// Korean, polite particles of Korean and Thai.
const ENDINGS: [&str; 13] = [
    "的",
    "です",
    "だ",
    "である",
    "でした",
    "입니다",
    "이다",
    "이에요",
    "예요",
    "요",
    "ครับ",
    "ค่ะ",
    "คะ",
];

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
/// scripts with letter case, and digits, are held to whole words: others put no spaces between words, or join
/// articles, particles and endings to them (`서울은`, `والقاهرة`). All are held to whole letters, so `कल` is not
/// mentioned in `कला`, where a vowel sign makes another syllable of its end. Letters are compared as they are: fold both
/// sides first to ignore case.
pub fn mention(text: &str, phrase: &str) -> Option<usize> {
    let phrase = phrase.trim();
    let first = phrase.chars().next()?;
    let Some(last) = phrase.chars().rev().find(|&c| !is_mark(c)) else {
        // Marks change the letter before them, so a phrase of nothing but marks is mentioned only where it is all there is.
        return (text.trim() == phrase).then(|| text.len() - text.trim_start().len());
    };
    let mut from = 0;
    while let Some(found) = text[from..].find(phrase) {
        let start = from + found;
        let before = text[..start].chars().rev().find(|&c| !is_mark(c));
        let after = text[start + phrase.len()..].chars().next();
        if !before.is_some_and(|c| one_word(c, first)) && !after.is_some_and(|c| one_word(last, c) || is_mark(c)) {
            return Some(start);
        }
        from = start + first.len_utf8();
    }
    None
}

/// Whether two neighbouring characters belong to one word.
fn one_word(left: char, right: char) -> bool {
    let spaced = |c: char| is_cased(c) || c.is_numeric() && !is_unspaced(c) || c == '_';
    spaced(left) && spaced(right)
}

/// The first word of a text without the punctuation around it; bullets and quotes that stand alone are passed over.
fn word(text: &str) -> Option<&str> {
    text.split_whitespace()
        .map(|token| token.trim_matches(|c: char| !is_word(c)))
        .find(|word| !word.is_empty())
        .map(|word| word.split_at(word_end(word)).0)
}

/// Where the first word of a `token` without white space ends. Punctuation of scripts without spaces ends a word, and so
/// does any other behind a letter of these scripts, but for what joins words: hyphens, slashes, middle dots.
fn word_end(token: &str) -> usize {
    let mut unspaced = false;
    for (at, c) in token.char_indices() {
        let ends = match c {
            '。'
            | '｡'
            | '、'
            | '､'
            | '，'
            | '．'
            | '！'
            | '？'
            | '：'
            | '；'
            | '「'..='】'
            | '〔'..='〛'
            | '（'
            | '）'
            | '［'
            | '］'
            | '｛'
            | '｝'
            | '《'
            | '》'
            | '〈'
            | '〉'
            | '।'
            | '॥'
            | '၊'
            | '။'
            | '។'
            | '៕'
            | '།' => true,
            '-' | '/' | '|' | '&' | '+' | '~' | '_' | '\'' | '’' | '‐' | '‑' | '–' | '·' | '・' | '･' | '་' | '／'
            | '｜' | '～' | '〜' | '－' | '＆' | '＋' => false,
            c => unspaced && !is_word(c) && !super::script::is_invisible(c),
        };
        if ends {
            return at;
        }
        unspaced = is_unspaced(c);
    }
    token.len()
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
        assert_eq!(mention("\u{1e000}", "\u{1e000}"), Some(0));
    }

    #[test]
    fn the_first_word_of_a_script_without_spaces_ends_at_punctuation() {
        let given = [
            ("肯定。因为…", "肯定"),
            ("肯定", "肯定"),
            ("「肯定」因为", "肯定"),
            ("**肯定**因为", "肯定"),
            ("肯定，因为这部电影很好", "肯定"),
            ("肯定,因为", "肯定"),
            ("肯定.因为", "肯定"),
            ("肯定(因为", "肯定"),
            ("肯定——因为", "肯定"),
            ("肯定：因为", "肯定"),
            ("肯定的。", "肯定"),
            ("是的，没错", "是"),
            ("是的", "是的"),
            ("　肯定　否定", "肯定"),
            ("ポジティブです。", "ポジティブ"),
            ("はい、そうです", "はい"),
            ("บวก เพราะ", "บวก"),
            ("บวกครับ", "บวก"),
            ("긍정입니다.", "긍정"),
            ("긍정.", "긍정"),
            ("សុខ។ព្រោះ", "សុខ"),
            ("ဟုတ်ကဲ့။", "ဟုတ်ကဲ့"),
            ("सकारात्मक।", "सकारात्मक"),
            ("सच्", "सच्"),
            ("\u{200f}إيجابي\u{200f}، لأن", "إيجابي"),
            ("\u{feff}positive", "positive"),
            ("ｐｏｓｉｔｉｖｅ！", "positive"),
            ("posi\u{ad}tive", "positive"),
            ("A。因为", "A"),
            ("Ｂ。因为", "b"),
            ("cafe\u{301}.", "cafe\u{301}"),
        ];
        for (response, answer) in given {
            assert!(first_word(response, answer, Insensitive), "{response} {answer}");
        }
        let not_given = [
            ("不肯定", "肯定"),
            ("肯定/否定", "肯定"),
            ("肯定-否定", "肯定"),
            ("肯定因为", "肯定"),
            ("答案：肯定", "肯定"),
            ("是否", "是"),
            ("的", "肯定"),
            ("。、", "肯定"),
            ("कला", "कल"),
            ("सच्", "सच"),
            ("cafe\u{301}", "cafe"),
            ("긍정적이지 않다", "긍정"),
            ("3.5", "3"),
        ];
        for (response, answer) in not_given {
            assert!(!first_word(response, answer, Insensitive), "{response} {answer}");
        }
    }

    #[test]
    fn what_is_not_seen_does_not_count() {
        assert!(exact("\u{feff}肯定\u{200b} ", "肯定", Sensitive));
        assert!(exact("\u{200e} 42", "４２", Sensitive));
        assert!(!exact("\u{200b}", "\u{feff}", Sensitive));
        assert!(!exact("肯定。", "肯定", Sensitive));
        assert!(contains("ele\u{200b}phant", "elephant", Sensitive));
    }

    #[test]
    fn a_mention_is_of_whole_letters() {
        for (text, phrase) in [
            ("मैं कल आऊँगा", "कल"),
            ("서울은 수도입니다", "서울"),
            ("والقاهرة", "القاهرة"),
            ("答案是A。", "A"),
            ("答案是（Ａ）", "A"),
            ("กรุงเทพฯคือ", "กรุงเทพ"),
            ("第42号", "42"),
            ("〇42", "42"),
        ] {
            assert!(contains(text, phrase, Sensitive), "{text} {phrase}");
        }
        for (text, phrase) in [
            ("कला", "कल"),
            ("กิ่ง", "กิ"),
            ("cafe\u{301}", "cafe"),
            ("e\u{301}cat", "cat"),
            ("答案是Apple", "A"),
            ("４２", "4"),
        ] {
            assert!(!contains(text, phrase, Sensitive), "{text} {phrase}");
        }
        for unit in ["कला", "\u{301}", "答", "肯定", "cat\u{301}", "e\u{301}e"] {
            let text = unit.repeat(200_000);
            let _ = (
                mention(&text, unit),
                mention(&text, "कल"),
                first_word(&text, "肯定", Sensitive),
            );
        }
    }
}
