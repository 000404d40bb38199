//! The promises of a whole run, each a test that bears its number: base weights are never written (1), int8 and int4 do
//! not depend on threads, ranks or interruptions (3), after a kill only what is unknown is asked (4), the test split is
//! asked once and decides nothing (7), files are replaced and never written over (8), and every number of a result can be
//! computed anew from the run's own files (9).

mod support;

use essa::config::RunConfig;
use essa::engine::Limits;
use essa::language_model::LanguageModel;
use essa::model::{Module, Precision, Weights};
use essa::objective::{Alignment, Asks, Objective};
use essa::record::{Mean, Outcome};
use essa::seed::Seed;
use essa::space::decoding::Setting;
use essa::space::spectral::{Part, spectral};
use essa::task::Split;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;
use support::house::{House, assert_same, end_state, essa, files_under, has_mpi, succeeded};
use support::jobs::{ends, newest_generation, quietly, signal, wait_for_silence, wait_until};
use support::json;
use support::tiny_model::{tiny_model, tiny_qwen2, wide_model};
use support::watched::{Call, End, Toy, Watched, finish, job};

// ------------------------------------------------------------------------------------------- runs inside this process

/// A run of the toy.
fn toy_config(more: &str) -> RunConfig {
    let table = format!(
        "name = 'toy'\n[model]\npath = '/nowhere'\n[strategy]\nkind = 'cma-es'\npopulation = 4\nsigma = 0.4\n\
         [run]\ngenerations = 3\nprompts = 4\nvalidate_every = 2\n{more}"
    );
    config(&table, Toy::DIM)
}

fn config(table: &str, n: usize) -> RunConfig {
    let table: toml::Table = table.parse().expect("TOML");
    let mut config = RunConfig::from_table(table, Path::new("run.toml")).expect("a config");
    config.strategy = config.strategy.resolve(n).expect("a strategy");
    config
}

/// The config of a house with what it sets, for a run in this process.
fn config_of(house: &House) -> RunConfig {
    RunConfig::load(&house.config(), house.set()).expect("a config")
}

/// What `essa align` would search: the spectral space of the attention, and the temperature.
fn alignment(config: &RunConfig, cache: &Path) -> Alignment {
    let opened = LanguageModel::open(&config.model.path, config.model.options(), Limits::default()).expect("a model");
    let modules = [Module::Q, Module::K, Module::V, Module::O];
    let space = spectral(&opened.weights, Part::Principal, 2, &modules, cache, &|_| ()).expect("a space");
    let space = space.with_decoding(BTreeMap::from([(Setting::Temperature, 0.7)]));
    let task = config
        .task
        .load(Seed::new(0).named("task"), Path::new("."))
        .expect("a task");
    let max_new_tokens = config.generation.max_new_tokens;
    Alignment::new(
        opened,
        space,
        task,
        &config.reward,
        (config.sampling(), max_new_tokens),
        "tiny".into(),
    )
    .expect("an objective")
}

/// A run from its start to its end, by as many jobs as it takes: one for each of `ends`, which may not be the last. What
/// the jobs asked, one after the other, and the row.
fn in_jobs<O: Objective>(
    config: &RunConfig,
    run: &Path,
    open: impl Fn() -> O,
    ends: &[End],
) -> (Vec<Vec<Call>>, essa::record::Row) {
    let mut jobs = Vec::new();
    for end in ends {
        let mut objective = Watched::new(open(), *end);
        match (job(config, run, &mut objective), end) {
            (Err(error), End::Dies(_)) => assert!(error.to_string().contains("killed"), "{error}"),
            (Ok((row, stop)), End::Stops(_)) => {
                assert_eq!(
                    (stop, row.status, row.test),
                    (Outcome::Interrupted, Outcome::Interrupted, None)
                );
            }
            (done, _) => panic!("{end:?} ends with {done:?}"),
        }
        jobs.push(objective.calls);
    }
    let (row, calls) = finish(config, run, open());
    jobs.push(calls);
    (jobs, row)
}

/// One rollout, wherever it was asked: the search vector's bits, the split, the stream of its texts, and the example.
type Asked = (Vec<u64>, Split, String, usize);

fn asked(calls: &[Call]) -> Vec<Asked> {
    let of_call = |call: &Call| -> Vec<Asked> {
        let one = |(theta, example, _): &(Vec<f64>, usize, f64)| {
            let seed = serde_json::to_string(&call.questions.seed).expect("JSON");
            (
                theta.iter().map(|x| x.to_bits()).collect(),
                call.questions.split,
                seed,
                *example,
            )
        };
        call.rollouts.iter().map(one).collect()
    };
    calls.iter().flat_map(of_call).collect()
}

/// Killed, or told to stop, after any number of rollouts: what goes on asks for the rest and for nothing else, and leaves
/// what an undisturbed run leaves.
#[test]
fn promise_4_after_a_kill_only_what_is_unknown_is_asked() {
    for (kind, more) in [("fair", ""), ("race", "racing = true")] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let run = |name: &str| folder.path().join(name).join("toy");
        let config = toy_config(more);
        let (whole, _) = in_jobs(&config, &run("whole"), || Toy::new(1.0), &[]);
        let expected = end_state(&run("whole"));
        let mut all = asked(&whole[0]);
        let total = all.len();
        all.sort();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "nothing is asked twice");
        let thirds = [End::Dies(total / 3), End::Stops(total / 3), End::Dies(7)];
        let ends = (0..total).flat_map(|count| [vec![End::Dies(count)], vec![End::Stops(count)]]);
        for (at, ends) in ends.chain([thirds.to_vec()]).enumerate() {
            let what = format!("{kind}, {ends:?} of {total}");
            let run = run(&at.to_string());
            let (jobs, _) = in_jobs(&config, &run, || Toy::new(1.0), &ends);
            let mut together: Vec<Asked> = jobs.iter().flat_map(|calls| asked(calls)).collect();
            let left = total - ends.iter().map(|end| end.count()).sum::<usize>();
            assert_eq!(jobs.last().map(|calls| asked(calls).len()), Some(left), "{what}");
            together.sort();
            assert_eq!(together, all, "{what}");
            assert_same(&end_state(&run), &expected, &what);
        }
    }
}

