//! Mistakes that others have made in this field, each under its name: what a run of ours must never do.

mod support;

use essa::adapter::peft::PeftAdapter;
use essa::config::RunConfig;
use essa::engine::{Engine, Finish, Limits, ScoreRequest};
use essa::error::Result;
use essa::farm::ranks::Ranks;
use essa::model::{Precision, Transformer, Weights};
use essa::objective::{Item, Objective, Questions, Rollout};
use essa::plan::Plan;
use essa::record::{Row, RunDirectory};
use essa::run::{self, Run};
use essa::search::{Fitness, Layout};
use essa::seed::Seed;
use essa::space::Space;
use essa::strategy::{KINDS, Strategy, StrategyConfig};
use essa::task::{Split, Verdict};
use half::bf16;
use std::cell::RefCell;
use std::collections::HashSet;
use std::path::Path;
use std::rc::Rc;
use support::{bank, fixture, greedy};

/// All but random search, whose member 0 is its incumbent.
fn strategies() -> impl Iterator<Item = String> {
    let kinds = KINDS.iter().filter(|kind| **kind != "random-search");
    kinds.map(|kind| format!("kind = '{kind}'"))
}

fn strategy(toml: &str, n: usize, x0: f64, seed: u64) -> Box<dyn Strategy> {
    let config: StrategyConfig = toml::from_str(toml).expect("a strategy's table");
    config.build(n, &vec![x0; n], Seed::new(seed)).expect("a strategy")
}

/// A generator that is seeded anew for every tensor gives tensors of one size the same noise.
#[test]
fn correlated_noise_between_tensors() {
    let (tensors, size) = (6, 512);
    for toml in strategies() {
        let theta = strategy(&toml, tensors * size, 0.0, 1).ask(0);
        let tensor = |index: usize| &theta[index * size..][..size];
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        for a in 0..tensors {
            for b in 0..a {
                let (a, b) = (tensor(a), tensor(b));
                let correlation = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
                // Six standard errors.
                assert!(correlation.abs() < 6.0 / (size as f64).sqrt(), "{toml}: {correlation}");
            }
        }
    }
}

/// Steps that are smaller than half a unit in the last place of a half-precision weight come to nothing, one by one.
#[test]
fn half_precision_update_underflow() {
    for toml in strategies() {
        let mut strategy = strategy(&format!("{toml}\nsigma = 1e-5"), 4, 1.0, 1);
        for _ in 0..50 {
            let before = strategy.mean().to_vec();
            let fitness: Vec<Fitness> = (0..strategy.population())
                .map(|member| Fitness::new(strategy.ask(member)[0]))
                .collect();
            strategy.tell(&fitness);
            let step = (strategy.mean()[0] - before[0]).abs();
            assert!(step > 0.0, "{toml}: a step came to nothing");
            let in_half = bf16::from_f64(before[0] + step) == bf16::from_f64(before[0]);
            assert!(
                in_half || strategy.mean()[0] > 1.001,
                "{toml}: the test's steps are too large to show anything"
            );
        }
        assert!(strategy.mean()[0] > 1.0 + 5e-5, "{toml}: {}", strategy.mean()[0]);
    }
}

fn small_model() -> (Engine, Space) {
    let weights = Weights::open(&fixture("llama-untied-gqa3")).expect("a model");
    let adapter = PeftAdapter::read(&fixture("llama-untied-gqa3/adapter"), weights.config()).expect("an adapter");
    let space =
        essa::space::lora_svd::lora_svd(&adapter, 1.0, &essa::model::Module::ALL, Default::default()).expect("a space");
    let model = Transformer::load(&weights, Precision::Int8.into()).expect("a model that loads");
    (Engine::new(model, Limits::default()), space)
}

fn candidates(space: &Space, count: u64) -> Vec<Vec<f64>> {
    let scaled = |seed: u64| {
        Seed::new(seed)
            .normals(space.layout().dim())
            .iter()
            .map(|z| 0.8 * z)
            .collect()
    };
    (0..count).map(scaled).collect()
}

