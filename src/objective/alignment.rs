//! The objective that the engine exists for: candidates of an adapter space on a language model, judged by a task.

use super::bench::Bench;
use super::drift::{Asking, Drift, Reference};
use super::exam::{Exam, Prepared, Seat};
use super::references::{References, WITHOUT};
use super::{Asks, Item, Labels, Objective, Questions, Rollout};
use crate::adapter::peft::PeftAdapter;
use crate::adapter::{AdapterBank, Learned};
use crate::config::{ReferenceConfig, RunConfig};
use crate::digest::hex;
use crate::engine::{Completion, Engine, Finish, Limits, Request, Sampling, ScoreRequest};
use crate::error::{Error, Result};
use crate::files::cache_folder;
use crate::judge::{Judge, RewardConfig, Said, Scope};
use crate::language_model::LanguageModel;
use crate::model::LoadOptions;
use crate::search::{Layout, start};
use crate::seed::Seed;
use crate::space::Space;
use crate::space::mix::{Per, mix};
use crate::task::{Split, Task, TaskConfig};
use crate::text::Text;
use crate::threads::{self, Node};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A language model, an adapter space on it, and a task.
pub struct Alignment {
    opened: LanguageModel,
    space: Space,
    bank: AdapterBank,
    /// What candidates are searched by.
    exam: Exam,
    /// Other tasks, which only watch.
    off_task: Vec<Exam>,
    /// What a candidate's distance from the reference is measured on.
    drift: Drift,
    /// The same from the start.
    from_start: Drift,
    sampling: Sampling,
    /// How every candidate chooses its tokens whatever its space says; none where the space may say.
    fixed: Option<Sampling>,
    max_new_tokens: usize,
    /// What the adapter's config calls the base model.
    base_name: String,
    /// What the start says of texts that a judge compares with it.
    references: References,
    /// Where they are kept, if anywhere.
    references_folder: Option<PathBuf>,
    /// How the model is held in memory, as far as that decides its numbers.
    held: String,
    /// What the next response is known by; never used twice, so that a verdict that comes late is nobody else's.
    ticket: usize,
}

/// What an evaluation works with, each borrowed by itself.
struct Parts<'a> {
    engine: &'a mut Engine,
    text: &'a Text,
    bank: &'a AdapterBank,
    examples: &'a [Prepared],
    judge: &'a mut dyn Judge,
    continuations: &'a BTreeMap<Split, Vec<Vec<Vec<u32>>>>,
    ticket: &'a mut usize,
    references: &'a mut References,
}

impl Alignment {
    /// Puts the parts together and tokenizes every prompt of the task; its judges begin, weighed as `reward` says.
    pub fn new(
        opened: LanguageModel,
        space: Space,
        task: Box<dyn Task>,
        reward: &RewardConfig,
        generation: (Sampling, usize),
        base_name: String,
    ) -> Result<Self> {
        let (sampling, max_new_tokens) = generation;
        let exam = Exam::new(
            task,
            &Split::ALL,
            reward,
            opened.text()?,
            max_new_tokens,
            opened.weights.config(),
        )?;
        let bank = space.bank(opened.engine.model());
        Ok(Self {
            opened,
            space,
            bank,
            exam,
            off_task: Vec::new(),
            drift: Drift::new(Reference::Start, Seed::new(0)),
            from_start: Drift::new(Reference::Start, Seed::new(0).named("from the start")),
            sampling,
            fixed: None,
            max_new_tokens,
            base_name,
            references: References::default(),
            references_folder: None,
            held: String::new(),
            ticket: 0,
        })
    }

