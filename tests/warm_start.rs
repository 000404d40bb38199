//! Supervised learning: its steps are those of PyTorch and peft (tests/golden/make_warm_start.py), what was stopped goes on as if it had not been, and
//! a search that begins from the adapter keeps away from the rows that it was trained on.

mod support;

use essa::adapter::peft::PeftAdapter;
use essa::config::{TrainingSection, WarmStartConfig};
use essa::model::{LoadOptions, Plain, Precision, Products, Weights};
use essa::warm_start::{AdamW, Sequence, TrainableLora, Trainer, adapter_of, train};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use support::fixture;
use support::tiny_model::tiny_model;

#[test]
fn the_first_losses_are_those_of_pytorch() {
    let folder = fixture("warm-start");
    let text = fs::read_to_string(folder.join("steps.json")).expect("the fixture");
    let golden: Value = serde_json::from_str(&text).expect("JSON");
    let weights = Weights::open(&fixture(golden["model"].as_str().expect("a name"))).expect("the tiny model");
    let adapter =
        PeftAdapter::read(&folder.join("adapter"), weights.config()).expect("the adapter that peft begins with");
    let of = |name: &str| golden["settings"][name].as_f64().expect("a setting");
    let steps = golden["steps"].as_array().expect("steps");
    let options = LoadOptions::from(Precision::F32);
    let mut trainer = Trainer {
        model: Plain::load(&weights, options, Products::Library).expect("a model"),
        lora: TrainableLora::from_peft(&adapter),
        optimizer: AdamW::default(),
        settings: TrainingSection {
            learning_rate: of("learning_rate"),
            warmup_steps: of("warmup_steps") as u64,
            weight_decay: of("weight_decay"),
            max_grad_norm: of("max_grad_norm"),
            ..TrainingSection::default()
        },
        steps: steps.len() as u64,
    };
    let sequence = |value: &Value| Sequence {
        token_ids: serde_json::from_value(value[0].clone()).expect("tokens"),
        start: value[1].as_u64().expect("a place") as usize,
    };
    let mut worst = [0.0_f64; 3];
    for (index, step) in steps.iter().enumerate() {
        let batches = step["batches"].as_array().expect("batches");
        let batches: Vec<Vec<Sequence>> = batches
            .iter()
            .map(|batch| batch.as_array().expect("rows").iter().map(sequence).collect())
            .collect();
        let batches: Vec<Vec<&Sequence>> = batches.iter().map(|batch| batch.iter().collect()).collect();
        let batches: Vec<&[&Sequence]> = batches.iter().map(Vec::as_slice).collect();
        let stepped = trainer.step(index as u64, &batches).expect("a step");
        let found = [stepped.loss, stepped.grad_norm, stepped.learning_rate];
        for ((found, name), worst) in found
            .into_iter()
            .zip(["loss", "grad_norm", "learning_rate"])
            .zip(&mut worst)
        {
            *worst = worst.max((found - step[name].as_f64().expect("a number")).abs());
        }
    }
    println!(
        "largest differences over {} steps: loss, gradient norm, rate {worst:?}",
        steps.len()
    );
    assert!(worst[0] < 1e-4 && worst[1] < 1e-3 && worst[2] < 1e-12, "{worst:?}");
}

const CONFIG: &str = "
[model]
path = 'tiny.gguf'
[data]
train = 'rows.jsonl'
validation_size = 8
[lora]
r = 2
[training]
learning_rate = 0.01
max_steps = 24
batch_size = 4
eval_steps = 6
";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let row = |i: usize| format!("{{\"instruction\": \"Say {i}.\", \"output\": \"a b a b\"}}\n");
    fs::write(folder.path().join("rows.jsonl"), (0..40).map(row).collect::<String>()).expect("rows");
    fs::write(folder.path().join("tiny.gguf"), tiny_model()).expect("a model");
    fs::write(folder.path().join("sft.toml"), CONFIG).expect("a config");
    folder
}

