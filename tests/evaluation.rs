//! `essa eval` of adapters: what subjects earn, that an adapter of weight 1 among others is the adapter alone, and what is refused. Numbers of a report are
//! computed anew from the texts that it leaves; tests/harness.rs holds them against lm-evaluation-harness.

mod support;

use essa::adapter::peft::{Lora, PeftAdapter};
use essa::model::{Module, Weights};
use essa::seed::Seed;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use support::house::House;
use support::tiny_model::tiny_model;

fn essa(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_essa"));
    command
        .current_dir(folder)
        .args(words)
        .env("ESSA_CACHE", folder.join("cache"));
    command.output().expect("the binary runs")
}

fn eval(folder: &Path, flags: &[&str]) -> Output {
    essa(folder, &[&["eval", "config.toml"], flags].concat())
}

fn told(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const ROWS: usize = 12;

/// A model, a task that rewards a small letter, and three random adapters `a`, `b` and `c`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("tiny.gguf"), tiny_model()).expect("a model");
    let config = "[model]\npath = 'tiny.gguf'\n[task]\nkind = 'jsonl'\nprompt = '{q}'\njudge = { matches = '[a-z]' }\ntrain = 'train.jsonl'\nvalidation = 'validation.jsonl'\ntest = 'test.jsonl'\n[generation]\nmax_new_tokens = 4\ntemperature = 1.0\n";
    fs::write(folder.path().join("config.toml"), config).expect("a config");
    for name in ["train", "validation", "test"] {
        let rows: String = (0..ROWS)
            .map(|at| format!("{{\"q\": \"{name} {at}\", \"level\": {}}}\n", at % 2))
            .collect();
        fs::write(folder.path().join(format!("{name}.jsonl")), rows).expect("rows");
    }
    let weights = Weights::open(&folder.path().join("tiny.gguf")).expect("the model");
    for (seed, name) in ["a", "b", "c"].into_iter().enumerate() {
        let lora = |layer: usize, module: Module| {
            let [out, inputs] = weights.config().module_shape(module);
            let random = |part: u64, n: usize| -> Vec<f32> {
                let seed = Seed::new(seed as u64)
                    .fold(layer as u64)
                    .fold(module.index() as u64)
                    .fold(part);
                seed.normals(n).iter().map(|&z| z as f32).collect()
            };
            Lora {
                rank: 2,
                scale: 0.2,
                a: random(0, 2 * inputs),
                b: random(1, out * 2),
            }
        };
        // Each on other matrices, so that their side paths do not line up.
        let modules = [(0, Module::V), (1, Module::ALL[seed])];
        let adapter = PeftAdapter {
            modules: modules
                .map(|(layer, module)| ((layer, module), lora(layer, module)))
                .into(),
        };
        adapter.write(&folder.path().join(name), "tiny").expect("an adapter");
    }
    folder
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("texts");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn report(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).expect("a report")).expect("JSON")
}

/// A column of the texts of one subject on one split by a decoding that begins like this.
fn column<'a>(lines: &'a [Value], subject: &str, split: &str, decoding: &str, name: &str) -> Vec<&'a Value> {
    let is_of = |line: &&Value| {
        line["subject"] == subject
            && line["split"] == split
            && line["decoding"].as_str().expect("text").starts_with(decoding)
    };
    lines.iter().filter(is_of).map(|line| &line[name]).collect()
}

fn numbers(column: &[&Value]) -> Vec<f64> {
    column.iter().map(|own| own.as_f64().expect("a number")).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The scores of a report by subject, split and beginning of the decoding, of all rows.
fn score<'a>(report: &'a Value, subject: &str, split: &str, decoding: &str) -> &'a Value {
    let mut scores = report["scores"].as_array().expect("scores").iter();
    let is_of = |own: &&Value| {
        let begins = own["decoding"].as_str().expect("text").starts_with(decoding);
        own["subject"] == subject && own["split"] == split && own["category"] == "" && begins
    };
    scores
        .find(is_of)
        .unwrap_or_else(|| panic!("no {subject} on {split}: {report}"))
}