/// Adding a candidate's noise to the weights and taking it away again leaves a little of it behind, each time.
#[test]
fn base_weights_drifting_by_add_and_subtract() {
    let (mut engine, space) = small_model();
    let digest = engine.model().digest();
    let text = [ScoreRequest {
        prompt_ids: vec![5, 9, 3],
        completion_ids: (10..40).collect(),
        candidate: 0,
    }];
    let start = [vec![0.0; space.layout().dim()]];
    let score = |engine: &mut Engine, thetas: &[Vec<f64>]| {
        let bank = bank(&space, engine, thetas);
        engine.score(&text, Some(&bank)).expect("scores")
    };
    let before = score(&mut engine, &start);
    for theta in candidates(&space, 40) {
        assert_ne!(
            score(&mut engine, &[theta]),
            before,
            "a candidate that changes nothing shows nothing"
        );
    }
    assert_eq!(score(&mut engine, &start), before);
    assert_eq!(engine.model().digest(), digest);
}

/// `seed + iteration`: the second generation of one run is the first of its neighbour.
#[test]
fn seed_plus_iteration_overlap() {
    for toml in strategies() {
        let mut seen = HashSet::new();
        for seed in 0..5 {
            let mut strategy = strategy(&toml, 8, 0.0, seed);
            for generation in 0..5 {
                for member in 0..strategy.population() {
                    let noise: Vec<u64> = strategy.ask(member).iter().map(|x| x.to_bits()).collect();
                    assert!(
                        seen.insert(noise),
                        "{toml}: seed {seed}, generation {generation}, member {member}"
                    );
                }
                // All tie, so nothing but the noise changes.
                strategy.tell(&vec![Fitness::new(0.0); strategy.population()]);
            }
        }
    }
}

/// An objective that writes down what it was asked.
struct Asked {
    layout: Layout,
    log: Rc<RefCell<Vec<Look>>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Look {
    questions: Questions,
    thetas: Vec<Vec<f64>>,
    items: usize,
}

impl Asked {
    fn new() -> (Self, Rc<RefCell<Vec<Look>>>) {
        let log = Rc::new(RefCell::new(Vec::new()));
        let layout = Layout::new([("x".to_string(), 3)]);
        (
            Self {
                layout,
                log: Rc::clone(&log),
            },
            log,
        )
    }
}

impl Objective for Asked {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn examples(&self, split: Split) -> usize {
        if split == Split::Train { 7 } else { 2 }
    }

    fn evaluate(
        &mut self,
        thetas: &[Vec<f64>],
        questions: &Questions,
        items: &[Item],
        take: &mut dyn FnMut(Vec<Rollout>) -> Result<()>,
        _: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let look = Look {
            questions: questions.clone(),
            thetas: thetas.to_vec(),
            items: items.len(),
        };
        self.log.borrow_mut().push(look);
        let rollout = |item: &Item| Rollout {
            item: *item,
            prompt_id: questions.indices[item.question].to_string(),
            prompt: String::new(),
            completion: String::new(),
            verdict: Verdict::new(thetas[item.candidate].iter().sum(), []),
            prompt_tokens: 1,
            tokens: 1,
            finish_reason: Finish::Stop,
        };
        take(items.iter().map(rollout).collect())?;
        Ok(true)
    }

    fn export(&self, _: &[f64], _: &Path) -> Result<()> {
        Ok(())
    }