fn essa(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_essa"));
    command
        .current_dir(folder)
        .args(arguments)
        .env("ESSA_CACHE", folder.join("cache"));
    command.output().expect("the binary runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_was_stopped_goes_on_as_if_it_had_not_been() {
    let folder = folder();
    let whole = essa(folder.path(), &["warm-start", "sft.toml", "--out", "whole"]);
    assert!(whole.status.success(), "{}", said(&whole));
    // Ended before its first step, and after some: in the middle of what is saved by itself, and at a look.
    let config = WarmStartConfig::load(&folder.path().join("sft.toml"), &[]).expect("a config");
    let parts = folder.path().join("parts");
    for steps in [0, 5, 1, 12] {
        let mut left = steps;
        let mut go_on = || {
            left -= 1;
            left >= 0
        };
        let stopped = train(&config, &parts, &|_| (), &mut go_on).expect("it trains");
        assert!(stopped.is_none() && !adapter_of(&parts).exists());
    }
    let metrics = fs::read_to_string(parts.join("metrics.csv")).expect("a table");
    assert_eq!(metrics.lines().count(), 1 + 18, "a row for each step that was taken");
    let rest = essa(folder.path(), &["warm-start", "sft.toml", "--out", "parts"]);
    assert!(rest.status.success(), "{}", said(&rest));
    assert!(said(&rest).contains("going on after step 18"), "{}", said(&rest));
    let read =
        |run: &str, file: &str| fs::read(folder.path().join(run).join("adapter").join(file)).expect("an adapter");
    for file in ["adapter_model.safetensors", "adapter_config.json", "warm_start.json"] {
        assert_eq!(read("whole", file), read("parts", file), "{file}");
    }
    let learned: Value = serde_json::from_slice(&read("whole", "warm_start.json")).expect("JSON");
    let loss = |name: &str| learned[name].as_f64().expect("a loss");
    assert!(loss("validation_loss") < loss("validation_loss_before"), "{learned}");
    // An adapter that goes on from another has seen what that one saw.
    let more: String = (100..140)
        .map(|i| format!("{{\"prompt\": \"{i}\", \"completion\": \"a\"}}\n"))
        .collect();
    fs::write(folder.path().join("more.jsonl"), more).expect("rows");
    let words = [
        "model.adapter=whole/adapter",
        "data.train=more.jsonl",
        "training.max_steps=1",
        "training.eval_steps=0",
    ];
    let set = words.iter().flat_map(|word| ["--set", word]);
    let next = essa(
        folder.path(),
        &["warm-start", "sft.toml", "--out", "next"]
            .into_iter()
            .chain(set)
            .collect::<Vec<_>>(),
    );
    assert!(next.status.success(), "{}", said(&next));
    let both: Value = serde_json::from_slice(&read("next", "warm_start.json")).expect("JSON");
    assert_eq!(both["prompts"].as_array().map(Vec::len), Some(64));
    // It is through, and says so at once; another one does not overwrite it.
    assert!(
        essa(folder.path(), &["warm-start", "sft.toml", "--out", "whole"])
            .status
            .success()
    );
    let other = essa(
        folder.path(),
        &["warm-start", "sft.toml", "--out", "whole", "--set", "lora.r=3"],
    );
    assert!(said(&other).contains("another warm start"), "{}", said(&other));
}

#[test]
fn a_search_keeps_away_from_what_its_adapter_was_trained_on() {
    let folder = folder();
    let rows = |from: usize, to: usize| {
        let row = |i: usize| format!("{{\"q\": \"Say {i}.\", \"a\": \"a b a b\"}}\n");
        (from..to).map(row).collect::<String>()
    };
    fs::write(folder.path().join("train.jsonl"), rows(0, 60)).expect("rows");
    fs::write(folder.path().join("held.jsonl"), rows(100, 110)).expect("rows");
    fs::write(folder.path().join("seen.jsonl"), rows(0, 40)).expect("rows");
    let align = |test: &str| {
        format!(
            "[model]\npath = 'tiny.gguf'\nadapter = 'whole/adapter'\n[space]\nkind = 'lora-svd'\n[strategy]\npopulation = 4\n[task]\nkind = 'jsonl'\ntrain = \
             'train.jsonl'\nvalidation = 'held.jsonl'\ntest = '{test}'\nprompt = '{{q}}'\nanswer = 'a'\njudge = 'exact'\n[generation]\nmax_new_tokens \
             = 4\n[run]\ngenerations = 1\nprompts = 2\n"
        )
    };
    let trained = essa(folder.path(), &["warm-start", "sft.toml", "--out", "whole"]);
    assert!(trained.status.success(), "{}", said(&trained));
    fs::write(folder.path().join("leaks.toml"), align("seen.jsonl")).expect("a config");
    let leaks = essa(folder.path(), &["align", "leaks.toml", "--out", "leaks"]);
    assert!(
        leaks.status.code() == Some(1) && said(&leaks).contains("test split were rows of the warm start"),
        "{}",
        said(&leaks)
    );
    let half: String = rows(110, 120);
    fs::write(folder.path().join("fresh.jsonl"), half).expect("rows");
    fs::write(folder.path().join("clean.toml"), align("fresh.jsonl")).expect("a config");
    let clean = essa(folder.path(), &["align", "clean.toml", "--out", "clean"]);
    assert!(clean.status.success(), "{}", said(&clean));
    assert!(
        said(&clean).contains("32 examples were removed from train"),
        "{}",
        said(&clean)
    );
}

/// A run that names a warm start trains it first, once for all runs beside it; it is the run of the adapter that this leaves. Rows that the run is scored on
/// are refused before the first step.
#[test]
fn a_run_trains_its_own_adapter_first() {
    let folder = folder();
    let rows = |from: usize, to: usize| {
        let row = |i: usize| format!("{{\"q\": \"Say {i}.\", \"a\": \"a b a b\"}}\n");
        (from..to).map(row).collect::<String>()
    };
    let config = |adapter: &str, test: &str| {
        format!(
            "[model]\npath = 'tiny.gguf'\nadapter = {adapter}\n[space]\nkind = 'lora-svd'\n[strategy]\npopulation = 4\n[task]\nkind = 'jsonl'\ntrain = \
             'train.jsonl'\nvalidation = 'held.jsonl'\ntest = '{test}'\nprompt = '{{q}}'\nanswer = 'a'\njudge = 'exact'\n[generation]\nmax_new_tokens \
             = 4\n[run]\ngenerations = 1\nprompts = 2\n"
        )
    };
    for (name, from, to) in [
        ("train", 0, 60),
        ("held", 100, 110),
        ("fresh", 110, 120),
        ("seen", 0, 40),
    ] {
        fs::write(folder.path().join(format!("{name}.jsonl")), rows(from, to)).expect("rows");
    }
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).expect("a config");
    write("leaks.toml", config("{ warm_start = 'sft.toml' }", "seen.jsonl"));
    let leaks = essa(folder.path(), &["align", "leaks.toml", "--out", "runs/leaks"]);
    assert!(
        leaks.status.code() == Some(1) && said(&leaks).contains("test split were rows of the warm start"),
        "{}",
        said(&leaks)
    );
    assert!(!said(&leaks).contains("warm start: "), "{}", said(&leaks));
    write("chain.toml", config("{ warm_start = 'sft.toml' }", "fresh.jsonl"));
    let dry = essa(
        folder.path(),
        &["align", "chain.toml", "--out", "runs/one", "--dry-run"],
    );
    let printed = String::from_utf8_lossy(&dry.stdout).into_owned();
    assert!(
        dry.status.success() && printed.contains("is trained before the run"),
        "{printed}{}",
        said(&dry)
    );
    assert!(!folder.path().join("runs/warm-starts").exists());
    // What is over at once has trained nothing that a row could rest on, and the same command goes on.
    let stopped = essa(
        folder.path(),
        &["align", "chain.toml", "--out", "runs/one", "--max-time", "0s"],
    );
    assert_eq!(stopped.status.code(), Some(75), "{}", said(&stopped));
    let first = essa(folder.path(), &["align", "chain.toml", "--out", "runs/one"]);
    assert!(
        first.status.success() && said(&first).contains(" step 1  loss"),
        "{}",
        said(&first)
    );
    let second = essa(folder.path(), &["align", "chain.toml", "--out", "runs/two"]);
    assert!(
        second.status.success() && !said(&second).contains(" step 1  loss"),
        "{}",
        said(&second)
    );
    let made: Vec<_> = fs::read_dir(folder.path().join("runs/warm-starts"))
        .expect("a folder")
        .flatten()
        .collect();
    assert_eq!(made.len(), 1);
    let adapter = made[0].path().join("adapter");
    let plan = fs::read_to_string(folder.path().join("runs/one/plan.json")).expect("a plan");
    assert!(
        plan.contains("model.adapter") && plan.contains("held-out loss from"),
        "{plan}"
    );
    write(
        "by-hand.toml",
        config(&format!("'{}'", adapter.display()), "fresh.jsonl"),
    );
    let by_hand = essa(folder.path(), &["align", "by-hand.toml", "--out", "runs/hand"]);
    assert!(by_hand.status.success(), "{}", said(&by_hand));
    let mean = |run: &str| fs::read(folder.path().join("runs").join(run).join("mean.json")).expect("a mean");
    assert_eq!((mean("one"), mean("two")), (mean("two"), mean("hand")));
    // A warm start that names no rows learns from the run's own, which the search then leaves out.
    let bare = CONFIG
        .replace("train = 'rows.jsonl'\nvalidation_size = 8", "size = 24")
        .replace("path = 'tiny.gguf'\n", "");
    write("bare.toml", bare);
    write("own.toml", config("{ warm_start = 'bare.toml' }", "fresh.jsonl"));
    let own = essa(folder.path(), &["align", "own.toml", "--out", "runs/own"]);
    assert!(
        own.status.success() && said(&own).contains("24 examples were removed from train"),
        "{}",
        said(&own)
    );
    for (adapter, told) in [
        ("{ warm_strat = 'sft.toml' }", "expected { warm_start = \"CONFIG\" }"),
        ("{ warm_start = 'none.toml' }", "none.toml"),
    ] {
        write("bad.toml", config(adapter, "fresh.jsonl"));
        let bad = essa(folder.path(), &["align", "bad.toml", "--out", "runs/bad"]);
        assert!(
            bad.status.code() == Some(1) && said(&bad).contains(told),
            "{adapter}: {}",
            said(&bad)
        );
    }
}

#[test]
fn a_config_that_cannot_work_is_one_sentence() {
    let folder = folder();
    for (set, told) in [
        ("lora.r=0", "lora.r is 0"),
        ("lora.target_modules=['query']", "lora.target_modules has `query`"),
        ("model.precision=int8", "f32 or bf16"),
        ("training.learning_rate=-1", "training.learning_rate is -1"),
        ("training.batch_sise=3", "did you mean `batch_size`"),
        ("data.train=none.jsonl", "No such file"),
        ("data.validation_size=2.0", "a share between 0 and 1"),
        ("training.max_length=3", "raise training.max_length"),
    ] {
        let output = essa(folder.path(), &["warm-start", "sft.toml", "--out", "bad", "--set", set]);
        assert!(
            output.status.code() == Some(1) && said(&output).contains(told),
            "{set}: {}",
            said(&output)
        );
        assert_eq!(
            said(&output).lines().filter(|line| line.starts_with("essa: ")).count(),
            1
        );
    }
}
