//! The engine: token ids in, token ids out. Prompts are prefilled and continued in one kind of step: every step takes
//! the waiting tokens of each sequence, up to a number of rows, so prefill and decode mix, a finished sequence leaves
//! at once, and the next one in the queue takes its place in the cache. Prompts of a candidate that begin alike share what
//! they have in common. Rows of one step may belong to different
//! candidates. The engine knows nothing of text; [`crate::text`] does.

mod cache;
mod sampling;

use crate::adapter::AdapterBank;
use crate::error::{Error, Result};
use crate::model::kernels::{self, BLOCK, RowAddress};
use crate::model::{AdapterRows, Batch, Head, Transformer, Workspace};
use crate::seed::Seed;
use cache::{Blocks, Table};
use rayon::prelude::*;
pub use sampling::Sampling;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Instant;

/// One prompt for one candidate.
#[derive(Clone, Debug)]
pub struct Request {
    /// The prompt.
    pub prompt_ids: Vec<u32>,
    /// Line of the bank; ignored without one.
    pub candidate: usize,
    /// At most this many tokens are written.
    pub max_new_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The stream of this text's uniform numbers; token t uses `seed.fold(t)`.
    pub seed: Seed,
    /// Tokens that end the text; they are not part of it.
    pub stop: Vec<u32>,
}

/// What was written for one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// The tokens, without the one that ended the text.
    pub token_ids: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
    /// The token that ended it, if one did.
    pub stop: Option<u32>,
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finish {
    /// The model wrote a stop token.
    Stop,
    /// The token budget was used up.
    Length,
}

/// A text whose tokens' probabilities are asked for.
#[derive(Clone, Debug)]
pub struct ScoreRequest {
    /// What is given; at least one token.
    pub prompt_ids: Vec<u32>,
    /// What is scored.
    pub completion_ids: Vec<u32>,
    /// Line of the bank; ignored without one.
    pub candidate: usize,
}

/// Where an engine's time went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct EngineStats {
    /// Tokens of prompts that were read.
    pub prompt_tokens: usize,
    /// Tokens of prompts that were not read because another prompt of the candidate begins with the same ones.
    pub reused_tokens: usize,
    /// Tokens written.
    pub completion_tokens: usize,
    /// Seconds spent on prompt rows: a step's time is shared out by its rows.
    pub prefill_s: f64,
    /// Seconds spent on the rows of written tokens.
    pub decode_s: f64,
}

/// The bounds that keep a batch in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Bytes that the key-value cache may take.
    pub cache_bytes: usize,
    /// Rows of one step: enough to fill the matrix products, few enough to keep activations small.
    pub rows: usize,
}

impl Limits {
    /// With a key-value cache of so many GiB.
    pub fn of_cache(gib: f64) -> Self {
        Self {
            cache_bytes: (gib * (1_u64 << 30) as f64) as usize,
            ..Self::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cache_bytes: 2 << 30,
            rows: 512,
        }
    }
}

/// Rows of logits that are held at a time; each is a vocabulary wide.
const LOGIT_ROWS: usize = 128;

/// A model and the means to run batches through it.
#[derive(Debug)]
pub struct Engine {
    model: Transformer,
    limits: Limits,
    stats: EngineStats,
}

impl Engine {
    /// An engine over `model`.
    pub fn new(model: Transformer, limits: Limits) -> Self {
        Self {
            model,
            limits,
            stats: EngineStats::default(),
        }
    }

    /// The model.
    pub fn model(&self) -> &Transformer {
        &self.model
    }

    /// What was done since the engine was made.
    pub fn stats(&self) -> EngineStats {
        self.stats
    }

