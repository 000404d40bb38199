//! Classifiers of one label as reward models: their scores against transformers' (`tests/golden/make_reward_models.py`), `essa score` on them,
//! runs that they judge, and what is refused before anything is spent.

mod support;

use essa::engine::{Engine, Limits};
use essa::model::{Precision, Products, Transformer, Weights, weight_bytes};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::house::{House, assert_same, end_state, succeeded};
use support::tiny_model::tiny_model;
use support::{engine, fixture, json};

const CASES: [&str; 2] = ["llama-reward", "qwen2-reward"];

#[derive(Deserialize)]
struct Reference {
    sequences: Vec<Scored>,
    #[serde(default)]
    conversations: Vec<Scored>,
}

#[derive(Deserialize)]
struct Scored {
    #[serde(default)]
    messages: Value,
    prompt_ids: Vec<u32>,
    score: f32,
}

fn reference(case: &str) -> Reference {
    json(&fixture(case).join("reference.json"))
}

fn ids(scored: &[Scored]) -> Vec<Vec<u32>> {
    scored.iter().map(|one| one.prompt_ids.clone()).collect()
}

fn assert_scores(case: &str, found: &[f32], expected: &[Scored]) {
    assert_eq!(found.len(), expected.len());
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let expected = expected.score;
        assert!(
            (found - expected).abs() <= 1e-4,
            "{case}, sequence {index}: {found}, expected {expected}"
        );
    }
}

/// In one batch, whose sequences share what they begin with, and each alone; and by the plain twin.
#[test]
fn scores_equal_those_of_transformers() {
    for case in CASES {
        let reference = reference(case);
        let (weights, mut engine) = engine(&fixture(case), Precision::F32);
        let all = ids(&reference.sequences);
        assert_scores(case, &engine.rate(&all, None).expect("scores"), &reference.sequences);
        assert!(engine.stats().reused_tokens >= 32, "two begin with the same 40 tokens");
        let alone: Vec<f32> = all
            .iter()
            .map(|own| engine.rate(std::slice::from_ref(own), None).expect("a score")[0])
            .collect();
        assert_scores(case, &alone, &reference.sequences);
        let plain = Transformer::load_plain(&weights, Precision::F32.into(), Products::Reference).expect("a model");
        let mut plain = Engine::new(plain, Limits::default());
        assert_scores(case, &plain.rate(&all, None).expect("scores"), &reference.sequences);
    }
}

/// Less exactly in fewer bits, but in int8 and int4 to the last bit as if each sequence were alone, in steps of whatever size; and
/// what the weights take is known before they are loaded.
#[test]
fn scores_of_every_precision_are_near_and_hang_on_no_neighbour() {
    for case in CASES {
        let reference = reference(case);
        let all = ids(&reference.sequences);
        for (precision, most) in [(Precision::Bf16, 0.1), (Precision::Int8, 0.25), (Precision::Int4, 2.0)] {
            let (weights, mut engine) = engine(&fixture(case), precision);
            assert_eq!(
                weight_bytes(&weights, precision.into()),
                engine.model().weight_bytes(),
                "{case} in {precision:?}"
            );
            let found = engine.rate(&all, None).expect("scores");
            for (found, expected) in found.iter().zip(&reference.sequences) {
                let error = (found - expected.score).abs();
                assert!(
                    error <= most,
                    "{case} in {precision:?}: {found}, not {}",
                    expected.score
                );
            }
            if precision == Precision::Bf16 {
                continue;
            }
            let model = Transformer::load(&weights, precision.into()).expect("a model");
            let limits = Limits {
                rows: 7,
                ..Limits::default()
            };
            let mut small = Engine::new(model, limits);
            for (own, found) in all.iter().zip(&found) {
                let alone = small.rate(std::slice::from_ref(own), None).expect("a score")[0];
                assert_eq!(alone.to_bits(), found.to_bits(), "{case} in {precision:?}");
            }
        }
    }
}

