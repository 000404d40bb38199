//! Where responses wait for their verdicts: handed to the judge as they end, while the engine writes on, and reported when they are judged.

use super::{Item, Rollout};
use crate::error::Result;
use crate::judge::{Example, Judge, Response, Said, Scope};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The longest time for which nobody asks whether to go on.
const TURN: Duration = Duration::from_millis(100);

/// One evaluation's responses.
pub struct Bench<'a> {
    judge: &'a mut dyn Judge,
    /// The ticket of the first item.
    first: usize,
    /// Without their verdicts yet, by ticket.
    pending: BTreeMap<usize, Rollout>,
    /// Responses to a question that are handed in together, and how many there will be; nothing where each is judged by itself.
    held: BTreeMap<usize, (Vec<Response>, usize)>,
}

/// A response that has ended: the number of its item, what came of it, and what was said to what.
pub type Ended = (usize, Rollout, Arc<Example>, Said);

impl<'a> Bench<'a> {
    /// For these items; takes a ticket for each.
    pub fn new(judge: &'a mut dyn Judge, ticket: &mut usize, items: &[Item]) -> Self {
        let first = *ticket;
        *ticket += items.len();
        let mut held = BTreeMap::new();
        if judge.scope() == Scope::Question {
            for item in items {
                held.entry(item.question).or_insert((Vec::new(), 0)).1 += 1;
            }
        }
        Self {
            judge,
            first,
            pending: BTreeMap::new(),
            held,
        }
    }

    /// Hands responses to the judge, and reports those that are judged.
    pub fn hand_in(&mut self, ended: Vec<Ended>, report: &mut dyn FnMut(Vec<Rollout>) -> Result<()>) -> Result<()> {
        let mut ready = Vec::with_capacity(ended.len());
        for (index, rollout, example, said) in ended {
            let ticket = self.first + index;
            let response = Response { ticket, example, said };
            match self.held.get_mut(&rollout.item.question) {
                None => ready.push(response),
                Some((together, all)) => {
                    together.push(response);
                    if together.len() == *all {
                        // In the order of the items, whoever ended first.
                        together.sort_by_key(|response| response.ticket);
                        ready.append(together);
                    }
                }
            }
            self.pending.insert(ticket, rollout);
        }
        if self.held.is_empty() {
            self.judge.submit(ready);
        } else {
            let question = |response: &Response| self.pending[&response.ticket].item.question;
            let groups: Vec<Vec<Response>> = ready
                .chunk_by(|a, b| question(a) == question(b))
                .map(<[Response]>::to_vec)
                .collect();
            groups.into_iter().for_each(|group| self.judge.submit(group));
        }
        self.take(Duration::ZERO, report)
    }

    /// Waits for the verdicts that are missing. False when `go_on` says no before they have come.
    pub fn wait(
        &mut self,
        report: &mut dyn FnMut(Vec<Rollout>) -> Result<()>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        while !self.pending.is_empty() {
            if !go_on() {
                return Ok(false);
            }
            self.take(TURN, report)?;
        }
        Ok(true)
    }

    fn take(&mut self, wait: Duration, report: &mut dyn FnMut(Vec<Rollout>) -> Result<()>) -> Result<()> {
        let mut judged = Vec::new();
        // What an evaluation that was broken off handed in has other tickets.
        self.judge.poll(wait, &mut |ticket, verdict| {
            if let Some(mut rollout) = self.pending.remove(&ticket) {
                rollout.verdict = verdict;
                judged.push(rollout);
            }
        });
        if judged.is_empty() { Ok(()) } else { report(judged) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Finish;
    use crate::judge::Verdict;

    /// Answers a submission as soon as it is complete, and remembers who came together.
    #[derive(Default)]
    struct Compares {
        groups: Vec<Vec<usize>>,
        judged: Vec<usize>,
    }

    impl Judge for Compares {
        fn scope(&self) -> Scope {
            Scope::Question
        }

        fn submit(&mut self, responses: Vec<Response>) {
            self.groups
                .push(responses.iter().map(|response| response.ticket).collect());
            self.judged.extend(responses.iter().map(|response| response.ticket));
        }

        fn poll(&mut self, _: Duration, sink: &mut dyn FnMut(usize, Verdict)) {
            // A verdict to a ticket of an earlier evaluation is nobody's here.
            sink(0, Verdict::new(9.0, []));
            for ticket in self.judged.drain(..) {
                sink(ticket, Verdict::new(ticket as f64, []));
            }
        }
    }

    #[test]
    fn responses_to_a_question_are_handed_in_together() {
        let items: Vec<Item> = (0..2)
            .flat_map(|candidate| {
                (0..2).map(move |question| Item {
                    candidate,
                    question,
                    sample: 0,
                })
            })
            .collect();
        let ended = |index: usize| {
            let rollout = Rollout {
                item: items[index],
                prompt_id: String::new(),
                prompt: String::new(),
                completion: String::new(),
                verdict: Verdict::default(),
                prompt_tokens: 1,
                tokens: 1,
                finish_reason: Finish::Stop,
            };
            (index, rollout, Arc::new(Example::default()), Said::Text(String::new()))
        };
        let (mut judge, mut ticket, mut reported) = (Compares::default(), 100, Vec::new());
        let mut report = |some: Vec<Rollout>| {
            reported.extend(some);
            Ok(())
        };
        let mut bench = Bench::new(&mut judge, &mut ticket, &items);
        for index in [3, 0, 2, 1] {
            bench.hand_in(vec![ended(index)], &mut report).expect("reports");
        }
        assert!(bench.wait(&mut report, &mut || false).expect("nothing is missing"));
        assert_eq!(ticket, 104);
        // Item 2 completes question 0, item 1 question 1; each group is in the order of its items.
        assert_eq!(judge.groups, [[100, 102], [101, 103]]);
        let rewards: Vec<(Item, f64)> = reported
            .iter()
            .map(|rollout| (rollout.item, rollout.verdict.reward))
            .collect();
        assert_eq!(
            rewards,
            [
                (items[0], 100.0),
                (items[2], 102.0),
                (items[1], 101.0),
                (items[3], 103.0)
            ]
        );
    }
}
