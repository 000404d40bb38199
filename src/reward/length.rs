//! Is a response as long as it was asked to be? The term is 1 inside a range and falls linearly outside it, so that a
//! search that starts far from the range still sees which of two responses is nearer.
//!
//! The habit of the field is a penalty for the far end alone: DAPO's soft overlong punishment (Yu et al., arXiv 2503.14476,
//! equation 13; `get_soft_overlong_punishment` in TRL) is 0 up to `max − cache` tokens, falls to −1 at `max`, and stays
//! there. Ours differs in four ways: it is a term in [0, 1] of which more is better; it has a lower end as well; it counts
//! characters or words, which mean the same for every tokenizer; and the width of the slope is the bound itself, not a
//! number of its own.

use serde::{Deserialize, Serialize};

/// What is counted. White space around the text never is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    #[default]
    /// Unicode scalar values: `é` is one or two, depending on how it is written, and an emoji is one or several.
    Characters,
    /// What white space separates. A script that does not separate its words has few: count characters there.
    Words,
}

impl Unit {
    /// How many of them the text has, without white space around it.
    pub fn count(self, text: &str) -> usize {
        match self {
            Self::Characters => text.trim().chars().count(),
            Self::Words => text.split_whitespace().count(),
        }
    }
}

/// The range of lengths that was asked for, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Length {
    /// What is counted.
    pub unit: Unit,
    /// The shortest length with the full term; 0 sets no lower end.
    #[serde(default)]
    pub least: usize,
    /// The longest length with the full term; `usize::MAX`, the default, sets no upper end.
    #[serde(default = "endless")]
    pub most: usize,
}

impl Length {
    /// Refuses a range in which no length lies.
    ///
    /// # Errors
    ///
    /// One sentence, where `least` is above `most`.
    pub fn check(&self) -> Result<(), String> {
        let Self { least, most, .. } = self;
        if least > most {
            return Err(format!(
                "least = {least} is above most = {most}, so no length is right; expected least ≤ most"
            ));
        }
        Ok(())
    }

    /// How well the length fits, in [0, 1]: 1 for a count in `least..=most`, `count / least` below, and above
    /// `1 − (count − most) / most`, but never under 0. So an empty text has 0 where `least` is not 0, a text of half the
    /// least length 0.5, one of one and a half times the greatest length 0.5, and one of twice that or more 0. Where `most` is
    /// 0, anything but an empty text has 0.
    pub fn term(&self, text: &str) -> f64 {
        let count = self.unit.count(text);
        if count < self.least {
            count as f64 / self.least as f64
        } else if count > self.most {
            let excess = (count - self.most) as f64 / (self.most as f64).max(f64::MIN_POSITIVE);
            (1.0 - excess).max(0.0)
        } else {
            1.0
        }
    }
}

fn endless() -> usize {
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(least: usize, most: usize) -> Length {
        let unit = Unit::Words;
        Length { unit, least, most }
    }

    fn of_words(count: usize) -> String {
        "word ".repeat(count)
    }

    #[test]
    fn the_term_is_one_inside_and_falls_on_both_sides() {
        let length = words(4, 8);
        let terms: Vec<f64> = [0, 1, 2, 3, 4, 8, 9, 10, 12, 15, 16, 17, 1000]
            .map(|count| length.term(&of_words(count)))
            .to_vec();
        assert_eq!(
            terms,
            [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 0.875, 0.75, 0.5, 0.125, 0.0, 0.0, 0.0]
        );
    }

    #[test]
    fn an_end_may_be_left_open() {
        assert_eq!(words(0, 8).term(""), 1.0);
        assert_eq!(words(0, usize::MAX).term(&of_words(10_000)), 1.0);
        assert_eq!(words(0, 0).term(" \n"), 1.0);
        assert_eq!(words(0, 0).term("one"), 0.0);
        assert_eq!(words(usize::MAX, usize::MAX).term(""), 0.0);
        assert!(words(usize::MAX, usize::MAX).term("one") < 1e-18);
    }

    #[test]
    fn characters_are_scalar_values_without_the_space_around() {
        assert_eq!(Unit::Characters.count(" naïve \n"), 5);
        assert_eq!(Unit::Characters.count("東京 です"), 5);
        assert_eq!(Unit::Words.count("東京 です"), 2);
        assert_eq!(Unit::Words.count(" a\u{a0}b\t\nc "), 3);
        assert_eq!(Unit::Words.count(""), 0);
    }

    #[test]
    fn an_empty_range_is_refused_and_harmless() {
        assert!(words(3, 3).check().is_ok());
        let wrong = words(5, 2);
        assert!(wrong.check().unwrap_err().contains("least = 5 is above most = 2"));
        for count in 0..20 {
            assert!((0.0..=1.0).contains(&wrong.term(&of_words(count))));
        }
    }

    #[test]
    fn a_config_names_the_unit() {
        let length: Length = serde_json::from_str(r#"{"unit": "characters", "most": 200}"#).unwrap();
        let unit = Unit::Characters;
        assert_eq!(
            length,
            Length {
                unit,
                least: 0,
                most: 200
            }
        );
        assert!(serde_json::from_str::<Length>(r#"{"unit": "sentences"}"#).is_err());
    }
}