fn essa(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_essa"));
    command.args(arguments).output().expect("the binary runs")
}

/// `essa score` on a model, with these rows; the rows that it wrote.
fn score(model: &Path, rows: &[Value], flags: &[&str]) -> Result<Vec<Value>, String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (input, output) = (folder.path().join("in.jsonl"), folder.path().join("out.jsonl"));
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    fs::write(&input, lines.join("\n")).expect("a file");
    let [model, input, out] = [model, &input, &output].map(|path| path.to_str().expect("a path"));
    let mut arguments = vec!["score", "--model", model, "--input", input, "--output", out];
    arguments.extend(["--precision", "f32"].iter().chain(flags));
    let done = essa(&arguments);
    if !done.status.success() {
        assert!(!output.exists(), "nothing is written");
        return Err(String::from_utf8(done.stderr).expect("text"));
    }
    let text = fs::read_to_string(&output).expect("a file");
    Ok(text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect())
}

fn scores(rows: &[Value]) -> Vec<f32> {
    let of = |row: &Value| row["score"].as_f64().expect("a score") as f32;
    rows.iter().map(of).collect()
}

#[test]
fn essa_score_writes_the_score_of_a_conversation_or_of_tokens() {
    for case in CASES {
        let reference = reference(case);
        let rows: Vec<Value> = ids(&reference.sequences)
            .iter()
            .map(|ids| json!({ "prompt_ids": ids }))
            .collect();
        let found = score(&fixture(case), &rows, &[]).expect("scores");
        assert_scores(case, &scores(&found), &reference.sequences);
    }
    let (model, reference) = (fixture("llama-reward"), reference("llama-reward"));
    let rows: Vec<Value> = reference
        .conversations
        .iter()
        .map(|one| json!({ "n": 1, "messages": one.messages }))
        .collect();
    let found = score(&model, &rows, &[]).expect("scores");
    assert_scores("conversations", &scores(&found), &reference.conversations);
    assert_eq!(found[0]["n"], 1, "columns stay");
    let told = "<|im_start|>user\nName a colour.<|im_end|>\n<|im_start|>assistant\nBlue.<|im_end|>\n";
    let short = [json!({ "prompt": "Name a colour.", "completion": "Blue." })];
    let found = score(&model, &short, &[]).expect("a score");
    assert_scores("prompt and completion", &scores(&found), &reference.conversations[..1]);
    // As it stands: special tokens are plain text, so another score.
    let raw = [json!({ "prompt": told, "completion": "" })];
    let found = scores(&score(&model, &raw, &["--raw"]).expect("a score"));
    assert!((found[0] - reference.conversations[0].score).abs() > 1e-3);
}

/// A copy of a fixture with another `config.json`, and without these files.
fn changed(case: &str, change: &dyn Fn(&mut Value), without: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(case);
    fs::create_dir(&path).expect("a folder");
    for file in fs::read_dir(fixture(case)).expect("a folder").flatten() {
        if !without.iter().any(|name| file.file_name() == *name) {
            fs::copy(file.path(), path.join(file.file_name())).expect("a copy");
        }
    }
    let mut config: Value = json(&path.join("config.json"));
    change(&mut config);
    fs::write(path.join("config.json"), config.to_string()).expect("a file");
    (folder, path)
}

type Change = (&'static str, fn(&mut Value), &'static str);

/// What is no reward model, and the words of the sentence about it.
const NO_REWARD_MODELS: [Change; 5] = [
    (
        "llama-reward",
        |config| config["id2label"] = json!({"0": "bad", "1": "good"}),
        "the classifier has 2 labels, expected the one of a reward model",
    ),
    (
        "qwen2-reward",
        // As transformers writes a classifier that says nothing.
        |config| _ = config.as_object_mut().expect("an object").remove("id2label"),
        "the classifier has 2 labels",
    ),
    (
        "llama-reward",
        |config| config["architectures"] = json!(["LlamaForTokenClassification"]),
        "supported are LlamaForCausalLM",
    ),
    (
        "llama-tied-gqa1",
        |config| config["architectures"] = json!(["LlamaForSequenceClassification"]),
        "the classifier has 2 labels",
    ),
    (
        "llama-tied-gqa1",
        |config| {
            config["architectures"] = json!(["LlamaForSequenceClassification"]);
            config["num_labels"] = json!(1);
        },
        "`score.weight` [1, 48] is missing",
    ),
];

