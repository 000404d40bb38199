//! The words of a text: as runs of letters and digits, and as NLTK's `word_tokenize` makes them in the manner of the
//! Penn Treebank, with signs and clitics (`do` `n't`) as words of their own. Version: NLTK 3.9.2. From 3.9.3 on, dashes
//! are words; from 3.10 on, a word goes on after a vowel sign of its script, and fractions and superscripts are none.

use super::sentence::sentences;
use super::text::{constant, is_space, is_word};
use regex::Regex;
use std::borrow::Cow;
use std::sync::LazyLock;

/// How many runs of letters, digits and underscores there are.
pub fn count(text: &str) -> usize {
    let starts = |(before, c): (Option<char>, char)| is_word(c) && !before.is_some_and(is_word);
    let before = std::iter::once(None).chain(text.chars().map(Some));
    before.zip(text.chars()).filter(|&pair| starts(pair)).count()
}

/// `nltk.word_tokenize`.
pub fn treebank(text: &str) -> Vec<String> {
    sentences(text).into_iter().flat_map(sentence_words).collect()
}

/// The substitutions, in order; what is no regex comes between the first and the second of these lists and behind the
/// third, before which a space is added at either end. Each puts spaces where words are to part.
static RULES: LazyLock<[Vec<(Regex, &str)>; 3]> = LazyLock::new(|| {
    let rules = |rules: &[(&str, &'static str)]| rules.iter().map(|(rule, to)| (constant(rule), *to)).collect();
    [
        rules(&[
            ("([«“‘„]|`+)", " $1 "),
            ("^\"", "``"),
            ("``", " $0 "),
            (r#"([ (\[{<])("|'{2})"#, "$1 `` "),
        ]),
        rules(&[
            (r#"([^.])(\.)([\])}>"'»”’ ]*)[\s\x1c-\x1f]*$"#, "$1 $2 $3 "),
            (r"([:,])([^\d])", " $1 $2"),
            ("([:,])$", " $1 "),
            (r"\.{2,}", " $0 "),
            ("[;@#$%&]", " $0 "),
            (r#"([^.])(\.)([\])}>"']*)[\s\x1c-\x1f]*$"#, "$1 $2$3 "),
            ("[?!]", " $0 "),
            ("([^'])' ", "$1 ' "),
            ("[*]", " $0 "),
            (r"[\]\[(){}<>]", " $0 "),
            ("--", " -- "),
        ]),
        rules(&[
            ("[»”’]", " $0 "),
            ("''", " '' "),
            ("\"", " '' "),
            (r"[\s\x1c-\x1f]+", " "),
            ("([^' ])('[sS]|'[mM]|'[dD]|') ", "$1 $2 "),
            ("([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) ", "$1 $2 "),
        ]),
    ]
});

/// Words that are two, and by the first group the place to part them.
static CONTRACTIONS: LazyLock<[Regex; 10]> = LazyLock::new(|| {
    let contraction = |pattern: &str| constant(&format!("(?i){pattern}"));
    [
        "(can)not", "(d)'ye", "(gim)me", "(gon)na", "(got)ta", "(lem)me", "(more)'n", "(wan)na", " ('t)is", " ('t)was",
    ]
    .map(contraction)
});

fn sentence_words(sentence: &str) -> Vec<String> {
    let [quotes, signs, clitics] = &*RULES;
    let text = applied(quotes, Cow::Borrowed(sentence));
    let text = applied(signs, Cow::Owned(quotes_parted(&text)));
    let mut text = applied(clitics, Cow::Owned(format!(" {text} "))).into_owned();
    for contraction in &*CONTRACTIONS {
        text = contractions_parted(&text, contraction);
    }
    text.split(is_space)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn applied<'a>(rules: &[(Regex, &str)], mut text: Cow<'a, str>) -> Cow<'a, str> {
    for (rule, to) in rules {
        if let Cow::Owned(changed) = rule.replace_all(&text, *to) {
            text = Cow::Owned(changed);
        }
    }
    text
}

/// Puts a space between an apostrophe and the single letter or digit behind it, unless the two are a clitic (`'s`).
fn quotes_parted(text: &str) -> String {
    let mut parted = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        parted.push(c);
        let mut behind = text[at + c.len_utf8()..].chars();
        let is_quote = c == '\''
            && behind
                .next()
                .is_some_and(|c| is_word(c) && !matches!(c.to_ascii_lowercase(), 'm' | 't' | 's' | 'd' | 'n'))
            && !behind.next().is_some_and(is_word);
        if is_quote {
            parted.push(' ');
        }
    }
    parted
}

/// Puts spaces around the two parts of each contraction that stands as a word.
fn contractions_parted(text: &str, contraction: &Regex) -> String {
    let mut parted = String::with_capacity(text.len());
    let mut done = 0;
    for found in contraction.captures_iter(text) {
        let (whole, middle) = (found.get_match(), found.get(1).map_or(0, |head| head.end()));
        let rest = &text[whole.end()..];
        // This one must have a space behind it.
        let goes_on = match whole.as_str().eq_ignore_ascii_case("wanna") {
            true => !rest.starts_with(is_space),
            false => rest.starts_with(is_word),
        };
        let continues = text[..whole.start()].ends_with(is_word) && !whole.as_str().starts_with(' ');
        if !continues && !goes_on {
            parted += &text[done..whole.start()];
            parted.extend([" ", &text[whole.start()..middle], " ", &text[middle..whole.end()], " "]);
            done = whole.end();
        }
    }
    parted + &text[done..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_letters_and_digits_are_counted() {
        for (text, words) in [
            ("", 0),
            ("…!", 0),
            ("one", 1),
            ("don't stop", 3),
            ("a_b 3.14 é½", 4),
            ("cafe\u{301}s", 2),
            ("東京 大阪", 2),
        ] {
            assert_eq!(count(text), words, "{text}");
        }
        // Each vowel sign ends a word.
        assert_eq!(count("हिन्दी"), 3);
        assert_eq!(count(&"a ".repeat(1_000_000)), 1_000_000);
    }

    /// The expected words are those of NLTK 3.9.1 and 3.9.2.
    #[test]
    fn words_are_those_of_nltk() {
        let cases: [(&str, &str); 4] = [
            (
                "I CAN'T do that, and you CANNOT either.",
                "I CA N'T do that , and you CAN NOT either .",
            ),
            (
                "'TIS the \"SEASON\" (of JOY)... WANNA go? U.S.A. rocks--REALLY; $5,000: A-B-C 50% OFF!",
                "'T IS the `` SEASON '' ( of JOY ) ... WAN NA go ? U.S.A. rocks -- REALLY ; $ 5,000 : A-B-C 50 % OFF !",
            ),
            (
                "'A' 'quoted' don't gimme D'YE More'n GOTTA wanna",
                "' A ' 'quoted ' do n't gim me D 'YE More 'n GOT TA wan na",
            ),
            ("“CURLY” ‘Q’ ``X'' A.B. C.", "“ CURLY ” ‘ Q ’ `` X '' A.B . C ."),
        ];
        for (text, expected) in cases {
            assert_eq!(treebank(text).join(" "), expected);
        }
        assert!(treebank("").is_empty() && treebank(" \n").is_empty());
    }

    #[test]
    fn a_long_text_takes_no_time() {
        for text in ["a", "' ", "\"", ".", "wanna", "cannot ", "a. B ", "``", "'t"] {
            assert!(!treebank(&text.repeat(50_000)).is_empty(), "{text:?}");
        }
    }
}
