//! The language of a text, as langdetect 1.0.9 sees it with seed 0 (a port of Nakatani Shuyo's language-detection): a
//! naive Bayes classifier over n-grams of one to three characters, 55 languages of which share one prior. The
//! classifier draws n-grams at random until it is sure, seven times, so Python's random generator is part of it; with
//! another seed a text of few words or of two languages may get another verdict.

use super::text::constant;
use regex::Regex;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Characters that are read, without addresses and superfluous spaces.
const READ: usize = 10_000;
/// Characters among which these are looked for, so that an endless text takes no time.
const LOOKED_AT: usize = 10 * READ;
/// Repetitions, over which probabilities are averaged.
const TRIALS: usize = 7;
/// Smoothing: its mean and its standard deviation over trials, in units of 1/10,000 occurrences.
const ALPHA: f64 = 0.5;
const ALPHA_WIDTH: f64 = 0.05;
/// A trial ends when a language is as probable as this, or after as many draws.
const SURE: f64 = 0.99999;
const DRAWS: usize = 1000;
/// Below this, no language is named.
const PROBABLE: f64 = 0.1;

/// The code of the language, `unknown` if all are improbable, or `None` if no n-gram of the text occurs in any
/// language.
pub fn detect(text: &str) -> Option<&'static str> {
    let profiles = &*PROFILES;
    let grams = profiles.grams(&normalized(text));
    if grams.is_empty() {
        return None;
    }
    let probabilities = profiles.probabilities(&grams);
    let (mut language, mut highest) = ("unknown", PROBABLE);
    for (name, &probability) in profiles.languages.iter().zip(&probabilities) {
        if probability > highest {
            (language, highest) = (name, probability);
        }
    }
    Some(language)
}

/// Whether there is a profile for the language of this code.
pub fn is_known(language: &str) -> bool {
    PROFILES.languages.contains(&language)
}

/// The characters that are looked at: addresses taken out, accents joined with their letters, runs of spaces made
/// one, and Latin letters left out if most letters are others.
fn normalized(text: &str) -> Vec<char> {
    static LINK: LazyLock<Regex> = LazyLock::new(|| constant("https?://[-_.?&~;+=/#0-9A-Za-z]{1,2076}"));
    static MAIL: LazyLock<Regex> =
        LazyLock::new(|| constant("[-_.0-9A-Za-z]{1,64}@[-_0-9A-Za-z]{1,255}[-_.0-9A-Za-z]{1,255}"));
    let end = text.char_indices().nth(LOOKED_AT).map_or(text.len(), |(end, _)| end);
    let text = LINK.replace_all(&text[..end], " ");
    let text = MAIL.replace_all(&text, " ");
    let mut chars = composed(&text);
    chars.truncate(READ);
    let mut before = None;
    chars.retain(|&c| before.replace(c) != Some(' ') || c != ' ');
    let latin = chars.iter().filter(|c| ('A'..='z').contains(c)).count();
    let other = chars
        .iter()
        .filter(|&&c| c >= '\u{300}' && !('\u{1e00}'..='\u{1eff}').contains(&c))
        .count();
    if latin * 2 < other {
        chars.retain(|c| !('A'..='z').contains(c));
    }
    chars
}

/// Joins letters of Vietnamese with the accents behind them. Most of the results are one letter to the profiles (see
/// [`normal`]), so their own code points are of no interest.
fn composed(text: &str) -> Vec<char> {
    const LETTERS: &str = "AEIOUYaeiouyÂÊÔâêôĂăƠơƯư";
    const GRAVE: &str = "AÀEÈIÌOÒUÙaàeèiìoòuù";
    const ACUTE: &str = "AÁEÉIÍOÓUÚYÝaáeéiíoóuúyý";
    const TILDE: &str = "AÃIĨOÕUŨaãiĩoõuũ";
    let mut chars = Vec::with_capacity(text.len());
    for c in text.chars() {
        let table = match c {
            '\u{300}' => GRAVE,
            '\u{301}' => ACUTE,
            '\u{303}' => TILDE,
            '\u{309}' | '\u{323}' => "",
            _ => {
                chars.push(c);
                continue;
            }
        };
        match chars.pop() {
            Some(letter) if LETTERS.contains(letter) => {
                let joined = table.chars().skip_while(|&c| c != letter).nth(1);
                chars.push(joined.unwrap_or('\u{1ec3}'));
            }
            last => chars.extend(last.into_iter().chain([c])),
        }
    }
    chars
}

