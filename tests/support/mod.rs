//! What the test programs share: where fixtures and data lie, and how references are read.
#![allow(dead_code)]

pub mod gguf_writer;
pub mod house;
pub mod jobs;
pub mod skip;
pub mod tiny_model;
pub mod watched;

use essa::adapter::AdapterBank;
use essa::engine::{Engine, Limits, Request, Sampling, ScoreRequest};
use essa::model::{Precision, Transformer, Weights};
use essa::seed::Seed;
use essa::space::Space;
use serde::Deserialize;
pub use skip::{Missing, skip};
use std::path::{Path, PathBuf};

/// A file or folder made by a script in `tests/golden`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/fixtures")
        .join(name)
}

/// The reference data: `$ESSA_TEST_DATA`, else `shared/data` beside the checkout. Without it a test is skipped, and says so.
pub fn data(name: &str) -> Option<PathBuf> {
    shared(Missing::Data, "ESSA_TEST_DATA", "../shared/data", name).map(|folder| folder.join(name))
}

/// The folder of reference data, where it has `name`: for tests of which a config names files in it.
pub fn data_folder_with(name: &str) -> Option<PathBuf> {
    shared(Missing::Data, "ESSA_TEST_DATA", "../shared/data", name)
}

/// A small input on which the program once was wrong: in `$ESSA_TEST_CASES`, else in `shared/cases` beside the checkout.
pub fn cases(name: &str) -> Option<PathBuf> {
    shared(Missing::Cases, "ESSA_TEST_CASES", "../shared/cases", name).map(|folder| folder.join(name))
}

fn shared(missing: Missing, variable: &str, beside: &str, name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(variable)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(beside));
    if folder.join(name).exists() {
        return Some(folder);
    }
    skip(
        missing,
        &format!("{} is not there; set {variable}", folder.join(name).display()),
    );
    None
}

/// The real model that set-up fetched: `$ESSA_MODEL`.
pub fn real_model() -> Option<PathBuf> {
    let path = std::env::var_os("ESSA_MODEL")
        .map(PathBuf::from)
        .filter(|path| path.exists());
    if path.is_none() {
        skip(Missing::Model, "ESSA_MODEL names no real model; run `make setup`");
    }
    path
}

/// One text with the reference's probabilities and greedy continuation.
#[derive(Clone, Debug, Deserialize)]
pub struct Item {
    pub prompt_ids: Vec<u32>,
    pub completion_ids: Vec<u32>,
    pub logprobs: Vec<f32>,
    pub greedy_ids: Vec<u32>,
}

impl Item {
    pub fn score_request(&self, candidate: usize) -> ScoreRequest {
        ScoreRequest {
            prompt_ids: self.prompt_ids.clone(),
            completion_ids: self.completion_ids.clone(),
            candidate,
        }
    }

    pub fn greedy_request(&self, candidate: usize) -> Request {
        greedy(self.prompt_ids.clone(), self.greedy_ids.len(), candidate)
    }
}

pub fn greedy(prompt_ids: Vec<u32>, max_new_tokens: usize, candidate: usize) -> Request {
    Request {
        prompt_ids,
        candidate,
        max_new_tokens,
        sampling: Sampling::default(),
        seed: Seed::new(0),
        stop: Vec::new(),
    }
}

pub fn json<T: for<'a> Deserialize<'a>>(path: &Path) -> T {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The model of a fixture in an engine.
pub fn engine(path: &Path, precision: Precision) -> (Weights, Engine) {
    let weights = Weights::open(path).expect("a model that opens");
    let model = Transformer::load(&weights, precision.into()).expect("a model that loads");
    (weights, Engine::new(model, Limits::default()))
}

/// A bank with these candidates over the space.
pub fn bank(space: &Space, engine: &Engine, thetas: &[Vec<f64>]) -> AdapterBank {
    let mut bank = space.bank(engine.model());
    space.fill(&mut bank, thetas);
    bank
}

/// The largest difference of the log-probabilities, and whether all greedy tokens agree.
pub fn assert_agrees(name: &str, engine: &mut Engine, bank: Option<AdapterBank>, candidate: usize, items: &[Item]) {
    let bank = bank.as_ref();
    let scores: Vec<ScoreRequest> = items.iter().map(|item| item.score_request(candidate)).collect();
    let found = engine.score(&scores, bank).expect("scores");
    for (index, (found, item)) in found.iter().zip(items).enumerate() {
        assert_eq!(found.len(), item.logprobs.len());
        for (found, expected) in found.iter().zip(&item.logprobs) {
            assert!(
                (found - expected).abs() <= 1e-4,
                "{name}, item {index}: log-probability {found}, expected {expected}"
            );
        }
    }
    let requests: Vec<Request> = items.iter().map(|item| item.greedy_request(candidate)).collect();
    let written = engine
        .generate(&requests, bank, &mut || true)
        .expect("texts")
        .expect("not stopped");
    for (index, (written, item)) in written.iter().zip(items).enumerate() {
        assert_eq!(
            written.token_ids, item.greedy_ids,
            "{name}, item {index}: greedy tokens"
        );
    }
}
