//! The engine against its plain twin, and against itself alone: the kernels compute what tensor operations compute, and
//! shared prefixes save work and change nothing.

mod support;

use essa::adapter::peft::PeftAdapter;
use essa::engine::{Engine, Limits, ScoreRequest};
use essa::language_model::LanguageModel;
use essa::model::{Device, KvKind, LoadOptions, Module, Precision, Products, Transformer, Weights};
use essa::seed::Seed;
use essa::space::Space;
use essa::space::core::core;
use essa::space::lora_svd::{Offsets, lora_svd};
use essa::space::spectral::{Part, spectral};
use half::f16;
use proptest::prelude::*;
use std::collections::HashSet;
use std::path::Path;
use support::gguf_writer::GgufWriter;
use support::{Item, bank, data, fixture, greedy, json, real_model};

const CASES: [&str; 2] = ["qwen2-tied-gqa3", "llama-untied-gqa3"];

fn load(path: &Path, options: LoadOptions, limits: Limits) -> (Weights, Engine) {
    let weights = Weights::open(path).expect("a model");
    let model = Transformer::load(&weights, options).expect("a model that loads");
    (weights, Engine::new(model, limits))
}

fn twin(weights: &Weights, options: LoadOptions) -> Engine {
    let model = Transformer::load_plain(weights, options, Products::Reference).expect("a model that loads");
    Engine::new(model, Limits::default())
}

fn largest_difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    pairs.fold(0.0, |largest, (a, b)| largest.max((a - b).abs()))
}

/// Small models with adapters, in every precision. A number of an int8 row that falls on the edge between two steps may fall
/// on either side of it, so a few texts may differ by a step; the others agree as floats do.
#[test]
fn the_kernels_compute_what_their_plain_twin_does() {
    for case in CASES {
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8, Precision::Int4] {
            // In f32 the cache rounds nothing, so that what is left is the kernels.
            let options = LoadOptions {
                kv_cache: KvKind::F32,
                ..precision.into()
            };
            let (weights, mut engine) = load(&fixture(case), options, Limits::default());
            let mut twin = twin(&weights, options);
            let adapter = PeftAdapter::read(&fixture(case).join("adapter"), weights.config()).expect("an adapter");
            let space = Space::frozen(&adapter);
            let items: Vec<Item> = json(&fixture(case).join("reference.json"));
            let requests: Vec<ScoreRequest> = items.iter().map(|item| item.score_request(0)).collect();
            let fused_bank = bank(&space, &engine, &[vec![]]);
            let twins_bank = bank(&space, &twin, &[vec![]]);
            let found = engine.score(&requests, Some(&fused_bank)).expect("scores");
            let expected = twin.score(&requests, Some(&twins_bank)).expect("scores");
            let mut differences: Vec<f32> = found
                .iter()
                .flatten()
                .zip(expected.iter().flatten())
                .map(|(a, b)| (a - b).abs())
                .collect();
            differences.sort_by(f32::total_cmp);
            let (median, largest) = (differences[differences.len() / 2], differences[differences.len() - 1]);
            println!("{case} {precision:?}: |Δ log-probability| median {median:.1e}, largest {largest:.1e}");
            assert!(
                median < 1e-5 && largest < 0.03,
                "{case} {precision:?}: {median} {largest}"
            );
            if precision == Precision::F32 {
                assert!(largest < 1e-4);
            }
        }
    }
}