    /// Model, space and task of a config. What is quick to check comes first, and waits for no model.
    pub fn open(config: &RunConfig, node: Node, say: &(dyn Fn(&str) + Sync)) -> Result<Self> {
        threads::set(config.model.threads, node);
        if let Some(adapter) = config.adapters().find(|adapter| !adapter.exists()) {
            return Err(Error::file(adapter, "is not there, expected a PEFT LoRA directory"));
        }
        let (task, off_tasks) = (open_own_task(config)?, open_off_tasks(config)?);
        task.notes().iter().for_each(|note| say(note));
        let options = LoadOptions {
            device: config.model.device.of_rank(node.rank),
            ..config.model.options()
        };
        let limits = Limits::of_cache(config.model.cache_gib);
        let opened = LanguageModel::open(&config.model.path, options, limits)?;
        let space = config.open_space(&opened.weights, say)?;
        let base_name = config.model.path.to_string_lossy().into_owned();
        let generation = (config.sampling(), config.generation.max_new_tokens);
        let mut alignment = Self::new(opened, space, task, &config.reward, generation, base_name)?;
        alignment.watch(config, off_tasks)?;
        let compares = |seat: &Seat| seat.judge.compares_with_start();
        let exams = || std::iter::once(&alignment.exam).chain(&alignment.off_task);
        if exams().any(|exam| compares(&exam.judge) || exam.train_judge.as_ref().is_some_and(compares)) {
            alignment.keep_references(&cache_folder().join("references"), &format!("{options:?}"), say)?;
        }
        Ok(alignment)
    }

    /// Keeps what the start says of texts in this folder, which only saves time: where it cannot be written, `say` hears of it. `held` says how
    /// the model is held in memory; numbers of models that are held otherwise are others.
    pub fn keep_references(&mut self, folder: &Path, held: &str, say: &(dyn Fn(&str) + Sync)) -> Result<()> {
        held.clone_into(&mut self.held);
        self.references = References::of(self.start_digest()?);
        self.references_folder = Some(folder.to_path_buf());
        if let Err(error) = self.references.keep_in(folder) {
            say(&format!("{error}; {WITHOUT}"));
            self.references_folder = None;
        }
        Ok(())
    }

    /// Opens what the run watches beside its task: the reference of its drift, and other tasks.
    fn watch(&mut self, config: &RunConfig, tasks: Vec<Box<dyn Task>>) -> Result<()> {
        let reference = match &config.drift.reference {
            ReferenceConfig::Start => Reference::Start,
            ReferenceConfig::Base => Reference::Base,
            ReferenceConfig::Average(adapters) => {
                let model = self.opened.weights.config();
                let adapters = adapters.iter().map(|path| PeftAdapter::read(path, model));
                let space = mix(&adapters.collect::<Result<Vec<_>>>()?, Per::Adapter);
                let mut bank = space.bank(self.opened.engine.model());
                space.fill(&mut bank, &[start(space.layout().dim())]);
                Reference::Average(bank)
            }
        };
        self.drift = Drift::new(reference, Seed::new(config.seed).named("drift"));
        for (name, task) in config.drift.tasks.keys().zip(tasks) {
            let (text, model) = (self.opened.text()?, self.opened.weights.config());
            let exam = Exam::new(
                task,
                &LOOKED_AT,
                &RewardConfig::default(),
                text,
                self.max_new_tokens,
                model,
            );
            self.off_task.push(exam.map_err(|error| of_off_task(name, &error))?);
        }
        Ok(())
    }

    /// How far candidates are from the reference, or from the start.
    fn measure_drift(
        &mut self,
        thetas: &[Vec<f64>],
        questions: &Questions,
        items: &[Item],
        report: &mut dyn FnMut(Vec<Rollout>) -> Result<()>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let stop = self.opened.text()?.stop().to_vec();
        let mut asking = Asking {
            engine: &mut self.opened.engine,
            examples: &self.exam.splits[&questions.split],
            questions,
            items,
        };
        let drift = match questions.asks {
            Asks::DriftFromStart => &mut self.from_start,
            _ => &mut self.drift,
        };
        self.space.fill(&mut self.bank, &[start(self.space.layout().dim())]);
        let written = drift.write(&mut asking, &self.bank, &stop, self.max_new_tokens, go_on)?;
        self.space.fill(&mut self.bank, thetas);
        Ok(written && drift.score(&mut asking, &self.bank, report, go_on)?)
    }

    /// SHA-256 of all that decides what the start says of tokens.
    pub fn start_digest(&self) -> Result<[u8; 32]> {
        let mut hash = Sha256::new();
        hash.update(format!("essa {} {}\n", env!("CARGO_PKG_VERSION"), self.held));
        hash.update(self.opened.weights.digest()?);
        hash_bases(&self.bank, &mut hash);
        for number in self.space.line(&start(self.space.layout().dim())) {
            hash.update(number.to_le_bytes());
        }
        // Where each basis stands, and what is between its two sides.
        for (layer, modules) in self.bank.paths().iter().enumerate() {
            for (module, paths) in modules.iter().enumerate() {
                for path in paths {
                    let place = (layer, module, path.rank, path.a_start, path.b_start, &path.core);
                    hash.update(format!("{place:?}"));
                }
            }
        }
        Ok(hash.finalize().into())
    }