fn is_close(found: &Value, expected: f64) -> bool {
    (found.as_f64().expect("a number") - expected).abs() < 1e-12
}

/// The base model on every kind of table, in all three renderings.
#[test]
fn the_base_model_is_scored() {
    let folder = folder();
    let flags = [
        "--base",
        "--greedy",
        "--samples",
        "3",
        "--best-of",
        "2",
        "--best-of-judge",
        "{ length = 3 }",
        "--by",
        "level",
    ];
    let markdown = told(&eval(folder.path(), &flags));
    for word in [
        "| base | test | greedy |",
        "level = 0",
        "avg@3",
        "pass@2",
        "Best of n",
        "| length | 2 |",
    ] {
        assert!(markdown.contains(word), "{word}: {markdown}");
    }
    for name in ["scores.json", "scores.csv"] {
        told(&eval(folder.path(), &[&flags[..], &["--output", name]].concat()));
    }
    let json = fs::read_to_string(folder.path().join("scores.json")).expect("a report");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    // All rows and two levels, by two decodings.
    assert_eq!(json["scores"].as_array().map(Vec::len), Some(6));
    let csv = fs::read_to_string(folder.path().join("scores.csv")).expect("a report");
    assert!(csv.lines().all(|line| line.matches(',').count() == 11), "{csv}");
}

/// In int8, where a text does not depend on its neighbours.
#[test]
fn adapters_that_answer_together_say_what_each_says_alone() {
    let folder = folder();
    let how = ["--greedy", "--samples", "2", "--rollouts", "texts.jsonl"];
    let subjects = [
        "--base",
        "--adapter",
        "first=a",
        "--adapter",
        "second=b",
        "--adapter",
        "third=c",
    ];
    told(&eval(
        folder.path(),
        &[&subjects[..], &how, &["--output", "all.json"]].concat(),
    ));
    let together = lines(&folder.path().join("texts.jsonl"));
    let all = report(&folder.path().join("all.json"));
    let texts = |lines: &[Value], name: &str, decoding: &str| -> Vec<Value> {
        column(lines, name, "test", decoding, "completion")
            .into_iter()
            .cloned()
            .collect()
    };
    for (name, own) in [
        ("base", &["--base"][..]),
        ("first", &["--adapter", "first=a"]),
        ("second", &["--adapter", "second=b"]),
        ("third", &["--adapter", "third=c"]),
    ] {
        told(&eval(folder.path(), &[own, &how, &["--output", "one.json"]].concat()));
        let alone = lines(&folder.path().join("texts.jsonl"));
        let one = report(&folder.path().join("one.json"));
        for (decoding, count) in [("greedy", ROWS), ("temperature", 2 * ROWS)] {
            let own = texts(&together, name, decoding);
            assert_eq!(own.len(), count);
            assert_eq!(own, texts(&alone, name, decoding), "{name}, {decoding}");
            assert_eq!(score(&all, name, "test", decoding), score(&one, name, "test", decoding));
            let is_other = name == "base" || own != texts(&together, "base", decoding);
            assert!(is_other, "{name} changes nothing, so the test shows nothing");
        }
    }
    // Six pairs of four subjects, by two decodings, each the mean difference of its rows.
    let pairs = all["pairs"].as_array().expect("pairs");
    assert_eq!(pairs.len(), 12);
    for pair in pairs {
        let rewards = |name: &str| {
            let of = score(
                &all,
                pair[name].as_str().expect("text"),
                "test",
                pair["decoding"].as_str().expect("text"),
            );
            of["score"]["value"].as_f64().expect("a number")
        };
        assert!(
            is_close(&pair["difference"]["value"], rewards("subject") - rewards("against")),
            "{pair}"
        );
    }
}