/// Cores that are each candidate's own, beside singular values of an adapter, in a batch of several candidates: the kernels, the
/// twin, and the adapter that leaves say the same.
#[test]
fn composed_spaces_and_cores_are_what_they_export() {
    let options = Precision::F32.into();
    for case in CASES {
        let (weights, mut engine) = load(&fixture(case), options, Limits::default());
        let mut twin = twin(&weights, options);
        let cache = tempfile::tempdir().expect("a folder");
        let adapter = PeftAdapter::read(&fixture(case).join("adapter"), weights.config()).expect("an adapter");
        let modules = [Module::Q, Module::O, Module::Down];
        let base = || spectral(&weights, Part::Principal, 3, &modules, cache.path(), &|_| ()).expect("a space");
        let svd = || lora_svd(&adapter, 1.0, &modules, Offsets::Relative).expect("a space");
        let composed = Space::compose([("a", core(base(), &modules)), ("b", svd())]);
        for (what, space) in [
            ("core", core(base(), &modules)),
            ("lora-core", core(svd(), &modules)),
            ("composed", composed.clone()),
            ("subspace", composed.subspace(4, Seed::new(1)).clone()),
            ("one layer", svd().of_layers(1..2)),
        ] {
            let n = space.layout().dim();
            let thetas: Vec<Vec<f64>> = (0..3)
                .map(|seed| Seed::new(seed).normals(n).iter().map(|z| 0.2 * z).collect())
                .collect();
            let items: Vec<Item> = json(&fixture(case).join("reference.json"));
            let requests: Vec<ScoreRequest> = (0..3)
                .map(|candidate| items[candidate % items.len()].score_request(candidate))
                .collect();
            let mixed = bank(&space, &engine, &thetas);
            let found = engine.score(&requests, Some(&mixed)).expect("scores");
            let twins = bank(&space, &twin, &thetas);
            let by_twin = twin.score(&requests, Some(&twins)).expect("scores");
            assert!(largest_difference(&found, &by_twin) < 1e-4, "{case} {what}: the twin");
            for (candidate, theta) in thetas.iter().enumerate() {
                let exported = Space::frozen(&space.export(theta));
                let alone = bank(&exported, &engine, &[vec![]]);
                let request = [items[candidate % items.len()].score_request(0)];
                let by_export = engine.score(&request, Some(&alone)).expect("scores");
                let difference = largest_difference(&found[candidate..=candidate], &by_export);
                assert!(difference < 1e-4, "{case} {what}: the exported adapter, {difference}");
                let without = engine.score(&request, None).expect("scores");
                assert!(
                    largest_difference(&by_export, &without) > 1e-3,
                    "{case} {what}: nothing was changed"
                );
            }
        }
    }
}

/// The real model on questions. In f32 the kernels are their twin to rounding. In int8 two computations that differ in the
/// last bit anywhere part ways: thirty layers of rounding to eight bits make 8e-2 of a nudge of 3e-7 to the embedding
/// (experiments/LOG.md, 2026-11-24), and no less of another order of sums. So there the twin can only show that
/// neither is further from f32 than the other.
#[test]
fn the_real_model_agrees_with_its_plain_twin() {
    let (Some(path), Some(questions)) = (real_model(), data("gsm8k/test.jsonl")) else {
        return;
    };
    let questions = std::fs::read_to_string(questions).expect("the questions");
    let score = |precision: Precision, plain: bool| -> Vec<Vec<f32>> {
        let opened = LanguageModel::open(&path, precision.into(), Limits::default()).expect("a model");
        let text = opened.text().expect("a tokenizer");
        let requests = questions.lines().take(16).map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).expect("a row");
            let ids = text
                .raw_ids(row["question"].as_str().expect("a question"))
                .expect("ids");
            ScoreRequest {
                prompt_ids: ids[..1].to_vec(),
                completion_ids: ids[1..].to_vec(),
                candidate: 0,
            }
        });
        let requests: Vec<ScoreRequest> = requests.collect();
        let mut engine = match plain {
            true => twin(&opened.weights, precision.into()),
            false => opened.engine,
        };
        engine.score(&requests, None).expect("scores")
    };
    let mean = |a: &[Vec<f32>], b: &[Vec<f32>]| {
        let differences = a
            .iter()
            .flatten()
            .zip(b.iter().flatten())
            .map(|(a, b)| f64::from((a - b).abs()));
        differences.sum::<f64>() / a.iter().flatten().count() as f64
    };
    let (f32, f32_twin) = (score(Precision::F32, false), score(Precision::F32, true));
    let largest = largest_difference(&f32, &f32_twin);
    println!(
        "f32: largest |Δ log-probability| {largest:.1e}, {} tokens",
        f32.iter().flatten().count()
    );
    assert!(largest < 1e-3, "{largest}");
    let (int8, int8_twin) = (score(Precision::Int8, false), score(Precision::Int8, true));
    let (apart, of_int8, of_twin) = (mean(&int8, &int8_twin), mean(&int8, &f32), mean(&int8_twin, &f32));
    println!("int8: mean |Δ| from the twin {apart:.3}, from f32 {of_int8:.3}, the twin's from f32 {of_twin:.3}");
    assert!((of_int8 / of_twin - 1.0).abs() < 0.15 && apart < 1.5 * of_twin);
}