/// Validation decides, train and test do not, and the test split is looked at when everything is decided: once, for the
/// start and the chosen mean, on all of its examples. However the run was interrupted.
#[test]
fn promise_7_the_test_split_is_asked_once_at_the_end_and_decides_nothing() {
    for (kind, more) in [("fair", ""), ("race", "racing = true")] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = toy_config(more);
        let run = |name: &str| folder.path().join(format!("{kind} {name}")).join("toy");
        let total = {
            let (jobs, _) = in_jobs(&config, &run("count"), || Toy::new(1.0), &[]);
            asked(&jobs[0]).len()
        };
        let mut gains = Vec::new();
        let mut left: Vec<BTreeMap<String, Vec<u8>>> = Vec::new();
        // What is right on the test split is wrong in the second world; in both a job ends in the midst of a generation, in
        // the midst of the test, or never.
        for (worth, name) in [(1.0, "as it is"), (-1.0, "the other way round")] {
            for ends in [&[][..], &[End::Stops(20), End::Dies(9)], &[End::Dies(total - 3)]] {
                let run = run(&format!("{name} {ends:?}"));
                let (jobs, row) = in_jobs(&config, &run, || Toy::new(worth), ends);
                let calls = jobs.concat();
                let best = check_splits(&calls, &format!("{kind}, {name}, {ends:?}"));
                let kept: Mean = json(&run.join("mean.json"));
                assert_eq!(kept.theta, best);
                assert_eq!(json::<Vec<f64>>(&run.join("adapter/theta.json")), best);
                if ends.is_empty() {
                    gains.push(row.gain.expect("a gain"));
                    left.push(without_test(&run));
                }
            }
        }
        // The test could fail: one world's test split likes the start better than what was chosen.
        assert!(gains[0] != 0.0 && gains[0] == -gains[1], "{gains:?}");
        assert_same(&left[1], &left[0], "whatever the test split said");
    }
}

/// What a run leaves but for the test split's scores.
fn without_test(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut state = end_state(run);
    state.remove("result.json");
    let rollouts = String::from_utf8(state["rollouts.jsonl"].clone()).expect("text");
    let kept = rollouts.lines().filter(|line| !line.contains("\"split\":\"test\""));
    let kept: Vec<&str> = kept.collect();
    assert!(kept.len() < rollouts.lines().count());
    state.insert("rollouts.jsonl".into(), kept.join("\n").into_bytes());
    state
}

/// Checks what was asked of which split, in which order; returns the mean that validated best.
fn check_splits(calls: &[Call], what: &str) -> Vec<f64> {
    let of = |split: Split| calls.iter().filter(move |call| call.questions.split == split);
    let first_test = calls.iter().position(|call| call.questions.split == Split::Test);
    let last_other = calls.iter().rposition(|call| call.questions.split != Split::Test);
    assert!(
        first_test > last_other,
        "{what}: the test split was looked at before the end"
    );
    // Each split has streams of its own: train one a generation, the others one for all looks.
    let seeds = |split: Split| -> BTreeSet<String> {
        of(split)
            .map(|call| serde_json::to_string(&call.questions.seed).expect("JSON"))
            .collect()
    };
    let counts = [Split::Train, Split::Validation, Split::Test].map(|split| seeds(split).len());
    assert_eq!(counts, [3, 1, 1], "{what}");
    assert_eq!(
        [Split::Train, Split::Validation, Split::Test]
            .into_iter()
            .flat_map(seeds)
            .collect::<BTreeSet<_>>()
            .len(),
        5,
        "{what}: two splits share a stream"
    );
    // The scores of whoever was asked, in order of their first appearance, each example once.
    let scores = |split: Split| {
        let mut scores: Vec<(Vec<f64>, BTreeMap<usize, f64>)> = Vec::new();
        for call in of(split) {
            assert_eq!(call.questions.asks == Asks::Candidates, split == Split::Train, "{what}");
            for (theta, example, reward) in &call.rollouts {
                let at = scores.iter().position(|(known, _)| known == theta);
                let at = at.unwrap_or_else(|| {
                    scores.push((theta.clone(), BTreeMap::new()));
                    scores.len() - 1
                });
                let twice = scores[at].1.insert(*example, *reward);
                assert_eq!(twice, None, "{what}: example {example} of {split:?} was asked twice");
            }
        }
        scores
    };
    let examples = Toy::new(1.0).examples;
    let (validated, tested) = (scores(Split::Validation), scores(Split::Test));
    for (scores, count) in [(&validated, examples[1]), (&tested, examples[2])] {
        assert!(
            scores.iter().all(|(_, rewards)| rewards.len() == count),
            "{what}: {scores:?}"
        );
    }
    assert_eq!(validated.len(), 3, "{what}: the start, generation 2 and the last one");
    let mean = |rewards: &BTreeMap<usize, f64>| rewards.values().sum::<f64>() / rewards.len() as f64;
    let best = validated.iter().max_by(|a, b| mean(&a.1).total_cmp(&mean(&b.1)));
    let (best, _) = best.expect("a mean");
    let start = vec![0.0; Toy::DIM];
    assert_eq!(validated[0].0, start, "{what}");
    assert!(
        *best != start,
        "{what}: the search found nothing, so that nothing is shown"
    );
    let tested: Vec<&Vec<f64>> = tested.iter().map(|(theta, _)| theta).collect();
    assert_eq!(tested, [&start, best], "{what}");
    best.clone()
}

