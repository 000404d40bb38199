//! The objective that the engine exists for: candidates of an adapter space on a language model, judged by a task.

use super::{Item, Labels, Objective, Questions, Rollout};
use crate::adapter::AdapterBank;
use crate::config::RunConfig;
use crate::digest::hex;
use crate::engine::{Completion, Finish, Limits, Request, Sampling, ScoreRequest};
use crate::error::{Error, Result};
use crate::language_model::LanguageModel;
use crate::model::{LoadOptions, ModelConfig};
use crate::search::Layout;
use crate::space::Space;
use crate::task::{Example, Split, Task};
use crate::text::Text;
use crate::threads::{self, Node};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// A language model, an adapter space on it, and a task.
pub struct Alignment {
    opened: LanguageModel,
    space: Space,
    bank: AdapterBank,
    task: Box<dyn Task>,
    sampling: Sampling,
    max_new_tokens: usize,
    /// What the adapter's config calls the base model.
    base_name: String,
    /// Prompts by split, tokenized once a run.
    prompts: BTreeMap<&'static str, Vec<Vec<u32>>>,
    /// The answers that training examples are graded by; none where the task grades none.
    answers: Vec<Vec<u32>>,
}

impl Alignment {
    /// Puts the parts together and tokenizes every prompt of the task.
    pub fn new(
        opened: LanguageModel,
        space: Space,
        task: Box<dyn Task>,
        sampling: Sampling,
        max_new_tokens: usize,
        base_name: String,
    ) -> Result<Self> {
        let text = opened.text()?;
        let mut prompts = BTreeMap::new();
        for split in [Split::Train, Split::Validation, Split::Test] {
            let ids = tokenize(text, task.examples(split), max_new_tokens, opened.weights.config())?;
            prompts.insert(name(split), ids);
        }
        let graded = task.examples(Split::Train).par_iter().filter_map(|example| {
            let (answer, _) = task.graded_by(example)?;
            Some(text.answer_ids(&example.messages, answer))
        });
        let answers = graded.collect::<Result<Vec<Vec<u32>>>>()?;
        assert!(
            answers.is_empty() || answers.len() == task.examples(Split::Train).len(),
            "a task grades all of its examples or none"
        );
        let bank = space.bank(opened.engine.model());
        Ok(Self {
            opened,
            space,
            bank,
            task,
            sampling,
            max_new_tokens,
            base_name,
            prompts,
            answers,
        })
    }

    /// Model, space and task of a config. What is quick to check comes first, and waits for no model.
    pub fn open(config: &RunConfig, node: Node, say: &(dyn Fn(&str) + Sync)) -> Result<Self> {
        threads::set(config.model.threads, node);
        if let Some(adapter) = config.adapters().find(|adapter| !adapter.exists()) {
            return Err(Error::file(adapter, "is not there, expected a PEFT LoRA directory"));
        }
        let task = config.task.open()?;
        task.notes().iter().for_each(|note| say(note));
        check_examples(config, &|split| task.examples(split).len())?;
        let options = LoadOptions {
            device: config.model.device.of_rank(node.rank),
            ..config.model.options()
        };
        let limits = Limits::of_cache(config.model.cache_gib);
        let opened = LanguageModel::open(&config.model.path, options, limits)?;
        let space = config.open_space(&opened.weights, say)?;
        let base_name = config.model.path.to_string_lossy().into_owned();
        let max_new_tokens = config.generation.max_new_tokens;
        Self::new(opened, space, task, config.sampling(), max_new_tokens, base_name)
    }

    /// What θ moves.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// Searches another space of the same model from here on.
    pub fn search(&mut self, space: Space) {
        self.bank = space.bank(self.opened.engine.model());
        self.space = space;
    }

    /// How a candidate chooses its tokens.
    fn sampling_of(&self, theta: &[f64]) -> Sampling {
        let mut sampling = self.sampling;
        for (setting, value) in self.space.decoding(theta) {
            setting.put(&mut sampling, value);
        }
        sampling
    }

    /// The model and its engine.
    pub fn opened(&self) -> &LanguageModel {
        &self.opened
    }

    /// Has texts written, and judges them.
    fn write_and_judge(
        &mut self,
        thetas: &[Vec<f64>],
        questions: &Questions,
        items: &[Item],
        report: &mut dyn FnMut(Vec<Rollout>) -> Result<()>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let (split, prompts) = (questions.split, &self.prompts[name(questions.split)]);
        let stop = self.opened.text()?.stop().to_vec();
        let samplings: Vec<Sampling> = thetas.iter().map(|theta| self.sampling_of(theta)).collect();
        let LanguageModel { engine, text, .. } = &mut self.opened;
        let text = text.as_ref().expect("asked for above");
        let example = |item: Item| questions.indices[item.question];
        let request = |item: &Item| Request {
            prompt_ids: prompts[example(*item)].clone(),
            candidate: item.candidate,
            max_new_tokens: self.max_new_tokens,
            sampling: samplings[item.candidate],
            seed: questions.seed.fold(example(*item) as u64),
            stop: stop.clone(),
        };
        let requests: Vec<Request> = items.iter().map(request).collect();
        let judge = |(index, completion): &(usize, Completion)| {
            let item = items[*index];
            let example = &self.task.examples(split)[example(item)];
            let response = text.decode(&completion.token_ids);
            Rollout {
                item,
                prompt_id: example.id.clone(),
                prompt: last_turn(example),
                verdict: self.task.judge(example, &response),
                completion: response,
                prompt_tokens: requests[*index].prompt_ids.len(),
                tokens: completion.token_ids.len(),
                finish_reason: completion.finish,
            }
        };
        let mut report = |completions: Vec<(usize, Completion)>| report(completions.par_iter().map(judge).collect());
        engine.generate_each(&requests, Some(&self.bank), &mut report, go_on)
    }

