//! `essa judge` beside the originals: their verdicts on stored responses, from the reference data, and rows that it refuses.

mod support;

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use support::data;

fn judge(task: &str, input: &Path, output: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_essa"))
        .args(["judge", "--task", task, "--input"])
        .arg(input)
        .arg("--output")
        .arg(output)
        .output()
        .expect("the binary runs")
}

fn rows(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("a file");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// Writes rows, has them judged, and reads them again.
fn judged(task: &str, rows_in: &[Value]) -> (Vec<Value>, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (input, output) = (folder.path().join("in.jsonl"), folder.path().join("out.jsonl"));
    let lines: Vec<String> = rows_in.iter().map(Value::to_string).collect();
    fs::write(&input, lines.join("\n")).expect("a file");
    let done = judge(task, &input, &output);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    (rows(&output), String::from_utf8(done.stdout).expect("text"))
}

/// Every solution of the training split ends in its answer, which the strict rule finds.
#[test]
fn gsm8k_finds_the_answer_of_every_solution() {
    let Some(path) = data("gsm8k/train.jsonl") else { return };
    let asked: Vec<Value> = rows(&path)
        .into_iter()
        .map(|row| json!({"answer": row["answer"].as_str().expect("text").rsplit("#### ").next(), "response": row["answer"]}))
        .collect();
    let (found, told) = judged("gsm8k", &asked);
    assert_eq!(found.len(), 7473);
    assert!(
        found
            .iter()
            .all(|row| row["terms"]["strict"] == 1.0 && row["reward"] == 1.0)
    );
    assert!(told.contains("strict") && told.contains("1.000 ["), "{told}");
}

/// Of the grader's own verdicts at most one in a hundred differs, and at most three are equal only here.
#[test]
fn math_judges_as_prm800k_does() {
    let Some(path) = data("math/grader_cases.jsonl") else {
        return;
    };
    let asked = rows(&path);
    let (found, _) = judged("math", &asked);
    let (mut false_equal, mut false_other) = (Vec::new(), Vec::new());
    for row in &found {
        match (
            row["terms"]["correct"] == 1.0,
            row["prm800k_grade"].as_bool().expect("a verdict"),
        ) {
            (true, false) => false_equal.push(row),
            (false, true) => false_other.push(row),
            _ => {}
        }
    }
    let pair = |row: &&Value| format!("{} | {}", row["ground_truth"], row["given"]);
    println!(
        "equal only here: {:#?}\nequal only there: {:#?}",
        false_equal.iter().map(pair).collect::<Vec<_>>(),
        false_other.iter().map(pair).collect::<Vec<_>>()
    );
    assert!(false_equal.len() <= 3, "{}", false_equal.len());
    assert!(
        (false_equal.len() + false_other.len()) * 100 <= asked.len(),
        "{} of {}",
        false_other.len(),
        asked.len()
    );
}

/// The answer in the box of each solution of the training split is the answer.
#[test]
fn math_finds_the_answer_of_every_solution() {
    for (name, count) in [("math/train.jsonl", 7500), ("math/math500.jsonl", 500)] {
        let Some(path) = data(name) else { return };
        let asked: Vec<Value> = rows(&path)
            .into_iter()
            .map(|row| json!({"answer": row["answer"], "response": row["solution"]}))
            .collect();
        let (found, _) = judged("math", &asked);
        let right = found.iter().filter(|row| row["terms"]["correct"] == 1.0).count();
        assert_eq!((found.len(), right), (count, count), "{name}");
    }
}

/// Two models' responses to all prompts, judged by Google's checker: but for the pairs whose verdict there hangs on a random seed, and
/// the exceptions below, each verdict is the same.
#[test]
fn ifeval_judges_as_the_original_does() {
    let Some(prompts) = data("ifeval/input_data.jsonl") else {
        return;
    };
    let Some(seeds) = data("ifeval/seed_dependent.json") else {
        return;
    };
    let kwargs: BTreeMap<String, Value> = rows(&prompts)
        .into_iter()
        .map(|row| (row["key"].to_string(), row["kwargs"].clone()))
        .collect();
    let seeds: Value = serde_json::from_str(&fs::read_to_string(seeds).expect("a file")).expect("JSON");
    let mut by_chance = BTreeSet::new();
    for pair in seeds["pairs"].as_array().expect("a list") {
        by_chance.insert((pair[0].to_string(), pair[1].as_str().expect("text").to_string()));
    }
    let (mut compared, mut differ) = (0, Vec::new());
    for name in ["gpt4", "qwen2.5_0.5b"] {
        let Some(path) = data(&format!("ifeval/verdicts_{name}.jsonl")) else {
            return;
        };
        let mut asked = rows(&path);
        for row in &mut asked {
            row["kwargs"] = kwargs[&row["key"].to_string()].clone();
        }
        let (found, told) = judged("ifeval", &asked);
        println!("{name}: {told}");
        for row in &found {
            for (at, id) in row["instruction_id_list"]
                .as_array()
                .expect("a list")
                .iter()
                .enumerate()
            {
                let id = id.as_str().expect("text");
                if by_chance.contains(&(row["key"].to_string(), id.to_string())) {
                    continue;
                }
                for level in ["strict", "loose"] {
                    compared += 1;
                    if row[format!("instruction_{level}")][at] != row[level][at] {
                        differ.push(format!("{name} {} {id} {level}", row["key"]));
                    }
                }
            }
        }
    }
    println!("{compared} verdicts compared");
    assert!(compared > 3200, "{compared}");
    assert!(differ.len() <= 3, "{differ:#?}");
}

#[test]
fn a_row_that_cannot_be_judged_is_named_and_nothing_is_written() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (input, output) = (folder.path().join("in.jsonl"), folder.path().join("out.jsonl"));
    let good = r#"{"answer": "1", "response": "1"}"#;
    for (task, line, words) in [
        ("gsm8k", r#"{"answer": "1"}"#, "line 2: column `response` is missing"),
        (
            "gsm8k",
            r#"{"answer": "1", "response": 1}"#,
            "line 2: column `response` is 1, expected a text",
        ),
        ("math", r#"{"response": "1"}"#, "line 2: column `answer` is missing"),
        ("gsm8k", "[1]", "line 2: found an array, expected a JSON object"),
        (
            "none",
            good,
            "--task none: expected one of gsm8k, math, ifeval, choice, countdown, or a run's config file",
        ),
    ] {
        fs::write(&input, format!("{good}\n{line}\n")).expect("a file");
        let done = judge(task, &input, &output);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(
            done.status.code() == Some(1) && said.contains(words) && !output.exists(),
            "{said}"
        );
    }
    for (line, words) in [
        (
            r#"{"instruction_id_list": ["x:y"], "kwargs": [{}], "response": ""}"#,
            "x:y",
        ),
        (
            r#"{"instruction_id_list": [], "kwargs": [{}], "response": ""}"#,
            "`instruction_id_list` is empty",
        ),
        (
            r#"{"instruction_id_list": [1], "kwargs": [{}], "response": ""}"#,
            "expected a list of instructions' names",
        ),
        (
            r#"{"instruction_id_list": {}, "kwargs": [{}], "response": ""}"#,
            "expected a list of instructions' names",
        ),
    ] {
        fs::write(&input, line).expect("a file");
        let done = judge("ifeval", &input, &output);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(
            done.status.code() == Some(1) && said.contains(words) && !output.exists(),
            "{said}"
        );
    }
}

/// Responses of a script's making, under lm-evaluation-harness's own filters, metric and checkers (tests/golden/make_lm_eval.py).
#[test]
fn gsm8k_and_ifeval_judge_as_lm_evaluation_harness_does() {
    let asked = rows(&support::fixture("lm_eval_gsm8k.jsonl"));
    let (found, told) = judged("gsm8k", &asked);
    println!("{told}");
    assert!(found.len() >= 400);
    for row in &found {
        for term in ["strict", "flexible"] {
            assert_eq!(row["terms"][term] == 1.0, row[term] == true, "{term}: {row}");
        }
    }
    let asked = rows(&support::fixture("lm_eval_ifeval.jsonl"));
    let (found, told) = judged("ifeval", &asked);
    println!("{told}");
    assert!(found.len() >= 300);
    for row in &found {
        for level in ["strict", "loose"] {
            let all = row["terms"][format!("prompt_{level}")] == 1.0;
            assert_eq!(all, row[format!("prompt_level_{level}_acc")] == true, "{level}: {row}");
            assert_eq!(
                row[format!("instruction_{level}")],
                row[format!("inst_level_{level}_acc")],
                "{level}: {row}"
            );
        }
    }
}

/// Numbers are found as a reader of the script finds them.
#[test]
fn numbers_are_found_in_every_script() {
    let Some(folder) = support::cases("19-judges-other-scripts") else {
        return;
    };
    let text = fs::read_to_string(folder.join("number.json")).expect("a file");
    let cases: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    assert!(cases.len() > 20);
    for case in cases {
        let [gold, response] = ["gold", "response"].map(|key| case[key].as_str().expect("a text"));
        assert_eq!(
            essa::reward::answer::number(response, gold),
            case["expected"] == 1,
            "{case}"
        );
    }
}

/// Stored responses under a run's config: its judge, its terms, its weights, and a program of one's own.
#[test]
fn a_config_judges_stored_responses() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    fs::write(
        path("own.py"),
        "import json, sys\nfor line in sys.stdin:\n    asked = json.loads(line)\n    n = asked['row']['n']\n    print(json.dumps({'id': asked['id'], 'reward': n} if n else {'id': asked['id'], 'error': 'no n'}), flush=True)\n",
    )
    .expect("a file");
    fs::write(
        path("run.toml"),
        "[model]\npath = 'none'\n[task]\nkind = 'jsonl'\ntrain = 'none'\nprompt = '{q}'\nanswer = 'a'\njudge = 'number'\n[reward]\nfailed = -1.0\n\
         [reward.weights]\ncorrect = 2.0\nmine = 0.5\n[reward.terms]\nmine = { command = ['python3', 'own.py'] }\nbrief = { length = 3 }\n",
    )
    .expect("a file");
    let lines = "{\"q\": \"1+1\", \"a\": 18446744073709551616, \"n\": 1, \"response\": \"18446744073709551616\"}\n{\"a\": 2, \"n\": 0, \"response\": \"2\"}\n";
    fs::write(path("in.jsonl"), lines).expect("a file");
    let done = judge(
        path("run.toml").to_str().expect("a path"),
        &path("in.jsonl"),
        &path("out.jsonl"),
    );
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = fs::read_to_string(path("out.jsonl")).expect("a file");
    assert!(text.contains("18446744073709551616,"), "digits stay: {text}");
    let found = rows(&path("out.jsonl"));
    assert_eq!(found[0]["reward"], 2.5);
    assert_eq!(
        (&found[1]["reward"], &found[1]["terms"]["correct"]),
        (&json!(-1.0), &json!(1.0))
    );
    assert!(found[1]["error"].as_str().expect("why").contains("no n"));
    assert!(String::from_utf8_lossy(&done.stdout).contains("1 could not be judged"));
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(told.contains("own.py: 1 responses could not be judged"), "{told}");
}