/// Neither does a generation's choice hang on luck: all of the training split is asked, in another order each time around,
/// before any of it comes again.
#[test]
fn prompts_go_round_the_training_split() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = toy_config("");
    config.run.generations = 7;
    let toy = || Toy::new(1.0).with_train(7);
    let (jobs, _) = in_jobs(&config, &folder.path().join("toy"), toy, &[]);
    let of_train = jobs[0].iter().filter(|call| call.questions.split == Split::Train);
    let prompts: Vec<usize> = of_train.flat_map(|call| call.questions.indices.clone()).collect();
    assert_eq!(prompts.len(), 7 * 4);
    let rounds: Vec<&[usize]> = prompts.chunks(7).collect();
    for round in &rounds {
        assert_eq!(
            round.iter().copied().collect::<BTreeSet<_>>(),
            (0..7).collect(),
            "{rounds:?}"
        );
    }
    assert_eq!(rounds.iter().collect::<BTreeSet<_>>().len(), 4, "{rounds:?}");
}

/// Every precision, norms and biases included: a run reads them and writes none.
#[test]
fn promise_1_base_weights_are_the_same_after_a_run() {
    for (model, of) in [(tiny_model(), "llama"), (tiny_qwen2(), "qwen2")] {
        for precision in ["f32", "bf16", "int8", "int4"] {
            let house = House::new(&model).with(&["run.generations=2", "strategy.population=4"]);
            let house = house.with(&[&format!("model.precision={precision}")]);
            let (config, cache) = (config_of(&house), house.cache("bases"));
            let mut watched = Watched::new(alignment(&config, &cache), End::Never);
            let digest = |alignment: &Alignment| alignment.opened().engine.model().digest();
            let before = digest(&watched.inner);
            let (row, _) = job(&config, &house.run("whole"), &mut watched).expect("a run");
            assert!(row.num_tokens > 0 && row.best_generation <= 2);
            assert_eq!(digest(&watched.inner), before, "{of} in {precision}");
            assert_eq!(
                digest(&alignment(&config, &cache)),
                before,
                "{of} in {precision}, as it is loaded"
            );
        }
    }
}

/// The same kills as in int8, in int4, on a model: what is written in parts is what is written in one go.
#[test]
fn promise_3_an_interrupted_run_in_int4_ends_as_if_it_had_not_been() {
    let house = House::new(&tiny_model()).with(&["model.precision=int4", "run.generations=4", "strategy.population=4"]);
    let (config, cache) = (config_of(&house), house.cache("bases"));
    assert_eq!(config.model.precision, Precision::Int4);
    let whole = house.run("whole");
    let (jobs, row) = in_jobs(&config, &whole, || alignment(&config, &cache), &[]);
    let (expected, total) = (end_state(&whole), asked(&jobs[0]).len());
    for (at, ends) in [
        vec![End::Dies(3), End::Dies(total / 4), End::Dies(total / 4)],
        vec![End::Stops(total / 3), End::Dies(5), End::Dies(total / 2)],
        vec![End::Dies(total - 5)],
    ]
    .into_iter()
    .enumerate()
    {
        let run = house.run(&format!("killed {at}"));
        let (_, again) = in_jobs(&config, &run, || alignment(&config, &cache), &ends);
        assert_eq!((again.test, again.num_tokens), (row.test, row.num_tokens));
        assert_same(&end_state(&run), &expected, &format!("{ends:?}"));
    }
}

// ------------------------------------------------------------------------------------------- files are replaced (8)

/// A second name for each file that is written whole, with its bytes as they were.
struct Links {
    folder: tempfile::TempDir,
    made: Vec<(String, PathBuf, PathBuf, Vec<u8>)>,
}

impl Links {
    fn new(house: &House) -> Self {
        // On the same file system.
        let folder = tempfile::tempdir_in(house.folder.path()).expect("a temporary folder");
        Self {
            folder,
            made: Vec::new(),
        }
    }

    /// Links everything under `folder` but what grows by design (`rollouts.jsonl`, which is cut and appended to) and the
    /// lock, whose file is the lock.
    fn link(&mut self, folder: &Path) {
        for (name, path) in files_under(folder) {
            let own = path.file_name().expect("a name").to_string_lossy().into_owned();
            if ["rollouts.jsonl", "lock"].contains(&own.as_str()) {
                continue;
            }
            let link = self.folder.path().join(self.made.len().to_string());
            fs::hard_link(&path, &link).expect("a link");
            let bytes = fs::read(&path).expect("a file");
            self.made.push((name, path, link, bytes));
        }
    }