    /// Asks how probable the right answers are. The reward is the probability that a text sampled at temperature 1 is the
    /// answer and nothing else: the expectation of an exact match, without its noise.
    fn grade(
        &mut self,
        questions: &Questions,
        items: &[Item],
        report: &mut dyn FnMut(Vec<Rollout>) -> Result<()>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let (examples, prompts) = (self.task.examples(Split::Train), &self.prompts[name(Split::Train)]);
        let example = |item: Item| questions.indices[item.question];
        let request = |item: &Item| ScoreRequest {
            prompt_ids: prompts[example(*item)].clone(),
            completion_ids: self.answers[example(*item)].clone(),
            candidate: item.candidate,
        };
        let requests: Vec<ScoreRequest> = items.iter().map(request).collect();
        let rollout = |(index, logarithms): &(usize, Vec<f32>)| {
            let (item, request) = (items[*index], &requests[*index]);
            let example = &examples[example(item)];
            let (answer, grade) = self.task.graded_by(example).expect("a graded example");
            Rollout {
                item,
                prompt_id: example.id.clone(),
                prompt: last_turn(example),
                completion: answer.into(),
                verdict: grade.verdict(logarithms),
                prompt_tokens: request.prompt_ids.len(),
                tokens: request.completion_ids.len(),
                finish_reason: Finish::Stop,
            }
        };
        let mut report = |scores: Vec<(usize, Vec<f32>)>| report(scores.iter().map(rollout).collect());
        let engine = &mut self.opened.engine;
        engine.score_each(&requests, Some(&self.bank), &mut report, go_on)
    }
}

impl Objective for Alignment {
    fn layout(&self) -> &Layout {
        self.space.layout()
    }

    fn examples(&self, split: Split) -> usize {
        self.task.examples(split).len()
    }

    fn evaluate(
        &mut self,
        thetas: &[Vec<f64>],
        questions: &Questions,
        items: &[Item],
        report: &mut dyn FnMut(Vec<Rollout>) -> Result<()>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        self.space.fill(&mut self.bank, thetas);
        if questions.graded && questions.split == Split::Train && !self.answers.is_empty() {
            self.grade(questions, items, report, go_on)
        } else {
            self.write_and_judge(thetas, questions, items, report, go_on)
        }
    }

    fn digest(&self) -> Result<String> {
        let mut hash = Sha256::new();
        hash.update(self.opened.weights.digest()?);
        for split in [Split::Train, Split::Validation, Split::Test] {
            hash.update(serde_json::to_vec(self.task.examples(split)).expect("JSON of text"));
        }
        let floats = self.bank.paths().iter().flatten().flatten();
        for number in floats.flat_map(|path| [&path.v, &path.ut]).flatten() {
            hash.update(number.to_le_bytes());
        }
        Ok(hex(&hash.finalize()))
    }

    fn export(&self, theta: &[f64], directory: &Path) -> Result<()> {
        self.space.write(theta, directory, &self.base_name)
    }

    fn labels(&self) -> Result<Labels> {
        let file = self.opened.weights.path().file_name();
        Ok(Labels {
            model: file.map_or(String::new(), |name| name.to_string_lossy().into_owned()),
            model_sha256: self.opened.weights.digest()?.into(),
            task: self.task.name(),
        })
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

/// Whether a task's splits, which have so many examples, are enough for a run.
pub fn check_examples(config: &RunConfig, examples: &dyn Fn(Split) -> usize) -> Result<()> {
    let train = examples(Split::Train);
    let most = config.run.prompts_max.unwrap_or(0).max(config.run.prompts);
    if most > train {
        return Err(Error::config(format!(
            "run.prompts or run.prompts_max is {most}, but the task has only {train} training examples"
        )));
    }
    for (split, name) in [(Split::Validation, "validation"), (Split::Test, "test")] {
        if examples(split) == 0 {
            return Err(Error::config(format!(
                "the task's {name} split is empty; a run needs examples to judge its mean by"
            )));
        }
    }
    Ok(())
}

fn last_turn(example: &Example) -> String {
    let last = example.messages.last();
    last.map_or(String::new(), |message| message.content.clone())
}

fn name(split: Split) -> &'static str {
    match split {
        Split::Train => "train",
        Split::Validation => "validation",
        Split::Test => "test",
    }
}