/// What an adapter earns that a run exported is what the run's mean earns, and the base model is the start of a search that begins there.
#[test]
fn adapters_stand_beside_the_start_and_the_mean_of_a_run() {
    let house = House::new(&tiny_model()).with(&["model.precision=f32", "task.validation_size=24"]);
    let (run, folder) = (house.run("beside"), house.folder.path());
    house.finish(0, &run);
    let run = run.display().to_string();
    told(&essa(folder, &["export", &run, "--out", "exported"]));
    let flags = [
        "--base",
        "--adapter",
        "exported=exported",
        "--rollouts",
        "texts.jsonl",
        "--output",
        "all.json",
    ];
    told(&essa(folder, &[&["eval", &run], &flags[..], &["--select"]].concat()));
    let (texts, all) = (lines(&folder.join("texts.jsonl")), report(&folder.join("all.json")));
    let named: Vec<&str> = all["scores"]
        .as_array()
        .expect("scores")
        .iter()
        .map(|own| own["subject"].as_str().expect("text"))
        .collect();
    let mean_of_run = named[1];
    assert_eq!(named[..4], ["start", mean_of_run, "base", "exported"]);
    assert!(mean_of_run.starts_with("mean of generation"));
    for (of_run, other) in [("start", "base"), (mean_of_run, "exported")] {
        let said = |name: &str| column(&texts, name, "validation", "", "completion");
        assert_eq!(said(of_run).len(), 24);
        assert_eq!(said(of_run), said(other), "{of_run} and {other}");
    }
    // The mean stands first of those who say the same. It goes back to the run's space, and is scored as the run alone scores it.
    assert_eq!(all["winner"], mean_of_run);
    told(&essa(folder, &["eval", &run, "--output", "run.json"]));
    let alone = report(&folder.join("run.json"));
    assert_eq!(
        score(&all, mean_of_run, "test", ""),
        score(&alone, mean_of_run, "test", "")
    );
}

#[test]
fn the_best_on_validation_is_scored_on_the_test_split() {
    let folder = folder();
    let subjects = [
        "--base",
        "--adapter",
        "first=a",
        "--adapter",
        "second=b",
        "--adapter",
        "third=c",
    ];
    let flags = [
        "--select",
        "--greedy",
        "--rollouts",
        "texts.jsonl",
        "--output",
        "all.json",
    ];
    told(&eval(folder.path(), &[&subjects[..], &flags].concat()));
    let (texts, all) = (
        lines(&folder.path().join("texts.jsonl")),
        report(&folder.path().join("all.json")),
    );
    let scores: Vec<(&str, f64)> = ["base", "first", "second", "third"]
        .into_iter()
        .map(|name| {
            (
                name,
                mean(&numbers(&column(&texts, name, "validation", "greedy", "reward"))),
            )
        })
        .collect();
    let best = scores.iter().map(|own| own.1).fold(0.0, f64::max);
    let (winner, _) = scores.iter().find(|own| own.1 == best).expect("one of them");
    assert!(scores.iter().any(|own| own.1 < best), "{scores:?} show nothing");
    assert_eq!(all["winner"], **winner);
    let on_test: Vec<&Value> = all["scores"]
        .as_array()
        .expect("scores")
        .iter()
        .filter(|own| own["split"] == "test")
        .collect();
    assert_eq!(on_test.len(), 1);
    let rewards = numbers(&column(&texts, winner, "test", "greedy", "reward"));
    assert_eq!((on_test[0]["subject"].as_str(), rewards.len()), (Some(*winner), ROWS));
    assert!(is_close(&on_test[0]["score"]["value"], mean(&rewards)));
    let prompts = column(&texts, winner, "test", "greedy", "prompt");
    assert!(
        prompts
            .iter()
            .all(|own| own.as_str().expect("text").starts_with("test "))
    );
}