    /// The names of the files that are another file by now. All links hold what they held.
    fn replaced(&self) -> BTreeSet<String> {
        let mut replaced = BTreeSet::new();
        let mut written_over = BTreeSet::new();
        for (name, path, link, bytes) in &self.made {
            if fs::read(link).expect("a link") != *bytes {
                written_over.insert(name.clone());
            }
            let inode = |path: &Path| fs::metadata(path).map(|file| file.ino()).ok();
            if inode(path).is_some_and(|now| Some(now) != inode(link)) {
                replaced.insert(name.clone());
            }
        }
        assert!(written_over.is_empty(), "{written_over:?} were written over");
        replaced
    }
}

fn assert_replaced(replaced: &BTreeSet<String>, expected: &[&str]) {
    let missing: Vec<&&str> = expected.iter().filter(|name| !replaced.contains(**name)).collect();
    assert!(
        missing.is_empty(),
        "nobody replaced {missing:?}, so nothing is shown of them: {replaced:?}"
    );
}

/// A run in four jobs: whoever holds one of its files open, or has linked it, keeps what it was.
#[test]
fn promise_8_a_run_replaces_its_files_and_writes_over_none() {
    let house = House::new(&tiny_model()).with(&["run.validate_every=1"]);
    let (config, cache) = (config_of(&house), house.cache("bases"));
    let run = house.run("linked");
    let folder = run.parent().expect("a folder");
    let (mut links, mut replaced) = (Links::new(&house), BTreeSet::new());
    for (job_number, end) in [End::Dies(80), End::Dies(40), End::Stops(30)].into_iter().enumerate() {
        let mut watched = Watched::new(alignment(&config, &cache), end);
        let ended = job(&config, &run, &mut watched);
        assert!(ended.is_err() == (job_number < 2), "{ended:?}");
        replaced.extend(links.replaced());
        links.link(folder);
        if job_number == 0 {
            // The newest checkpoint is damaged, so that its generation is done and written again.
            let (_, newest) = files_under(&run.join("checkpoints"))
                .into_iter()
                .next_back()
                .expect("some");
            let bytes = fs::read(&newest).expect("a checkpoint");
            fs::remove_file(&newest).expect("it goes");
            fs::write(&newest, &bytes[..bytes.len() / 2]).expect("half of it");
            links.link(folder);
        }
    }
    finish(&config, &run, alignment(&config, &cache));
    replaced.extend(links.replaced());
    assert_replaced(
        &replaced,
        &[
            "leaderboard.csv",
            "tiny/metrics.csv",
            "tiny/mean.json",
            "tiny/result.json",
            "tiny/adapter/adapter_config.json",
            "tiny/adapter/adapter_model.safetensors",
            "tiny/adapter/generation_config.json",
        ],
    );
    assert!(
        replaced.iter().any(|name| name.starts_with("tiny/checkpoints/")),
        "{replaced:?}"
    );
    // The journal is gone at the end; its file of what is known was replaced if its links are not one file.
    let known = links
        .made
        .iter()
        .filter(|(name, ..)| name == "tiny/journal/known.jsonl");
    let inodes: BTreeSet<u64> = known
        .map(|(.., link, _)| fs::metadata(link).expect("a link").ino())
        .collect();
    assert!(
        inodes.len() > 1,
        "{:?}",
        links.made.iter().map(|(name, ..)| name).collect::<Vec<_>>()
    );
}

/// What stands in a run's directory before its first generation, what `essa export` writes twice, and the bases and the costs of slots in the cache.
#[test]
fn promise_8_commands_replace_what_they_write_again() {
    let house = House::new(&tiny_model()).with(&["run.generations=1", "run.calibrate_sigma=true", "space.budget=9"]);
    let cache = house.cache("bases");
    let run = house.run("linked");
    let mut links = Links::new(&house);
    // A job that was killed before it wrote its config has left these; and bases that nobody can read.
    fs::create_dir_all(&run).expect("a folder");
    for name in ["calibration.csv", "sensitivity.csv"] {
        fs::write(run.join(name), "of another job\n").expect("a file");
    }
    succeeded(
        &house
            .align(0, &house.run("first"))
            .env("ESSA_CACHE", &cache)
            .output()
            .expect("the binary runs"),
    );
    // Bases, and what their slots cost.
    let kept = files_under(&cache);
    assert_eq!(kept.len(), 2, "{kept:?}");
    for path in kept.values() {
        fs::write(path, "damaged").expect("a file");
    }
    links.link(&cache);
    links.link(&run);
    succeeded(
        &house
            .align(0, &run)
            .env("ESSA_CACHE", &cache)
            .output()
            .expect("the binary runs"),
    );
    let words = [&run, &run.join("exported")].map(|path| path.display().to_string());
    for _ in 0..2 {
        essa(&["export", &words[0], "--out", &words[1]], &cache);
        links.link(&run.join("exported"));
    }
    let mut expected: Vec<&str> = kept.keys().map(String::as_str).collect();
    expected.extend(["calibration.csv", "sensitivity.csv"]);
    expected.extend(["adapter_config.json", "adapter_model.safetensors"]);
    assert_replaced(&links.replaced(), &expected);
}

// ------------------------------------------------------------------------------------- a result is its run's files (9)

/// A line of `rollouts.jsonl`.
#[derive(Clone, Debug, serde::Deserialize)]
struct Line {
    generation: u64,
    split: Split,
    candidate: usize,
    question: usize,
    prompt_id: String,
    reward: f64,
    terms: BTreeMap<String, f64>,
    failed: bool,
    prompt_tokens: usize,
    tokens: usize,
    finish_reason: String,
}

fn lines(path: &Path) -> Vec<Line> {
    let text = fs::read_to_string(path).expect("texts");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line"))
        .collect()
}

