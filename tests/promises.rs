//! The promises of the design, each a test that bears its number: base weights are never written (1), a mixed batch is
//! its parts (2), int8 does not depend on the batch (3), no noise is shared (5), failure is data (6).

mod support;

use essa::adapter::peft::PeftAdapter;
use essa::engine::{Engine, Limits, Request, Sampling, ScoreRequest};
use essa::model::Products;
use essa::model::{Module, Precision, Transformer, Weights};
use essa::seed::Seed;
use essa::space::Space;
use essa::space::lora_svd::{Offsets, lora_svd};
use essa::strategy::StrategyConfig;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use support::{Item, bank, engine, fixture, greedy, json};

const CASE: &str = "qwen2-tied-gqa3";
const CANDIDATES: usize = 5;
const PRECISIONS: [Precision; 4] = [Precision::F32, Precision::Bf16, Precision::Int8, Precision::Int4];

/// A model, the paper's space on it, and a few distinct candidates.
fn population(precision: Precision) -> (Engine, Space, Vec<Vec<f64>>) {
    let (weights, engine) = engine(&fixture(CASE), precision);
    let adapter = PeftAdapter::read(&fixture(CASE).join("adapter"), weights.config()).expect("an adapter");
    let modules = [Module::Q, Module::K, Module::V, Module::O];
    let space = lora_svd(&adapter, 1.0, &modules, Offsets::Relative).expect("a space");
    let n = space.layout().dim();
    let thetas = (0..CANDIDATES)
        .map(|member| Seed::new(11).fold(member as u64).normals(n))
        .collect();
    (engine, space, thetas)
}

fn requests(sampling: Sampling) -> Vec<Request> {
    let items: Vec<Item> = json(&fixture(CASE).join("reference.json"));
    let one = |candidate: usize, index: usize, item: &Item| Request {
        sampling,
        // The same uniform numbers for every candidate.
        seed: Seed::new(3).fold(index as u64),
        stop: vec![5, 17],
        ..greedy(item.prompt_ids.clone(), 12 + index, candidate)
    };
    let all = (0..CANDIDATES).flat_map(|candidate| items.iter().enumerate().map(move |(i, item)| (candidate, i, item)));
    all.map(|(candidate, index, item)| one(candidate, index, item))
        .collect()
}

#[test]
fn promise_1_base_weights_are_never_written() {
    for precision in PRECISIONS {
        let (mut engine, space, thetas) = population(precision);
        let before = engine.model().digest();
        let bank = bank(&space, &engine, &thetas);
        engine
            .generate(&requests(Sampling::default()), Some(&bank), &mut || true)
            .expect("texts");
        assert_eq!(engine.model().digest(), before, "{precision:?}");
    }
}

/// What a digest leaves out could be written without anybody seeing it: every tensor of a model counts, in every precision,
/// norms and biases among them, and in the twin that serves GPUs.
#[test]
fn promise_1_no_weight_is_left_out_of_the_digest() {
    let digests = |folder: &Path| -> Vec<(String, String)> {
        let weights = Weights::open(folder).expect("a model");
        let digests = PRECISIONS.into_iter().flat_map(|precision| {
            let fused = Transformer::load(&weights, precision.into()).expect("a model");
            let plain = |products| Transformer::load_plain(&weights, precision.into(), products).expect("a model");
            [
                (format!("{precision:?}"), fused.digest()),
                (format!("{precision:?}, reference"), plain(Products::Reference).digest()),
                (format!("{precision:?}, library"), plain(Products::Library).digest()),
            ]
        });
        digests.collect()
    };
    // Biases, with a head of its own and without, and none.
    for case in ["qwen2-untied-gqa4", CASE, "llama-untied-gqa3"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::copy(fixture(case).join("config.json"), folder.path().join("config.json")).expect("a config");
        let file = folder.path().join("model.safetensors");
        let bytes = std::fs::read(fixture(case).join("model.safetensors")).expect("a model");
        std::fs::write(&file, &bytes).expect("a model");
        let expected = digests(folder.path());
        assert_eq!(digests(folder.path()), expected, "{case}: the same weights");
        let data = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
        let header: BTreeMap<String, Value> = serde_json::from_slice(&bytes[8..data]).expect("a header");
        for (name, entry) in header.iter().filter(|(name, _)| *name != "__metadata__") {
            // The last number of the tensor, far from where it was in any precision.
            let end = data + entry["data_offsets"][1].as_u64().expect("an offset") as usize;
            let number: &[u8] = match entry["dtype"].as_str() {
                Some("F32") => &[0, 0, 0x40, 0x40],
                Some("BF16") => &[0x40, 0x40],
                Some("F16") => &[0, 0x42],
                other => panic!("{name} is {other:?}"),
            };
            let mut changed = bytes.clone();
            changed[end - number.len()..end].copy_from_slice(number);
            assert_ne!(changed, bytes, "{name}");
            std::fs::write(&file, changed).expect("another model");
            for ((how, found), (_, expected)) in digests(folder.path()).iter().zip(&expected) {
                assert_ne!(found, expected, "{case} in {how}: the digest does not see {name}");
            }
            // Groups of equal numbers have equal steps and scales in int4, and only their minimums differ.
            if case == CASE {
                let filled = |number: &[u8]| {
                    let mut changed = bytes.clone();
                    let start = data + entry["data_offsets"][0].as_u64().expect("an offset") as usize;
                    changed[start..end]
                        .chunks_exact_mut(number.len())
                        .for_each(|own| own.copy_from_slice(number));
                    std::fs::write(&file, changed).expect("another model");
                    digests(folder.path())
                };
                let threes = filled(number);
                let twos = filled(if number.len() == 4 {
                    &[0, 0, 0, 0x40]
                } else {
                    &[0, 0x40]
                });
                for ((how, threes), (_, twos)) in threes.iter().zip(&twos) {
                    assert_ne!(threes, twos, "{case} in {how}: filled with 3 and with 2, {name}");
                }
            }
        }
    }
}

