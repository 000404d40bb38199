//! Does a response say the same thing again and again? The term is the share of its word n-grams that are distinct: 1
//! where none comes twice, near 0 where the text is one phrase in a loop, which is how language models break down.
//!
//! It is the penalty of Yeo et al. (arXiv 2502.03373, appendix C.2; `get_repetition_penalty_reward` in TRL and open-r1),
//! `(1 − distinct / all) · max_penalty` with a negative `max_penalty`, turned around so that more is better: ours is 1 plus
//! theirs at `max_penalty = −1`. Like open-r1 it counts words, not tokens, in lower case. A text too short to have an n-gram
//! has the full term, an empty one included: something else must reward saying anything at all.

use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Longest word, in characters, that counts as one. A longer one counts as its characters, each a word: it is writing
/// without spaces (Chinese, Japanese, Thai) or a loop without spaces (`hahaha…`, `0000…`), in which words show nothing.
const LONGEST_WORD: usize = 20;

/// How many words make a phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repetition {
    /// Words in an n-gram; 0 counts as 1. Good prose of a few hundred words has next to no repeated 4-grams and some
    /// repeated 2-grams; in scripts without spaces, where characters are counted, take a few more.
    pub n: usize,
}

impl Repetition {
    /// Distinct n-grams over all n-grams, in (0, 1]; 1 for a text with fewer than `n` words. Words are what white space
    /// separates, in lower case, punctuation included. Takes time and memory in proportion to the text times `n`.
    pub fn term(&self, text: &str) -> f64 {
        let text = text.to_lowercase();
        let words: Vec<&str> = text.split_whitespace().flat_map(pieces).collect();
        let ngrams = words.windows(self.n.max(1));
        let all = ngrams.len();
        if all == 0 {
            return 1.0;
        }
        ngrams.collect::<HashSet<_>>().len() as f64 / all as f64
    }
}

/// The word, or its characters where it is too long for one.
fn pieces(word: &str) -> Vec<&str> {
    if word.chars().nth(LONGEST_WORD).is_none() {
        return vec![word];
    }
    word.char_indices()
        .map(|(start, c)| &word[start..start + c.len_utf8()])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(n: usize, text: &str) -> f64 {
        Repetition { n }.term(text)
    }

    #[test]
    fn values_computed_by_hand() {
        // a-b b-a a-b: two of three.
        assert_eq!(term(2, "a b a b"), 2.0 / 3.0);
        // the-cat cat-sat sat-the the-cat cat-ran: four of five.
        assert_eq!(term(2, "the cat sat the cat ran"), 4.0 / 5.0);
        assert_eq!(term(1, "the cat sat the cat ran"), 4.0 / 6.0);
        assert_eq!(term(3, "the cat sat the cat ran"), 1.0);
        assert_eq!(term(3, "no no no no no no"), 0.25);
        // TRL's own example, turned around: 5 5 5 5 5 has 0.75 of its 2-grams repeated.
        assert_eq!(term(2, "5 5 5 5 5"), 1.0 - 0.75);
        assert_eq!(term(2, "1 2 3 4"), 1.0);
    }

    #[test]
    fn case_and_white_space_make_no_difference() {
        assert_eq!(term(1, "Yes yes\n YES"), 1.0 / 3.0);
        assert_eq!(term(2, "It is. it\tis.  IT IS."), 2.0 / 5.0);
    }

    #[test]
    fn short_texts_do_not_repeat() {
        for text in ["", " \n", "one", "one one"] {
            assert_eq!(term(3, text), 1.0, "{text:?}");
        }
        assert_eq!(term(usize::MAX, "a a a"), 1.0);
        assert_eq!(term(0, "a a"), 0.5);
    }

    #[test]
    fn writing_without_spaces_counts_by_characters() {
        assert_eq!(term(4, "今天天气很好，我们一起去公园散步，看看花，然后回家吃饭。"), 1.0);
        assert!(term(4, &"我很好，".repeat(50)) < 0.03);
        assert!(term(3, &"ha".repeat(200)) < 0.01);
        assert!(term(3, &"0".repeat(1000)) < 0.01);
        // Twenty characters are one word, twenty-one are so many.
        assert_eq!(term(1, &"a".repeat(20)), 1.0);
        assert_eq!(term(1, &"é".repeat(21)), 1.0 / 21.0);
    }

    #[test]
    fn long_texts_are_read_in_time() {
        assert_eq!(term(4, &"again and ".repeat(500_000)), 2.0 / 999_997.0);
        let counted: Vec<String> = (0..200_000).map(|i| i.to_string()).collect();
        assert_eq!(term(4, &counted.join(" ")), 1.0);
    }
}
