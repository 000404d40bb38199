//! What is decided before the first generation: which run a directory holds, which of its settings were found by probing, and
//! what is refused before a model is opened. Runs of the binary on a tiny random model.

mod support;

use essa::record::lock::Lock;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

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
        fs::write(folder.path().join("tiny.gguf"), support::tiny_model::tiny_model()).expect("a model");
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

/// Neither a finished run nor a busy one waits for a model. The bound is loose because machines stand still; alone it is some hundredths
/// of a second, and a tenth more where a lock is looked at twice.
#[test]
fn a_finished_and_a_busy_directory_are_answered_soon() {
    let desk = Desk::new();
    done(desk.align("runs/a", &[]));
    fs::remove_file(desk.path("tiny.gguf")).expect("a file");
    let soon = |ask: &dyn Fn()| {
        let times = [(); 3].map(|()| {
            let clock = Instant::now();
            ask();
            clock.elapsed()
        });
        assert!(
            *times.iter().min().expect("three") < Duration::from_secs(2),
            "{times:?}"
        );
    };
    soon(&|| assert!(said(&done(desk.align("runs/a", &[]))).contains("is finished")));
    fs::create_dir(desk.path("runs/b")).expect("a folder");
    let lock = Lock::take(&desk.path("runs/b/lock")).expect("a lock");
    soon(&|| refused(&desk.align("runs/b", &[]), &["runs/b: is in use by process"]));
    drop(lock);
    refused(&desk.align("runs/b", &[]), &["tiny.gguf"]);
}

/// Where a run cannot begin, there is no sign of it afterwards; what was there before stays.
#[test]
fn a_claim_that_came_to_nothing_leaves_nothing() {
    let desk = Desk::new();
    fs::remove_file(desk.path("tiny.gguf")).expect("a file");
    refused(&desk.align("deep/runs/a", &[]), &["tiny.gguf"]);
    assert!(!desk.path("deep").exists());
    fs::create_dir_all(desk.path("own/empty")).expect("a folder");
    refused(&desk.align("own/empty", &[]), &["tiny.gguf"]);
    assert_eq!(fs::read_dir(desk.path("own/empty")).expect("the folder").count(), 0);
    fs::write(desk.path("own/notes.txt"), "mine").expect("a file");
    refused(&desk.align("own", &[]), &["tiny.gguf"]);
    assert_eq!(
        fs::read_to_string(desk.path("own/notes.txt")).expect("the file"),
        "mine"
    );
}

/// What is decided, and what that cost, is written down with its reasons, and counted.
#[test]
fn a_plan_has_reasons_and_its_cost_is_the_runs() {
    let desk = Desk::new();
    done(desk.align("runs/plain", &[]));
    done(desk.align("runs/a", &["space.budget=8", "run.calibrate_sigma=true"]));
    let plan: Value =
        serde_json::from_str(&fs::read_to_string(desk.path("runs/a/plan.json")).expect("a plan")).expect("JSON");
    let keys: Vec<&str> = plan["decisions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|decision| {
            assert!(!decision["reason"].as_str().expect("text").is_empty(), "{decision}");
            decision["key"].as_str().expect("text")
        })
        .collect();
    assert_eq!(keys, ["space.only", "strategy.kind", "strategy.sigma"]);
    let plain = fs::read_to_string(desk.path("runs/plain/plan.json")).expect("a plan");
    assert!(
        plain.contains("strategy.sigma") && !plain.contains("strategy.population"),
        "{plain}"
    );
    let lines = |name: &str| {
        let text = fs::read_to_string(desk.path("runs/a").join(name)).expect("a table");
        text.lines().count() - 1
    };
    // Three pairs on eight texts for each step that was tried, before the slots and after; and each slot both ways on at least two texts.
    let spent = plan["spent"]["rollouts"].as_u64().expect("a number") as usize;
    let slots = spent - 6 * 8 * lines("calibration.csv");
    assert!(slots >= 2 * 2 * lines("sensitivity.csv") + 6 * 8 * 2, "{spent}");
    let row = desk.row("runs/a");
    // Two generations of four candidates on four prompts.
    assert_eq!(row["rollouts"], spent + 2 * 4 * 4);
    assert_eq!(desk.row("runs/plain")["rollouts"], 2 * 4 * 4);
    let spent = plan["spent"]["num_tokens"].as_u64().expect("a number");
    let metrics = fs::read_to_string(desk.path("runs/a/metrics.csv")).expect("metrics");
    let header: Vec<&str> = metrics.lines().next().expect("a header").split(',').collect();
    let column = header
        .iter()
        .position(|name| *name == "num_tokens")
        .expect("the column");
    let start: u64 = metrics
        .lines()
        .nth(1)
        .expect("a row")
        .split(',')
        .nth(column)
        .expect("a cell")
        .parse()
        .expect("a number");
    assert!(spent > 0 && start > spent, "{spent} of {start}");
    assert!(row["num_tokens"].as_u64().expect("a number") > start);
}