fn rewards<'a>(lines: impl IntoIterator<Item = &'a Line>) -> Vec<f64> {
    lines.into_iter().map(|line| line.reward).collect()
}

fn mean_of(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Student's 95 % interval of the mean of rewards that are not all 0 and 1.
fn interval(values: &[f64]) -> (f64, f64) {
    assert!(values.iter().any(|x| x.fract() != 0.0), "{values:?}");
    let t = match values.len() {
        8 => 2.364_624_251_592_785,
        24 => 2.068_657_610_419_041,
        12 => 2.200_985_160_082_949,
        other => panic!("the quantile for {other} values is not written down"),
    };
    let (mean, half) = (mean_of(values), t * standard_error(values));
    (mean - half, mean + half)
}

/// Of the mean: the root of the squares' sum over n (n - 1).
fn standard_error(values: &[f64]) -> f64 {
    let (mean, n) = (mean_of(values), values.len() as f64);
    let squares: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
    (squares / (n * (n - 1.0))).sqrt()
}

fn is_close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * (1.0 + a.abs())
}

fn csv_rows(path: &Path) -> (Vec<String>, Vec<BTreeMap<String, String>>) {
    let mut file = csv::Reader::from_path(path).expect("a table");
    let header = file.headers().expect("a header").iter().map(String::from).collect();
    (header, file.deserialize().map(|row| row.expect("a row")).collect())
}