    /// Scores what the judge of these questions compares with the start and is not known yet. Returns whether all is known, which it is not when
    /// `go_on` says no. Each rank does so for its own items: in int8 on a CPU a text's numbers do not depend on who computes them.
    fn score_start(&mut self, questions: &Questions, items: &[Item], go_on: &mut dyn FnMut() -> bool) -> Result<bool> {
        if !self.seat(questions).judge.compares_with_start() {
            return Ok(true);
        }
        let asked: BTreeSet<usize> = items.iter().map(|item| questions.indices[item.question]).collect();
        self.space.fill(&mut self.bank, &[start(self.space.layout().dim())]);
        let Parts {
            engine,
            bank,
            examples,
            continuations,
            references,
            ..
        } = self.parts(questions);
        let mut requests: Vec<ScoreRequest> = Vec::new();
        for example in asked {
            let prompt_ids = &examples[example].prompt_ids;
            for ids in &continuations[&questions.split][example] {
                if references.get(prompt_ids, ids).is_none() {
                    requests.push(ScoreRequest {
                        prompt_ids: prompt_ids.clone(),
                        completion_ids: ids.clone(),
                        candidate: 0,
                    });
                }
            }
        }
        if requests.is_empty() {
            return Ok(true);
        }
        let mut learn = |scores: Vec<(usize, Vec<f32>)>| {
            for (request, logarithms) in scores {
                let ScoreRequest {
                    prompt_ids,
                    completion_ids,
                    ..
                } = &requests[request];
                references.learn(prompt_ids, completion_ids, logarithms);
            }
            Ok(())
        };
        let done = engine.score_each(&requests, Some(bank), &mut learn, go_on)?;
        references.save();
        Ok(done)
    }

    /// What θ moves.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// Searches another space of the same model from here on.
    pub fn search(&mut self, space: Space) -> Result<()> {
        self.bank = space.bank(self.opened.engine.model());
        self.space = space;
        if let Some(folder) = self.references_folder.clone() {
            // The start is the same model, but on other bases its last bits may be others. Whatever could not be read was said when it opened.
            let held = std::mem::take(&mut self.held);
            self.keep_references(&folder, &held, &|_| ())?;
        } else {
            self.references = References::default();
        }
        Ok(())
    }

    /// Has every candidate choose its tokens like this from here on; none goes back to the config and what the space searches of it.
    pub fn sample(&mut self, sampling: Option<Sampling>) {
        self.fixed = sampling;
    }