/// In units of nats σ0 is 1, the gains are in the config, a resumed run and a fork have the same, and what one run measured the next one has without
/// measuring, at the same cost.
#[test]
fn units_are_measured_once_and_kept() {
    let desk = Desk::new();
    let set = ["space.units=kl", "space.budget=8"];
    let first = done(desk.align("runs/a", &set));
    assert!(said(&first).contains("slots costs"), "{}", said(&first));
    let second = done(desk.align("runs/b", &["space.units=kl", "space.budget=8", "seed=9"]));
    assert!(!said(&second).contains("slots costs"), "{}", said(&second));
    let config = desk.config("runs/a");
    let gains = config["space"]["gains"].as_table().expect("gains");
    assert_eq!(gains.len(), config["space"]["only"].as_array().expect("slots").len());
    let values: Vec<f64> = gains.values().map(|gain| gain.as_float().expect("a number")).collect();
    assert!(values.iter().any(|gain| *gain != values[0]), "{values:?}");
    assert_eq!(config["strategy"]["sigma"].as_float(), Some(1.0));
    assert_eq!(config["space"]["gains"], desk.config("runs/b")["space"]["gains"]);
    let [a, b] =
        ["runs/a", "runs/b"].map(|run| fs::read_to_string(desk.path(run).join("sensitivity.csv")).expect("a table"));
    assert_eq!(a, b);
    assert_eq!(desk.row("runs/a")["rollouts"], desk.row("runs/b")["rollouts"]);
    done(desk.align(
        "runs/a",
        &["space.units=kl", "space.budget=8", "run.generations=3", "--fork"],
    ));
    assert_eq!(desk.config("runs/a-2")["space"]["gains"], config["space"]["gains"]);
    refused(
        &desk.align("runs/a", &["space.units=raw", "space.budget=8", "--fork"]),
        &["another space", "space.units"],
    );
    refused(
        &desk.align("runs/c", &["space.units=kl", "run.calibrate_sigma=true"]),
        &["leave one of them out"],
    );
    refused(&desk.align("runs/c", &["space.gains={x=1}"]), &["space.gains is set"]);
    refused(
        &desk.align("runs/c", &["space.units=kl", "space.gains={x=1}"]),
        &["no slot of the space is called x"],
    );
    refused(
        &desk.align("runs/c", &["space.units=kl", "space.gains={x=0}"]),
        &["expected a number above 0"],
    );
    // A subspace has units too: those of what it is a subspace of.
    let projected = done(desk.align("runs/d", &["space.units=kl", "space.subspace=3"]));
    assert!(said(&projected).contains("units: "), "{}", said(&projected));
    assert_eq!(desk.row("runs/d")["n"], 3);
}

/// A budget of texts is a shape, with its reason; a run goes on with it, and what contradicts it is refused.
#[test]
fn a_budget_chooses_the_shape_of_a_run() {
    let desk = Desk::new();
    let path = desk.path("run.toml");
    let config = fs::read_to_string(&path).expect("a config");
    let shaped: Vec<&str> = config
        .lines()
        .filter(|line| {
            !["population", "prompts", "generations"]
                .iter()
                .any(|key| line.starts_with(key))
        })
        .collect();
    fs::write(&path, shaped.join("\n")).expect("a config");
    for _ in 0..2 {
        done(desk.align("runs/a", &["run.rollouts_total=100"]));
    }
    let row = desk.row("runs/a");
    assert_eq!(
        [&row["population"], &row["prompts"], &row["generations"]].map(|value| value.as_u64()),
        [4, 5, 4].map(Some)
    );
    let plan = fs::read_to_string(desk.path("runs/a/plan.json")).expect("a plan");
    assert!(
        plan.contains("4 × 5 × 4") && plan.contains("run.rollouts_total"),
        "{plan}"
    );
    refused(
        &desk.align("runs/b", &["run.rollouts_total=100", "run.prompts=9"]),
        &["run.prompts is 9", "makes it 5"],
    );
    refused(
        &desk.align("runs/b", &["run.rollouts_total=79"]),
        &["expected at least 80"],
    );
}

/// A job that ends before its first checkpoint has its decisions, and what they cost, all the same.
#[test]
fn what_was_spent_on_deciding_is_not_forgotten_by_an_interruption() {
    let desk = Desk::new();
    let set = ["run.calibrate_sigma=true", "space.budget=8"];
    done(desk.align("runs/whole", &set));
    done(desk.align("runs/cut", &set));
    for name in ["result.json", "metrics.csv", "mean.json", "rollouts.jsonl"] {
        fs::remove_file(desk.path("runs/cut").join(name)).expect("a file");
    }
    for name in ["checkpoints", "adapter"] {
        fs::remove_dir_all(desk.path("runs/cut").join(name)).expect("a folder");
    }
    let again = done(desk.align("runs/cut", &set));
    assert!(!said(&again).contains("calibration:"), "{}", said(&again));
    let [whole, cut] = ["runs/whole", "runs/cut"].map(|run| desk.row(run));
    for key in ["rollouts", "num_tokens", "test", "config_sha256"] {
        assert_eq!(whole[key], cut[key], "{key}");
    }
}