    /// Writes a text for every request, in order. `go_on` is asked before every step; when it says no, there is no
    /// result.
    pub fn generate(
        &mut self,
        requests: &[Request],
        bank: Option<&AdapterBank>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Vec<Completion>>> {
        let mut all: Vec<Option<Completion>> = vec![None; requests.len()];
        let mut keep = |some: Vec<(usize, Completion)>| {
            some.into_iter()
                .for_each(|(index, completion)| all[index] = Some(completion));
            Ok(())
        };
        let finished = self.generate_each(requests, bank, &mut keep, go_on)?;
        let complete = || all.into_iter().map(|one| one.expect("every request was finished"));
        Ok(finished.then(|| complete().collect()))
    }

    /// Writes a text for every request and hands each over as soon as it has ended, with the number of its request, those
    /// of one step together. Says whether all were written; they are not when `go_on`, which is asked before every step,
    /// says no. An error of `report` ends the work.
    pub fn generate_each(
        &mut self,
        requests: &[Request],
        bank: Option<&AdapterBank>,
        report: &mut dyn FnMut(Vec<(usize, Completion)>) -> Result<()>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let sequences = requests.iter().map(|request| Sequence {
            tokens: request.prompt_ids.clone(),
            prompt: request.prompt_ids.len(),
            room: request.prompt_ids.len() + request.max_new_tokens,
            cached: 0,
            table: Table::default(),
            candidate: request.candidate,
            work: Work::Write {
                request,
                finish: None,
                stop: None,
            },
        });
        let mut report = |some: Vec<(usize, Sequence)>| {
            report(
                some.into_iter()
                    .map(|(index, done)| (index, done.completion()))
                    .collect(),
            )
        };
        self.run(sequences.collect(), bank, &mut report, go_on)
    }

    /// The natural logarithm of the probability of every completion token, for each request in order.
    pub fn score(&mut self, requests: &[ScoreRequest], bank: Option<&AdapterBank>) -> Result<Vec<Vec<f32>>> {
        let mut scores = vec![Vec::new(); requests.len()];
        let mut keep = |some: Vec<(usize, Vec<f32>)>| {
            some.into_iter().for_each(|(index, score)| scores[index] = score);
            Ok(())
        };
        self.score_each(requests, bank, &mut keep, &mut || true)?;
        Ok(scores)
    }

    /// The same, handed over as [`Engine::generate_each`] hands over texts.
    pub fn score_each(
        &mut self,
        requests: &[ScoreRequest],
        bank: Option<&AdapterBank>,
        report: &mut dyn FnMut(Vec<(usize, Vec<f32>)>) -> Result<()>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let sequences = requests.iter().map(|request| {
            let tokens = [request.prompt_ids.as_slice(), &request.completion_ids].concat();
            Sequence {
                room: tokens.len(),
                tokens,
                prompt: request.prompt_ids.len(),
                cached: 0,
                table: Table::default(),
                candidate: request.candidate,
                work: Work::Score {
                    log_probabilities: Vec::new(),
                },
            }
        });
        let mut report = |some: Vec<(usize, Sequence)>| {
            report(
                some.into_iter()
                    .map(|(index, done)| (index, done.log_probabilities()))
                    .collect(),
            )
        };
        self.run(sequences.collect(), bank, &mut report, go_on)
    }

    /// What a classifier's head says of every sequence, in order: one number each, after its last token that is no padding.
    /// Candidate 0 of the bank reads them.
    pub fn rate(&mut self, sequences: &[Vec<u32>], bank: Option<&AdapterBank>) -> Result<Vec<f32>> {
        let mut scores = vec![0.0; sequences.len()];
        let mut keep = |some: Vec<(usize, f32)>| {
            some.into_iter().for_each(|(index, score)| scores[index] = score);
            Ok(())
        };
        self.rate_each(sequences, bank, &mut keep, &mut || true)?;
        Ok(scores)
    }

    /// The same, handed over as [`Engine::generate_each`] hands over texts.
    pub fn rate_each(
        &mut self,
        sequences: &[Vec<u32>],
        bank: Option<&AdapterBank>,
        report: &mut dyn FnMut(Vec<(usize, f32)>) -> Result<()>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let Head::Score { pad } = self.model.config().head else {
            return Err(Error::mismatch(
                "the model has no score head; only a classifier with one label rates sequences",
            ));
        };
        let sequences = sequences.iter().map(|tokens| {
            // As transformers: of padding alone, the first token speaks.
            let last = tokens.iter().rposition(|&token| Some(token) != pad).unwrap_or(0);
            let tokens = tokens[..tokens.len().min(last + 1)].to_vec();
            Sequence {
                room: tokens.len(),
                prompt: tokens.len(),
                tokens,
                cached: 0,
                table: Table::default(),
                candidate: 0,
                work: Work::Rate { score: None },
            }
        });
        let mut report = |some: Vec<(usize, Sequence)>| {
            report(some.into_iter().map(|(index, done)| (index, done.score())).collect())
        };
        self.run(sequences.collect(), bank, &mut report, go_on)
    }

    /// Tokens that fit into the cache.
    pub fn tokens_that_fit(&self) -> usize {
        self.limits.cache_bytes / self.model.block_bytes() * BLOCK
    }

    /// Brings every sequence to its end, in as few steps as memory allows, unless `go_on` says no.
    fn run<'a>(
        &mut self,
        sequences: Vec<Sequence<'a>>,
        bank: Option<&AdapterBank>,
        report: &mut dyn FnMut(Vec<(usize, Sequence<'a>)>) -> Result<()>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let count = self.cache_blocks(&sequences)?;
        let mut work = self.model.new_workspace(count);
        let mut blocks = Blocks::new(count);
        let mut waiting: VecDeque<(usize, Sequence)> = sequences.into_iter().enumerate().collect();
        let mut active: Vec<(usize, Sequence)> = Vec::new();
        loop {
            while let Some((_, next)) = waiting.front() {
                // Without adapters every candidate is the same model.
                let candidate = if bank.is_some() { next.candidate } else { 0 };
                let Some(table) = blocks.allot(candidate, &next.tokens[..next.prompt], next.room) else {
                    break;
                };
                let (index, mut sequence) = waiting.pop_front().expect("the front was there");
                sequence.cached = table.shared * BLOCK;
                self.stats.reused_tokens += sequence.cached;
                sequence.table = table;
                active.push((index, sequence));
            }
            if active.is_empty() {
                return Ok(true);
            }
            if !go_on() {
                return Ok(false);
            }
            self.step(&mut active, &mut blocks, &mut work, bank)?;
            let done: Vec<_> = active.extract_if(.., |(_, sequence)| sequence.is_done()).collect();
            done.iter().for_each(|(_, sequence)| blocks.give_back(&sequence.table));
            if !done.is_empty() {
                report(done)?;
            }
        }
    }

    /// Blocks to make room for: all of the work at once if memory allows, and the largest sequence in any case.
    fn cache_blocks(&self, sequences: &[Sequence]) -> Result<usize> {
        let context = self.model.config().context;
        let vocab = self.model.config().vocab;
        let affordable = self.limits.cache_bytes / self.model.block_bytes();
        let is_classifier = self.model.config().head != Head::Language;
        for (index, sequence) in sequences.iter().enumerate() {
            let tokens = sequence.room;
            if is_classifier != matches!(sequence.work, Work::Rate { .. }) {
                return Err(Error::mismatch(
                    "the model is a classifier, which rates sequences and has no next token",
                ));
            }
            if sequence.prompt == 0 {
                return Err(Error::mismatch(format!(
                    "prompt {index} has no tokens; expected at least one"
                )));
            }
            if tokens > context {
                return Err(Error::mismatch(format!(
                    "prompt {index} has {} tokens, and {} may follow; the model's context is {context}: shorten the prompt or the budget",
                    sequence.prompt,
                    tokens - sequence.prompt
                )));
            }
            if tokens.div_ceil(BLOCK) > affordable {
                return Err(Error::mismatch(format!(
                    "prompt {index} needs room for {tokens} tokens; the memory limit of {:.2} GiB holds {}",
                    self.limits.cache_bytes as f64 / (1_u64 << 30) as f64,
                    affordable * BLOCK
                )));
            }
            if let Some(token) = sequence.tokens.iter().find(|&&token| token as usize >= vocab) {
                return Err(Error::mismatch(format!(
                    "prompt {index} has token {token}; the model's vocabulary ends at {vocab}"
                )));
            }
        }
        let wanted: usize = sequences.iter().map(|sequence| sequence.room.div_ceil(BLOCK)).sum();
        Ok(wanted.min(affordable))
    }

    /// Runs one batch of rows: first one row of every sequence that is past its prompt, then prompts.
    fn step(
        &mut self,
        active: &mut [(usize, Sequence)],
        blocks: &mut Blocks,
        work: &mut Workspace,
        bank: Option<&AdapterBank>,
    ) -> Result<()> {
        let started = Instant::now();
        let mut left = self.limits.rows;
        let mut counts = vec![0; active.len()];
        for prefill in [false, true] {
            for ((_, sequence), count) in active.iter().zip(&mut counts) {
                if (sequence.pending() > 1) == prefill && blocks.is_ready(&sequence.table) {
                    *count = sequence.pending().min(left);
                    left -= *count;
                    sequence.filled_blocks(*count).for_each(|block| blocks.fill(block));
                }
            }
        }
        let (mut tokens, mut rows, mut candidates) = (Vec::new(), Vec::new(), Vec::new());
        // Rows whose logits are wanted, and whose they are.
        let mut wanted: Vec<(usize, usize)> = Vec::new();
        let mut prompt_rows = 0;
        for (index, ((_, sequence), &count)) in active.iter().zip(&counts).enumerate() {
            for position in sequence.cached..sequence.cached + count {
                if sequence.wants_logits(position) {
                    wanted.push((rows.len(), index));
                }
                prompt_rows += usize::from(position < sequence.prompt);
                tokens.push(sequence.tokens[position]);
                rows.push(RowAddress {
                    blocks: &sequence.table.blocks,
                    position,
                });
                candidates.push(sequence.candidate);
            }
        }
        let adapter = bank.map(|bank| AdapterRows {
            paths: bank.paths(),
            bank: bank.lines(),
            line: bank.line(),
            candidates: &candidates,
        });
        let batch = Batch {
            tokens: &tokens,
            rows: &rows,
            adapter,
        };
        self.model.forward(&batch, work)?;
        let written_rows = rows.len() - prompt_rows;
        for ((_, sequence), count) in active.iter_mut().zip(&counts) {
            sequence.cached += count;
        }
        let (rated, wanted): (Vec<_>, Vec<_>) = wanted
            .into_iter()
            .partition(|(_, index)| matches!(active[*index].1.work, Work::Rate { .. }));
        // Greedy rows need no logits, only their largest.
        let (greedy, others): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|(_, index)| active[*index].1.is_greedy());
        let of = |wanted: &[(usize, usize)]| wanted.iter().map(|(row, _)| *row).collect::<Vec<usize>>();
        if !rated.is_empty() {
            let scores = self.model.scores(work, &of(&rated))?;
            self.answer(active, &rated, scores.into_iter().map(Answer::Score).collect());
        }
        if !greedy.is_empty() {
            let likeliest = self.model.likeliest(work, &of(&greedy))?;
            let answers = likeliest.into_iter().map(Answer::Token);
            self.answer(active, &greedy, answers.collect());
        }
        for wanted in others.chunks(LOGIT_ROWS) {
            let asked = ask(active, wanted);
            let vocab = self.model.config().vocab;
            let logits = self.model.logits(work, &of(wanted))?;
            let answers = logits
                .par_chunks_exact_mut(vocab)
                .zip(&asked)
                .map(|(logits, ask)| ask.answer(logits));
            let answers: Vec<Answer> = answers.collect();
            self.answer(active, wanted, answers);
        }
        let seconds = started.elapsed().as_secs_f64();
        self.stats.prompt_tokens += prompt_rows;
        self.stats.prefill_s += seconds * prompt_rows as f64 / (prompt_rows + written_rows) as f64;
        self.stats.decode_s += seconds * written_rows as f64 / (prompt_rows + written_rows) as f64;
        Ok(())
    }

    fn answer(&mut self, active: &mut [(usize, Sequence)], wanted: &[(usize, usize)], answers: Vec<Answer>) {
        for (&(_, index), answer) in wanted.iter().zip(answers) {
            self.stats.completion_tokens += usize::from(matches!(answer, Answer::Token(_)));
            active[index].1.accept(answer);
        }
    }
}

/// What each row of logits is for.
fn ask(active: &[(usize, Sequence)], wanted: &[(usize, usize)]) -> Vec<Ask> {
    // A sequence that is scored may want several rows of one step: count how many came before.
    let mut seen = vec![0; active.len()];
    let asked = wanted.iter().map(|&(_, index)| {
        seen[index] += 1;
        active[index].1.ask(seen[index] - 1)
    });
    asked.collect()
}

/// One text on its way through the engine.
struct Sequence<'a> {
    /// Prompt and what follows.
    tokens: Vec<u32>,
    /// Tokens of the prompt.
    prompt: usize,
    /// Tokens whose keys and values are in the cache.
    cached: usize,
    /// Tokens that it may come to.
    room: usize,
    /// Its part of the cache; empty until it enters.
    table: Table,
    candidate: usize,
    work: Work<'a>,
}

