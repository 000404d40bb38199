//! The work of one generation of evolution, measured as a user would meet it: prefill, decode, and the whole, for several
//! shapes of population. Prints one JSON object; `benches/peers/compare.py` runs it beside other engines.
//!
//! ```text
//! cargo bench --bench throughput -- [--precision int8] [--candidates 16] [--prompts 8] [--prompt-tokens 45] [--new-tokens 64] [--repeats 3]
//! ```
//!
//! With `--sweep` it walks along axes instead and prints an object for each point, a few seconds each: rates there are by the
//! engine's own clock, which shares a step's time out by its rows.
//!
//! ```text
//! cargo bench --bench throughput -- --sweep rank,candidates,rows,context [--precision int8] [--seconds 3]
//! ```

use clap::{Parser, ValueEnum};
use essa::adapter::AdapterBank;
use essa::adapter::peft::{Lora, PeftAdapter};
use essa::engine::{Engine, Limits, Request, Sampling};
use essa::model::{LoadOptions, Module, Precision, Transformer, Weights};
use essa::seed::Seed;
use essa::space::Space;
use essa::space::lora_svd::{Offsets, lora_svd};
use std::path::PathBuf;
use std::time::Instant;

#[derive(Clone, Parser)]
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
    /// Walks along these axes, and leaves the flags above but `--precision` and `--model` to them.
    #[arg(long, value_enum, value_delimiter = ',')]
    sweep: Vec<Axis>,
    /// A point of a sweep is repeated until this time has passed.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// `cargo bench` says so.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What a sweep varies; the rest stays at 16 candidates of rank 8 with 8 prompts each.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Axis {
    /// Rank of the adapters; 0 is none.
    Rank,
    /// Candidates that share 128 rows.
    Candidates,
    /// Rows of a step, with as many sequences.
    Rows,
    /// Tokens that a row attends to, 4 sequences.
    Context,
}

impl Axis {
    fn points(self) -> Vec<usize> {
        match self {
            Self::Rank => vec![0, 2, 4, 8, 16, 32],
            Self::Candidates => vec![1, 4, 16, 64, 128],
            Self::Rows => (0..=10).map(|power| 1 << power).collect(),
            Self::Context => (6..=11).map(|power| 1 << power).collect(),
        }
    }

    fn at(self, point: usize, common: &Arguments) -> Arguments {
        let mut arguments = Arguments {
            candidates: 16,
            prompts: 8,
            prompt_tokens: 16,
            common_tokens: 0,
            new_tokens: 17,
            rank: 8,
            rows: Limits::default().rows,
            ..common.clone()
        };
        match self {
            Self::Rank => arguments.rank = point,
            Self::Candidates => (arguments.candidates, arguments.prompts) = (point, 128 / point),
            Self::Rows => {
                arguments.candidates = point.min(16);
                arguments.prompts = point / arguments.candidates;
                arguments.rows = point;
                (arguments.prompt_tokens, arguments.new_tokens) = (8, 9);
            }
            Self::Context => {
                (arguments.candidates, arguments.prompts) = (4, 1);
                arguments.prompt_tokens = point - 16;
                arguments.new_tokens = 16;
            }
        }
        arguments
    }
}

fn sweep(arguments: &Arguments, weights: &Weights) {
    for axis in &arguments.sweep {
        for point in axis.points() {
            let at = axis.at(point, arguments);
            if at.prompt_tokens + at.new_tokens > weights.config().context {
                continue;
            }
            let model = Transformer::load(weights, LoadOptions::from(at.precision)).expect("a model that loads");
            let limits = Limits {
                rows: at.rows,
                ..Default::default()
            };
            let mut engine = Engine::new(model, limits);
            let bank = (at.rank > 0).then(|| bank(weights, &engine, &at));
            let requests = requests(&at, at.new_tokens, weights.config().vocab);
            let mut once = || {
                let before = engine.stats();
                let written = engine.generate(&requests, bank.as_ref(), &mut || true);
                written.expect("texts").expect("not stopped");
                let after = engine.stats();
                // The first token of a text comes out of its prompt's last row.
                let decoded = after.completion_tokens - before.completion_tokens - requests.len();
                (
                    (after.prompt_tokens - before.prompt_tokens) as f64 / (after.prefill_s - before.prefill_s),
                    decoded as f64 / (after.decode_s - before.decode_s),
                )
            };
            // The first run finds caches cold and memory untouched; where a run is long, that is little of it.
            let started = Instant::now();
            let mut rates = vec![once()];
            if started.elapsed().as_secs_f64() < arguments.seconds {
                rates.clear();
            }
            while rates.is_empty() || started.elapsed().as_secs_f64() < arguments.seconds {
                rates.push(once());
            }
            let (prefill, decode): (Vec<f64>, Vec<f64>) = rates.into_iter().unzip();
            let report = serde_json::json!({
                "sweep": format!("{axis:?}").to_lowercase(),
                "precision": format!("{:?}", at.precision).to_lowercase(),
                "rank": at.rank,
                "candidates": at.candidates,
                "prompts": at.prompts,
                "prompt_tokens": at.prompt_tokens,
                "new_tokens": at.new_tokens,
                "rows": at.rows,
                "threads": rayon::current_num_threads(),
                "repeats": prefill.len(),
                "prefill_tokens_per_s": median(prefill),
                "decode_tokens_per_s": median(decode),
            });
            println!("{report}");
        }
    }
}

fn main() {
    let arguments = Arguments::parse();
    let weights = Weights::open(&arguments.model).expect("a model");
    if !arguments.sweep.is_empty() {
        return sweep(&arguments, &weights);
    }
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
    let mut bank = space.bank(engine.model());
    space.fill(&mut bank, &thetas);
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