/// A type of GGUF's blocks of 32, and how a random one is written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Blocks {
    F32 = 0,
    Q4_0 = 2,
    Q4_1 = 3,
    Q8_0 = 8,
}

impl Blocks {
    /// One block of numbers of about ±0.2.
    fn block(self, seed: Seed) -> Vec<u8> {
        let bytes = |n: u64| {
            (0..n)
                .map(|i| (seed.fold(i).uniform() * 256.0) as u8)
                .collect::<Vec<u8>>()
        };
        let half = |x: f32| f16::from_f32(x * (0.75 + 0.5 * seed.named("scale").uniform() as f32)).to_le_bytes();
        match self {
            Self::F32 => seed
                .normals(32)
                .iter()
                .flat_map(|z| (0.1 * *z as f32).to_le_bytes())
                .collect(),
            Self::Q4_0 => [&half(0.025)[..], &bytes(16)].concat(),
            Self::Q4_1 => [&half(0.025)[..], &half(-0.2), &bytes(16)].concat(),
            Self::Q8_0 => [&half(0.0016)[..], &bytes(32)].concat(),
        }
    }
}

/// A small llama as GGUF whose matrices are of one type each.
fn small_gguf(of: impl Fn(&str) -> Blocks) -> Vec<u8> {
    small_gguf_with_heads([4, 2, 16], of)
}

/// The same with these heads, key heads and width of a head.
fn small_gguf_with_heads([heads, kv_heads, head_dim]: [u64; 3], of: impl Fn(&str) -> Blocks) -> Vec<u8> {
    let (hidden, intermediate, layers, vocab) = (64_u64, 96_u64, 2, 96_u64);
    let (q_width, kv_width) = (head_dim * heads, head_dim * kv_heads);
    let mut file = GgufWriter::default();
    file.string("general.architecture", "llama");
    for (key, value) in [
        ("embedding_length", hidden),
        ("block_count", layers),
        ("attention.head_count", heads),
        ("attention.head_count_kv", kv_heads),
        ("attention.key_length", head_dim),
        ("feed_forward_length", intermediate),
        ("context_length", 64),
    ] {
        file.u32(&format!("llama.{key}"), value as u32);
    }
    file.raw("llama.attention.layer_norm_rms_epsilon", 6, &1e-5_f32.to_le_bytes());
    let norm = 1_f32.to_le_bytes().repeat(hidden as usize);
    let mut matrix = |name: &str, shape: [u64; 2]| {
        let blocks = of(name);
        let seed = Seed::new(11).named(name);
        let bytes: Vec<u8> = (0..shape[0] * shape[1] / 32)
            .flat_map(|index| blocks.block(seed.fold(index)))
            .collect();
        file.tensor(&format!("{name}.weight"), &shape, blocks as u32, &bytes);
    };
    matrix("token_embd", [vocab, hidden]);
    for layer in 0..layers {
        for (name, shape) in [
            ("attn_q", [q_width, hidden]),
            ("attn_k", [kv_width, hidden]),
            ("attn_v", [kv_width, hidden]),
            ("attn_output", [hidden, q_width]),
            ("ffn_gate", [intermediate, hidden]),
            ("ffn_up", [intermediate, hidden]),
            ("ffn_down", [hidden, intermediate]),
        ] {
            matrix(&format!("blk.{layer}.{name}"), shape);
        }
    }
    file.tensor("output_norm.weight", &[hidden], 0, &norm);
    for layer in 0..layers {
        for name in ["attn_norm", "ffn_norm"] {
            file.tensor(&format!("blk.{layer}.{name}.weight"), &[hidden], 0, &norm);
        }
    }
    file.finish()
}

