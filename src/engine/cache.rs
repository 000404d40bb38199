//! Who has which part of the key-value cache. A sequence takes one run of tokens, its prompt and its token budget
//! long, when it enters a batch, and gives it back when it is finished.

use std::ops::Range;

/// The free runs of a cache, in order, none touching the next.
#[derive(Debug)]
pub struct Slots {
    free: Vec<Range<usize>>,
}

impl Slots {
    /// A cache of `tokens` tokens, all free.
    pub fn new(tokens: usize) -> Self {
        let whole = 0..tokens;
        Self { free: vec![whole] }
    }

    /// Takes `tokens` neighbouring tokens out of the first free run that has them.
    pub fn allot(&mut self, tokens: usize) -> Option<Range<usize>> {
        let index = self.free.iter().position(|run| run.len() >= tokens)?;
        let run = &mut self.free[index];
        let taken = run.start..run.start + tokens;
        run.start = taken.end;
        if run.start == run.end {
            self.free.remove(index);
        }
        Some(taken)
    }

    /// Gives a taken run back.
    pub fn give_back(&mut self, run: Range<usize>) {
        let index = self.free.partition_point(|free| free.start < run.start);
        self.free.insert(index, run);
        if self
            .free
            .get(index + 1)
            .is_some_and(|next| next.start == self.free[index].end)
        {
            self.free[index].end = self.free.remove(index + 1).end;
        }
        if index > 0 && self.free[index - 1].end == self.free[index].start {
            self.free[index - 1].end = self.free.remove(index).end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_do_not_overlap_and_melt_together_again() {
        let mut slots = Slots::new(100);
        let runs: Vec<_> = (0..10)
            .map(|_| slots.allot(10).expect("room for ten times ten"))
            .collect();
        assert_eq!(slots.allot(1), None);
        assert!(runs.windows(2).all(|pair| pair[0].end <= pair[1].start));
        for index in [3, 1, 2, 9, 0, 8, 7, 5, 6, 4] {
            slots.give_back(runs[index].clone());
        }
        assert_eq!(slots.allot(100), Some(0..100));
    }
}
