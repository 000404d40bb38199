//! Preferences from a row to a reward: the objectives beside PyTorch's and TRL's values, and on a model what the start says, scored once, with a prompt that
//! both sides of a pair share.

mod support;

use essa::config::RunConfig;
use essa::engine::{Limits, Sampling};
use essa::judge::RewardConfig;
use essa::language_model::LanguageModel;
use essa::model::{LoadOptions, Precision};
use essa::objective::{Alignment, Item, Objective, Questions, Rollout};
use essa::reward::preference::{Goal, Preference, Scored};
use essa::seed::Seed;
use essa::task::{Split, TaskConfig};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use support::fixture;

#[derive(Deserialize)]
struct Case {
    chosen: Vec<f32>,
    chosen_start: Vec<f32>,
    rejected: Vec<f32>,
    rejected_start: Vec<f32>,
    beta: f64,
    delta: f64,
    losses: BTreeMap<String, f64>,
}

/// Every objective, on random log-probabilities, is what PyTorch computes and TRL's loss functions say.
#[test]
fn objectives_are_those_of_pytorch_and_trl() {
    let text = fs::read_to_string(fixture("preference.json")).expect("a fixture");
    let cases: Vec<Case> = serde_json::from_str(&text).expect("cases");
    assert_eq!(cases.len(), 24);
    for case in &cases {
        let chosen = Scored {
            candidate: &case.chosen,
            start: &case.chosen_start,
        };
        let rejected = Scored {
            candidate: &case.rejected,
            start: &case.rejected_start,
        };
        let of = |goal: Goal| Preference {
            goal,
            beta: case.beta,
            delta: case.delta,
        };
        let near = |found: f64, name: &str| {
            let expected = case.losses[name];
            assert!((found - expected).abs() < 1e-6, "{name}: {found}, expected {expected}");
        };
        for (goal, name) in [
            (Goal::Dpo, "dpo"),
            (Goal::LnDpo, "ln_dpo"),
            (Goal::Mapo, "mapo"),
            (Goal::Bco, "bco"),
        ] {
            let (reward, terms) = of(goal).pair(chosen, rejected);
            near(-reward, name);
            near(terms["loss"], name);
        }
        near(-of(Goal::Bco).labelled(chosen, true).0, "bco_chosen");
        near(-of(Goal::Bco).labelled(rejected, false).0, "bco_rejected");
        let (margin, terms) = of(Goal::Margin).pair(chosen, rejected);
        near(terms["chosen"], "chosen");
        near(terms["rejected"], "rejected");
        near(terms["accuracy"], "accuracy");
        near(terms["loss"], "dpo");
        assert!((margin - case.losses["chosen"] + case.losses["rejected"]).abs() < 1e-6);
        assert_eq!(of(Goal::Accuracy).pair(chosen, rejected).0, case.losses["accuracy"]);
    }
}

const PAIRS: &str = "a prompt that is long enough to fill some blocks of the cache";

/// A tiny model and pairs in a folder, and a config over them.
fn alignment(folder: &Path) -> Alignment {
    fs::write(folder.join("tiny.gguf"), support::tiny_model::tiny_model()).expect("a model");
    let line = |n: usize| format!("{{\"prompt\": \"{n} {PAIRS}\", \"chosen\": \"yes {n}\", \"rejected\": \"no\"}}\n");
    fs::write(folder.join("pairs.jsonl"), (0..8).map(line).collect::<String>()).expect("a file");
    let text = "[model]\npath = 'tiny.gguf'\n[space]\nrank = 1\n[task]\nkind = 'preference'\ntrain = 'pairs.jsonl'\nvalidation_size = 2\n\
                test_size = 2\n[run]\nprompts = 2\n";
    fs::write(folder.join("run.toml"), text).expect("a config");
    let config = RunConfig::load(&folder.join("run.toml"), &[]).expect("a good config");
    let options = LoadOptions::from(Precision::Int8);
    let opened = LanguageModel::open(&folder.join("tiny.gguf"), options, Limits::default()).expect("opens");
    let space = config.open_space(&opened.weights, &|_| ()).expect("a space");
    let task = config.task.open().expect("a task");
    let generation = (Sampling::default(), 4);
    Alignment::new(opened, space, task, &RewardConfig::default(), generation, "tiny".into()).expect("fits")
}