#[test]
fn what_is_no_reward_model_is_refused_in_a_sentence() {
    for (case, change, words) in NO_REWARD_MODELS {
        let (_folder, path) = changed(case, &change, &[]);
        let told = Weights::open(&path).expect_err(words).to_string();
        assert!(told.contains(words) && told.lines().count() == 1, "{told}");
    }
    // And a reward model is no language model.
    let model = fixture("llama-reward");
    let (_weights, mut engine) = engine(&model, Precision::F32);
    let told = engine
        .generate(&[support::greedy(vec![1, 2], 3, 0)], None, &mut || true)
        .expect_err("no next token");
    assert!(told.to_string().contains("is a classifier"), "{told}");
    let model = model.to_str().expect("a path");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let prompts = folder.path().join("prompts.jsonl");
    fs::write(&prompts, "{\"prompt\": \"a\"}").expect("a file");
    let prompts = prompts.to_str().expect("a path");
    let output = folder.path().join("out.jsonl");
    let output = output.to_str().expect("a path");
    let done = essa(&[
        "generate",
        "--model",
        model,
        "--prompts",
        prompts,
        "--max-new-tokens",
        "3",
        "--output",
        output,
    ]);
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(!done.status.success() && told.contains("writes no text"), "{told}");
}

#[test]
fn rows_that_cannot_be_scored_are_named() {
    let (llama, qwen2) = (fixture("llama-reward"), fixture("qwen2-reward"));
    let user = json!([{"role": "user", "content": "a"}]);
    for (model, row, words) in [
        (&llama, json!({"prompt": "a"}), "line 1: column `completion` is missing"),
        (&llama, json!({"messages": 3}), "line 1: column `messages` is 3"),
        (
            &llama,
            json!({"prompt_ids": []}),
            "line 1: there are no tokens to score",
        ),
        (
            &llama,
            json!({"prompt_ids": [260]}),
            "line 1: token 260 is not in the vocabulary of 260",
        ),
        (
            &llama,
            json!({"prompt_ids": vec![1; 513]}),
            "the model's context is 512",
        ),
        (&qwen2, json!({"messages": user}), "has no tokenizer"),
    ] {
        let told = score(model, &[row], &[]).expect_err(words);
        assert!(told.contains(words), "{told}");
    }
}

/// Questions, and a run on them that the reward model judges.
fn house(judge: &str) -> House {
    let house = House::new(&tiny_model());
    let questions = ["a colour", "a fruit", "a town", "a tool", "a river", "a bird"];
    let rows: String = (0..80)
        .map(|at| format!("{}\n", json!({ "q": format!("Name {} {at}.", questions[at % 6]) })))
        .collect();
    fs::write(house.folder.path().join("rows.jsonl"), rows).expect("a file");
    let config = format!(
        "name = 'tiny'\n[model]\npath = 'tiny.gguf'\n[space]\nkind = 'spectral'\nrank = 2\n[strategy]\nkind = 'cma-es'\npopulation = 8\nsigma = 1.0\n\
         [task]\nkind = 'jsonl'\ntrain = 'rows.jsonl'\nprompt = '{{q}}'\nvalidation_size = 24\ntest_size = 32\njudge = {judge}\n\
         [generation]\nmax_new_tokens = 12\n[run]\ngenerations = 20\nprompts = 6\nvalidate_every = 2\n"
    );
    fs::write(house.config(), config).expect("a config");
    house
}