/// What the row of the run must say, from its texts, its metrics, its config and its mean alone; the clocks, which are held
/// against a watch, are left out.
fn expected_row(
    run: &Path,
    model: &Path,
    lines: &[Line],
    metrics: &[BTreeMap<String, String>],
) -> BTreeMap<String, Value> {
    let of = |split: Split| lines.iter().filter(move |line| line.split == split);
    let tested = [0, 1].map(|candidate| rewards(of(Split::Test).filter(|line| line.candidate == candidate)));
    let gains: Vec<f64> = tested[1]
        .iter()
        .zip(&tested[0])
        .map(|(after, before)| after - before)
        .collect();
    let mut validations: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    of(Split::Validation).for_each(|line| validations.entry(line.generation).or_default().push(line.reward));
    let scores: Vec<(u64, f64)> = validations
        .iter()
        .map(|(at, rewards)| (*at, mean_of(rewards)))
        .collect();
    let best = scores
        .iter()
        .fold(scores[0], |best, at| if at.1 > best.1 { *at } else { best });
    let equals = scores.iter().filter(|(_, score)| *score == best.1).count();
    assert_eq!(
        equals, 1,
        "two means validated best, and which is kept is another test's: {scores:?}"
    );
    let of_generation: BTreeSet<usize> = of(Split::Train)
        .filter(|line| line.generation == 1)
        .map(|l| l.candidate)
        .collect();
    let prompts: BTreeSet<usize> = of(Split::Train)
        .filter(|line| line.generation == 1)
        .map(|l| l.question)
        .collect();
    let tokens: usize = lines.iter().map(|line| line.prompt_tokens + line.tokens).sum();
    let mean: BTreeMap<String, Value> = json(&run.join("mean.json"));
    let n = mean["theta"].as_array().expect("numbers").len();
    assert_eq!(mean["generation"], best.0);
    assert_eq!(mean["validation"], best.1);
    let config: toml::Table = fs::read_to_string(run.join("config.toml"))
        .expect("a config")
        .parse()
        .expect("TOML");
    let hex = |bytes: &[u8]| {
        Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let text = |section: &str, key: &str| config[section][key].as_str().expect("text").to_string();
    let last: u64 = metrics.last().expect("a row")["generation"].parse().expect("a number");
    let row = serde_json::json!({
        "name": config["name"].as_str(),
        "status": "finished",
        "reason": "",
        "test": mean_of(&tested[1]),
        "test_se": standard_error(&tested[1]),
        "test_low": interval(&tested[1]).0,
        "test_high": interval(&tested[1]).1,
        "start_test": mean_of(&tested[0]),
        "start_test_se": standard_error(&tested[0]),
        "start_test_low": interval(&tested[0]).0,
        "start_test_high": interval(&tested[0]).1,
        "gain": mean_of(&gains),
        "gain_se": standard_error(&gains),
        "gain_low": interval(&gains).0,
        "gain_high": interval(&gains).1,
        "test_examples": gains.len(),
        "start_validation": mean_of(&validations[&0]),
        "best_validation": best.1,
        "best_generation": best.0,
        "generations": last,
        "model": "tiny.gguf",
        "model_sha256": hex(&fs::read(model).expect("a model")),
        "precision": text("model", "precision"),
        "task": text("task", "kind"),
        "space": format!("{} {} {}", text("space", "kind"), text("space", "part"), config["space"]["rank"]),
        "n": n,
        "strategy": text("strategy", "kind"),
        "population": of_generation.len(),
        "prompts": prompts.len(),
        "seed": config["seed"].as_integer(),
        "rollouts": of(Split::Train).count(),
        "num_tokens": tokens,
        "config_sha256": config_sum(&config),
        "essa": env!("CARGO_PKG_VERSION"),
        "directory": run.display().to_string(),
    });
    serde_json::from_value(row).expect("an object")
}

/// SHA-256 of the config's keys, `section.key` with its value in order of name, without those that only say what a machine
/// may spend.
fn config_sum(config: &toml::Table) -> String {
    let mut keys = BTreeMap::new();
    let mut tables = vec![(String::new(), config.clone())];
    while let Some((place, table)) = tables.pop() {
        for (key, value) in table {
            match value {
                toml::Value::Table(inner) => tables.push((format!("{place}{key}."), inner)),
                other => drop(keys.insert(format!("{place}{key}"), other.to_string())),
            }
        }
    }
    ["model.threads", "model.cache_gib"]
        .iter()
        .for_each(|key| drop(keys.remove(*key).expect("a key")));
    let sum = Sha256::digest(format!("{keys:?}"));
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `metrics.csv` row by row from the texts; what the strategy says of itself is left out, and what a race has settled.
fn check_metrics(lines: &[Line], metrics: &[BTreeMap<String, String>], is_race: bool) {
    let mut tokens = 0;
    for row in metrics {
        let generation: u64 = row["generation"].parse().expect("a number");
        let of = |split: Split| {
            let of_row = move |line: &&Line| line.split == split && line.generation == generation;
            lines.iter().filter(of_row)
        };
        let number = |column: &str| row[column].parse::<f64>().ok();
        let check = |column: &str, expected: Option<f64>| match (number(column), expected) {
            (None, None) => {}
            (Some(found), Some(expected)) if is_close(found, expected) => {}
            (found, expected) => panic!("{column} of generation {generation} is {found:?}, expected {expected:?}"),
        };
        let read = |line: &Line| line.prompt_tokens + line.tokens;
        tokens += of(Split::Train).chain(of(Split::Validation)).map(read).sum::<usize>();
        check("num_tokens", Some(tokens as f64));
        let validation = rewards(of(Split::Validation));
        let validated = (!validation.is_empty()).then_some(&validation);
        check("validation", validated.map(|rewards| mean_of(rewards)));
        check("validation_se", validated.map(|rewards| standard_error(rewards)));

        let mut candidates: BTreeMap<usize, Vec<&Line>> = BTreeMap::new();
        of(Split::Train).for_each(|line| candidates.entry(line.candidate).or_default().push(line));
        let train: Vec<&Line> = of(Split::Train).collect();
        let told = (!train.is_empty()).then_some(&train);
        let share =
            |of: &dyn Fn(&Line) -> f64| told.map(|all| mean_of(&all.iter().map(|line| of(line)).collect::<Vec<_>>()));
        check("rollouts", told.map(|all| all.len() as f64));
        check(
            "prompts",
            candidates.values().map(|all| all.len() as f64).reduce(f64::max),
        );
        check("completions/mean_length", share(&|line| line.tokens as f64));
        check(
            "completions/clipped_ratio",
            share(&|line| f64::from(u8::from(line.finish_reason == "length"))),
        );
        check("failed", Some(train.iter().filter(|line| line.failed).count() as f64));
        let judged: Vec<Vec<f64>> = candidates.values().map(|all| rewards(all.iter().copied())).collect();
        let squared = |rewards: &Vec<f64>| standard_error(rewards).powi(2);
        let squares: Vec<f64> = judged.iter().map(squared).collect();
        check("reward_se", told.map(|_| mean_of(&squares).sqrt()));
        let by_term = |all: &[&Line]| -> BTreeMap<String, f64> {
            let names: BTreeSet<&String> = all.iter().flat_map(|line| line.terms.keys()).collect();
            let of = |name: &String| {
                all.iter()
                    .filter_map(|line| line.terms.get(name).copied())
                    .collect::<Vec<_>>()
            };
            names
                .into_iter()
                .map(|name| (name.clone(), mean_of(&of(name))))
                .collect()
        };
        let terms: Vec<BTreeMap<String, f64>> = match told {
            Some(_) => candidates.values().map(|all| by_term(all)).collect(),
            None => vec![by_term(&of(Split::Validation).collect::<Vec<_>>())],
        };
        for name in terms[0].keys() {
            let values: Vec<f64> = terms.iter().map(|terms| terms[name]).collect();
            check(&format!("terms/{name}"), Some(mean_of(&values)));
        }
        if is_race {
            continue;
        }
        let means: Vec<f64> = judged.iter().map(|rewards| mean_of(rewards)).collect();
        let (count, some) = (means.len() as f64, told.map(|_| &means));
        check("reward", some.map(|means| mean_of(means)));
        check("reward_std", some.map(|means| standard_error(means) * count.sqrt()));
        check("reward_max", means.iter().copied().reduce(f64::max));
        let ties = means
            .iter()
            .filter(|mean| means.iter().filter(|other| other == mean).count() > 1);
        check("tie_ratio", some.map(|_| ties.count() as f64 / count));
        // Sums of squares: of all, less that of candidates and that of questions, is noise.
        let questions = judged.first().map_or(0, Vec::len);
        let column = |at: usize| mean_of(&judged.iter().map(|rewards| rewards[at]).collect::<Vec<_>>());
        let all = judged.concat();
        let squares = |values: &[f64]| values.iter().map(|x| (x - mean_of(&all)).powi(2)).sum::<f64>();
        let (of_candidates, of_questions) = (
            squares(&means) * questions as f64,
            squares(&(0..questions).map(column).collect::<Vec<_>>()) * count,
        );
        let freedom = (count - 1.0) * (questions as f64 - 1.0);
        let noise = (squares(&all) - of_candidates - of_questions) / freedom / questions as f64;
        let signal = squares(&means) / (count - 1.0) - noise;
        match (number("snr"), told) {
            (found, Some(_)) if noise > 1e-9 => {
                let (found, expected) = (found.expect("a number"), signal.max(0.0) / noise);
                assert!(
                    (found - expected).abs() < 1e-6 * (1.0 + expected),
                    "snr {found}, expected {expected}"
                );
            }
            (found, _) => assert!(found.is_none_or(|_| told.is_some())),
        }
    }
}

/// Every number of a result, of its line in the leaderboard and of the metrics is computed anew here, from the texts; and
/// `essa eval` comes to the same scores by asking again.
#[test]
fn promise_9_every_number_of_a_result_is_in_the_runs_files() {
    for (kind, set) in [
        ("fair", &["seed=4"][..]),
        (
            "race",
            &[
                "run.racing=true",
                "run.prompts=8",
                "run.validate_every=3",
                "model.precision=int4",
            ],
        ),
    ] {
        let house = House::new(&tiny_model()).with(set);
        // Many validation examples, and texts of chance, so that no two means validate alike.
        let house = house.with(&["generation.temperature=0.7", "task.validation_size=24"]);
        let (run, cache) = (house.run(kind), house.cache("bases"));
        let (before, clock) = (chrono::Utc::now(), Instant::now());
        succeeded(
            &house
                .align(0, &run)
                .env("ESSA_CACHE", &cache)
                .output()
                .expect("the binary runs"),
        );
        let (after, took) = (chrono::Utc::now(), clock.elapsed().as_secs_f64());
        let lines = lines(&run.join("rollouts.jsonl"));
        let (_, metrics) = csv_rows(&run.join("metrics.csv"));
        check_metrics(&lines, &metrics, kind == "race");

        let text = fs::read_to_string(run.join("result.json")).expect("a result");
        let mut row: serde_json::Map<String, Value> = serde_json::from_str(&text).expect("JSON");
        let (header, table) = csv_rows(&run.with_file_name("leaderboard.csv"));
        let keys: Vec<&String> = row.keys().collect();
        assert_eq!(header.iter().collect::<Vec<_>>(), keys);
        let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
        assert_eq!(table.len(), 1);
        for (key, value) in &row {
            let (found, expected) = (&table[0][key], plain(value));
            let numbers = (found.parse::<f64>().ok(), value.as_f64());
            assert!(
                *found == expected || numbers.0.is_some() && numbers.0 == numbers.1,
                "{key}: {found} and {expected}"
            );
        }
        let model = house.folder.path().join("tiny.gguf");
        let expected = expected_row(&run, &model, &lines, &metrics);
        // Clocks.
        let wall = row.remove("wall_s").and_then(|wall| wall.as_f64()).expect("a number");
        let steps: f64 = metrics
            .iter()
            .map(|row| row["step_time"].parse::<f64>().expect("a number"))
            .sum();
        assert!(
            wall >= steps - 0.1 && wall <= took + 0.1,
            "{wall} s, of them {steps} in steps, {took} by the watch"
        );
        let finished = row.remove("finished").expect("a date");
        let finished = chrono::DateTime::parse_from_rfc3339(finished.as_str().expect("text")).expect("a date");
        assert!(finished.timestamp() >= before.timestamp() && finished.timestamp() <= after.timestamp());
        assert_eq!(
            row.keys().collect::<BTreeSet<_>>(),
            expected.keys().collect::<BTreeSet<_>>(),
            "a field that nobody computes anew"
        );
        for (key, expected) in &expected {
            let found = &row[key];
            let close = match (found.as_f64(), expected.as_f64()) {
                // Quantiles are computed to some digits.
                (Some(found), Some(expected)) if key.ends_with("_low") || key.ends_with("_high") => {
                    (found - expected).abs() < 1e-7
                }
                (Some(found), Some(expected)) => is_close(found, expected),
                _ => found == expected,
            };
            assert!(close, "{kind}: {key} is {found}, and from the files {expected}");
        }
        agrees_with_eval(&run, &cache, &lines, &expected);
    }
}

/// `essa eval` on both splits that judge means.
fn agrees_with_eval(run: &Path, cache: &Path, lines: &[Line], row: &BTreeMap<String, Value>) {
    let (directory, texts) = (run.display().to_string(), run.with_file_name("texts.jsonl"));
    let best = row["best_generation"].as_u64().expect("a number");
    for (name, split) in [("test", Split::Test), ("validation", Split::Validation)] {
        let words = [
            "eval",
            &directory,
            "--split",
            name,
            "--rollouts",
            &texts.display().to_string(),
        ];
        let said = essa(&words, cache);
        let of = |generation: u64, candidate: usize| -> Vec<&Line> {
            let is_of = move |line: &&Line| {
                line.split == split
                    && line.candidate == candidate
                    && (split == Split::Test || line.generation == generation)
            };
            lines.iter().filter(is_of).collect()
        };
        let (start, end) = match split {
            Split::Test => (of(0, 0), of(0, 1)),
            _ => (of(0, 0), of(best, 0)),
        };
        let (start, end) = (rewards(start), rewards(end));
        let gains: Vec<f64> = end.iter().zip(&start).map(|(after, before)| after - before).collect();
        let printed = |values: &[f64]| {
            let (low, high) = interval(values);
            format!("{:.4} [{low:.4}, {high:.4}]", mean_of(values))
        };
        let mean = format!("mean of generation {best}");
        for (beginning, values) in [
            (format!("| start | {name} |"), &start),
            (format!("| {mean} | {name} |"), &end),
            (format!("| {mean} | start | {name} |"), &gains),
        ] {
            let line = said
                .lines()
                .find(|line| line.starts_with(&beginning))
                .unwrap_or_else(|| panic!("{said}"));
            assert!(line.contains(&printed(values)), "{line}, expected {}", printed(values));
        }
        assert!(said.contains(&format!("| {} |", gains.len())), "{said}");
        let again = fs::read_to_string(&texts).expect("texts");
        let again: Vec<(String, f64)> = again
            .lines()
            .map(|line| serde_json::from_str::<BTreeMap<String, Value>>(line).expect("a line"))
            .map(|line| {
                (
                    plain_text(&line["prompt_id"]),
                    line["reward"].as_f64().expect("a number"),
                )
            })
            .collect();
        assert_eq!(
            again.iter().map(|line| line.1).collect::<Vec<_>>(),
            [start, end].concat()
        );
        assert!(
            again
                .iter()
                .all(|(id, _)| lines.iter().any(|line| line.split == split && line.prompt_id == *id))
        );
    }
}

fn plain_text(value: &Value) -> String {
    value.as_str().expect("text").to_string()
}

// ------------------------------------------------------------------------ bases and texts on any threads and ranks (3)

/// Matrices that are large enough for a library to share one among its threads, decomposed whole and from their range: the
/// bases are the same to the last bit however many threads there are.
#[test]
fn promise_3_bases_of_large_matrices_are_the_same_on_any_number_of_threads() {
    for (hidden, modules) in [(512, &[Module::Q, Module::V][..]), (1536, &[Module::O])] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let model = folder.path().join("wide.gguf");
        fs::write(&model, wide_model(hidden)).expect("a model");
        let weights = Weights::open(&model).expect("a model");
        let bases = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("a pool");
            let cache = folder.path().join(threads.to_string());
            let made = pool.install(|| {
                tch::set_num_threads(threads as i32);
                spectral(&weights, Part::Principal, 4, modules, &cache, &|_| ())
            });
            made.expect("a space");
            bases_in(&cache)
        };
        let expected = bases(1);
        for threads in [2, 3, 4] {
            assert!(bases(threads) == expected, "{hidden} wide, {threads} threads");
        }
    }
}

