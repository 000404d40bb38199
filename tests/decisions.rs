//! What is decided before the first generation: which run a directory holds, which of its settings were found by probing, and
//! what is refused before a model is opened. Runs of the binary on a tiny random model.

#[path = "support/gguf_writer.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod gguf_writer;
#[path = "support/tiny_model.rs"]
mod tiny_model;

use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

struct Desk(tempfile::TempDir);

const RUN: &str = "
name = 'r'
[model]
path = 'tiny.gguf'
[space]
rank = 2
[strategy]
population = 4
[task]
kinds = ['one_word']
partial_credit = 0.9
train_size = 16
validation_size = 4
test_size = 4
[generation]
max_new_tokens = 8
[run]
generations = 2
prompts = 4
validate_every = 1
";

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("tiny.gguf"), tiny_model::tiny_model()).expect("a model");
        let desk = Self(folder);
        desk.write("run.toml", RUN);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    fn essa(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_essa"))
            .args(arguments)
            .current_dir(self.0.path())
            .env("ESSA_CACHE", self.path("cache"))
            .output()
            .expect("the binary runs")
    }

    /// `essa align run.toml` with these overrides and flags.
    fn align(&self, out: &str, rest: &[&str]) -> Output {
        let mut arguments = vec!["align", "run.toml", "--out", out];
        for word in rest {
            if !word.starts_with("--") {
                arguments.push("--set");
            }
            arguments.push(word);
        }
        self.essa(&arguments)
    }

    fn config(&self, run: &str) -> toml::Table {
        let text = fs::read_to_string(self.path(run).join("config.toml")).expect("a config");
        text.parse().expect("TOML")
    }

    fn row(&self, run: &str) -> Value {
        let text = fs::read_to_string(self.path(run).join("result.json")).expect("a row");
        serde_json::from_str(&text).expect("JSON")
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn done(output: Output) -> Output {
    assert!(output.status.success(), "{}", said(&output));
    output
}

fn refused(output: &Output, words: &[&str]) {
    assert_eq!(output.status.code(), Some(1), "{}", said(output));
    for word in words {
        assert!(said(output).contains(word), "`{}` does not say `{word}`", said(output));
    }
}

/// A fork keeps the σ0 that its run was calibrated to, however the config spells the first guess, and probes no more.
#[test]
fn a_fork_of_a_calibrated_run_goes_on_with_its_sigma() {
    let desk = Desk::new();
    done(desk.align("runs/a", &["run.calibrate_sigma=true"]));
    let sigma = desk.config("runs/a")["strategy"]["sigma"].clone();
    assert_ne!(
        sigma.as_float(),
        Some(0.1),
        "calibration found another, so the test could fail"
    );
    let spelled = format!("strategy.sigma={sigma}");
    for (fork, rest) in [("runs/a-2", None), ("runs/a-3", Some(spelled.as_str()))] {
        let mut words = vec!["run.calibrate_sigma=true", "run.generations=3", "--fork"];
        words.extend(rest);
        let output = done(desk.align("runs/a", &words));
        assert!(!said(&output).contains("calibration:"), "{}", said(&output));
        assert_eq!(desk.config(fork)["strategy"]["sigma"], sigma);
        assert_eq!(desk.row(fork)["generations"], 3);
    }
    // And the fork itself goes on like any run.
    let again = done(desk.align("runs/a-2", &["run.calibrate_sigma=true", "run.generations=3"]));
    assert!(said(&again).contains("is finished"), "{}", said(&again));
}

/// A checkpoint's numbers mean nothing in another space, even one with as many.
#[test]
fn a_fork_into_another_space_is_refused() {
    let desk = Desk::new();
    done(desk.align("runs/a", &["space.budget=8"]));
    let only = desk.config("runs/a")["space"]["only"].clone();
    // Other prompts would find other slots; the run's own stay.
    done(desk.align("runs/a", &["space.budget=8", "run.prompts=5", "seed=9", "--fork"]));
    assert_eq!(desk.config("runs/a-2")["space"]["only"], only);
    refused(
        &desk.align("runs/a", &["space.part=minor", "space.budget=8", "--fork"]),
        &["was a search of another space", "space.part"],
    );
    assert!(!desk.path("runs/a-3").exists());
    done(desk.align("runs/b", &["space.subspace=3"]));
    refused(
        &desk.align("runs/b", &["space.subspace=3", "seed=2", "--fork"]),
        &["another space", "seed: 2 and 1"],
    );
    refused(&desk.align("runs/none", &["--fork"]), &["runs/none", "no config.toml"]);
}

/// What a directory holds is known without the model, and nothing in it is touched by a config that is not its own.
#[test]
fn a_directory_is_looked_at_before_the_model_is_opened() {
    let desk = Desk::new();
    done(desk.align("runs/a", &["space.budget=8", "run.calibrate_sigma=true"]));
    let row = fs::read(desk.path("runs/a/result.json")).expect("a row");
    let probes = fs::read(desk.path("runs/a/sensitivity.csv")).expect("probes");
    fs::rename(desk.path("tiny.gguf"), desk.path("gone.gguf")).expect("a rename");
    let again = done(desk.align("runs/a", &["space.budget=8", "run.calibrate_sigma=true"]));
    assert!(said(&again).contains("is finished"), "{}", said(&again));
    for (set, words) in [
        ("space.budget=6", "space.budget: 6 and 8"),
        ("run.prompts=3", "run.prompts: 3 and 4"),
        ("strategy.population=6", "strategy.population: 6 and 4"),
    ] {
        let output = desk.align("runs/a", &["space.budget=8", "run.calibrate_sigma=true", set]);
        refused(&output, &["holds a run of another config", words]);
    }
    assert_eq!(fs::read(desk.path("runs/a/result.json")).expect("a row"), row);
    assert_eq!(fs::read(desk.path("runs/a/sensitivity.csv")).expect("probes"), probes);
}

/// What needs no model to be wrong is said before one is opened: there is none here.
#[test]
fn settings_are_checked_before_the_model_is_opened() {
    let desk = Desk::new();
    fs::remove_file(desk.path("tiny.gguf")).expect("a file");
    for (set, words) in [
        ("strategy.sigma=-1", "strategy.sigma: is -1"),
        ("strategy.population=1", "strategy.population: is 1"),
        ("strategy.restarts=99", "strategy.restarts: is 99"),
        ("run.prompts=17", "only 16 training examples"),
        ("run.prompts_max=17", "only 16 training examples"),
        ("task.kinds=['none']", "none"),
        ("space={kind='mix',adapters=['nowhere']}", "nowhere: is not there"),
        ("strategy={kind='open-es'}", "run.racing"),
    ] {
        refused(&desk.align("runs/a", &["run.racing=true", set]), &[words]);
        assert!(!desk.path("runs").exists(), "{set}");
    }
}

/// Rows of an older sweep never pass for those of a changed one, and what is left of it is named.
#[test]
fn a_changed_sweep_says_what_it_finds() {
    let desk = Desk::new();
    let sweep = |seeds: &str| desk.write("sweep.toml", &format!("{RUN}[sweep]\nseed = {seeds}\n"));
    sweep("[1, 2]");
    done(desk.essa(&["sweep", "sweep.toml", "--out", "study"]));
    let row = fs::read(desk.path("study/seed=1/result.json")).expect("a row");
    // Again: all are finished.
    let again = done(desk.essa(&["sweep", "sweep.toml", "--out", "study"]));
    assert!(!said(&again).contains("loading"), "{}", said(&again));
    let changed = desk.essa(&["sweep", "sweep.toml", "--out", "study", "--set", "run.generations=3"]);
    refused(
        &changed,
        &["study/seed=1", "another config", "run.generations: 3 and 2"],
    );
    assert_eq!(fs::read(desk.path("study/seed=1/result.json")).expect("a row"), row);
    assert_eq!(desk.row("study/seed=2")["status"], "finished");
    sweep("[2, 3]");
    let other = done(desk.essa(&["sweep", "sweep.toml", "--out", "study"]));
    assert!(said(&other).contains("holds 1 runs that are not of this sweep") && said(&other).contains("seed=1"));
}

/// A mean that only ties with the start on validation has learned nothing that could be seen, and does not replace it.
#[test]
fn a_run_that_learned_nothing_exports_the_start() {
    let desk = Desk::new();
    // Without partial credit the tiny model earns nothing, ever.
    done(desk.align("runs/a", &["task.partial_credit=0", "task.content_weight=0"]));
    let row = desk.row("runs/a");
    assert_eq!(
        (&row["start_validation"], &row["best_validation"]),
        (&0.0.into(), &0.0.into()),
        "{row}"
    );
    assert_eq!(row["best_generation"], 0);
    let mean: Value =
        serde_json::from_str(&fs::read_to_string(desk.path("runs/a/mean.json")).expect("a mean")).expect("JSON");
    assert!(mean["theta"].as_array().expect("numbers").iter().all(|x| *x == 0.0));
}

/// The names that the reference page gives find slots in composed spaces as well.
#[test]
fn slots_of_composed_spaces_have_the_names_of_the_page() {
    let desk = Desk::new();
    let both = "space={rank=2,also=[{part='minor',rank=2}],only=ONLY}";
    for (only, n) in [
        ("['model.layers.1.self_attn.q_proj']", 4),
        ("['1.model.layers.1']", 8),
        (
            "['0.model.layers.1.self_attn.q_proj.z','1.model.layers.0.self_attn']",
            10,
        ),
    ] {
        done(desk.align(&format!("runs/{n}"), &[&both.replace("ONLY", only)]));
        assert_eq!(desk.row(&format!("runs/{n}"))["n"], n, "{only}");
    }
    // A name ends at a dot: layer 1 is not layer 10.
    refused(
        &desk.align("runs/none", &[&both.replace("ONLY", "['model.layers.1.self']")]),
        &["space.only", "no slot"],
    );
}
