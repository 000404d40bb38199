//! The real model, SmolLM2-135M-Instruct as a Q4_1 GGUF, against transformers' f32 (`tests/golden/make_smollm2.py`), and
//! int8 against our own f32, which the first part has tied to the reference.

mod common;

use common::{Item, data, fixture, greedy, json, real_model};
use essa::engine::text::Opened;
use essa::engine::tokenizer::Tokenizer;
use essa::engine::{Limits, ScoreRequest};
use essa::model::Precision;
use essa::task::Message;
use serde::Deserialize;
use std::path::Path;
use std::sync::OnceLock;

#[derive(Deserialize)]
struct Reference {
    items: Vec<Chat>,
    tokenizer: Vec<Tokens>,
}

#[derive(Deserialize)]
struct Chat {
    #[serde(flatten)]
    item: Item,
    messages: Vec<Message>,
    text: String,
    completion_text: String,
    greedy_lead: f64,
}

#[derive(Deserialize)]
struct Tokens {
    text: String,
    ids: Vec<u32>,
}

fn open(path: &Path, precision: Precision) -> Opened {
    Opened::open(path, precision.into(), Limits::default()).expect("the real model")
}

/// Both precisions are needed by several tests, and loading takes a while: what the tests compare is computed once.
struct Compared {
    /// f32 and int8 log-probabilities of the reference's completions.
    f32: Vec<Vec<f32>>,
    int8: Vec<Vec<f32>>,
    first_f32: Vec<u32>,
    first_int8: Vec<u32>,
    natural_f32: Vec<Vec<f32>>,
    natural_int8: Vec<Vec<f32>>,
}

/// Questions and texts that are not ours, where the reference data is at hand.
fn natural(opened: &Opened) -> (Vec<Vec<u32>>, Vec<ScoreRequest>) {
    let text = opened.text().expect("a tokenizer");
    let (Some(prompts), Some(rows)) = (data("gsm8k/test.jsonl"), data("sft/llamafactory_alpaca_en_demo.json")) else {
        return Default::default();
    };
    let questions = std::fs::read_to_string(prompts).expect("the questions");
    let questions = questions.lines().take(240).map(|line| {
        let row: serde_json::Value = serde_json::from_str(line).expect("a row");
        text.chat_ids(&[Message::user(row["question"].as_str().expect("a question"))])
            .expect("a prompt")
    });
    let rows: Vec<serde_json::Value> = json(&rows);
    let texts = rows
        .iter()
        .filter(|row| row["input"] == "")
        .take(60)
        .map(|row| ScoreRequest {
            prompt_ids: text
                .chat_ids(&[Message::user(row["instruction"].as_str().expect("text"))])
                .expect("a prompt"),
            completion_ids: text.continuation_ids(row["output"].as_str().expect("text")),
            candidate: 0,
        });
    (questions.collect(), texts.collect())
}

fn compared() -> Option<&'static Compared> {
    static COMPARED: OnceLock<Option<Compared>> = OnceLock::new();
    let compute = || {
        let path = real_model()?;
        let reference: Reference = json(&fixture("smollm2/reference.json"));
        let requests: Vec<ScoreRequest> = reference.items.iter().map(|chat| chat.item.score_request(0)).collect();
        let mut results = [Precision::F32, Precision::Int8].map(|precision| {
            let mut opened = open(&path, precision);
            let (questions, texts) = natural(&opened);
            let scores = opened.engine.score(&requests, None).expect("scores");
            let natural = opened.engine.score(&texts, None).expect("scores");
            let firsts: Vec<_> = questions.into_iter().map(|ids| greedy(ids, 1, 0)).collect();
            let firsts = opened
                .engine
                .generate(&firsts, None, &mut || true)
                .expect("texts")
                .expect("not stopped");
            (
                scores,
                natural,
                firsts
                    .iter()
                    .map(|completion| completion.token_ids[0])
                    .collect::<Vec<u32>>(),
            )
        });
        let [(f32, natural_f32, first_f32), (int8, natural_int8, first_int8)] = &mut results;
        Some(Compared {
            f32: std::mem::take(f32),
            int8: std::mem::take(int8),
            first_f32: std::mem::take(first_f32),
            first_int8: std::mem::take(first_int8),
            natural_f32: std::mem::take(natural_f32),
            natural_int8: std::mem::take(natural_int8),
        })
    };
    COMPARED.get_or_init(compute).as_ref()
}

