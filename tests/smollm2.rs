//! The real model, SmolLM2-135M-Instruct as a Q4_1 GGUF, against transformers' f32 (`tests/golden/make_smollm2.py`), and
//! int8 and int4 against our own f32, which the first part has tied to the reference.

mod support;

use essa::engine::{Engine, Limits, ScoreRequest};
use essa::language_model::LanguageModel;
use essa::model::{Module, Precision, Products, Transformer, Weights};
use essa::text::Message;
use essa::text::tokenizer::Tokenizer;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use support::{Item, data, fixture, greedy, json, real_model};

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

fn open(path: &Path, precision: Precision) -> LanguageModel {
    LanguageModel::open(path, precision.into(), Limits::default()).expect("the real model")
}

/// What one precision makes of the texts. Several tests compare these, and loading takes a while: computed once.
struct Scores {
    /// Log-probabilities of the reference's completions.
    own: Vec<Vec<f32>>,
    /// Log-probabilities of texts that are not the model's.
    natural: Vec<Vec<f32>>,
    /// First tokens written after questions.
    first: Vec<u32>,
}

struct Compared {
    f32: Scores,
    int8: Scores,
    int4: Scores,
}

/// Questions and texts that are not ours, where the reference data is at hand.
fn natural(opened: &LanguageModel) -> (Vec<Vec<u32>>, Vec<ScoreRequest>) {
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
            completion_ids: text
                .ids_after("", row["output"].as_str().expect("text"), false, false)
                .expect("ids"),
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
        let scores = |precision| {
            let mut opened = open(&path, precision);
            let own = opened.engine.score(&requests, None).expect("scores");
            let (questions, texts) = natural(&opened);
            let natural = opened.engine.score(&texts, None).expect("scores");
            let firsts: Vec<_> = questions.into_iter().map(|ids| greedy(ids, 1, 0)).collect();
            let firsts = opened.engine.generate(&firsts, None, &mut || true);
            let firsts = firsts.expect("texts").expect("not stopped");
            let first = firsts.iter().map(|completion| completion.token_ids[0]).collect();
            Scores { own, natural, first }
        };
        Some(Compared {
            f32: scores(Precision::F32),
            int8: scores(Precision::Int8),
            int4: scores(Precision::Int4),
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
        .own
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
        assert_eq!(
            tokenizer.encode(&tokens.text, true).expect("ids"),
            tokens.ids,
            "{:?}",
            tokens.text
        );
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

/// Of 240 questions' first tokens, where bf16 agrees with f32 on 231.
#[test]
fn int8_begins_as_f32_does() {
    let Some(Compared { f32, int8, int4 }) = compared() else {
        return;
    };
    if f32.first.is_empty() {
        return;
    }
    let same = |other: &Scores| f32.first.iter().zip(&other.first).filter(|(a, b)| a == b).count();
    println!(
        "first tokens of {}: {} agree in int8, {} in int4",
        f32.first.len(),
        same(int8),
        same(int4)
    );
    assert!(f32.first.len() >= 200 && same(int8) as f64 >= 0.9 * f32.first.len() as f64);
}

/// int4 is measured against the file's own 4-bit numbers in f32, which it holds as they are.
#[test]
fn perplexity_is_f32s() {
    let Some(Compared { f32, int8, int4 }) = compared() else {
        return;
    };
    for (precision, found, tolerance) in [("int8", int8, 0.02), ("int4", int4, 0.03)] {
        for (name, f32, found) in [
            ("the model's own texts", &f32.own, &found.own),
            ("instruction rows", &f32.natural, &found.natural),
        ] {
            if f32.is_empty() {
                continue;
            }
            let ratio = (mean_log_probability(f32) - mean_log_probability(found)).exp();
            let tokens = f32.iter().flatten().count();
            println!("{name}: {precision} perplexity is {ratio:.4} of f32's, {tokens} tokens");
            assert!(
                (ratio - 1.0).abs() < tolerance,
                "{name}: {precision} perplexity is {ratio} of f32's"
            );
        }
    }
}

/// What a GPU computes int8 and int4 with, here on the CPU's twins of the same library functions and on a third of the texts,
/// because there they are slow. int8 loses more than in the kernels, whose activations have four times as many scales.
#[test]
fn perplexity_of_the_librarys_products_is_f32s() {
    let Some(compared) = compared() else { return };
    let weights = Weights::open(&real_model().expect("compared() found it")).expect("a model");
    let reference: Reference = json(&fixture("smollm2/reference.json"));
    let some = reference.items.len() / 3;
    let requests: Vec<ScoreRequest> = reference.items[..some]
        .iter()
        .map(|chat| chat.item.score_request(0))
        .collect();
    for (precision, limit) in [(Precision::Int8, 1.06), (Precision::Int4, 1.03)] {
        let model = Transformer::load_plain(&weights, precision.into(), Products::Library).expect("a model that loads");
        let own = Engine::new(model, Limits::default())
            .score(&requests, None)
            .expect("scores");
        let ratio = (mean_log_probability(&compared.f32.own[..some]) - mean_log_probability(&own)).exp();
        println!("{precision:?} by the library: perplexity {ratio:.4} of f32's");
        assert!(ratio < limit, "{precision:?}: {ratio}");
    }
}

/// 4-bit blocks come through as they are: scale · q + minimum is what the file says, to the last bit but one.
#[test]
fn int4_takes_the_files_own_blocks() {
    let Some(path) = real_model() else { return };
    let weights = Weights::open(&path).expect("the real model");
    for name in [
        "model.layers.3.self_attn.q_proj.weight",
        "model.layers.29.mlp.down_proj.weight",
    ] {
        let width = if name.contains("down") {
            weights.config().intermediate
        } else {
            weights.config().hidden
        };
        let group = weights.int4_group(name).expect("a file with 4-bit blocks");
        let (mut q, mut groups) = (vec![0; width], vec![Default::default(); width / group]);
        let mut expected = vec![0.0_f32; width];
        for row in 0..weights.config().hidden {
            weights.int4_row(name, row, &mut q, &mut groups).expect("a row");
            weights.rows(name, row..row + 1, &mut expected).expect("a row");
            for (index, (q, expected)) in q.iter().zip(&expected).enumerate() {
                let group = groups[index / group];
                let found = f32::from(*q) * group.scale.to_f32() + group.min.to_f32();
                assert!((found - expected).abs() <= 1e-7 * expected.abs().max(group.min.to_f32().abs()));
            }
        }
    }
    assert_eq!(weights.int4_group("model.embed_tokens.weight"), None, "Q8_0");
    // The head stays in int8, and is a fifth of this model. Of the rest, five bits a weight against eight and a little.
    let bytes = |precision: Precision| {
        let model = Transformer::load(&weights, precision.into()).expect("a model");
        let head = weights.config().vocab * (weights.config().hidden + 4);
        (model.weight_bytes() as f64, (model.weight_bytes() - head) as f64)
    };
    let (int4, int8) = (bytes(Precision::Int4), bytes(Precision::Int8));
    let (whole, layers) = (int4.0 / int8.0, int4.1 / int8.1);
    println!(
        "weights: {:.1} MiB in int4, {whole:.3} of int8's, {layers:.3} without the head",
        int4.0 / 1048576.0
    );
    assert!(layers < 0.625 && whole < 0.71, "{layers} {whole}");
}

/// What a process that loads one model needed, in bytes.
#[derive(Deserialize)]
struct Loaded {
    peak: u64,
    weights: u64,
    file: u64,
}

const LOADS: &str = "ESSA_TEST_LOADS";

/// Loads a model in a process of its own, which is this test again, told by the environment what to do. With `copies` it
/// also holds every matrix in f32, as a loader would that reads a file before it converts it.
fn load_alone(model: &Path, precision: &str, copies: bool) -> Loaded {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "loading_never_holds_the_model_twice", "--nocapture"])
        .env(LOADS, format!("{precision} {copies} {}", model.display()))
        .output()
        .expect("this program runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().find(|line| line.starts_with('{'));
    serde_json::from_str(line.unwrap_or_else(|| panic!("{said}"))).expect("what the process says")
}

fn load_and_say(task: &str) {
    let mut words = task.splitn(3, ' ');
    let mut next = || words.next().expect("three words");
    let precision: Precision = next().parse().expect("a precision");
    let copies = next() == "true";
    let weights = Weights::open(&PathBuf::from(next())).expect("a model");
    let names = (0..weights.config().layers).flat_map(|layer| Module::ALL.map(|module| module.path(layer)));
    let copy = |name: String| weights.read(&format!("{name}.weight")).expect("a matrix");
    let copies: Vec<Vec<f32>> = names.filter(|_| copies).map(copy).collect();
    let model = Transformer::load(&weights, precision.into()).expect("a model");
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("a peak");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("KiB");
    println!(
        "\n{}",
        serde_json::json!({
            "peak": peak * 1024,
            "weights": model.weight_bytes(),
            "file": std::fs::metadata(weights.path()).expect("a file").len(),
        })
    );
    drop(copies);
}

/// Rows are converted as they are read and the file gives its pages back, so loading peaks little above what stays. What any
/// process needs (libtorch, most of all) is what loading a tiny model needs.
#[test]
fn loading_never_holds_the_model_twice() {
    if let Ok(task) = std::env::var(LOADS) {
        return load_and_say(&task);
    }
    let Some(path) = real_model() else { return };
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    for precision in ["f32", "bf16", "int8", "int4"] {
        let tiny = load_alone(&fixture("llama-tied-gqa1"), precision, false).peak;
        let above = |loaded: &Loaded| loaded.peak.saturating_sub(tiny);
        let loaded = load_alone(&path, precision, false);
        let copied = load_alone(&path, precision, true);
        println!(
            "{precision}: peak {:.0} MiB above a tiny model's {:.0}, weights {:.0}, file {:.0}; with copies in f32 {:.0}",
            mib(above(&loaded)),
            mib(tiny),
            mib(loaded.weights),
            mib(loaded.file),
            mib(above(&copied)),
        );
        let bound = loaded.file + loaded.weights;
        assert!(above(&loaded) <= bound, "{precision}: {} of {bound}", above(&loaded));
        assert!(above(&copied) > bound, "{precision}: a second copy goes unseen");
    }
}