/// Query heads of one key head are read four at a time, and what is left of them; key heads stand behind each other.
#[test]
fn any_number_of_query_heads_may_share_a_key_head() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("heads.gguf");
    let ids: Vec<u32> = (0..60)
        .map(|i| (Seed::new(6).fold(i).uniform() * 96.0) as u32)
        .collect();
    let request = [ScoreRequest {
        prompt_ids: ids[..1].to_vec(),
        completion_ids: ids[1..].to_vec(),
        candidate: 0,
    }];
    for group in 1..=9 {
        for (kv_heads, head_dim) in [(1, 20), (2, 16), (3, 6)] {
            let file = small_gguf_with_heads([group * kv_heads, kv_heads, head_dim], |_| Blocks::F32);
            std::fs::write(&path, file).expect("a file");
            let (weights, mut engine) = load(&path, Precision::F32.into(), Limits::default());
            let found = engine.score(&request, None).expect("scores");
            let expected = twin(&weights, Precision::F32.into())
                .score(&request, None)
                .expect("scores");
            let difference = largest_difference(&found, &expected);
            assert!(
                found[0].len() == 59 && difference < 1e-4,
                "{group} query heads on each of {kv_heads} of {head_dim}: {difference}"
            );
        }
    }
}

/// Files mix types. Matrices that read one input (q, k and v; gate and up) have its activations quantized once, so where one
/// of them has 4-bit blocks in groups of 32 and another is rounded in groups of `model.group_size`, that has to be settled.
#[test]
fn a_file_that_mixes_block_types_runs_in_int4() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("mixed.gguf");
    let tokens = |n: u64| {
        (0..n)
            .map(|i| (Seed::new(4).fold(i).uniform() * 96.0) as u32)
            .collect::<Vec<u32>>()
    };
    // Short texts: a step that one row takes otherwise is carried on to the rows that attend to it, and to no other text.
    let requests: Vec<ScoreRequest> = tokens(160)
        .chunks(4)
        .map(|ids| ScoreRequest {
            prompt_ids: ids[..1].to_vec(),
            completion_ids: ids[1..].to_vec(),
            candidate: 0,
        })
        .collect();
    use Blocks::{F32, Q4_0, Q4_1, Q8_0};
    for (first, second) in [(Q4_0, Q8_0), (Q4_0, F32), (Q8_0, Q4_1), (Q4_0, Q4_1), (F32, F32)] {
        let of = |name: &str| match name.rsplit_once('.').map_or(name, |(_, name)| name) {
            "ffn_gate" | "attn_q" => first,
            "ffn_up" | "attn_v" => second,
            _ => Q4_0,
        };
        std::fs::write(&path, small_gguf(of)).expect("a file");
        let options = LoadOptions {
            kv_cache: KvKind::F32,
            ..Precision::Int4.into()
        };
        assert_ne!(
            options.group_size, 32,
            "rounding has groups of another size than blocks"
        );
        let (weights, mut engine) = load(&path, options, Limits::default());
        let score = |engine: &mut Engine| engine.score(&requests, None).expect("scores").concat();
        let found = score(&mut engine);
        let expected = score(&mut twin(&weights, options));
        let (_, mut exact) = load(&path, Precision::F32.into(), Limits::default());
        let exact = score(&mut exact);
        let mean = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>() / a.len() as f32;
        let middle = vec![exact.iter().sum::<f32>() / exact.len() as f32; exact.len()];
        let (rounded, spread) = (mean(&found, &exact), mean(&exact, &middle));
        let mut differences: Vec<f32> = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).collect();
        differences.sort_by(f32::total_cmp);
        let (median, largest) = (differences[differences.len() / 2], differences[differences.len() - 1]);
        println!(
            "{first:?} and {second:?}: |Δ log-probability| from the twin median {median:.1e}, largest {largest:.1e}; mean from f32 \
             {rounded:.2}, spread {spread:.2}"
        );
        // As with the other small models: a number on the edge may fall on either side, the others agree as floats do.
        assert!(
            differences.len() == 120 && median < 1e-5 && largest < 0.03,
            "{first:?} and {second:?}: {median} {largest}"
        );
        // Both share what decides on groups, so f32 has to say that they compute this model and no other.
        assert!(
            rounded < 0.3 * spread,
            "{first:?} and {second:?}: {rounded} of {spread}"
        );
    }
}

