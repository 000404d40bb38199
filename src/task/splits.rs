//! Keeps the splits of a task apart. A prompt belongs to one split only: test keeps all of its prompts, validation
//! loses those that test has, and train loses those that either has, so what judges a run is never what the run saw.
//! Prompts are the same when their words are: letter case and white space do not make another prompt. Within one split
//! nothing is removed, because a data set's own repetitions are part of its published scores.

use super::{Example, Split};
use crate::digest::sha256;
use crate::error::{Error, Result};
use std::collections::HashSet;

/// The examples of a task, one list a split, with no prompt in two of them.
#[derive(Debug)]
pub struct Splits {
    pub(super) train: Vec<Example>,
    pub(super) validation: Vec<Example>,
    pub(super) test: Vec<Example>,
    /// Examples that train lost because validation or test has their prompt.
    pub(super) removed_from_train: usize,
    /// Examples that validation lost because test has their prompt.
    pub(super) removed_from_validation: usize,
    /// Examples that train lost because supervised learning has seen them.
    pub(super) set_apart: usize,
}

impl Splits {
    /// Removes from train what validation or test has, and from validation what test has: a prompt that is in two splits stays in the
    /// one that is looked at last.
    pub(super) fn new(mut train: Vec<Example>, mut validation: Vec<Example>, test: Vec<Example>) -> Self {
        let removed_from_validation = remove(&mut validation, &test);
        let removed_from_train = remove(&mut train, &test) + remove(&mut train, &validation);
        Self {
            train,
            validation,
            test,
            removed_from_train,
            removed_from_validation,
            set_apart: 0,
        }
    }

    /// Removes from train the prompts that supervised learning has seen, by their [`prompt_key`]. An error where validation or test has one
    /// of them, because a score on them would be one of memory, or where nothing is left to search on.
    pub fn set_apart(&mut self, seen: &HashSet<String>) -> Result<()> {
        for (examples, name) in [(&self.test, "test"), (&self.validation, "validation")] {
            let known: Vec<&Example> = examples
                .iter()
                .filter(|example| seen.contains(&prompt_key(example)))
                .collect();
            if let Some(first) = known.first() {
                return Err(Error::config(format!(
                    "{} of {} prompts of the task's {name} split were rows of the warm start, the first of them `{}`; a score on them would be one of \
                     memory: train the adapter on other rows (data.train, or data.size of the task's own train rows), or give {name} another file",
                    known.len(),
                    examples.len(),
                    first.id
                )));
            }
        }
        let before = self.train.len();
        self.train.retain(|example| !seen.contains(&prompt_key(example)));
        self.set_apart = before - self.train.len();
        if self.train.is_empty() {
            return Err(Error::config(format!(
                "all {before} rows of the task's train split were rows of the warm start, so none is left for the search; set data.size of the warm \
                 start to fewer"
            )));
        }
        Ok(())
    }

    pub(super) fn get(&self, split: Split) -> &[Example] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }
}

/// Removes from `examples` those whose prompt is also in `protected`; returns how many.
fn remove(examples: &mut Vec<Example>, protected: &[Example]) -> usize {
    let prompts: HashSet<String> = protected.iter().map(prompt).collect();
    let before = examples.len();
    examples.retain(|example| !prompts.contains(&prompt(example)));
    before - examples.len()
}

/// A short name of what makes two prompts the same: 32 hexadecimal digits of a SHA-256.
pub fn prompt_key(example: &Example) -> String {
    let mut key = sha256(prompt(example));
    key.truncate(32);
    key
}

/// What makes two prompts the same.
pub(super) fn prompt(example: &Example) -> String {
    let turns = example
        .messages
        .iter()
        .flat_map(|message| [message.role.as_str(), message.content.as_str()]);
    let words: Vec<&str> = turns.flat_map(str::split_whitespace).collect();
    words.join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Message;

    fn examples(prompts: &[&str]) -> Vec<Example> {
        let example = |prompt: &&str| Example {
            id: prompt.to_string(),
            messages: vec![Message::user(*prompt)],
            ..Example::default()
        };
        prompts.iter().map(example).collect()
    }

    #[test]
    fn test_keeps_all_and_train_gives_way() {
        let train = examples(&["a", "b", "c", " C\n", "d", "d"]);
        let splits = Splits::new(train, examples(&["b", "C"]), examples(&["c", "a", "a"]));
        assert_eq!(splits.get(Split::Test), examples(&["c", "a", "a"]));
        assert_eq!(splits.get(Split::Validation), examples(&["b"]));
        assert_eq!(splits.get(Split::Train), examples(&["d", "d"]));
        assert_eq!((splits.removed_from_validation, splits.removed_from_train), (1, 4));
    }

    #[test]
    fn what_supervised_learning_has_seen_is_not_searched_on_and_never_scored() {
        let splits = || Splits::new(examples(&["a", "b"]), examples(&["c"]), examples(&["d"]));
        let seen = |prompts: &[&str]| examples(prompts).iter().map(prompt_key).collect::<HashSet<_>>();
        let mut some = splits();
        some.set_apart(&seen(&["B ", "x"])).expect("one is left");
        assert_eq!(
            (some.get(Split::Train), some.set_apart),
            (examples(&["a"]).as_slice(), 1)
        );
        for (prompts, named) in [
            (["d", "x"], "test split"),
            (["c", "x"], "validation split"),
            (["a", "b"], "none is left"),
        ] {
            let error = splits().set_apart(&seen(&prompts)).expect_err("a leak").to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