    /// How a candidate chooses its tokens.
    fn sampling_of(&self, theta: &[f64]) -> Sampling {
        if let Some(fixed) = self.fixed {
            return fixed;
        }
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

    /// Whether the judge of these questions asks about given texts, so that nothing is written.
    fn asks_likelihood(&self, questions: &Questions) -> bool {
        self.seat(questions).continuations.contains_key(&questions.split)
    }

    fn exam(&self, questions: &Questions) -> &Exam {
        match questions.asks {
            Asks::OffTask(at) => &self.off_task[at],
            _ => &self.exam,
        }
    }

    fn seat(&self, questions: &Questions) -> &Seat {
        self.exam(questions)
            .seat(questions.asks == Asks::Candidates, questions.split)
    }

    /// Has texts written, and judges them beside.
    fn write(
        &mut self,
        thetas: &[Vec<f64>],
        questions: &Questions,
        items: &[Item],
        report: &mut dyn FnMut(Vec<Rollout>) -> Result<()>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let stop = self.opened.text()?.stop().to_vec();
        let samplings: Vec<Sampling> = thetas.iter().map(|theta| self.sampling_of(theta)).collect();
        let max_new_tokens = self.max_new_tokens;
        let Parts {
            engine,
            text,
            bank,
            examples,
            judge,
            ticket,
            ..
        } = self.parts(questions);
        let asked = |item: Item| &examples[questions.indices[item.question]];
        let request = |item: &Item| Request {
            prompt_ids: asked(*item).prompt_ids.clone(),
            candidate: item.candidate,
            max_new_tokens,
            sampling: samplings[item.candidate],
            seed: questions.stream(*item),
            stop: stop.clone(),
        };
        let requests: Vec<Request> = items.iter().map(request).collect();
        let mut bench = Bench::new(judge, ticket, items);
        let mut hand_in = |completions: Vec<(usize, Completion)>| {
            let said = completions.into_iter().map(|(index, completion)| {
                let response = text.decode(&completion.token_ids);
                let prepared = asked(items[index]);
                let rollout = prepared.rollout(
                    items[index],
                    response.clone(),
                    completion.token_ids.len(),
                    completion.finish,
                );
                (index, rollout, prepared.example.clone(), Said::Text(response))
            });
            bench.hand_in(said.collect(), report)
        };
        let done = engine.generate_each(&requests, Some(bank), &mut hand_in, go_on)?;
        Ok(done && bench.wait(report, go_on)?)
    }

    /// Asks how probable given texts are, and has that judged.
    fn ask(
        &mut self,
        questions: &Questions,
        items: &[Item],
        report: &mut dyn FnMut(Vec<Rollout>) -> Result<()>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let Parts {
            engine,
            bank,
            examples,
            judge,
            continuations,
            ticket,
            references,
            ..
        } = self.parts(questions);
        let compares = judge.compares_with_start();
        let continuations = &continuations[&questions.split];
        let example = |item: Item| questions.indices[item.question];
        // One request a continuation, those of an item one after the other.
        let mut owners: Vec<(usize, usize)> = Vec::new();
        let mut requests: Vec<ScoreRequest> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            for (part, ids) in continuations[example(*item)].iter().enumerate() {
                owners.push((index, part));
                requests.push(ScoreRequest {
                    prompt_ids: examples[example(*item)].prompt_ids.clone(),
                    completion_ids: ids.clone(),
                    candidate: item.candidate,
                });
            }
        }
        let mut found: Vec<Vec<Option<Vec<f32>>>> = items
            .iter()
            .map(|item| vec![None; continuations[example(*item)].len()])
            .collect();
        let mut bench = Bench::new(judge, ticket, items);
        let mut hand_in = |scores: Vec<(usize, Vec<f32>)>| {
            let mut said = Vec::new();
            for (request, logarithms) in scores {
                let (index, part) = owners[request];
                found[index][part] = Some(logarithms);
                if found[index].iter().any(Option::is_none) {
                    continue;
                }
                let all: Vec<Vec<f32>> = std::mem::take(&mut found[index]).into_iter().flatten().collect();
                let prepared = &examples[example(items[index])];
                let tokens = all.iter().map(Vec::len).sum();
                let answer = prepared.example.answer().unwrap_or_default().to_owned();
                let rollout = prepared.rollout(items[index], answer, tokens, Finish::Stop);
                let start = |ids: &Vec<u32>| {
                    let known = references.get(&prepared.prompt_ids, ids);
                    known.expect("scored before the candidates").to_vec()
                };
                let said_of_it = if compares {
                    Said::AgainstStart {
                        candidate: all,
                        start: continuations[example(items[index])].iter().map(start).collect(),
                    }
                } else {
                    Said::Logarithms(all)
                };
                said.push((index, rollout, prepared.example.clone(), said_of_it));
            }
            bench.hand_in(said, report)
        };
        let done = engine.score_each(&requests, Some(bank), &mut hand_in, go_on)?;
        Ok(done && bench.wait(report, go_on)?)
    }

    /// What an evaluation works with, each borrowed by itself.
    fn parts(&mut self, questions: &Questions) -> Parts<'_> {
        let exam = match questions.asks {
            Asks::OffTask(at) => &mut self.off_task[at],
            _ => &mut self.exam,
        };
        let (seat, examples) = exam.seat_mut(questions.asks == Asks::Candidates, questions.split);
        let LanguageModel { engine, text, .. } = &mut self.opened;
        Parts {
            engine,
            text: text.as_ref().expect("an alignment has a tokenizer"),
            bank: &self.bank,
            examples,
            judge: &mut *seat.judge,
            continuations: &seat.continuations,
            ticket: &mut self.ticket,
            references: &mut self.references,
        }
    }
}

impl Objective for Alignment {
    fn layout(&self) -> &Layout {
        self.space.layout()
    }

    fn examples(&self, split: Split) -> usize {
        self.exam.task.examples(split).len()
    }

    fn off_task_examples(&self, task: usize, split: Split) -> usize {
        self.off_task[task].task.examples(split).len()
    }