fn ask(alignment: &mut Alignment, thetas: &[Vec<f64>]) -> Vec<Rollout> {
    let questions = Questions::new(Split::Train, vec![0, 1, 2], Seed::new(0));
    let of = |candidate| questions.items(candidate, 0..3).collect::<Vec<Item>>();
    let items: Vec<Item> = (0..thetas.len()).flat_map(of).collect();
    let mut rollouts: Vec<Rollout> = Vec::new();
    let mut take = |some: Vec<Rollout>| {
        rollouts.extend(some);
        Ok(())
    };
    let done = alignment.evaluate(thetas, &questions, &items, &mut take, &mut || true);
    assert!(done.expect("evaluates"));
    rollouts.sort_by_key(|rollout| rollout.item);
    rollouts
}

/// The start ties with itself to the last bit; what it says is scored once and, kept on disk, not again; and of a pair's prompt the second side reads only
/// the part behind the last whole block.
#[test]
fn the_start_is_scored_once_and_a_prompt_is_read_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut first = alignment(folder.path());
    let cache = folder.path().join("references");
    first
        .keep_references(&cache, "int8", &|told| panic!("{told}"))
        .expect("a digest");
    let n = first.layout().dim();
    let thetas = [vec![0.0; n], vec![0.3; n]];
    let rollouts = ask(&mut first, &thetas);
    for rollout in &rollouts {
        assert!(!rollout.verdict.failed, "{:?}", rollout.verdict.error);
        let terms = &rollout.verdict.terms;
        if rollout.item.candidate == 0 {
            assert_eq!((terms["margin"], terms["chosen"], terms["accuracy"]), (0.0, 0.0, 0.5));
            assert_eq!(rollout.verdict.reward, -(2_f64.ln()));
        } else {
            assert!(terms["margin"] != 0.0 && terms["accuracy"] != 0.5, "another model");
        }
    }
    // Start and both candidates: three prompts each, read for one side and shared by the other up to its last whole block.
    let stats = first.opened().engine.stats();
    let blocks: usize = rollouts
        .iter()
        .map(|rollout| (rollout.prompt_tokens - 1) / 16 * 16)
        .sum();
    let of_start: usize = rollouts[..3]
        .iter()
        .map(|rollout| (rollout.prompt_tokens - 1) / 16 * 16)
        .sum();
    assert!(of_start >= 3 * 16);
    assert_eq!(stats.reused_tokens, blocks + of_start);
    let before = stats.prompt_tokens + stats.reused_tokens;
    let again = ask(&mut first, &thetas);
    let after = first.opened().engine.stats();
    assert_eq!(
        (after.prompt_tokens + after.reused_tokens - before) * 3,
        before * 2,
        "without the start"
    );
    // Another process reads what the first has kept, and comes to the same to the last bit.
    let mut second = alignment(folder.path());
    second
        .keep_references(&cache, "int8", &|told| panic!("{told}"))
        .expect("a digest");
    let kept = ask(&mut second, &thetas);
    let stats = second.opened().engine.stats();
    assert_eq!((stats.prompt_tokens + stats.reused_tokens) * 3, before * 2);
    // Where nothing can be kept, that is said once, and all is the same.
    let mut third = alignment(folder.path());
    let told = std::sync::Mutex::new(Vec::new());
    let hear = |text: &str| told.lock().expect("nobody panics").push(text.to_owned());
    third
        .keep_references(&folder.path().join("run.toml/x"), "int8", &hear)
        .expect("no error");
    let without = ask(&mut third, &thetas);
    let told = told.into_inner().expect("nobody panics");
    assert!(
        told.len() == 1 && told[0].contains("going on without the cache"),
        "{told:?}"
    );
    let words = |rollouts: &[Rollout]| serde_json::to_string(rollouts).expect("JSON");
    for other in [again, kept, without] {
        assert_eq!(words(&rollouts), words(&other));
    }
}

/// A pair without a side is one sentence that names file, line and column, when the task is opened and no model is.
#[test]
fn a_pair_without_a_side_is_refused_before_anything_is_spent() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let good = r#"{"prompt": "Q", "chosen": "a", "rejected": "b"}"#;
    fs::write(
        folder.path().join("pairs.jsonl"),
        format!("{good}\n{{\"prompt\": \"R\", \"chosen\": \"a\"}}\n"),
    )
    .expect("a file");
    let config: TaskConfig = toml::from_str("kind = 'preference'\ntrain = 'pairs.jsonl'").expect("valid");
    let told = config
        .load(Seed::new(0), folder.path())
        .err()
        .expect("refused")
        .to_string();
    assert!(
        told.contains("pairs.jsonl: line 2: column `rejected` is missing; the line has `prompt`, `chosen`")
            && !told.contains('\n'),
        "{told}"
    );
}
