//! The binary from outside: bad input gets one clear sentence and a non-zero exit, and leaves nothing half-written; good
//! input gives what the commands promise.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use support::{Item, fixture, json, real_model};

fn essa(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_essa"))
        .args(arguments)
        .output()
        .expect("the binary runs")
}

/// Asserts a failure whose message is one sentence that holds all of `words`.
fn assert_refused(arguments: &[&str], words: &[&str]) {
    let output = essa(arguments);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{arguments:?} succeeded");
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {message}");
    let said: Vec<&str> = message.lines().filter(|line| line.starts_with("essa: ")).collect();
    assert_eq!(said.len(), 1, "{arguments:?}: {message}");
    assert!(!message.contains("panicked"), "{message}");
    for word in words {
        assert!(
            said[0].contains(word),
            "{arguments:?}: `{}` does not say `{word}`",
            said[0]
        );
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(&path, bytes).expect("a file");
        path.to_string_lossy().into_owned()
    }

    /// A copy of a fixture's model that a test may break.
    fn model(&self, case: &str) -> PathBuf {
        let to = self.0.path().join(case);
        fs::create_dir_all(&to).expect("a folder");
        for file in fs::read_dir(fixture(case))
            .expect("the fixture")
            .flatten()
            .filter(|file| file.path().is_file())
        {
            fs::copy(file.path(), to.join(file.file_name())).expect("a copy");
        }
        to
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// `essa score` with token ids on a model folder that has no tokenizer.
#[test]
fn score_gives_the_references_log_probabilities() {
    let folder = Folder::new();
    let items: Vec<Item> = json(&fixture("qwen2-untied-gqa4/reference.json"));
    let rows: String = items
        .iter()
        .map(|item| {
            format!(
                "{{\"prompt_ids\": {:?}, \"completion_ids\": {:?}}}\n",
                item.prompt_ids, item.completion_ids
            )
        })
        .collect();
    let (input, output) = (folder.write("in.jsonl", rows), folder.path("out.jsonl"));
    let model = text(&fixture("qwen2-untied-gqa4"));
    let done = essa(&[
        "score",
        "--model",
        &model,
        "--precision",
        "f32",
        "--input",
        &input,
        "--output",
        &output,
    ]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let lines = fs::read_to_string(output).expect("the output");
    for (line, item) in lines.lines().zip(&items) {
        let row: serde_json::Value = serde_json::from_str(line).expect("a row");
        let found: Vec<f64> = serde_json::from_value(row["logprobs"].clone()).expect("numbers");
        assert_eq!(found.len(), item.logprobs.len());
        assert!(
            found
                .iter()
                .zip(&item.logprobs)
                .all(|(a, b)| (a - f64::from(*b)).abs() <= 1e-4)
        );
    }
    assert_eq!(lines.lines().count(), items.len());
}

#[test]
fn models_that_cannot_be_loaded_are_refused() {
    let folder = Folder::new();
    let rows = folder.write("in.jsonl", "{\"prompt_ids\": [1], \"completion_ids\": [2]}\n");
    let output = folder.path("out.jsonl");
    let refused = |model: &str, words: &[&str]| {
        assert_refused(
            &[
                "score",
                "--model",
                model,
                "--precision",
                "f32",
                "--input",
                &rows,
                "--output",
                &output,
            ],
            words,
        );
        assert!(!Path::new(&output).exists(), "nothing is half-written");
    };
    refused(&folder.path("none.gguf"), &["none.gguf", "No such file"]);
    refused(&folder.write("garbage.gguf", vec![7; 4096]), &["garbage.gguf", "GGUF"]);
    let whole = fs::read(fixture("llama-untied-gqa3/model.gguf")).expect("the fixture");
    for part in [10, whole.len() / 3, whole.len() - 100] {
        refused(&folder.write("short.gguf", &whole[..part]), &["short.gguf"]);
    }
    fs::create_dir_all(folder.path("empty")).expect("a folder");
    refused(&folder.path("empty"), &["config.json"]);

    let model = folder.model("llama-tied-gqa1");
    let config = fs::read_to_string(model.join("config.json")).expect("a config");
    fs::write(
        model.join("config.json"),
        config.replace("\"model_type\": \"llama\"", "\"model_type\": \"mamba\""),
    )
    .expect("a write");
    refused(&text(&model), &["config.json", "`mamba`", "`llama`"]);
    fs::write(model.join("config.json"), &config[..config.len() / 2]).expect("a write");
    refused(&text(&model), &["config.json", "not valid JSON"]);
    let layers = config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    fs::write(model.join("config.json"), layers).expect("a write");
    refused(
        &text(&model),
        &["`model.layers.2.self_attn.q_proj.weight`", "is missing"],
    );
    let wide = config.replace("\"intermediate_size\": 80", "\"intermediate_size\": 64");
    fs::write(model.join("config.json"), wide).expect("a write");
    refused(&text(&model), &["mlp.down_proj.weight", "has shape", "expected"]);
    let untied = config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
    fs::write(model.join("config.json"), untied).expect("a write");
    refused(&text(&model), &["`model.layers.1.", "is unexpected"]);
    fs::write(model.join("config.json"), &config).expect("a write");
    let bytes = fs::read(model.join("model.safetensors")).expect("the weights");
    fs::write(model.join("model.safetensors"), &bytes[..bytes.len() / 2]).expect("a write");
    refused(&text(&model), &["model.safetensors", "not a valid safetensors file"]);
}

#[test]
fn adapters_that_do_not_fit_are_refused() {
    let folder = Folder::new();
    let rows = folder.write("in.jsonl", "{\"prompt_ids\": [1], \"completion_ids\": [2]}\n");
    let output = folder.path("out.jsonl");
    let refused = |adapter: &str, words: &[&str]| {
        let model = text(&fixture("llama-tied-gqa1"));
        let arguments = [
            "score",
            "--model",
            &model,
            "--adapter",
            adapter,
            "--precision",
            "f32",
            "--input",
            &rows,
            "--output",
            &output,
        ];
        assert_refused(&arguments, words);
    };
    refused(&text(&fixture("qwen2-tied-gqa3/adapter")), &["has shape", "this model"]);
    refused(&folder.path("none"), &["adapter_config.json", "No such file"]);
    let config = fs::read_to_string(fixture("qwen2-tied-gqa3/adapter/adapter_config.json")).expect("a config");
    folder.write(
        "dora/adapter_config.json",
        config.replace("\"use_dora\": false", "\"use_dora\": true"),
    );
    refused(&folder.path("dora"), &["use_dora is true", "plain LoRA"]);
    folder.write("other/adapter_config.json", config.replace("\"LORA\"", "\"IA3\""));
    refused(&folder.path("other"), &["peft_type is IA3", "LORA"]);
}

#[test]
fn rows_that_cannot_be_read_are_refused() {
    let folder = Folder::new();
    let output = folder.path("out.jsonl");
    let model = text(&fixture("llama-tied-gqa1"));
    let score = |input: &str, output: &str, words: &[&str]| {
        let files = ["--input", input, "--output", output];
        assert_refused(
            &[&["score", "--model", &model, "--precision", "f32"], &files[..]].concat(),
            words,
        );
    };
    let refused = |rows: &str, words: &[&str]| {
        let input = folder.write("in.jsonl", rows);
        score(&input, &output, words);
    };
    refused("", &["in.jsonl", "has no row"]);
    refused(
        "{\"prompt_ids\": [1], \"completion_ids\": [2]}\n{\"prompt",
        &["line 2", "not valid JSON"],
    );
    refused("[1, 2]", &["element 1", "JSON object"]);
    refused(
        "{\"prompt_ids\": [], \"completion_ids\": [2]}",
        &["line 1", "no tokens"],
    );
    refused(
        "{\"prompt_ids\": [1], \"completion_ids\": [99999]}",
        &["token 99999", "vocabulary"],
    );
    refused("{\"prompt_ids\": [1]}", &["line 1", "`completion_ids`"]);
    refused("{\"prompt\": \"text\", \"completion\": \"more\"}", &["no tokenizer"]);
    let long = format!("{{\"prompt_ids\": {:?}, \"completion_ids\": [1]}}", vec![1; 5000]);
    refused(&long, &["5000 tokens", "context"]);
    // An output that cannot be written.
    let input = folder.write("in.jsonl", "{\"prompt_ids\": [1], \"completion_ids\": [2]}");
    let blocked = format!("{}/out.jsonl", folder.write("file", "x"));
    score(&input, &blocked, &["file"]);
}

#[test]
fn configs_that_cannot_work_are_refused() {
    let folder = Folder::new();
    let refused = |config: &str, words: &[&str]| {
        let path = folder.write("run.toml", config);
        let out = folder.path("run");
        assert_refused(&["align", &path, "--out", &out], words);
        assert!(!Path::new(&out).exists(), "nothing is half-written");
    };
    assert_refused(&["align", &folder.path("none.toml")], &["none.toml", "No such file"]);
    refused("[model", &["run.toml", "not valid TOML"]);
    refused(
        "[model]\npath = 'm'\n[run]\ngenerations = 2\nprompt = 3",
        &["unknown field `prompt`", "did you mean `prompts`?"],
    );
    refused("[model]\npath = 'm.gguf'", &["m.gguf", "No such file"]);
    let rows = folder.write("empty.jsonl", "");
    let task = "[task]\nkind = 'jsonl'\nprompt = '{q}'\nanswer = 'a'\njudge = 'exact'\n";
    refused(
        &format!("[model]\npath = 'm'\n{task}train = '{rows}'"),
        &["empty.jsonl"],
    );
    let rows = folder.write("rows.jsonl", "{\"q\": \"1\", \"b\": \"2\"}\n");
    refused(
        &format!("[model]\npath = 'm'\n{task}train = '{rows}'"),
        &["rows.jsonl", "`a`"],
    );
}

#[test]
fn folders_without_runs_are_refused() {
    let folder = Folder::new();
    assert_refused(&["leaderboard", &folder.path("")], &["no finished run"]);
    assert_refused(&["leaderboard", &folder.path("none")], &["none", "No such file"]);
    assert_refused(&["eval", &folder.path("")], &["not a run directory"]);
    assert_refused(
        &["export", &folder.path(""), "--out", &folder.path("x")],
        &["not a run directory"],
    );
}

/// A failing chat template and a prompt beyond the context, on the real model's tokenizer.
#[test]
fn templates_that_fail_are_refused() {
    let Some(model) = real_model() else { return };
    let folder = Folder::new();
    let long = folder.write("long.jsonl", format!("{{\"prompt\": \"{}\"}}\n", "word ".repeat(9000)));
    let output = folder.path("out.jsonl");
    let arguments = [
        "generate",
        "--model",
        &text(&model),
        "--precision",
        "bf16",
        "--prompts",
        &long,
        "--max-new-tokens",
        "4",
        "--output",
        &output,
    ];
    assert_refused(&arguments, &["tokens", "context is"]);
    assert!(!Path::new(&output).exists());
    let prompts = folder.write("p.jsonl", "{\"text\": \"hello\"}\n");
    let arguments = [
        "generate",
        "--model",
        &text(&model),
        "--precision",
        "bf16",
        "--prompts",
        &prompts,
        "--max-new-tokens",
        "4",
        "--output",
        &output,
    ];
    assert_refused(&arguments, &["line 1", "`prompt`", "text"]);
}

/// Waits until a run has got so far as to write this file.
fn wait_for(path: &Path) {
    let asked = std::time::Instant::now();
    while !path.exists() {
        assert!(
            asked.elapsed() < Duration::from_secs(180),
            "{} did not come",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Promise 8 on the real model: killed at any moment, a run leaves files that load, whole.
#[test]
fn promise_8_a_killed_run_leaves_whole_files() {
    let Some(model) = real_model() else { return };
    let folder = Folder::new();
    let config = folder.write(
        "run.toml",
        "[model]\npath = 'm'\n[space]\nkind = 'spectral'\nrank = 2\nmodules = ['o_proj']\n[strategy]\nkind = 'cma-es'\npopulation = 2\n\
         [task]\nkind = 'instructions'\nvalidation_size = 4\ntest_size = 4\n[generation]\nmax_new_tokens = 2\n\
         [run]\ngenerations = 1000\nprompts = 2\nvalidate_every = 1",
    );
    let set_model = format!("model.path={}", text(&model));
    // Moments after the first files are there, at odd places of the generations that follow.
    for (kill, wait_ms) in [0, 170, 430, 990].into_iter().enumerate() {
        let run = folder.0.path().join(format!("runs/{kill}"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_essa"))
            .args(["align", &config, "--set", &set_model, "--out", &text(&run)])
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the binary runs");
        // The last file of generation 0.
        wait_for(&run.join("checkpoints/000000.json"));
        std::thread::sleep(Duration::from_millis(wait_ms));
        child.kill().expect("a kill");
        child.wait().expect("an end");
        let mut metrics = csv::Reader::from_path(run.join("metrics.csv")).expect("metrics");
        let columns = metrics.headers().expect("a header").len();
        assert!(metrics.records().all(|row| row.expect("a whole row").len() == columns));
        let _: essa::record::Mean = json(&run.join("mean.json"));
        let (newest, said) = essa::record::checkpoint::newest(&run.join("checkpoints")).expect("checkpoints");
        assert!(newest.is_some() && said.is_empty(), "{said:?}");
        let weights = essa::model::Weights::open(&model).expect("the model");
        essa::adapter::peft::PeftAdapter::read(&run.join("adapter"), weights.config()).expect("an adapter that loads");
        let exported = folder.path("exported");
        let done = essa(&["export", &text(&run), "--out", &exported]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

/// Ctrl-C ends a run with what there is saved, its row included, and says so in the exit code.
#[test]
fn an_interrupted_run_is_saved() {
    let Some(model) = real_model() else { return };
    let folder = Folder::new();
    let run = folder.0.path().join("runs/a");
    let child = Command::new(env!("CARGO_BIN_EXE_essa"))
        .args([
            "align",
            "quickstart",
            "--set",
            &format!("model.path={}", text(&model)),
            "--out",
            &text(&run),
        ])
        .args([
            "--set",
            "run.prompts=2",
            "--set",
            "strategy.population=2",
            "--set",
            "task.validation_size=4",
        ])
        .args(["--set", "run.generations=100000", "--set", "run.validate_every=0"])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("the binary runs");
    wait_for(&run.join("metrics.csv"));
    let interrupt = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(interrupt.success());
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(75));
    let result: serde_json::Value = json(&run.join("result.json"));
    assert_eq!(result["status"], "interrupted");
    let leaderboard = fs::read_to_string(folder.0.path().join("runs/leaderboard.csv")).expect("a leaderboard");
    assert_eq!(leaderboard.lines().count(), 2);
    assert!(run.join("adapter/adapter_model.safetensors").exists());
}