/// Each run has a cache of its own, so that each computes its bases itself, and on several ranks all at a time: the same
/// bases and the same run, in int8 and in int4.
#[test]
fn promise_3_threads_and_ranks_change_neither_bases_nor_texts() {
    for precision in ["int8", "int4"] {
        let house = House::new(&tiny_model()).with(&["run.generations=3", "space.rank=4"]);
        let house = house.with(&[&format!("model.precision={precision}")]);
        let done = |name: &str, ranks: usize, threads: Option<&str>| {
            let (run, cache) = (house.run(name), house.cache(name));
            let mut command = house.align(ranks, &run);
            command.env("ESSA_CACHE", &cache);
            command.env_remove("OMP_NUM_THREADS");
            if let Some(threads) = threads {
                command.env("OMP_NUM_THREADS", threads);
            }
            succeeded(&command.output().expect("the binary runs"));
            (end_state(&run), bases_in(&cache))
        };
        let (expected, bases) = done("alone", 0, None);
        let mut jobs = vec![("one thread", 0, Some("1")), ("three threads", 0, Some("3"))];
        if has_mpi() {
            jobs.extend([("one rank", 1, None), ("two ranks", 2, None), ("three ranks", 3, None)]);
        }
        for (name, ranks, threads) in jobs {
            let (state, own_bases) = done(name, ranks, threads);
            assert!(own_bases == bases, "{precision}, {name}: other bases");
            assert_same(&state, &expected, &format!("{precision}, {name}"));
        }
    }
}