enum Work<'a> {
    Write {
        request: &'a Request,
        finish: Option<Finish>,
        stop: Option<u32>,
    },
    Score {
        log_probabilities: Vec<f32>,
    },
    Rate {
        score: Option<f32>,
    },
}

/// What a row of logits is for.
enum Ask {
    Choose { sampling: Sampling, uniform: f64 },
    Score { token: u32 },
}

enum Answer {
    Token(u32),
    LogProbability(f32),
    Score(f32),
}

impl Ask {
    fn answer(&self, logits: &mut [f32]) -> Answer {
        match self {
            Self::Choose { sampling, uniform } => Answer::Token(sampling.choose(logits, *uniform) as u32),
            Self::Score { token } => Answer::LogProbability(kernels::log_probability(logits, *token as usize)),
        }
    }
}

impl Sequence<'_> {
    /// Tokens that the model has not read yet and has to.
    fn pending(&self) -> usize {
        match self.work {
            Work::Write { .. } | Work::Rate { .. } => self.tokens.len() - self.cached,
            // Nothing is asked after the last token of a scored text.
            Work::Score { .. } => (self.tokens.len() - 1).max(1) - self.cached,
        }
    }

    /// The blocks whose last token is among the next `count`.
    fn filled_blocks(&self, count: usize) -> impl Iterator<Item = u32> {
        self.table.blocks[self.cached / BLOCK..(self.cached + count) / BLOCK]
            .iter()
            .copied()
    }

    fn is_greedy(&self) -> bool {
        matches!(self.work, Work::Write { request, .. } if request.sampling.is_greedy())
    }

    fn wants_logits(&self, position: usize) -> bool {
        match self.work {
            Work::Write { .. } | Work::Rate { .. } => position + 1 == self.tokens.len(),
            Work::Score { .. } => position + 1 >= self.prompt && position + 1 < self.tokens.len(),
        }
    }

    /// What a row of logits is for: the next one that the sequence waits for, or `ahead` rows after it.
    fn ask(&self, ahead: usize) -> Ask {
        match &self.work {
            Work::Write { request, .. } => {
                let written = (self.tokens.len() - self.prompt) as u64;
                let uniform = request.seed.fold(written).uniform();
                Ask::Choose {
                    sampling: request.sampling,
                    uniform,
                }
            }
            Work::Score { log_probabilities } => Ask::Score {
                token: self.tokens[self.prompt + log_probabilities.len() + ahead],
            },
            Work::Rate { .. } => unreachable!("a score needs no logits"),
        }
    }

    fn accept(&mut self, answer: Answer) {
        match (&mut self.work, answer) {
            (Work::Write { request, finish, stop }, Answer::Token(token)) => {
                if request.stop.contains(&token) {
                    (*finish, *stop) = (Some(Finish::Stop), Some(token));
                } else {
                    self.tokens.push(token);
                    if self.tokens.len() - self.prompt >= request.max_new_tokens {
                        *finish = Some(Finish::Length);
                    }
                }
            }
            (Work::Score { log_probabilities }, Answer::LogProbability(value)) => log_probabilities.push(value),
            (Work::Rate { score }, Answer::Score(value)) => *score = Some(value),
            _ => unreachable!("each kind of work asks for its own kind of answer"),
        }
    }

    fn is_done(&self) -> bool {
        match &self.work {
            Work::Write { request, finish, .. } => finish.is_some() || request.max_new_tokens == 0,
            Work::Score { log_probabilities } => self.prompt + log_probabilities.len() == self.tokens.len(),
            Work::Rate { score } => score.is_some(),
        }
    }

    fn completion(self) -> Completion {
        let Work::Write { finish, stop, .. } = self.work else {
            unreachable!("asked of a text that was written")
        };
        Completion {
            token_ids: self.tokens[self.prompt..].to_vec(),
            finish: finish.unwrap_or(Finish::Length),
            stop,
        }
    }

    fn log_probabilities(self) -> Vec<f32> {
        let Work::Score { log_probabilities } = self.work else {
            unreachable!("asked of a text that was scored")
        };
        log_probabilities
    }

    fn score(self) -> f32 {
        let Work::Rate { score } = self.work else {
            unreachable!("asked of a sequence that was rated")
        };
        score.expect("a sequence that is done")
    }
}