/// Under the task's own judge it is what any text of a question earns at best; under another the first of those that this one likes best.
#[test]
fn best_of_n_is_what_its_selector_takes_of_the_texts() {
    let folder = folder();
    let flags = [
        "--adapter",
        "own=a",
        "--samples",
        "4",
        "--best-of",
        "3",
        "--by",
        "level",
        "--rollouts",
        "texts.jsonl",
        "--output",
        "all.json",
    ];
    told(&eval(folder.path(), &flags));
    let (texts, all) = (
        lines(&folder.path().join("texts.jsonl")),
        report(&folder.path().join("all.json")),
    );
    let of = |texts: &[Value], name: &str| numbers(&column(texts, "own", "test", "temperature", name));
    let (rewards, tokens) = (of(&texts, "reward"), of(&texts, "tokens"));
    let first: Vec<&[f64]> = rewards.chunks(4).map(|own| &own[..3]).collect();
    let best: Vec<f64> = first
        .iter()
        .map(|own| own.iter().copied().fold(0.0, f64::max))
        .collect();
    let found = &all["best_of"][0];
    assert!(mean(&best) > mean(&first.concat()), "the texts show nothing");
    assert!(
        is_close(&found["score"]["value"], mean(&best)) && is_close(&found["of_one"], mean(&first.concat())),
        "{found}"
    );
    let written: Vec<f64> = tokens.chunks(4).map(|own| own[..3].iter().sum()).collect();
    assert!(is_close(&found["tokens"], mean(&written)), "{found}");
    // avg@4, pass@4 and categories, from the same texts.
    let own = score(&all, "own", "test", "temperature");
    let pass: Vec<f64> = rewards
        .chunks(4)
        .map(|own| own.iter().copied().fold(0.0, f64::max))
        .collect();
    assert!(
        is_close(&own["terms"]["avg@4"], mean(&rewards)) && is_close(&own["terms"]["pass@4"], mean(&pass)),
        "{own}"
    );
    assert!(is_close(&own["terms"]["pass@1"], mean(&rewards)), "{own}");
    let truncated = column(&texts, "own", "test", "", "finish_reason");
    let truncated = truncated.iter().filter(|own| **own == "length").count() as f64 / truncated.len() as f64;
    assert!(is_close(&own["truncated"], truncated), "{own}, {truncated}");
    for level in 0..2 {
        let rows: Vec<f64> = rewards.chunks(4).skip(level).step_by(2).flatten().copied().collect();
        let own = all["scores"]
            .as_array()
            .expect("scores")
            .iter()
            .find(|own| own["category"] == format!("level = {level}"));
        assert!(
            is_close(&own.expect("a category")["score"]["value"], mean(&rows)),
            "{level}"
        );
    }
    let by_other = ["--best-of-judge", "{ matches = '^[^a-k]*$' }"];
    told(&eval(folder.path(), &[&flags[..], &by_other].concat()));
    let (again, all) = (
        lines(&folder.path().join("texts.jsonl")),
        report(&folder.path().join("all.json")),
    );
    assert_eq!(again, texts, "who selects changes no text");
    let said = column(&texts, "own", "test", "temperature", "completion");
    let likes: Vec<bool> = said
        .iter()
        .map(|own| !own.as_str().expect("text").contains(|c| ('a'..='k').contains(&c)))
        .collect();
    let chosen = |at: usize| 4 * at + likes[4 * at..4 * at + 3].iter().position(|own| *own).unwrap_or(0);
    let chosen: Vec<f64> = (0..ROWS).map(|at| rewards[chosen(at)]).collect();
    assert!(is_close(&all["best_of"][0]["score"]["value"], mean(&chosen)), "{all}");
    assert_eq!(all["best_of"][0]["selector"], "matches");
}