/// `--dry-run` says what a run would take and touches nothing; what it says is what the run then takes.
#[test]
fn a_dry_run_writes_nothing_and_is_right() {
    let desk = Desk::new();
    let files = || -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![desk.path("")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder").flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path.clone());
                }
                found.push(path);
            }
        }
        found.sort();
        found
    };
    let before = files();
    let set = ["space.budget=8", "run.calibrate_sigma=true", "--dry-run"];
    let told = String::from_utf8(done(desk.align("runs/a", &set)).stdout).expect("text");
    assert_eq!(files(), before);
    for words in [
        "runs/a, a new run",
        "sep-cma-es, 4 candidates, sigma 0.1",
        "generations would learn 0.05 of a full covariance matrix",
        "2 of 4 prompts",
        "32 of candidates, 12 of the mean on validation, 8 at the end",
        "space.only: at most 896 texts",
        "strategy.sigma: at most 768 texts",
    ] {
        assert!(told.contains(words), "no `{words}` in {told}");
    }
    done(desk.align("runs/a", &set[..2]));
    let row = desk.row("runs/a");
    assert_eq!(row["n"], 8);
    assert!(row["rollouts"].as_u64().expect("a number") <= 32 + 896 + 768, "{row}");
    let told = String::from_utf8(done(desk.align("runs/a", &set)).stdout).expect("text");
    assert!(told.contains("runs/a, which is finished"), "{told}");
    let told = String::from_utf8(done(desk.align("runs/b", &["--dry-run"])).stdout).expect("text");
    done(desk.align("runs/b", &[]));
    assert!(told.contains(&format!("n = {}", desk.row("runs/b")["n"])), "{told}");
    assert!(!told.contains("to be measured"), "{told}");
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

/// What a sweep zips stands in each run's config, and its arms are compared seed by seed.
#[test]
fn a_study_zips_its_settings_and_compares_its_arms() {
    let desk = Desk::new();
    let sweep = "[sweep]\nseed = [1, 2, 3]\n[[sweep.zip]]\nstrategy.population = [4, 8]\nrun.prompts = [4, 2]\n";
    desk.write("sweep.toml", &format!("{RUN}{sweep}"));
    done(desk.essa(&["sweep", "sweep.toml", "--out", "study"]));
    for (prompts, population) in [(4, 4), (2, 8)] {
        let run = format!("study/seed=3,prompts={prompts},population={population}");
        let config = desk.config(&run);
        assert_eq!(config["run"]["prompts"].as_integer(), Some(prompts));
        assert_eq!(config["strategy"]["population"].as_integer(), Some(population));
        assert_eq!(desk.row(&run)["rollouts"], 32);
    }
    let compare = |keys: &str, rest: &[&str]| {
        let flags = ["leaderboard", "study", "--compare", keys, "--pair", "seed"];
        desk.essa(&[&flags[..], rest].concat())
    };
    let told = String::from_utf8(done(compare("strategy.population,run.prompts", &[])).stdout).expect("text");
    for words in ["strategy.population=8, run.prompts=2", "told apart", "test ± 95 %"] {
        assert!(told.contains(words), "no `{words}` in {told}");
    }
    // By hand: the three differences, and t(2) = 4.303 of their standard errors.
    let test = |seed: u64, arm: &str| {
        desk.row(&format!("study/seed={seed},{arm}"))["test"]
            .as_f64()
            .expect("a score")
    };
    let [a, b] = ["prompts=4,population=4", "prompts=2,population=8"].map(|arm| [1, 2, 3].map(|seed| test(seed, arm)));
    let differences = [0, 1, 2].map(|at| a[at] - b[at]);
    let mean = differences.iter().sum::<f64>() / 3.0;
    let variance = differences.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / 2.0;
    let half = 4.302_652_73 * (variance / 3.0).sqrt();
    let csv = String::from_utf8(done(compare("strategy.population", &["--csv"])).stdout).expect("text");
    let numbers: Vec<f64> = csv
        .lines()
        .nth(1)
        .expect("a row")
        .split(',')
        .filter_map(|x| x.parse().ok())
        .collect();
    let expected = [3.0, mean.abs(), mean.abs() - half, mean.abs() + half];
    let close = numbers
        .iter()
        .zip(expected)
        .all(|(found, expected)| (found - expected).abs() < 1e-9);
    assert!(close && numbers.len() == 4, "{csv} {expected:?}");
    refused(
        &compare("strategy.kind", &[]),
        &["name in --compare or --pair what else they differ in"],
    );
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