/// The character that stands for `c` in the profiles, without the classes of Chinese ones: many alphabets' letters
/// are of one kind, and what is no letter is a space.
fn normal(c: char) -> char {
    match c {
        'A'..='Z' | 'a'..='z' => c,
        '\0'..='\x7f' | '\u{a0}' | '«' | '°' | '»' | '\u{2000}'..='\u{206f}' => ' ',
        'ș' => 'ş',
        'ț' => 'ţ',
        '\u{6cc}' => '\u{64a}',
        '\u{1ea0}'..='\u{1eff}' => '\u{1ec3}',
        '\u{3040}'..='\u{309f}' => 'あ',
        '\u{30a0}'..='\u{30ff}' => 'ア',
        '\u{3100}'..='\u{312f}' | '\u{31a0}'..='\u{31bf}' => 'ㄅ',
        '\u{ac00}'..='\u{d7af}' => '가',
        _ => c,
    }
}

static PROFILES: LazyLock<Profiles> = LazyLock::new(|| Profiles::read(include_str!("languages.txt")));

/// How often n-grams occur in the languages.
struct Profiles {
    languages: Vec<&'static str>,
    /// Chinese characters by the one that stands for them.
    classes: HashMap<char, char>,
    /// Each n-gram's range of `frequencies`.
    ranges: HashMap<[char; 3], (usize, usize)>,
    /// The language's index, and the n-gram's share of all that are as long in it.
    frequencies: Vec<(usize, f64)>,
}

impl Profiles {
    fn read(text: &'static str) -> Self {
        let mut languages = Vec::new();
        let mut classes = HashMap::new();
        let mut entries = Vec::new();
        let mut totals = [0.0; 3];
        let mut count = 0;
        for line in text.lines().filter(|line| !line.starts_with("# ")) {
            let mut fields = line[usize::from(line.starts_with(['=', '@']))..].split(' ');
            let first = fields.next().unwrap_or("");
            if line.starts_with('=') {
                let representative = first.chars().next().unwrap_or(' ');
                classes.extend(first.chars().map(|c| (c, representative)));
            } else if line.starts_with('@') {
                languages.push(first);
                fields
                    .zip(&mut totals)
                    .for_each(|(field, total)| *total = field.parse().expect("a number of n-grams"));
                count = 0;
            } else {
                count += first.parse::<u32>().expect("a difference of counts");
                for gram in fields {
                    let chars: Vec<char> = gram.chars().map(|c| if c == '_' { ' ' } else { c }).collect();
                    let share = f64::from(count) / totals[chars.len() - 1];
                    entries.push((key(&chars), languages.len() - 1, share));
                }
            }
        }
        entries.sort_unstable_by_key(|&(key, language, _)| (key, language));
        let mut ranges = HashMap::new();
        for (index, &(key, ..)) in entries.iter().enumerate() {
            ranges.entry(key).or_insert((index, index)).1 = index + 1;
        }
        let frequencies = entries
            .into_iter()
            .map(|(_, language, share)| (language, share))
            .collect();
        Self {
            languages,
            classes,
            ranges,
            frequencies,
        }
    }