/// What the cache holds, without the copies that ranks which came second have left, if any.
fn bases_in(cache: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = files_under(cache);
    assert_eq!(files.len(), 1, "{files:?}");
    files
        .into_iter()
        .map(|(name, path)| (name, fs::read(path).expect("bases")))
        .collect()
}

/// An int4 job of three ranks is killed, and two and then one go on with it, each with a fresh cache.
#[test]
fn promise_3_a_job_in_int4_goes_on_with_other_ranks() {
    let house = House::new(&tiny_model()).with(&["run.generations=30", "model.precision=int4"]);
    let whole = house.run("whole");
    succeeded(
        &house
            .align(0, &whole)
            .env("ESSA_CACHE", house.cache("whole"))
            .output()
            .expect("the binary runs"),
    );
    let expected = end_state(&whole);
    let run = house.run("killed");
    let mut kills = 0;
    for (ranks, generation) in [(3, 2), (2, 8), (0, 14)] {
        let ranks = if has_mpi() { ranks } else { 0 };
        let mut job = quietly(
            house
                .align(ranks, &run)
                .env("ESSA_CACHE", house.cache(&format!("{generation}"))),
        );
        // A checkpoint may be gone when it is looked for, and a later one is as good.
        wait_until(&format!("generation {generation}"), || {
            newest_generation(&run) >= Some(generation) || job.try_wait().expect("a status").is_some()
        });
        kills += usize::from(job.try_wait().expect("a status").is_none());
        signal(job.id(), "KILL");
        ends(job);
        // Who starts while a rank still lives finds the run in use.
        wait_for_silence(&run);
    }
    succeeded(
        &house
            .align(0, &run)
            .env("ESSA_CACHE", house.cache("last"))
            .output()
            .expect("the binary runs"),
    );
    assert!(kills > 0, "every job came to its end before it could be killed");
    assert_same(&end_state(&run), &expected, "after three kills");
}