/// 64 prompts that begin with the same 200 tokens: twelve whole blocks are read once.
#[test]
fn a_common_prefix_is_read_once_and_changes_nothing() {
    let (common, own, prompts) = (200_usize, 17, 64);
    let tokens = |seed: u64, n: usize| (0..n).map(move |i| (Seed::new(seed).fold(i as u64).uniform() * 128.0) as u32);
    let request = |prompt: usize| {
        let ids = tokens(1, common).chain(tokens(2 + prompt as u64, own));
        greedy(ids.collect(), 12, 0)
    };
    let requests: Vec<_> = (0..prompts).map(request).collect();
    for options in [Precision::Int8.into(), Precision::F32.into()] {
        let (_, mut engine) = load(&fixture(CASES[0]), options, Limits::default());
        let together = engine
            .generate(&requests, None, &mut || true)
            .expect("texts")
            .expect("not stopped");
        let stats = engine.stats();
        let (total, reused) = (prompts * (common + own), (prompts - 1) * (common / 16 * 16));
        assert_eq!((stats.prompt_tokens, stats.reused_tokens), (total - reused, reused));
        println!(
            "{total} tokens of prompts, {} read: {:.1} times less",
            stats.prompt_tokens,
            total as f64 / stats.prompt_tokens as f64
        );
        for (request, expected) in requests.iter().zip(&together) {
            let alone = engine.generate(std::slice::from_ref(request), None, &mut || true);
            assert_eq!(alone.expect("texts").expect("not stopped")[0], *expected);
        }
    }
}

/// All pairs of three blocks of tokens, each with two tails, for three candidates at once: prompts whose second blocks are the same
/// tokens after others, and prompts that begin with what is another's second block. A candidate's blocks are as many as it has
/// different beginnings, and every text has the bits that it has alone.
#[test]
fn blocks_are_shared_after_the_same_beginning_only() {
    let tokens = |seed: u64, n: u64| (0..n).map(move |i| (Seed::new(seed).fold(i).uniform() * 128.0) as u32);
    let (candidates, parts, tails) = (3, 3, 2);
    let mut requests = Vec::new();
    for candidate in 0..candidates {
        for (first, second, tail) in
            (0..parts * parts * tails).map(|i| (i % parts, i / parts % parts, i / parts / parts))
        {
            let prompt = tokens(first, 16).chain(tokens(second, 16)).chain(tokens(90 + tail, 7));
            requests.push(ScoreRequest {
                prompt_ids: prompt.collect(),
                completion_ids: tokens(99, 12).collect(),
                candidate,
            });
        }
    }
    Seed::new(2).shuffle(&mut requests);
    let (whole, different) = (parts * parts * tails * 2, parts + parts * parts);
    for precision in [Precision::Int4, Precision::Int8] {
        for (rows, room_for) in [(512, None), (45, None), (45, Some(14))] {
            let (weights, probe) = load(&fixture(CASES[0]), precision.into(), Limits::default());
            let limits = Limits {
                rows,
                cache_bytes: room_for.map_or(1 << 30, |blocks| blocks * probe.model().block_bytes()),
            };
            let (_, mut engine) = load(&fixture(CASES[0]), precision.into(), limits);
            let adapter = PeftAdapter::read(&fixture(CASES[0]).join("adapter"), weights.config()).expect("an adapter");
            let space = lora_svd(&adapter, 1.0, &Module::ALL, Offsets::Relative).expect("a space");
            let thetas: Vec<Vec<f64>> = (0..candidates)
                .map(|candidate| Seed::new(40 + candidate as u64).normals(space.layout().dim()))
                .collect();
            let candidates_bank = bank(&space, &engine, &thetas);
            let together = engine.score(&requests, Some(&candidates_bank)).expect("scores");
            if room_for.is_none() {
                let reused = candidates * (whole - different) as usize * 16;
                assert_eq!(engine.stats().reused_tokens, reused, "{precision:?}, {rows} rows");
            }
            let alone: Vec<Vec<f32>> = requests
                .iter()
                .map(|request| {
                    let one = engine.score(std::slice::from_ref(request), Some(&candidates_bank));
                    one.expect("scores").remove(0)
                })
                .collect();
            let bits = |scores: &[f32]| scores.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
            let texts: HashSet<Vec<u32>> = alone.iter().map(|scores| bits(scores)).collect();
            assert_eq!(
                texts.len(),
                requests.len(),
                "every beginning and every candidate is seen in the scores"
            );
            for ((together, alone), request) in together.iter().zip(&alone).zip(&requests) {
                assert_eq!(bits(together), bits(alone), "{precision:?}, {rows} rows, {request:?}");
            }
        }
    }
}

