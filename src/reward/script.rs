//! What the judges must know of the world's scripts: which characters are digits, which are part of a word, which are
//! not seen, and which scripts write words without spaces between them. A judge that knows ASCII alone finds no answer
//! in `答案是４２`. The blocks are those of Unicode; a character that is in none of them is treated as Latin text is.

use regex::Regex;
use std::borrow::Cow;
use std::sync::LazyLock;

/// The zeros of the decimal digits (Unicode's general category `Nd`); the digits 1 to 9 follow each of them.
const ZEROS: [u32; 76] = [
    0x30, 0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6, 0xE50, 0xED0,
    0xF20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620,
    0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10, 0x104A0, 0x10D30, 0x10D40, 0x11066, 0x110F0, 0x11136,
    0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0, 0x116D0, 0x116DA, 0x11730, 0x118E0, 0x11950, 0x11BF0,
    0x11C50, 0x11D50, 0x11DA0, 0x11F50, 0x16130, 0x16A60, 0x16AC0, 0x16B50, 0x16D70, 0x1CCF0, 0x1D7CE, 0x1D7D8,
    0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140, 0x1E2F0, 0x1E4F0, 0x1E5F1, 0x1E950, 0x1FBF0,
];

/// The value of a decimal digit of any script: 4 for `4`, `４`, `٤` and `४`. `²`, `½` and `四` are none.
pub fn decimal(c: char) -> Option<u8> {
    if c.is_ascii() {
        return c.is_ascii_digit().then(|| c as u8 - b'0');
    }
    let below = ZEROS.partition_point(|&zero| zero <= c as u32);
    let value = c as u32 - ZEROS[below.checked_sub(1)?];
    u8::try_from(value).ok().filter(|&value| value < 10)
}

/// Whether a character takes no room and has no ink: zero-width spaces and joiners, the byte order mark, marks of the
/// writing direction, the soft hyphen, variation selectors.
pub fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{e0100}'..='\u{e01ef}'
    )
}

/// Whether a character is written on, under or around the letter before it: accents, vowel signs, tone marks.
pub fn is_mark(c: char) -> bool {
    static MARK: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^\p{M}").expect("the pattern is a constant and valid"));
    !c.is_ascii() && !is_invisible(c) && MARK.is_match(c.encode_utf8(&mut [0; 4]))
}

/// Whether a character is part of a word: a letter, a digit, or a mark on one.
pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || is_mark(c)
}

/// Whether a letter has capital and small forms, as those of the Latin, Greek and Cyrillic scripts do. Digits behind
/// such a letter continue a name (`H2O`).
pub fn is_cased(c: char) -> bool {
    c.is_lowercase() || c.is_uppercase()
}

/// Whether a character is a Chinese character, or of the Japanese syllabaries or bopomofo.
pub fn is_ideographic(c: char) -> bool {
    matches!(
        c,
        '\u{2e80}'..='\u{2fdf}' | '々'..='〇' | 'ぁ'..='ゖ' | 'ゝ'..='ゟ' | 'ァ'..='ヺ' | 'ー'..='ヿ'
            | '\u{3105}'..='\u{312f}' | '\u{31a0}'..='\u{31bf}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}' | '\u{20000}'..='\u{3ffff}'
    )
}

/// Whether a letter or a mark belongs to a script without spaces between words: Chinese, Japanese, Thai, Lao, Tibetan,
/// Burmese, Khmer.
pub fn is_unspaced(c: char) -> bool {
    is_ideographic(c)
        || matches!(
            c,
            '\u{e00}'..='\u{fff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{a9e0}'..='\u{a9ff}'
                | '\u{aa60}'..='\u{aa7f}'
        ) && is_word(c)
}

/// Whether a character is a syllable or a letter of Korean, which has spaces, and particles and numbers without them.
pub fn is_hangul(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{11ff}' | '\u{3131}'..='\u{318e}' | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7ff}')
}

/// The ASCII character of which this is the full-width form: `Ａ` is `A`, `：` is `:`. Others are as they are.
pub fn narrow(c: char) -> char {
    match c {
        '！'..='～' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        '\u{3000}' => ' ',
        c => c,
    }
}

/// The text as it looks: without invisible characters, full-width forms of ASCII being ASCII.
pub fn plain(text: &str) -> Cow<'_, str> {
    if text.chars().any(|c| is_invisible(c) || narrow(c) != c) {
        text.chars().filter(|&c| !is_invisible(c)).map(narrow).collect()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the tables of the regex crate, character by character. A Unicode that is newer there may add scripts.
    #[test]
    fn digits_are_those_of_unicode() {
        let digit = Regex::new(r"^\p{Nd}$").expect("valid");
        for c in '\0'..=char::MAX {
            assert_eq!(
                decimal(c).is_some(),
                digit.is_match(c.encode_utf8(&mut [0; 4])),
                "{:x}",
                c as u32
            );
        }
        for (text, value) in [("0٠०๐０", 0), ("4٤۴४๔４𝟒", 4), ("9٩९๙９𝟵", 9)] {
            assert!(text.chars().all(|c| decimal(c) == Some(value)), "{text}");
        }
    }

    #[test]
    fn characters_have_their_kinds() {
        for c in [
            '中', '々', 'の', 'カ', 'ー', 'ｶ', '𠮷', 'ไ', '\u{e48}', 'ລ', 'က', 'ក', '\u{17d2}',
        ] {
            assert!(is_unspaced(c) && is_word(c), "{c}");
        }
        for c in ['a', 'я', 'ש', 'ع', 'न', '한', '。', '・', '฿', '、', '「', '4'] {
            assert!(!is_unspaced(c), "{c}");
        }
        assert!(is_mark('\u{301}') && is_mark('\u{94d}') && is_mark('ि') && !is_mark('a') && !is_mark('\u{fe0f}'));
        assert!(is_cased('a') && is_cased('Я') && is_cased('𝑥') && !is_cased('中') && !is_cased('ש') && !is_cased('1'));
        assert!(is_hangul('한') && is_hangul('ㅎ') && !is_hangul('中'));
    }

    #[test]
    fn a_plain_text_looks_the_same() {
        assert_eq!(plain("\u{feff}（Ａ）：４２％\u{200b}\u{200f}"), "(A):42%");
        assert_eq!(plain("e\u{301}、。「é」"), "e\u{301}、。「é」");
        assert!(matches!(plain("as it is"), Cow::Borrowed(_)));
    }
}