    /// The n-grams of the text that some language has, as ranges of `frequencies`. There are none inside of words in
    /// capitals.
    fn grams(&self, text: &[char]) -> Vec<(usize, usize)> {
        let mut grams = Vec::new();
        let mut buffer = vec![' '];
        let mut capitals = false;
        for &c in text {
            let c = normal(c);
            let c = self.classes.get(&c).copied().unwrap_or(c);
            let last = buffer[buffer.len() - 1];
            if last == ' ' {
                buffer = vec![' '];
                capitals = false;
            } else if buffer.len() == 3 {
                buffer.remove(0);
            }
            if c != ' ' || last != ' ' {
                buffer.push(c);
                capitals = c.is_uppercase() && (capitals || last.is_uppercase());
            }
            if capitals {
                continue;
            }
            let ends = (0..buffer.len())
                .rev()
                .map(|start| &buffer[start..])
                .filter(|gram| *gram != [' ']);
            grams.extend(ends.filter_map(|gram| self.ranges.get(&key(gram))));
        }
        grams
    }

    /// The probability of each language, averaged over trials.
    fn probabilities(&self, grams: &[(usize, usize)]) -> Vec<f64> {
        let count = self.languages.len();
        let mut mean = vec![0.0; count];
        let mut random = Random::new();
        for _ in 0..TRIALS {
            let mut trial = vec![1.0 / count as f64; count];
            let weight = (ALPHA + random.normal() * ALPHA_WIDTH) / 10_000.0;
            for draw in 0.. {
                let (start, end) = grams[random.below(grams.len())];
                let mut present = self.frequencies[start..end].iter().peekable();
                for (language, probability) in trial.iter_mut().enumerate() {
                    let share = present
                        .next_if(|&&(index, _)| index == language)
                        .map_or(0.0, |&(_, share)| share);
                    *probability *= weight + share;
                }
                if draw % 5 == 0 {
                    let sum: f64 = trial.iter().sum();
                    trial.iter_mut().for_each(|probability| *probability /= sum);
                    if draw >= DRAWS || trial.iter().any(|&probability| probability > SURE) {
                        break;
                    }
                }
            }
            mean.iter_mut()
                .zip(&trial)
                .for_each(|(mean, trial)| *mean += trial / TRIALS as f64);
        }
        mean
    }
}

/// An n-gram of up to three characters, filled up with NUL, which is in none.
fn key(gram: &[char]) -> [char; 3] {
    let mut key = ['\0'; 3];
    key[..gram.len()].copy_from_slice(gram);
    key
}

/// Python's `random.Random(0)`: the Mersenne Twister MT19937 (Matsumoto and Nishimura, 1998), seeded by an array of
/// one zero.
struct Random {
    state: Vec<u32>,
    at: usize,
    /// The second of a pair of normal numbers.
    spare: Option<f64>,
}

impl Random {
    const WORDS: usize = 624;

    fn new() -> Self {
        let mut state = vec![19_650_218_u32];
        for index in 1..Self::WORDS as u32 {
            let last = state[index as usize - 1];
            state.push((last ^ last >> 30).wrapping_mul(1_812_433_253).wrapping_add(index));
        }
        let mut at = 1;
        for (rounds, factor) in [(Self::WORDS, 1_664_525), (Self::WORDS - 1, 1_566_083_941)] {
            for _ in 0..rounds {
                let last = state[at - 1];
                let mixed = state[at] ^ (last ^ last >> 30).wrapping_mul(factor);
                // The first rounds add the key, which is 0, the others subtract the index.
                let index = if rounds == Self::WORDS { 0 } else { at as u32 };
                state[at] = mixed.wrapping_sub(index);
                at += 1;
                if at == Self::WORDS {
                    state[0] = state[Self::WORDS - 1];
                    at = 1;
                }
            }
        }
        state[0] = 1 << 31;
        Self {
            state,
            at: Self::WORDS,
            spare: None,
        }
    }