    fn scope(&self, questions: &Questions) -> Scope {
        self.seat(questions).judge.scope()
    }

    fn evaluate(
        &mut self,
        thetas: &[Vec<f64>],
        questions: &Questions,
        items: &[Item],
        report: &mut dyn FnMut(Vec<Rollout>) -> Result<()>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        if matches!(questions.asks, Asks::Drift | Asks::DriftFromStart) {
            return self.measure_drift(thetas, questions, items, report, go_on);
        }
        let asks_likelihood = self.asks_likelihood(questions);
        if asks_likelihood && !self.score_start(questions, items, go_on)? {
            return Ok(false);
        }
        self.space.fill(&mut self.bank, thetas);
        if asks_likelihood {
            self.ask(questions, items, report, go_on)
        } else {
            self.write(thetas, questions, items, report, go_on)
        }
    }

    fn digest(&self) -> Result<String> {
        let mut hash = Sha256::new();
        hash.update(self.opened.weights.digest()?);
        for exam in std::iter::once(&self.exam).chain(&self.off_task) {
            for split in Split::ALL {
                hash.update(serde_json::to_vec(exam.task.examples(split)).expect("JSON of text"));
            }
        }
        if let Reference::Average(bank) = &self.drift.reference {
            hash_bases(bank, &mut hash);
        }
        hash_bases(&self.bank, &mut hash);
        Ok(hex(&hash.finalize()))
    }

    fn export(&self, theta: &[f64], directory: &Path) -> Result<()> {
        self.space
            .write(theta, directory, self.opened.weights.config(), &self.base_name)
    }

    fn labels(&self) -> Result<Labels> {
        let file = self.opened.weights.path().file_name();
        Ok(Labels {
            model: file.map_or(String::new(), |name| name.to_string_lossy().into_owned()),
            model_sha256: self.opened.weights.digest()?.into(),
            task: self.exam.task.name(),
        })
    }
}

fn hash_bases(bank: &AdapterBank, hash: &mut Sha256) {
    let paths = bank.paths().iter().flatten().flatten();
    for number in paths.flat_map(|path| [&path.v, &path.ut]).flatten() {
        hash.update(number.to_le_bytes());
    }
}

/// A task that only watches: its mean is looked at on the validation split, and at the end on the test split.
fn open_off_task(name: &str, config: &TaskConfig) -> Result<Box<dyn Task>> {
    let task = config.open().map_err(|error| of_off_task(name, &error))?;
    if LOOKED_AT.iter().any(|split| task.examples(*split).is_empty()) {
        let what =
            "its validation or its test split is empty; the mean is looked at on the one, and at the end on the other";
        return Err(of_off_task(name, &what));
    }
    Ok(task)
}

/// The splits on which the mean is looked at.
const LOOKED_AT: [Split; 2] = [Split::Validation, Split::Test];

fn of_off_task(name: &str, what: &dyn std::fmt::Display) -> Error {
    Error::config(format!("drift.tasks.{name}: {what}"))
}

/// The task of a config, where its data are enough for the run and whatever judges it is there, and so are the tasks that it only watches: all that
/// can be said before a model is opened.
pub fn open_task(config: &RunConfig) -> Result<Box<dyn Task>> {
    let task = open_own_task(config)?;
    open_off_tasks(config)?;
    Ok(task)
}

fn open_off_tasks(config: &RunConfig) -> Result<Vec<Box<dyn Task>>> {
    let tasks = config.drift.tasks.iter();
    tasks.map(|(name, task)| open_off_task(name, task)).collect()
}

fn open_own_task(config: &RunConfig) -> Result<Box<dyn Task>> {
    let mut task = config.task.open()?;
    // What an adapter was trained on judges nobody who begins from it.
    for adapter in config.adapters() {
        if let Some(learned) = Learned::read(adapter)? {
            task.set_apart(&learned.prompts.into_iter().collect())?;
        }
    }
    check_examples(config, &|split| task.examples(split).len())?;
    config.reward.check_files()?;
    Ok(task)
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
        if examples(split) < config.drift.texts {
            return Err(Error::config(format!(
                "drift.texts is {}, and the task's {name} split has only {} examples, to each of which the reference writes one",
                config.drift.texts,
                examples(split)
            )));
        }
    }
    Ok(())
}
