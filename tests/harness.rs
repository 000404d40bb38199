//! `essa eval` of the base model and of an exported adapter beside EleutherAI's lm-evaluation-harness, which had the same adapter by transformers and peft, the
//! same prompts and the same rows in f32 (`tests/golden/make_harness.py`): the same texts, verdicts and scores, of written answers and of choices.

mod support;

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use support::{fixture, json};

const SUBJECTS: [&str; 2] = ["base", "adapter"];

/// What `essa eval` finds of the fixture's rows as this task: its report and the texts, of each subject in the order of the rows.
fn evaluated(task: &str, flags: &[&str]) -> (Value, [Vec<Value>; 2]) {
    let (folder, golden) = (tempfile::tempdir().expect("a folder"), fixture("harness"));
    let other = |name: &str| {
        let row =
            format!("{{\"question\": \"{name}\", \"answer\": \"1\", \"choices\": [\"a\", \"b\"], \"right\": 0}}\n");
        fs::write(folder.path().join(name), row).expect("a row");
    };
    ["train.jsonl", "validation.jsonl"].into_iter().for_each(other);
    let (model, rows) = (golden.join("model"), golden.join("rows.jsonl"));
    let config = format!(
        "[model]\npath = '{}'\nprecision = 'f32'\n[task]\n{task}\nprompt = '{{question}}'\ntrain = 'train.jsonl'\nvalidation = \
         'validation.jsonl'\ntest = '{}'\n[generation]\nmax_new_tokens = 20\n",
        model.display(),
        rows.display()
    );
    fs::write(folder.path().join("config.toml"), config).expect("a config");
    let output = Command::new(env!("CARGO_BIN_EXE_essa"))
        .current_dir(folder.path())
        .args(["eval", "config.toml", "--base", "--adapter"])
        .arg(format!("adapter={}", golden.join("adapter").display()))
        .args(flags)
        .args(["--rollouts", "texts.jsonl", "--output", "report.json"])
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let texts = lines(&folder.path().join("texts.jsonl"));
    let of = |name: &str| texts.iter().filter(|line| line["subject"] == name).cloned().collect();
    (json(&folder.path().join("report.json")), SUBJECTS.map(of))
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("a file");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// Holds scores against those of the harness, and that they tell right from wrong and one subject from the other.
fn agrees(report: &Value, golden: &Value, term: &str, name: &str) {
    let mut scores = Vec::new();
    for (at, subject) in SUBJECTS.into_iter().enumerate() {
        let own = &report["scores"][at];
        assert_eq!(own["subject"], subject);
        let found = if term == "reward" {
            &own["score"]["value"]
        } else {
            &own["terms"][term]
        };
        let expected = &golden[subject]["scores"][name];
        let [found, expected] = [found, expected].map(|own| own.as_f64().expect("a score"));
        assert!(
            (found - expected).abs() < 1e-12,
            "{subject}, {name}: {found}, the harness has {expected}"
        );
        scores.push(found);
    }
    println!("{name}: base and adapter {scores:?}");
    assert!(
        scores[0] != scores[1] && scores.iter().any(|own| (0.1..0.95).contains(own)),
        "{scores:?} show little"
    );
}

#[test]
fn written_answers_are_scored_as_lm_evaluation_harness_scores_them() {
    let golden: Value = json(&fixture("harness").join("verdicts.json"));
    let rows = lines(&fixture("harness").join("rows.jsonl"));
    let (report, texts) = evaluated("kind = 'jsonl'\nanswer = 'answer'\njudge = 'number'", &["--greedy"]);
    for (subject, texts) in SUBJECTS.into_iter().zip(&texts) {
        assert_eq!(texts.len(), rows.len());
        for ((own, row), theirs) in texts
            .iter()
            .zip(&rows)
            .zip(golden[subject]["sums"].as_array().expect("rows"))
        {
            assert_eq!(own["prompt"], row["question"]);
            assert_eq!(own["completion"], theirs["response"], "{subject}, {row}");
            assert_eq!(
                own["reward"] == 1.0,
                theirs["correct"] == true,
                "{subject}: {own}, the harness has {theirs}"
            );
        }
    }
    agrees(&report, &golden, "reward", "sums");
}

/// By sums of logarithms, `acc`, and by sums a byte, `acc_norm`, which divides by characters: the same where options are ASCII.
#[test]
fn choices_are_scored_as_lm_evaluation_harness_scores_them() {
    let golden: Value = json(&fixture("harness").join("verdicts.json"));
    let (report, texts) = evaluated(
        "kind = 'choice'\noptions = 'choices'\nanswer = 'right'\njudge = 'likeliest'",
        &[],
    );
    let rows = lines(&fixture("harness").join("rows.jsonl"));
    let mut worst = 0.0_f64;
    for (subject, texts) in SUBJECTS.into_iter().zip(&texts) {
        assert_eq!(texts.len(), rows.len());
        for ((own, row), theirs) in texts
            .iter()
            .zip(&rows)
            .zip(golden[subject]["choices"].as_array().expect("rows"))
        {
            assert_eq!(own["prompt"], row["question"]);
            for term in ["correct", "correct_norm"] {
                assert_eq!(
                    own["terms"][term] == 1.0,
                    theirs[term] == true,
                    "{subject}, {term}: {own}, the harness has {theirs}"
                );
            }
            let logarithms: Vec<f64> = serde_json::from_value(theirs["logarithms"].clone()).expect("numbers");
            let all: f64 = logarithms.iter().map(|own| own.exp()).sum();
            let right = row["right"].as_u64().expect("an index") as usize;
            let found = own["terms"]["probability"].as_f64().expect("a number");
            worst = worst.max((found - logarithms[right].exp() / all).abs());
        }
    }
    println!("largest difference of the right option's probability among four: {worst:.1e}");
    assert!(worst < 1e-4, "{worst}");
    agrees(&report, &golden, "correct", "choices");
    agrees(&report, &golden, "correct_norm", "choices_norm");
}