#[test]
fn a_gpu_that_is_not_there_is_asked_for_in_a_sentence() {
    let weights = Weights::open(&fixture(CASES[0])).expect("a model");
    let options = LoadOptions {
        device: Device::Cuda(63),
        ..Precision::Bf16.into()
    };
    let message = Transformer::load(&weights, options)
        .expect_err("there are not that many")
        .to_string();
    assert!(message.contains("cuda:63") && message.contains("GPU"), "{message}");
}

/// An int8 cache errs by half a step of 127 to the largest of a head.
#[test]
fn an_int8_cache_is_nearly_the_bf16_one() {
    let (Some(path), Some(texts)) = (real_model(), data("sft/llamafactory_alpaca_en_demo.json")) else {
        return;
    };
    let rows: Vec<serde_json::Value> = json(&texts);
    let score = |kv_cache: KvKind| {
        let options = LoadOptions {
            kv_cache,
            ..Precision::Int8.into()
        };
        let mut opened = LanguageModel::open(&path, options, Limits::default()).expect("a model");
        let text = opened.text().expect("a tokenizer");
        let requests: Vec<ScoreRequest> = rows
            .iter()
            .filter(|row| row["input"] == "")
            .take(20)
            .map(|row| ScoreRequest {
                prompt_ids: text.raw_ids(row["instruction"].as_str().expect("text")).expect("ids"),
                completion_ids: text
                    .ids_after("", row["output"].as_str().expect("text"), false, false)
                    .expect("ids"),
                candidate: 0,
            })
            .collect();
        let scores = opened.engine.score(&requests, None).expect("scores").concat();
        (
            scores.len(),
            scores.iter().map(|&x| f64::from(x)).sum::<f64>() / scores.len() as f64,
        )
    };
    let ((count, bf16), (_, int8)) = (score(KvKind::Bf16), score(KvKind::Int8));
    let ratio = (bf16 - int8).exp();
    println!("an int8 cache: perplexity {ratio:.6} of a bf16 one's, {count} tokens");
    assert!(bf16 != int8 && (ratio - 1.0).abs() < 0.01);
}

/// Promise 3: the same bits for any order, any split into calls, any neighbours, any cache, any rows a step and any number of
/// threads.
fn bits_do_not_depend_on_the_batch(
    options: LoadOptions,
    seed: u64,
    rows: usize,
    blocks: usize,
    splits: usize,
    threads: usize,
) {
    let weights = Weights::open(&fixture(CASES[0])).expect("a model");
    let items: Vec<Item> = json(&fixture(CASES[0]).join("reference.json"));
    let requests: Vec<ScoreRequest> = items.iter().map(|item| item.score_request(0)).collect();
    let expected: Vec<Vec<f32>> = requests
        .iter()
        .map(|request| {
            let mut engine = Engine::new(
                Transformer::load(&weights, options).expect("a model"),
                Limits::default(),
            );
            engine
                .score(std::slice::from_ref(request), None)
                .expect("scores")
                .remove(0)
        })
        .collect();
    let mut order: Vec<usize> = (0..requests.len()).chain(0..requests.len()).collect();
    Seed::new(seed).shuffle(&mut order);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("a pool");
    let model = Transformer::load(&weights, options).expect("a model");
    let limits = Limits {
        rows,
        cache_bytes: blocks * model.block_bytes(),
    };
    let mut engine = Engine::new(model, limits);
    for part in order.chunks(order.len().div_ceil(splits)) {
        let part_requests: Vec<ScoreRequest> = part.iter().map(|&index| requests[index].clone()).collect();
        let found = pool.install(|| engine.score(&part_requests, None)).expect("scores");
        for (found, &index) in found.iter().zip(part) {
            let bits = |scores: &[f32]| scores.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(found), bits(&expected[index]), "text {index}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn promise_3_any_batch_gives_the_same_bits(
        seed in 0..1000_u64, rows in 1..60_usize, blocks in 6..40_usize, splits in 1..5_usize, threads in 1..4_usize,
        precision in prop::sample::select(vec![Precision::Int8, Precision::Int4]),
        kv_cache in prop::sample::select(vec![KvKind::Bf16, KvKind::Int8, KvKind::F32]),
    ) {
        let options = LoadOptions { kv_cache, ..precision.into() };
        bits_do_not_depend_on_the_batch(options, seed, rows, blocks, splits, threads);
    }
}