    fn word(&mut self) -> u32 {
        if self.at == Self::WORDS {
            for index in 0..Self::WORDS {
                let (next, far) = ((index + 1) % Self::WORDS, (index + 397) % Self::WORDS);
                let y = self.state[index] & 1 << 31 | self.state[next] & !(1 << 31);
                let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[index] = self.state[far] ^ y >> 1 ^ odd;
            }
            self.at = 0;
        }
        let mut word = self.state[self.at];
        self.at += 1;
        word ^= word >> 11;
        word ^= word << 7 & 0x9d2c_5680;
        word ^= word << 15 & 0xefc6_0000;
        word ^ word >> 18
    }

    /// Uniform in [0, 1), with 53 bits.
    fn uniform(&mut self) -> f64 {
        let (high, low) = (self.word() >> 5, self.word() >> 6);
        (f64::from(high) * 67_108_864.0 + f64::from(low)) / 9_007_199_254_740_992.0
    }

    /// Uniform in 0..n, for n of up to 32 bits.
    fn below(&mut self, n: usize) -> usize {
        let bits = usize::BITS - n.leading_zeros();
        loop {
            let drawn = (self.word() >> (32 - bits)) as usize;
            if drawn < n {
                return drawn;
            }
        }
    }

    /// Standard normal, by the method of Box and Muller.
    fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let angle = self.uniform() * std::f64::consts::TAU;
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        self.spare = Some(angle.sin() * radius);
        angle.cos() * radius
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected languages are those of langdetect 1.0.9 with seed 0.
    #[test]
    fn languages_are_those_of_langdetect() {
        let cases = [
            ("The quick brown fox jumps over the lazy dog.", "en"),
            ("Bonjour, comment allez-vous ?", "fr"),
            ("¿Dónde está la biblioteca?", "es"),
            ("यह एक वाक्य है और यह हिन्दी में है।", "hi"),
            ("Habari za asubuhi rafiki yangu", "sw"),
            ("これは日本語の文章です。", "ja"),
            ("한국어 문장입니다", "ko"),
            ("今天天气很好", "zh-cn"),
            ("ನಮಸ್ಕಾರ", "kn"),
            ("Tôi yêu tiếng Việt", "vi"),
            ("To\u{302}i ye\u{302}u tie\u{302}\u{301}ng Vie\u{323}\u{302}t", "vi"),
            ("Inlays", "tl"),
            ("YES", "cy"),
            ("FARE\nINSIG\nA.\nHT\nANALYTICS", "en"),
            ("A", "tl"),
        ];
        for (text, language) in cases {
            assert_eq!(detect(text), Some(language), "{text}");
        }
        assert!(is_known("en") && is_known("zh-cn") && !is_known("xx") && !is_known(""));
    }

    #[test]
    fn a_text_without_letters_has_no_language() {
        for text in ["", " ", "1234 !?", "http://example.com/en me@example.org", "🎉", "\0"] {
            assert_eq!(detect(text), None, "{text}");
        }
    }

    #[test]
    fn a_long_text_takes_no_time() {
        for text in ["a", "the ", "@", "a@b", "http://", "  ", "東", "\u{301}"] {
            detect(&text.repeat(200_000));
        }
        assert_eq!(detect(&"the house ".repeat(100_000)), Some("en"));
    }

    #[test]
    fn random_numbers_are_those_of_python() {
        let mut random = Random::new();
        let close = |a: f64, b: f64| (a - b).abs() < 1e-15;
        assert!(close(random.normal(), 0.9417154046806644) && close(random.normal(), -1.3965781047011498));
        let drawn: Vec<usize> = (0..8).map(|_| random.below(1000)).collect();
        assert_eq!(drawn, [430, 41, 265, 988, 523, 497, 414, 940]);
        assert!(close(random.uniform(), 0.7837985890347726));
        // Past the first 624 words.
        let mut random = Random::new();
        let drawn: Vec<usize> = (0..700).map(|_| random.below(16)).collect();
        assert_eq!(drawn[695..], [10, 4, 6, 5, 14]);
    }
}