fn judged_by(case: &str, settings: &str) -> String {
    format!("{{ reward_model = '{}'{settings} }}", fixture(case).display())
}

/// The mean's reward rises on validation, and on the test split by more than chance would have it.
#[test]
fn a_run_against_a_reward_model_rises() {
    let house = house(&judged_by("llama-reward", "")).with(&["strategy.population=16", "run.prompts=12"]);
    let run = house.run("risen");
    house.finish(0, &run);
    let result: Value = json(&run.join("result.json"));
    let number = |key: &str| result[key].as_f64().unwrap_or_else(|| panic!("{key}: {result}"));
    println!(
        "validation {} -> {}, test gain {} [{}, {}]",
        number("start_validation"),
        number("best_validation"),
        number("gain"),
        number("gain_low"),
        number("gain_high")
    );
    assert!(number("best_validation") > number("start_validation") + 1.0);
    assert!(number("gain_low") > 0.5);
    let plan = fs::read_to_string(run.join("plan.json")).expect("a plan");
    assert!(plan.contains("llama-reward"), "its sum is among the inputs: {plan}");
}

/// On one thread and on two, whatever batches the judge's thread came to: by itself, and as the search's judge beside another of the
/// same model, with a term of it.
#[test]
fn a_run_is_the_same_on_one_thread_and_on_two() {
    let judge = judged_by("llama-reward", "");
    let several = [
        format!("task.train_judge={judge}"),
        format!(
            "reward.terms.other={}",
            judged_by("llama-reward", ", precision = 'int4'")
        ),
        "reward.terms.short={ length = 10 }".into(),
    ];
    let several: Vec<&str> = several.iter().map(String::as_str).collect();
    for (name, set) in [("alone", &[][..]), ("several", &several)] {
        let house = house(&judge).with(&["run.generations=3"]).with(set);
        let states = ["1", "2"].map(|threads| {
            let run = house.run(&format!("{name} {threads}"));
            let mut align = house.align(0, &run);
            succeeded(&align.env("OMP_NUM_THREADS", threads).output().expect("the binary runs"));
            end_state(&run)
        });
        assert_same(&states[1], &states[0], name);
        let rollouts = String::from_utf8_lossy(&states[0]["rollouts.jsonl"]).into_owned();
        let first: Value = serde_json::from_str(rollouts.lines().next().expect("a rollout")).expect("JSON");
        assert_eq!(
            first["terms"]["other"].is_f64(),
            name == "several" && first["split"] != "train",
            "{first}"
        );
    }
}

