//! A task that is ready to be put to candidates: its prompts as tokens, its judges at work, and the texts whose probability they ask about,
//! tokenized. The task of a run is one, and so is each task that only watches what the run costs elsewhere.

use super::{Item, Rollout};
use crate::engine::Finish;
use crate::error::{Error, Result};
use crate::judge::kind::Context;
use crate::judge::{Continuation, Judge, RewardConfig};
use crate::model::ModelConfig;
use crate::task::{Example, Split, Task, Verdict};
use crate::text::{Message, Text};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A task, and all that asking its examples takes.
pub struct Exam {
    /// Who gives the examples.
    pub task: Box<dyn Task>,
    /// Examples of the splits that are asked, with their prompts as tokens.
    pub splits: BTreeMap<Split, Vec<Prepared>>,
    /// Who judges the mean.
    pub judge: Seat,
    /// Who judges candidates, where that is somebody else.
    pub train_judge: Option<Seat>,
}

impl Exam {
    /// Tokenizes the prompts of the splits that will be asked, so that the model's context holds each with `max_new_tokens` more; the judges of these
    /// begin, weighed as `reward` says.
    pub fn new(
        task: Box<dyn Task>,
        asked: &[Split],
        reward: &RewardConfig,
        text: &Text,
        max_new_tokens: usize,
        model: &ModelConfig,
    ) -> Result<Self> {
        let mut splits = BTreeMap::new();
        for &split in asked {
            let examples = task.examples(split);
            let ids = tokenize(text, examples, max_new_tokens, model)?;
            let prepared = examples.iter().zip(ids).map(|(example, prompt_ids)| Prepared {
                example: Arc::new(example.clone()),
                prompt_ids,
            });
            splits.insert(split, prepared.collect());
        }
        let weighed = |judge| reward.join(judge, &Context::default());
        let judge = Seat::new(weighed(task.judge()?)?, asked, &splits, text, model.context)?;
        let train_judge = asked.contains(&Split::Train).then(|| task.train_judge()).transpose()?;
        let train_judge = match train_judge.flatten() {
            // Terms of a text have nothing to say where none is written, and the weights are those of texts.
            Some(judge) => Some(Seat::new(judge, &[Split::Train], &splits, text, model.context)?),
            None => None,
        };
        Ok(Self {
            task,
            splits,
            judge,
            train_judge,
        })
    }

    /// Who judges on a split: `candidates` are judged by `train_judge` where there is one, and only on the training split.
    pub fn seat(&self, candidates: bool, split: Split) -> &Seat {
        let train = self
            .train_judge
            .as_ref()
            .filter(|_| candidates && split == Split::Train);
        train.unwrap_or(&self.judge)
    }

    /// The same, and the examples of the split.
    pub fn seat_mut(&mut self, candidates: bool, split: Split) -> (&mut Seat, &[Prepared]) {
        let seat = match &mut self.train_judge {
            Some(seat) if candidates && split == Split::Train => seat,
            _ => &mut self.judge,
        };
        (seat, &self.splits[&split])
    }
}

/// An example that is ready to be asked.
pub struct Prepared {
    /// What the judge knows.
    pub example: Arc<Example>,
    /// What the model is shown.
    pub prompt_ids: Vec<u32>,
}

impl Prepared {
    /// What came of an item, before it is judged.
    pub fn rollout(&self, item: Item, completion: String, tokens: usize, finish_reason: Finish) -> Rollout {
        Rollout {
            item,
            prompt_id: self.example.id.clone(),
            prompt: self
                .example
                .messages
                .last()
                .map_or(String::new(), |message| message.content.clone()),
            completion,
            verdict: Verdict::default(),
            prompt_tokens: self.prompt_ids.len(),
            tokens,
            finish_reason,
        }
    }
}

/// A judge, and the texts whose probability it wants to know.
pub struct Seat {
    /// The judge.
    pub judge: Box<dyn Judge>,
    /// For each example of a split its continuations, tokenized; nothing for a judge that reads texts.
    pub continuations: BTreeMap<Split, Vec<Vec<Vec<u32>>>>,
}

impl Seat {
    /// Tokenizes what the judge asks about, of these splits; the model's context has to hold each text after its prompt.
    fn new(
        judge: Box<dyn Judge>,
        splits: &[Split],
        of: &BTreeMap<Split, Vec<Prepared>>,
        text: &Text,
        context: usize,
    ) -> Result<Self> {
        let mut continuations = BTreeMap::new();
        for split in splits {
            let asked = of[split].iter().map(|prepared| {
                let wanted = judge.continuations(&prepared.example);
                (&prepared.example.messages, wanted)
            });
            let asked: Vec<(&Vec<Message>, Option<Vec<Continuation>>)> = asked.collect();
            let wanted = asked.iter().filter(|(_, wanted)| wanted.is_some()).count();
            assert!(
                wanted == 0 || wanted == asked.len(),
                "a judge asks about all examples or none"
            );
            if wanted > 0 {
                let ids = asked.into_par_iter().map(|(messages, wanted)| {
                    let wanted = wanted.into_iter().flatten();
                    wanted
                        .map(|one| text.answer_ids(messages, &one.text, one.ends))
                        .collect()
                });
                let ids = ids.collect::<Result<Vec<Vec<Vec<u32>>>>>()?;
                for (prepared, texts) in of[split].iter().zip(&ids) {
                    let (prompt, longest) = (prepared.prompt_ids.len(), texts.iter().map(Vec::len).max().unwrap_or(0));
                    if prompt + longest > context {
                        return Err(Error::mismatch(format!(
                            "example `{}` has a prompt of {prompt} tokens and a text of {longest} to be scored after it; the model's context is {context}: shorten or leave out the row",
                            prepared.example.id
                        )));
                    }
                }
                continuations.insert(*split, ids);
            }
        }
        Ok(Self { judge, continuations })
    }
}

/// The prompts of some examples as tokens, of which the model's context has to hold each with `max_new_tokens` more.
pub fn tokenize(
    text: &Text,
    examples: &[Example],
    max_new_tokens: usize,
    model: &ModelConfig,
) -> Result<Vec<Vec<u32>>> {
    let ids = examples.par_iter().map(|example| text.chat_ids(&example.messages));
    let ids = ids.collect::<Result<Vec<Vec<u32>>>>()?;
    let mut prompts = ids.iter().zip(examples);
    match prompts.find(|(ids, _)| ids.len() + max_new_tokens > model.context) {
        Some((ids, example)) => Err(Error::mismatch(format!(
            "example `{}` has {} tokens, and {max_new_tokens} may follow; the model's context is {}: shorten the prompt or generation.max_new_tokens",
            example.id,
            ids.len(),
            model.context
        ))),
        None => Ok(ids),
    }
}