#[test]
fn promise_2_a_mixed_batch_is_what_its_candidates_write_alone() {
    let sampled = Sampling {
        temperature: 0.8,
        top_p: 0.95,
        top_k: 40,
    };
    for precision in [Precision::F32, Precision::Int8] {
        for sampling in [Sampling::default(), sampled] {
            let (mut engine, space, thetas) = population(precision);
            let mixed = bank(&space, &engine, &thetas);
            let requests = requests(sampling);
            let together = engine
                .generate(&requests, Some(&mixed), &mut || true)
                .expect("texts")
                .expect("not stopped");
            for (request, expected) in requests.iter().zip(&together) {
                let alone = bank(&space, &engine, &thetas[request.candidate..=request.candidate]);
                let request = Request {
                    candidate: 0,
                    ..request.clone()
                };
                let written = engine
                    .generate(&[request], Some(&alone), &mut || true)
                    .expect("texts")
                    .expect("not stopped");
                assert_eq!(written[0], *expected, "{precision:?} {sampling:?}");
            }
            let texts: HashSet<_> = together.iter().map(|completion| &completion.token_ids).collect();
            assert!(
                texts.len() > together.len() / 2,
                "the candidates differ, so the test could fail"
            );
        }
    }
}

/// The same texts in other orders, in batches cut by a small cache and few rows a step: the same bits.
#[test]
fn promise_3_int8_does_not_depend_on_the_batch() {
    let (mut whole, space, thetas) = population(Precision::Int8);
    let items: Vec<Item> = json(&fixture(CASE).join("reference.json"));
    let requests: Vec<ScoreRequest> = (0..CANDIDATES)
        .flat_map(|candidate| items.iter().map(move |item| item.score_request(candidate)))
        .collect();
    let all = bank(&space, &whole, &thetas);
    let expected = whole.score(&requests, Some(&all)).expect("scores");
    for shuffle in 0..6 {
        let mut order: Vec<usize> = (0..requests.len()).collect();
        Seed::new(shuffle).shuffle(&mut order);
        let weights = Weights::open(&fixture(CASE)).expect("a model");
        let model = Transformer::load(&weights, Precision::Int8.into()).expect("a model");
        let limits = Limits {
            cache_bytes: model.block_bytes() * (5 + 4 * shuffle as usize),
            rows: 3 + 17 * shuffle as usize,
        };
        let mut engine = Engine::new(model, limits);
        let part = bank(&space, &engine, &thetas);
        let shuffled: Vec<ScoreRequest> = order.iter().map(|&index| requests[index].clone()).collect();
        let found = engine.score(&shuffled, Some(&part)).expect("scores");
        for (found, &index) in found.iter().zip(&order) {
            let bits = |scores: &[f32]| scores.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(found), bits(&expected[index]), "shuffle {shuffle}, text {index}");
        }
    }
}

/// And on one thread or two.
#[test]
fn promise_3_int8_does_not_depend_on_threads() {
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    let three = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("a pool");
    let score = || {
        let (mut engine, space, thetas) = population(Precision::Int8);
        let items: Vec<Item> = json(&fixture(CASE).join("reference.json"));
        let all = bank(&space, &engine, &thetas);
        let requests: Vec<ScoreRequest> = items.iter().map(|item| item.score_request(2)).collect();
        let scores = engine.score(&requests, Some(&all)).expect("scores");
        (
            engine.model().digest(),
            scores.concat().iter().map(|x| x.to_bits()).collect::<Vec<u32>>(),
        )
    };
    assert_eq!(one.install(score), three.install(score));
}

/// No number of any candidate's noise appears twice: not between seeds, generations, members or slots of a vector.
#[test]
fn promise_5_no_noise_is_shared() {
    let mut seen = HashSet::new();
    for seed in 1..=4 {
        let n = 40;
        let config = StrategyConfig::default();
        let mut strategy = config
            .build(n, &vec![0.0; n], Seed::new(seed).named("strategy"))
            .expect("a strategy");
        for _ in 0..4 {
            for member in 0..strategy.population() {
                for z in strategy.ask(member) {
                    assert!(
                        seen.insert(z.to_bits()),
                        "seed {seed}, generation {}",
                        strategy.generation()
                    );
                }
            }
            let fitness: Vec<_> = (0..strategy.population())
                .map(|m| essa::search::Fitness::new(m as f64))
                .collect();
            strategy.tell(&fitness);
        }
    }
}
