//! Characters as Python sees them, where Rust and its regexes see them otherwise: the separators U+001C to U+001F are
//! white space, a mark (a vowel sign, a combining accent) belongs to no word, and a title-case letter is a capital that
//! is not upper case. The reference is a Python program, so a verdict may hang on any of these.

use regex::Regex;
use std::borrow::Cow;
use std::sync::LazyLock;

/// `str.isspace` of one character.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `str.strip`.
pub fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// `str.rstrip`.
pub fn trim_end(text: &str) -> &str {
    text.trim_end_matches(is_space)
}

/// Whether nothing is left after `str.strip`.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(is_space)
}

/// `\w` of one character: a letter, any kind of number, or the underscore.
pub fn is_word(c: char) -> bool {
    // Rust's `is_alphanumeric` has marks as well, so only what passes it or is ASCII can be decided without a table.
    if c.is_ascii() || !c.is_alphanumeric() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    static WORD: LazyLock<Regex> = LazyLock::new(|| constant(r"^[\p{L}\p{N}]"));
    WORD.is_match(c.encode_utf8(&mut [0; 4]))
}

/// `\d` of one character: a decimal digit of any script.
pub fn is_digit(c: char) -> bool {
    if c.is_ascii() || !c.is_numeric() {
        return c.is_ascii_digit();
    }
    static DIGIT: LazyLock<Regex> = LazyLock::new(|| constant(r"^\p{Nd}"));
    DIGIT.is_match(c.encode_utf8(&mut [0; 4]))
}

/// `str.isupper`: a capital at least, and neither small nor title-case letters.
pub fn is_upper(text: &str) -> bool {
    text.chars().any(char::is_uppercase) && !text.chars().any(|c| c.is_lowercase() || is_title(c))
}

/// `str.islower`: a small letter at least, and neither capitals nor title-case letters.
pub fn is_lower(text: &str) -> bool {
    text.chars().any(char::is_lowercase) && !text.chars().any(|c| c.is_uppercase() || is_title(c))
}

/// A title-case letter (`ǅ`): the 31 characters that have a lower case and are neither lower nor upper case.
fn is_title(c: char) -> bool {
    !c.is_ascii() && !c.is_lowercase() && !c.is_uppercase() && c.to_lowercase().next() != Some(c)
}

/// The text with one letter for `i`, `İ` and `ı`, which are the same to Python's regexes in any case and not to Rust's.
pub fn dotted(text: &str) -> Cow<'_, str> {
    match text.contains(['İ', 'ı']) {
        true => Cow::Owned(text.replace(['İ', 'ı'], "i")),
        false => Cow::Borrowed(text),
    }
}

/// A regex that is written in the code.
pub fn constant(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant and valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_those_of_python() {
        assert_eq!(trim("\u{1c} \u{a0}a\u{85}\u{3000}"), "a");
        assert_eq!(trim_end(" a\u{1f}\n"), " a");
        assert!(is_blank("") && is_blank(" \n\u{2003}") && !is_blank("\u{200b}"));
        // The vowel sign U+093F, U+0301 and the emoji's variation selector are marks.
        for (c, word) in [
            ('a', true),
            ('é', true),
            ('東', true),
            ('_', true),
            ('7', true),
            ('²', true),
            ('½', true),
        ] {
            assert_eq!(is_word(c), word, "{c:?}");
        }
        for c in ['\u{93f}', '\u{301}', '\u{fe0f}', '-', ' ', '‿', '\u{200d}'] {
            assert!(!is_word(c), "{c:?}");
        }
        assert!(is_digit('7') && is_digit('٤') && !is_digit('²') && !is_digit('½') && !is_digit('a'));
    }

    #[test]
    fn case_is_that_of_python() {
        assert!(
            is_upper("THE ANSWER IS 42!") && is_upper("ÉTÉ Ⓐ") && !is_upper("42") && !is_upper("") && !is_upper("Aa")
        );
        assert!(
            is_lower("the answer is 42!")
                && is_lower("straße ª")
                && !is_lower("42")
                && !is_lower("")
                && !is_lower("Aa")
        );
        assert!(!is_upper("Aǅ") && !is_lower("aǅ") && !is_upper("ǅ"));
        assert_eq!(
            (0..=0x10_ffff)
                .filter_map(char::from_u32)
                .filter(|&c| is_title(c))
                .count(),
            31
        );
    }
}
