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
