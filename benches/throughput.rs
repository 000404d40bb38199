//! The work of one generation of evolution, measured as a user would meet it: prefill, decode, and the whole, for several
//! shapes of population. Prints one JSON object; `benches/peers/compare.py` runs it beside other engines.
//!
//! ```text
//! cargo bench --bench throughput -- [--precision int8] [--candidates 16] [--prompts 8] [--prompt-tokens 45] [--new-tokens 64] [--repeats 3]
//! ```

use clap::Parser;
use essa::adapter::lora_svd::{Offsets, lora_svd};
use essa::adapter::peft::{Lora, PeftAdapter};
use essa::adapter::{AdapterBank, Space};
use essa::engine::{Engine, Limits, Request, Sampling};
use essa::model::{LoadOptions, Module, Precision, Transformer, Weights};
use essa::seed::Seed;
use std::path::PathBuf;
use std::time::Instant;

#[derive(Parser)]
struct Arguments {
    #[arg(long, env = "ESSA_MODEL")]
    model: PathBuf,
    #[arg(long, default_value = "int8")]
    precision: Precision,
    #[arg(long, default_value_t = 16)]
    candidates: usize,
    /// Prompts a candidate.
    #[arg(long, default_value_t = 8)]
    prompts: usize,
    #[arg(long, default_value_t = 45)]
    prompt_tokens: usize,
    /// How many tokens all prompts begin with in common.
    #[arg(long, default_value_t = 0)]
    common_tokens: usize,
    #[arg(long, default_value_t = 64)]
    new_tokens: usize,
    /// Rank of the adapters on q, k, v and o; 0 leaves them out.
    #[arg(long, default_value_t = 8)]
    rank: usize,
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Rows of a step.
    #[arg(long, default_value_t = Limits::default().rows)]
    rows: usize,
    /// `cargo bench` says so.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    let weights = Weights::open(&arguments.model).expect("a model");
    let started = Instant::now();
    let model = Transformer::load(&weights, LoadOptions::from(arguments.precision)).expect("a model that loads");
    let load_s = started.elapsed().as_secs_f64();
    let weight_bytes = model.weight_bytes();
    let limits = Limits {
        rows: arguments.rows,
        ..Default::default()
    };
    let mut engine = Engine::new(model, limits);
    let bank = (arguments.rank > 0).then(|| bank(&weights, &engine, &arguments));
    let mut seconds = |new_tokens: usize| -> Vec<f64> {
        let requests = requests(&arguments, new_tokens, weights.config().vocab);
        let once = |_| {
            let started = Instant::now();
            let written = engine
                .generate(&requests, bank.as_ref(), &mut || true)
                .expect("texts")
                .expect("not stopped");
            assert!(written.iter().all(|text| text.token_ids.len() == new_tokens));
            started.elapsed().as_secs_f64()
        };
        (0..arguments.repeats).map(once).collect()
    };
    let prefill = seconds(1);
    let whole = seconds(arguments.new_tokens);
    let rows = (arguments.candidates * arguments.prompts) as f64;
    let prefill_s = median(prefill.clone());
    let whole_s = median(whole.clone());
    let report = serde_json::json!({
        "engine": "essa",
        "precision": format!("{:?}", arguments.precision).to_lowercase(),
        "candidates": arguments.candidates,
        "prompts": arguments.prompts,
        "prompt_tokens": arguments.prompt_tokens,
        "common_tokens": arguments.common_tokens,
        "new_tokens": arguments.new_tokens,
        "rank": arguments.rank,
        "rows": arguments.rows,
        "threads": rayon::current_num_threads(),
        "load_s": load_s,
        "weight_mib": weight_bytes as f64 / f64::from(1 << 20),
        "prefill_s": prefill,
        "whole_s": whole,
        "prefill_tokens_per_s": rows * arguments.prompt_tokens as f64 / prefill_s,
        "decode_tokens_per_s": rows * (arguments.new_tokens - 1) as f64 / (whole_s - prefill_s),
        "whole_tokens_per_s": rows * arguments.new_tokens as f64 / whole_s,
        "peak_rss_mib": peak_rss_mib(),
    });
    println!("{report}");
}

/// Every candidate gets the same prompts, of random tokens, so that nothing but what is asked for is in common.
fn requests(arguments: &Arguments, new_tokens: usize, vocab: usize) -> Vec<Request> {
    let tokens = |prompt: usize| {
        (0..arguments.prompt_tokens).map(move |index| {
            let prompt = if index < arguments.common_tokens {
                0
            } else {
                prompt as u64 + 1
            };
            (Seed::new(7).fold(prompt).fold(index as u64).uniform() * vocab as f64) as u32
        })
    };
    let one = |candidate: usize, prompt: usize| Request {
        prompt_ids: tokens(prompt).collect(),
        candidate,
        max_new_tokens: new_tokens,
        sampling: Sampling::default(),
        seed: Seed::new(0),
        stop: Vec::new(),
    };
    let all = (0..arguments.candidates).flat_map(|candidate| (0..arguments.prompts).map(move |p| (candidate, p)));
    all.map(|(candidate, prompt)| one(candidate, prompt)).collect()
}

/// Candidates in the paper's space over a random LoRA on q, k, v and o.
fn bank(weights: &Weights, engine: &Engine, arguments: &Arguments) -> AdapterBank {
    let config = weights.config();
    let modules = [Module::Q, Module::K, Module::V, Module::O];
    let rank = arguments.rank;
    let mut adapter = PeftAdapter::default();
    for layer in 0..config.layers {
        for module in modules {
            let [outputs, inputs] = config.module_shape(module);
            let random = |name: &str, n: usize| -> Vec<f32> {
                let seed = Seed::new(1).named(name).fold(layer as u64).fold(module.index() as u64);
                seed.normals(n).iter().map(|&z| 0.02 * z as f32).collect()
            };
            let (a, b) = (random("a", rank * inputs), random("b", outputs * rank));
            adapter.modules.insert((layer, module), Lora { rank, scale: 1.0, a, b });
        }
    }
    let space: Space = lora_svd(&adapter, 1.0, &modules, Offsets::Relative).expect("a space");
    let thetas: Vec<Vec<f64>> = (0..arguments.candidates)
        .map(|member| Seed::new(2).fold(member as u64).normals(space.layout().dim()))
        .collect();
    let mut bank = AdapterBank::new(&space, engine.model());
    bank.set(&space, &thetas);
    bank
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// The most memory that this process has held, where the system tells.
fn peak_rss_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}