/// The start of adapters is the base model, whoever stands beside them: to the base model every pair is a tie. That of a run may be another.
#[test]
fn a_judge_that_compares_with_the_start_compares_adapters_with_the_base_model() {
    let folder = folder();
    for name in ["train", "validation", "test"] {
        let rows: String = (0..ROWS)
            .map(|at| format!("{{\"prompt\": \"{name} {at}\", \"chosen\": \"yes {at}\", \"rejected\": \"no {at}\"}}\n"))
            .collect();
        fs::write(folder.path().join(format!("{name}.jsonl")), rows).expect("rows");
    }
    let config = "[model]\npath = 'tiny.gguf'\n[task]\nkind = 'preference'\njudge = { preference = 'accuracy' }\ntrain = 'train.jsonl'\nvalidation = \
                  'validation.jsonl'\ntest = 'test.jsonl'\n[run]\ngenerations = 1\nprompts = 2\n[strategy]\npopulation = 4\n";
    fs::write(folder.path().join("config.toml"), config).expect("a config");
    let found = |flags: &[&str]| {
        told(&eval(folder.path(), &[flags, &["--output", "all.json"]].concat()));
        report(&folder.path().join("all.json"))
    };
    let together = found(&["--base", "--adapter", "first=a", "--adapter", "second=b"]);
    assert!(
        is_close(&score(&together, "base", "test", "")["score"]["value"], 0.5),
        "{together}"
    );
    let alone = found(&["--adapter", "second=b"]);
    assert_eq!(
        score(&together, "second", "test", ""),
        score(&alone, "second", "test", "")
    );
    let margin = &score(&alone, "second", "test", "")["terms"]["margin"];
    assert!(
        margin.as_f64().expect("a number") != 0.0,
        "the adapter changes nothing, so the test shows nothing"
    );
    told(&essa(folder.path(), &["align", "config.toml", "--out", "run"]));
    let output = essa(folder.path(), &["eval", "run", "--base"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("score them one by one"),
        "{said}"
    );
    told(&essa(folder.path(), &["eval", "run"]));
}

/// Nobody is asked what he was trained on, though a run that he stands beside never saw it.
#[test]
fn an_adapter_that_was_trained_on_the_test_split_is_refused() {
    let folder = folder();
    let rows = "{\"prompt\": \"test 3\", \"completion\": \"a\"}\n{\"prompt\": \"x\", \"completion\": \"a\"}\n";
    fs::write(folder.path().join("rows.jsonl"), rows).expect("rows");
    fs::write(
        folder.path().join("held.jsonl"),
        "{\"prompt\": \"y\", \"completion\": \"a\"}\n",
    )
    .expect("rows");
    let config = "[model]\npath = 'tiny.gguf'\n[data]\ntrain = 'rows.jsonl'\nvalidation = 'held.jsonl'\n[training]\nmax_steps = 1\nbatch_size = 2\n";
    fs::write(folder.path().join("sft.toml"), config).expect("a config");
    told(&essa(folder.path(), &["warm-start", "sft.toml", "--out", "sft"]));
    let align = [
        "align",
        "config.toml",
        "--out",
        "run",
        "--set",
        "run.generations=1",
        "--set",
        "run.prompts=2",
        "--set",
        "strategy.population=4",
    ];
    told(&essa(folder.path(), &align));
    for of in ["config.toml", "run"] {
        let output = essa(folder.path(), &["eval", of, "--adapter", "sft=sft/adapter"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains("test split were rows of the warm start"),
            "{of}: {said}"
        );
    }
}

#[test]
fn what_cannot_be_scored_is_refused_before_the_model_is_opened() {
    let folder = folder();
    fs::remove_file(folder.path().join("tiny.gguf")).expect("it was there");
    for (flags, word) in [
        (
            &["--base", "--select", "--split", "test"][..],
            "--select with --split test",
        ),
        (&["--base", "--select"], "there is one"),
        (&[], "nothing is to be scored"),
        (&["--adapter", "x=none"], "is not there"),
        (&["--base", "--adapter", "base=a"], "two subjects are called `base`"),
        (&["--base", "--by", "colour"], "`colour` is missing"),
        (&["--base", "--best-of", "1"], "2 or more"),
        (&["--base", "--samples", "2", "--temperature", "0"], "at temperature 0"),
        (&["--base", "--best-of", "2", "--best-of-judge", "numbr"], "numbr"),
        (&["--base", "--output", "x.txt"], ".md, .csv or .json"),
    ] {
        let output = eval(folder.path(), flags);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(word), "{flags:?}: {said}");
    }
}
