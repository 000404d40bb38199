//! Selection by Pareto rank, end to end, on a toy with a known trade-off: two terms of which weighted sums cannot reach the middle (Fonseca and
//! Fleming's problem in five dimensions, whose front is concave). At equal rollouts the front that a run returns covers more than the candidates of any run with
//! a single pair of weights do.

mod support;

use essa::config::RunConfig;
use essa::engine::Finish;
use essa::error::Result;
use essa::farm::ranks::Ranks;
use essa::objective::{Item, Objective, Questions, Rollout};
use essa::plan::Plan;
use essa::record::{RunDirectory, Standing};
use essa::run::Run;
use essa::search::Layout;
use essa::strategy::selection::{front, hypervolume};
use essa::task::{Split, Verdict};
use std::fs;
use std::path::Path;

const N: usize = 5;

/// 1 − exp(−|x − c|²) for c = ±1/√n, as what is to be as small as possible; here its negative from 1.
struct TradeOff {
    layout: Layout,
    weights: Option<f64>,
    /// Terms of every candidate that was judged.
    seen: Vec<Vec<f64>>,
}

impl Objective for TradeOff {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn examples(&self, _: Split) -> usize {
        1
    }

    fn evaluate(
        &mut self,
        thetas: &[Vec<f64>],
        questions: &Questions,
        items: &[Item],
        report: &mut dyn FnMut(Vec<Rollout>) -> Result<()>,
        _: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        for item in items {
            let near = |centre: f64| (-thetas[item.candidate].iter().map(|x| (x - centre).powi(2)).sum::<f64>()).exp();
            let ends = 1.0 / (N as f64).sqrt();
            let terms = [near(ends), near(-ends)];
            if questions.split == Split::Train {
                self.seen.push(terms.to_vec());
            }
            let weight = self.weights.unwrap_or(0.5);
            report(vec![Rollout {
                item: *item,
                prompt_id: String::new(),
                prompt: String::new(),
                completion: String::new(),
                verdict: Verdict::new(
                    weight * terms[0] + (1.0 - weight) * terms[1],
                    [("left", terms[0]), ("right", terms[1])],
                ),
                prompt_tokens: 1,
                tokens: 1,
                finish_reason: Finish::Stop,
            }])?;
        }
        Ok(true)
    }

    fn digest(&self) -> Result<String> {
        Ok(format!("trade-off {:?}", self.weights))
    }

    fn export(&self, theta: &[f64], directory: &Path) -> Result<()> {
        essa::files::write_atomically(
            &directory.join("theta.json"),
            &serde_json::to_vec(theta).expect("numbers"),
        )
    }
}

/// What the candidates of a run with these weights cover, or the front that a Pareto run wrote; and how many points it has.
fn covered(weights: Option<f64>, seed: u64) -> (f64, usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let selection = if weights.is_none() {
        "selection = 'pareto'\norder = ['left', 'right']"
    } else {
        ""
    };
    let text = format!(
        "name = 'toy'\nseed = {seed}\n[model]\npath = 'none'\n[strategy]\npopulation = 12\nsigma = 0.5\n[reward]\n{selection}\n[run]\ngenerations = 40\nprompts = 1\nvalidate_every = 0\n\
         [task]\nkind = 'jsonl'\ntrain = 'x'\nprompt = '{{q}}'\njudge = {{ command = ['true'] }}"
    );
    let config = RunConfig::from_table(text.parse().expect("TOML"), Path::new("toy.toml")).expect("a config");
    let mut objective = TradeOff {
        layout: Layout::new([("x".to_string(), N)]),
        weights,
        seen: Vec::new(),
    };
    let plan = Plan::of(config, N).expect("a plan");
    let mut directory = RunDirectory::at(folder.path().join("run"));
    assert!(matches!(
        directory.claim(&plan.config).expect("a directory"),
        Standing::New
    ));
    let ranks = Ranks::alone();
    let run = Run::open(&plan, &directory, &ranks, &mut objective).expect("a run");
    run.align().expect("it ends");
    assert_eq!(objective.seen.len(), 40 * 12, "equal rollouts");
    if weights.is_some() {
        let best: Vec<Vec<f64>> = front(&objective.seen)
            .iter()
            .map(|&at| objective.seen[at].clone())
            .collect();
        return (hypervolume(&best, &[0.0, 0.0]), best.len());
    }
    let table = fs::read_to_string(directory.path().join("front.csv")).expect("the front");
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("point,generation,left,right"));
    let point = |line: &str| {
        line.split(',')
            .skip(2)
            .map(|number| number.parse().expect("a number"))
            .collect::<Vec<f64>>()
    };
    let points: Vec<Vec<f64>> = lines.map(point).collect();
    assert_eq!(front(&points).len(), points.len(), "nobody of the front beats another");
    for (at, terms) in points.iter().enumerate() {
        let text =
            fs::read_to_string(directory.path().join(format!("front/{at}/theta.json"))).expect("an export a point");
        let theta: Vec<f64> = serde_json::from_str(&text).expect("numbers");
        let near = (-theta.iter().map(|x| (x - 1.0 / (N as f64).sqrt()).powi(2)).sum::<f64>()).exp();
        assert!((near - terms[0]).abs() < 1e-9, "the export is the point's");
    }
    (hypervolume(&points, &[0.0, 0.0]), points.len())
}

#[test]
fn the_front_dominates_runs_with_single_weights_at_equal_rollouts() {
    let median = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let seeds = 1..=5;
    let found: Vec<(f64, usize)> = seeds.clone().map(|seed| covered(None, seed)).collect();
    println!("pareto: {found:.3?}");
    let pareto = median(found.iter().map(|(volume, _)| *volume).collect());
    assert!(found.iter().all(|(_, points)| *points >= 8), "{found:?}");
    for weight in [0.1, 0.3, 0.5, 0.7, 0.9] {
        let single: Vec<f64> = seeds.clone().map(|seed| covered(Some(weight), seed).0).collect();
        println!("weight {weight}: {single:.3?}");
        assert!(pareto > median(single), "weight {weight}");
    }
}
