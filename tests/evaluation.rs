//! `essa eval` of adapters: what subjects earn, that an adapter of weight 1 among others is the adapter alone, and what is refused.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use support::tiny_model::tiny_model;

fn eval(folder: &Path, flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_essa"))
        .current_dir(folder)
        .args(["eval", "config.toml"])
        .args(flags)
        .output()
        .expect("the binary runs")
}

fn told(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("tiny.gguf"), tiny_model()).expect("a model");
    let config = "[model]\npath = 'tiny.gguf'\n[task]\nkind = 'jsonl'\nprompt = '{q}'\nanswer = 'a'\njudge = 'contains'\ntrain = 'train.jsonl'\nvalidation = 'validation.jsonl'\ntest = 'test.jsonl'\n[generation]\nmax_new_tokens = 6\ntemperature = 1.0\n";
    fs::write(folder.path().join("config.toml"), config).expect("a config");
    for name in ["train", "validation", "test"] {
        let rows: String = (0..6)
            .map(|at| format!("{{\"q\": \"{name} {at}\", \"a\": \"{at}\", \"level\": {}}}\n", at % 2))
            .collect();
        fs::write(folder.path().join(format!("{name}.jsonl")), rows).expect("rows");
    }
    folder
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
    // Of all rows and of two levels, by two decodings.
    assert_eq!(json["scores"].as_array().map(Vec::len), Some(6));
    let csv = fs::read_to_string(folder.path().join("scores.csv")).expect("a report");
    assert!(csv.lines().all(|line| line.matches(',').count() == 11), "{csv}");
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