    fn digest(&self) -> Result<String> {
        Ok("asked".into())
    }
}

fn config(generations: u64) -> RunConfig {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.toml");
    let text = format!(
        "[model]\npath = 'm'\n[strategy]\nkind = 'cma-es'\npopulation = 4\n[run]\ngenerations = {generations}\nprompts = 3\nvalidate_every = 0\n"
    );
    std::fs::write(&path, text).expect("a file");
    let mut config = RunConfig::load(&path, &["model.path=/m".to_string()]).expect("a config");
    config.strategy = config.strategy.resolve(3).expect("a strategy");
    config
}

fn align(config: &RunConfig, directory: &Path) -> (Row, Vec<Look>) {
    let (mut objective, log) = Asked::new();
    let plan = Plan::of(config.clone(), 3).expect("a plan");
    let (ranks, mut directory) = (Ranks::alone(), RunDirectory::at(directory));
    directory.claim(config).expect("a free directory");
    let run = Run::open(&plan, &directory, &ranks, &mut objective).expect("a run");
    let (row, _) = run.align().expect("an end");
    let train = log
        .borrow()
        .iter()
        .filter(|look| look.questions.split == Split::Train)
        .cloned()
        .collect();
    (row, train)
}

/// `generations = N` asks, judges and tells N times.
#[test]
fn off_by_one_generation_count() {
    for generations in [1, 4] {
        let folder = tempfile::tempdir().expect("a folder");
        let (row, looks) = align(&config(generations), &folder.path().join("run"));
        assert_eq!(row.generations, generations);
        assert_eq!(looks.len() as u64, generations);
        assert!(looks.iter().all(|look| look.items == 4 * 3));
        let metrics = std::fs::read_to_string(folder.path().join("run/metrics.csv")).expect("metrics");
        let numbers: Vec<u64> = metrics
            .lines()
            .skip(1)
            .map(|row| row.split(',').next().expect("a column").parse().expect("a number"))
            .collect();
        assert_eq!(numbers, (0..=generations).collect::<Vec<_>>());
    }
}

/// A resumed run that begins its streams or its data again sees the first generations twice.
#[test]
fn resume_that_restarts_noise_or_data() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, undisturbed) = align(&config(6), &folder.path().join("undisturbed"));
    let (_, first) = align(&config(3), &folder.path().join("first"));
    let rest = folder.path().join("rest");
    let (longer, first_directory) = (config(6), RunDirectory::at(folder.path().join("first")));
    let digest = run::digest(&longer, &Asked::new().0).expect("a digest");
    RunDirectory::at(&rest)
        .fork_from(&first_directory, &longer, 3, digest)
        .expect("a fork");
    let (_, rest) = align(&config(6), &rest);
    assert_eq!((first.len(), rest.len()), (3, 3));
    assert_eq!([first, rest].concat(), undisturbed);
    // Seven examples, three at a time: in order, and each once before any comes twice.
    let asked: Vec<usize> = undisturbed
        .iter()
        .flat_map(|look| look.questions.indices.clone())
        .collect();
    for epoch in asked.chunks_exact(7) {
        assert_eq!(epoch.iter().collect::<HashSet<_>>().len(), 7, "{asked:?}");
    }
    assert_ne!(asked[..7], asked[7..14], "the second time around is in another order");
}

/// One cache of a prompt for all candidates: fast, and each reads what another's weights have made of it.
#[test]
fn a_kv_cache_shared_across_candidates() {
    let (mut engine, space) = small_model();
    let thetas = candidates(&space, 5);
    // Long enough for whole blocks that could be shared.
    let prompt: Vec<u32> = (0..80).map(|token| 3 + token % 90).collect();
    let requests: Vec<_> = (0..thetas.len())
        .map(|candidate| greedy(prompt.clone(), 24, candidate))
        .collect();
    let mixed = bank(&space, &engine, &thetas);
    let together = engine
        .generate(&requests, Some(&mixed), &mut || true)
        .expect("texts")
        .expect("not stopped");
    for (candidate, theta) in thetas.iter().enumerate() {
        let alone = bank(&space, &engine, std::slice::from_ref(theta));
        let request = greedy(prompt.clone(), 24, 0);
        let alone = engine
            .generate(&[request], Some(&alone), &mut || true)
            .expect("texts")
            .expect("not stopped");
        assert_eq!(together[candidate], alone[0], "candidate {candidate}");
    }
    let texts: HashSet<_> = together.iter().map(|completion| &completion.token_ids).collect();
    assert!(texts.len() > 1, "candidates that write the same show nothing");
}