/// How much memory it may take is the machine's affair; what it says, and in how many bits, is the run's.
#[test]
fn a_run_goes_on_with_another_memory_and_not_with_another_model() {
    let (_folder, model) = changed("llama-reward", &|_| (), &[]);
    let house = house(&format!("{{ reward_model = '{}', memory_gib = 0.5 }}", model.display()));
    let run = house.run("run");
    house.finish(0, &run.with_file_name("whole"));
    let go_on = |set: &[&str]| {
        let set = set.iter().flat_map(|set| ["--set", set]);
        let output = house.align(0, &run).args(set).output().expect("the binary runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), told)
    };
    assert!(go_on(&[]).0);
    let (is_through, told) = go_on(&["task.judge.memory_gib=0.25"]);
    assert!(is_through, "{told}");
    let (is_through, told) = go_on(&["task.judge.precision=bf16"]);
    assert!(!is_through && told.contains("task.judge.precision"), "{told}");
}

#[test]
fn a_rollout_earns_what_essa_score_says_of_its_conversation() {
    let house = house(&judged_by("llama-reward", ", precision = 'f32', memory_gib = 0.5")).with(&["run.generations=2"]);
    let run = house.run("run");
    house.finish(0, &run);
    let text = fs::read_to_string(run.join("rollouts.jsonl")).expect("rollouts");
    let rollouts: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let rows: Vec<Value> = rollouts
        .iter()
        .map(|own| json!({ "prompt": own["prompt"], "completion": own["completion"] }))
        .collect();
    let found = scores(&score(&fixture("llama-reward"), &rows, &[]).expect("scores"));
    assert!(found.len() > 100);
    for (found, rollout) in found.iter().zip(&rollouts) {
        let reward = rollout["reward"].as_f64().expect("a reward") as f32;
        assert!(
            (found - reward).abs() <= 1e-4 && rollout["terms"]["score"] == rollout["reward"],
            "{rollout}"
        );
    }
}

/// Stored responses, beside transformers' scores of the same conversations; one that is too long fails alone.
#[test]
fn essa_judge_scores_stored_responses() {
    let house = house(&judged_by("llama-reward", ", precision = 'f32'"));
    let folder = house.folder.path();
    let rows = [
        json!({"q": "Name a colour.", "response": "Blue."}),
        json!({"q": "Name a colour.", "response": "b".repeat(600)}),
        json!({"q": "Name a colour.", "response": ""}),
    ];
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    let (input, output) = (folder.join("in.jsonl"), folder.join("out.jsonl"));
    fs::write(&input, lines.join("\n")).expect("a file");
    let config = house.config();
    let [task, input, out] = [&config, &input, &output].map(|path| path.to_str().expect("a path"));
    let done = essa(&["judge", "--task", task, "--input", input, "--output", out]);
    succeeded(&done);
    let text = fs::read_to_string(&output).expect("a file");
    let judged: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let expected = reference("llama-reward").conversations;
    for (row, expected) in [(0, &expected[0]), (2, &expected[1])] {
        let reward = judged[row]["reward"].as_f64().expect("a reward") as f32;
        assert!((reward - expected.score).abs() <= 1e-4, "{}", judged[row]);
    }
    assert!(
        judged[1]["error"].as_str().expect("why").contains("can read 1 to 512"),
        "{}",
        judged[1]
    );
}

/// Whole conversations, whose last turn is the response.
#[test]
fn essa_judge_reads_conversations() {
    let house = house(&judged_by("llama-reward", ", precision = 'f32'"));
    let folder = house.folder.path();
    let config = fs::read_to_string(house.config()).expect("a config");
    fs::write(house.config(), config.replace("prompt = '{q}'", "messages = 'm'")).expect("a config");
    let expected = reference("llama-reward").conversations;
    let lines: Vec<String> = expected
        .iter()
        .map(|one| {
            let response = one.messages.as_array().and_then(|turns| turns.last()).expect("a turn");
            json!({"m": one.messages, "response": response["content"]}).to_string()
        })
        .collect();
    let (input, output) = (folder.join("in.jsonl"), folder.join("out.jsonl"));
    fs::write(&input, lines.join("\n")).expect("a file");
    let config = house.config();
    let [task, input, out] = [&config, &input, &output].map(|path| path.to_str().expect("a path"));
    succeeded(&essa(&["judge", "--task", task, "--input", input, "--output", out]));
    let text = fs::read_to_string(&output).expect("a file");
    let judged = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let found: Vec<f32> = judged
        .map(|row| row["reward"].as_f64().expect("a reward") as f32)
        .collect();
    assert_scores("conversations", &found, &expected);
}

/// One clear sentence, before a model is loaded and before anything is written; by a run and by its forecast.
#[test]
fn a_judge_that_cannot_judge_is_refused_before_anything_is_spent() {
    let two = changed(
        "llama-reward",
        &|config| config["id2label"] = json!({"0": "bad", "1": "good"}),
        &[],
    );
    let silent = changed("llama-reward", &|_| (), &["tokenizer.json"]);
    let formless = changed("llama-reward", &|_| (), &["chat_template.jinja"]);
    let foreign = of_more_tokens(false);
    for (path, settings, words) in [
        (
            foreign.1.clone(),
            "",
            "writes tokens up to 260, and its vocabulary has 260",
        ),
        (
            two.1.clone(),
            "",
            "the classifier has 2 labels, expected the one of a reward model",
        ),
        (fixture("qwen2-reward"), "", "has no tokenizer"),
        (silent.1.clone(), "", "has no tokenizer"),
        (formless.1.clone(), "", "has no chat template"),
        (fixture("llama-untied-gqa3"), "", "has no score head"),
        (PathBuf::from("nowhere"), "", "nowhere"),
        (
            fixture("llama-reward"),
            ", memory_gib = 0.00001",
            "memory_gib is 0.00001",
        ),
    ] {
        let house = house(&format!("{{ reward_model = '{}'{settings} }}", path.display()));
        let told = refused(&house);
        assert!(told.contains(words), "{words}: {told}");
    }
    // A special token more is what a padding is to many, and is never written.
    let (_folder, padded) = of_more_tokens(true);
    let takes_it = house(&format!("{{ reward_model = '{}' }}", padded.display()));
    let run = takes_it.run("run");
    let forecast = takes_it.align(0, &run).arg("--dry-run").output();
    succeeded(&forecast.expect("the binary runs"));
    // Wherever it judges.
    for key in ["task.train_judge", "reward.terms.liked"] {
        let set = format!("{key}={{ reward_model = '{}' }}", two.1.display());
        let house = house("'number'").with(&["task.answer=q", &set]);
        let told = refused(&house);
        assert!(told.contains("the classifier has 2 labels"), "{told}");
    }
    // A classifier as the policy, or to be trained.
    let house =
        house(&judged_by("llama-reward", "")).with(&[&format!("model.path={}", fixture("llama-reward").display())]);
    let told = refused(&house);
    assert!(told.contains("is a classifier"), "{told}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("sft.toml");
    let row = |i: usize| format!("{}\n", json!({"instruction": format!("Say {i}."), "output": "b"}));
    fs::write(folder.path().join("rows.jsonl"), (0..40).map(row).collect::<String>()).expect("rows");
    let model = fixture("llama-reward");
    let text = format!(
        "[model]\npath = '{}'\n[data]\ntrain = 'rows.jsonl'\nvalidation_size = 8\n",
        model.display()
    );
    fs::write(&config, text).expect("a config");
    let out = folder.path().join("out");
    let [config, out] = [&config, &out].map(|path| path.to_str().expect("a path"));
    let done = essa(&["warm-start", config, "--out", out]);
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(!done.status.success() && told.contains("is a classifier"), "{told}");
}

/// What a run and its forecast say, which both refuse in one sentence and leave nothing behind.
fn refused(house: &House) -> String {
    let run = house.run("run");
    let told = [&[][..], &["--dry-run"]].map(|flags| {
        let done = house.align(0, &run).args(flags).output().expect("the binary runs");
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        let said = told.lines().filter(|line| line.contains("essa:")).count();
        assert!(!done.status.success() && said == 1, "{told}");
        assert!(!run.join("config.toml").exists(), "nothing is left");
        told
    });
    let sentence = |told: &str| told.lines().find(|line| line.contains("essa:")).map(String::from);
    assert_eq!(sentence(&told[0]), sentence(&told[1]));
    told[0].clone()
}

/// The Llama with two tokens more in its tokenizer than before, and one more than in its vocabulary; that one is special or is not.
fn of_more_tokens(special: bool) -> (tempfile::TempDir, PathBuf) {
    let (folder, path) = changed("llama-reward", &|_| (), &[]);
    let tokenizer = path.join("tokenizer.json");
    let mut changed: Value = json(&tokenizer);
    let added = changed["added_tokens"].as_array_mut().expect("tokens");
    for (id, content, special) in [(259, "<|pad|>", true), (260, "more", special)] {
        let mut token = added[0].clone();
        (token["id"], token["content"], token["special"]) = (json!(id), json!(content), json!(special));
        added.push(token);
    }
    fs::write(&tokenizer, changed.to_string()).expect("a file");
    (folder, path)
}