fn mean_log_probability(scores: &[Vec<f32>]) -> f64 {
    let all: Vec<f64> = scores.iter().flatten().map(|&x| f64::from(x)).collect();
    all.iter().sum::<f64>() / all.len() as f64
}

#[test]
fn f32_log_probabilities_are_transformers() {
    let Some(compared) = compared() else { return };
    let reference: Reference = json(&fixture("smollm2/reference.json"));
    let expected = reference.items.iter().flat_map(|chat| &chat.item.logprobs);
    let differences: Vec<f64> = compared
        .f32
        .iter()
        .flatten()
        .zip(expected)
        .map(|(a, b)| f64::from((a - b).abs()))
        .collect();
    assert!(differences.len() >= 2000, "{} tokens", differences.len());
    let mean = differences.iter().sum::<f64>() / differences.len() as f64;
    let largest = differences.iter().copied().fold(0.0, f64::max);
    println!(
        "{} tokens: mean |Δ| {mean:.2e}, largest {largest:.2e}",
        differences.len()
    );
    assert!(mean <= 1e-3, "mean |Δ log-probability| is {mean}");
}

#[test]
fn chats_are_spelled_and_continued_as_transformers_does() {
    let Some(path) = real_model() else { return };
    let mut opened = open(&path, Precision::F32);
    let reference: Reference = json(&fixture("smollm2/reference.json"));
    let text = opened.text().expect("a tokenizer");
    for chat in &reference.items {
        assert_eq!(text.chat_text(&chat.messages).expect("a text"), chat.text);
        assert_eq!(
            text.chat_ids(&chat.messages).expect("a prompt"),
            chat.item.prompt_ids,
            "{:?}",
            chat.text
        );
        // The reference spells special tokens out, which a response does not show.
        let spoken = chat
            .completion_text
            .replace("<|im_start|>", "")
            .replace("<|im_end|>", "");
        assert_eq!(text.decode(&chat.item.completion_ids), spoken);
    }
    let tokenizer = Tokenizer::from_gguf(opened.weights.gguf().expect("a GGUF file")).expect("a tokenizer");
    for tokens in &reference.tokenizer {
        assert_eq!(tokenizer.encode(&tokens.text, true), tokens.ids, "{:?}", tokens.text);
    }
    // Where the two likeliest tokens are closer than rounding, either may be written.
    let clear: Vec<&Chat> = reference.items.iter().filter(|chat| chat.greedy_lead > 0.01).collect();
    assert!(clear.len() > reference.items.len() / 2);
    let requests: Vec<_> = clear.iter().map(|chat| chat.item.greedy_request(0)).collect();
    let written = opened
        .engine
        .generate(&requests, None, &mut || true)
        .expect("texts")
        .expect("not stopped");
    for (written, chat) in written.iter().zip(clear) {
        assert_eq!(written.token_ids, chat.item.greedy_ids, "{:?}", chat.text);
    }
}

#[test]
fn int8_begins_as_f32_does() {
    let Some(compared) = compared() else { return };
    if compared.first_f32.is_empty() {
        return;
    }
    let (f32, int8) = (&compared.first_f32, &compared.first_int8);
    let same = f32.iter().zip(int8).filter(|(a, b)| a == b).count();
    println!("first tokens: {same} of {} agree", f32.len());
    assert!(f32.len() >= 200 && same as f64 >= 0.9 * f32.len() as f64);
}

#[test]
fn int8_perplexity_is_f32s() {
    let Some(compared) = compared() else { return };
    for (name, f32, int8) in [
        ("the model's own texts", &compared.f32, &compared.int8),
        ("instruction rows", &compared.natural_f32, &compared.natural_int8),
    ] {
        if f32.is_empty() {
            continue;
        }
        let ratio = (mean_log_probability(f32) - mean_log_probability(int8)).exp();
        println!(
            "{name}: int8 perplexity is {ratio:.4} of f32's, {} tokens",
            f32.iter().flatten().count()
        );
        assert!(
            (ratio - 1.0).abs() < 0.02,
            "{name}: int8 perplexity is {ratio} of f32's"
        );
    }
}
