//! The answer does not depend on where the work was done or how often it was interrupted: one process or several ranks,
//! killed, out of disk, out of time. Runs of the binary on a tiny random model, and on the real one; end states are
//! compared byte for byte, but for clocks.

mod support;

use essa::farm::population::{Work, evaluate};
use essa::farm::ranks::Ranks;
use essa::objective::Questions;
use essa::objective::sphere::Sphere;
use essa::seed::Seed;
use essa::task::Split;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::house::{self, CONFIG, House, assert_same, has_mpi, launcher, without_clocks};
use support::jobs::{
    PATIENCE, ends, newest_generation, quietly, said, signal, wait_for_generation, wait_for_silence, wait_until,
};
use support::tiny_model::tiny_model;
use support::{Missing, json, real_model, skip};

/// Every file that a run leaves, an adapter among them, without its clocks.
fn end_state(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let state = house::end_state(run);
    assert!(
        state.contains_key("adapter/adapter_model.safetensors"),
        "{}",
        run.display()
    );
    state
}

/// The processes of a job but its launcher, by rank.
fn ranks_of(launcher: &Child) -> Vec<(usize, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("processes").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let stat = String::from_utf8_lossy(&read("stat")).into_owned();
        let parent = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        let is_essa = String::from_utf8_lossy(&read("cmdline")).starts_with(env!("CARGO_BIN_EXE_essa"));
        let environment = read("environ");
        let rank = environment.split(|&byte| byte == 0).find_map(|variable| {
            std::str::from_utf8(variable)
                .ok()?
                .strip_prefix("OMPI_COMM_WORLD_RANK=")?
                .parse()
                .ok()
        });
        if let (Some(rank), true, true) = (rank, parent == Some(launcher.id()), is_essa) {
            found.push((rank, pid));
        }
    }
    found.sort_unstable();
    found
}

#[test]
fn any_number_of_ranks_and_threads_gives_the_same_bytes() {
    let house = House::new(&tiny_model());
    let expected = house.undisturbed();
    let one_thread = house.run("one thread");
    let output = house
        .align(0, &one_thread)
        .env("OMP_NUM_THREADS", "1")
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{}", said(&output));
    assert_same(&end_state(&one_thread), &expected, "one thread");
    if !has_mpi() {
        return;
    }
    for ranks in 1..=4 {
        let run = house.run(&format!("{ranks} ranks"));
        house.finish(ranks, &run);
        assert_same(&end_state(&run), &expected, &format!("{ranks} ranks"));
    }
    // The search did move.
    let metrics = String::from_utf8(expected["metrics.csv"].clone()).expect("text");
    let rewards: Vec<&str> = metrics
        .lines()
        .skip(2)
        .filter_map(|row| row.split(',').nth(1))
        .collect();
    assert!(
        rewards.len() == 6 && rewards.windows(2).any(|pair| pair[0] != pair[1]),
        "{metrics}"
    );
}

/// Who drops out of a race hangs on the rollouts alone, and those who stay are scored as without one.
#[test]
fn a_race_is_the_same_on_any_number_of_ranks() {
    let fair = House::new(&tiny_model()).with(&["run.prompts=8", "run.generations=1"]);
    let race = House::new(&tiny_model()).with(&["run.prompts=8", "run.generations=1", "run.racing=true"]);
    let (all, some) = (fair.undisturbed(), race.undisturbed());
    for ranks in if has_mpi() { 2..=3 } else { 0..=0 } {
        let run = race.run(&format!("{ranks} ranks"));
        race.finish(ranks, &run);
        assert_same(&end_state(&run), &some, &format!("{ranks} ranks"));
    }
    let rewards = |state: &BTreeMap<String, Vec<u8>>| -> BTreeMap<u64, Vec<f64>> {
        let mut rewards: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for line in String::from_utf8_lossy(&state["rollouts.jsonl"]).lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            if line["split"] == "train" {
                let of_candidate = rewards
                    .entry(line["candidate"].as_u64().expect("a number"))
                    .or_default();
                of_candidate.push(line["reward"].as_f64().expect("a number"));
            }
        }
        rewards
    };
    let (all, some) = (rewards(&all), rewards(&some));
    let finished = some.values().filter(|rewards| rewards.len() == 8).count();
    assert!(
        all.values().all(|rewards| rewards.len() == 8) && (3..6).contains(&finished),
        "{some:?}"
    );
    for (candidate, rewards) in &some {
        assert_eq!(*rewards, all[candidate][..rewards.len()], "candidate {candidate}");
    }
}

#[test]
fn any_number_of_ranks_gives_the_same_bytes_on_the_real_model() {
    let Some(model) = real_model() else { return };
    if !has_mpi() {
        return;
    }
    let path = format!("model.path={}", model.display());
    let small = [
        "run.generations=2",
        "strategy.population=4",
        "run.prompts=3",
        "generation.max_new_tokens=8",
        "space.modules=['o_proj']",
    ];
    let house = House::new(&tiny_model()).with(&[&path]).with(&small);
    let expected = house.undisturbed();
    for ranks in 1..=4 {
        let run = house.run(&format!("{ranks} ranks"));
        house.finish(ranks, &run);
        assert_same(&end_state(&run), &expected, &format!("{ranks} ranks"));
    }
}

/// Promise 4. Ranks and launchers are killed at random moments, and the same command on other numbers of ranks goes on.
#[test]
fn a_job_killed_at_any_moment_ends_as_if_it_had_not_been() {
    let house = House::new(&tiny_model()).with(&["run.generations=12", "run.racing=true"]);
    let expected = house.undisturbed();
    let most_ranks = if has_mpi() { 3 } else { 0 };
    // What a whole job takes here and now, most of which may be its start.
    let clock = Instant::now();
    house.finish(most_ranks, &house.run("timed"));
    let mut whole = clock.elapsed();
    let (mut kills, mut runs) = (0, 0);
    let mut random = (0..).map(|draw| Seed::new(4).fold(draw).uniform());
    let mut random = || random.next().expect("there is always another");
    while kills < 50 {
        runs += 1;
        let run = house.run(&format!("killed {runs}"));
        // A job that is always killed before it is under way would never end, so after some kills it is let be.
        for attempt in 0.. {
            let ranks = (random() * (most_ranks + 1) as f64) as usize;
            let log = house.folder.path().join("log");
            let mut job = house
                .align(ranks, &run)
                .stdout(Stdio::null())
                .stderr(fs::File::create(&log).expect("a log"))
                .spawn()
                .expect("the binary runs");
            let moment = whole.mul_f64(0.05 + 0.6 * random());
            let started = Instant::now();
            while (attempt >= 12 || started.elapsed() < moment) && job.try_wait().expect("a status").is_none() {
                std::thread::sleep(Duration::from_millis(2));
            }
            if let Some(status) = job.try_wait().expect("a status") {
                let said = fs::read_to_string(&log).unwrap_or_default();
                assert!(status.success(), "run {runs}: {status}: {said}");
                // The machine may be less busy than it was: moments after the end would kill nobody.
                if attempt == 0 {
                    whole = whole.min(started.elapsed());
                }
                break;
            }
            // The launcher, or one of the ranks.
            let victims: Vec<u32> = std::iter::once(job.id())
                .chain(ranks_of(&job).into_iter().map(|(_, pid)| pid))
                .collect();
            signal(victims[(random() * victims.len() as f64) as usize], "KILL");
            kills += 1;
            let output = ends(job);
            wait_for_silence(&run);
            if output.status.success() {
                break;
            }
        }
        assert_same(&end_state(&run), &expected, &format!("run {runs} after {kills} kills"));
    }
    println!("{kills} kills over {runs} runs");
}

#[test]
fn a_job_that_is_asked_to_end_can_go_on() {
    let house = House::new(&tiny_model()).with(&["run.generations=40"]);
    let expected = house.undisturbed();
    let run = house.run("asked");
    // Before anything is known: what is written then has to be readable too.
    let at_once = house.align(0, &run).args(["--max-time", "0s"]).output();
    let at_once = at_once.expect("the binary runs");
    assert_eq!(at_once.status.code(), Some(75), "{}", said(&at_once));
    assert_eq!(json::<Value>(&run.join("result.json"))["best_validation"], Value::Null);
    // At the start, where it listens before it takes the directory, and on the way.
    for (name, more) in [("USR1", 0), ("INT", 1), ("TERM", 3)] {
        let before = newest_generation(&run).unwrap_or(0);
        let job = quietly(&mut house.align(0, &run));
        let owns = || {
            fs::read_to_string(run.join("lock")).is_ok_and(|owner| owner.contains(&format!("process {} ", job.id())))
        };
        wait_until("the lock", owns);
        if more > 0 {
            wait_for_generation(&run, before + more);
        }
        signal(job.id(), name);
        let output = ends(job);
        assert_eq!(output.status.code(), Some(75), "{name}");
        let row: Value = json(&run.join("result.json"));
        assert_eq!(row["status"], "interrupted");
    }
    let output = house
        .align(0, &run)
        .args(["--max-time", "400ms"])
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(75), "{}", said(&output));
    assert!(said(&output).contains("the same command goes on"), "{}", said(&output));
    house.finish(0, &run);
    assert_same(&end_state(&run), &expected, "asked to end four times");
    // Once more: it is finished, and nothing is done.
    let before = fs::read(run.join("result.json")).expect("a row");
    let output = house.align(0, &run).output().expect("the binary runs");
    assert!(
        output.status.success() && said(&output).contains("is finished"),
        "{}",
        said(&output)
    );
    assert_eq!(fs::read(run.join("result.json")).expect("a row"), before);
}

#[test]
fn a_truncated_newest_checkpoint_gives_way_to_the_one_before() {
    let house = House::new(&tiny_model()).with(&["run.generations=40"]);
    let expected = house.undisturbed();
    let run = house.run("truncated");
    let job = quietly(&mut house.align(0, &run));
    wait_for_generation(&run, 3);
    signal(job.id(), "KILL");
    ends(job);
    let mut checkpoints: Vec<PathBuf> = fs::read_dir(run.join("checkpoints"))
        .expect("checkpoints")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    checkpoints.sort();
    let newest = checkpoints.last().expect("a checkpoint");
    let bytes = fs::read(newest).expect("its bytes");
    fs::write(newest, &bytes[..bytes.len() / 2]).expect("half of them");
    let output = house.align(0, &run).output().expect("the binary runs");
    assert!(output.status.success(), "{}", said(&output));
    for words in ["is not a whole checkpoint", "falling back to the one before"] {
        assert!(said(&output).contains(words), "{}", said(&output));
    }
    assert_same(&end_state(&run), &expected, "fallen back");
}

/// A step that overshoots is noticed, and what was best is kept. Prompts grow while candidates cannot be told apart. Both are
/// the same when the run was killed on its way.
#[test]
fn a_mean_that_collapses_ends_the_run_and_noise_asks_for_more_prompts() {
    let house = House::new(&tiny_model()).with(&[
        "run.generations=60",
        "run.validate_every=1",
        "run.prompts_max=20",
        "task.validation_size=40",
    ]);
    let house = house.with(&["strategy={kind='open-es',population=6,sigma=0.05,learning_rate=2.0}"]);
    let run = house.run("overshoots");
    let job = quietly(&mut house.align(0, &run));
    wait_for_generation(&run, 3);
    signal(job.id(), "KILL");
    ends(job);
    house.finish(0, &run);
    let expected = house.undisturbed();
    assert_same(&end_state(&run), &expected, "collapsed");
    let row: Value = json(&run.join("result.json"));
    assert!(
        row["status"] == "stopped"
            && row["reason"]
                .as_str()
                .is_some_and(|reason| reason.starts_with("the mean collapsed")),
        "{row}"
    );
    let mut metrics = csv::Reader::from_path(run.join("metrics.csv")).expect("metrics");
    let rows: Vec<BTreeMap<String, String>> = metrics.deserialize().map(|row| row.expect("a row")).collect();
    let of = |column: &str| {
        rows.iter()
            .filter_map(|row| row[column].parse::<f64>().ok())
            .collect::<Vec<_>>()
    };
    let validations = of("validation");
    let best = validations.iter().copied().fold(0.0, f64::max);
    assert!((row["best_validation"].as_f64().expect("a score") - best).abs() < 1e-12);
    assert!(validations[validations.len() - 1] < best);
    let prompts = of("prompts");
    assert!(
        prompts[0] == 5.0 && prompts.iter().all(|count| [5.0, 10.0, 20.0].contains(count)),
        "{prompts:?}"
    );
    println!("validations {validations:?}\nprompts {prompts:?}\nsnr {:?}", of("snr"));
}

#[test]
fn a_changed_config_is_refused_or_forked() {
    let house = House::new(&tiny_model());
    let run = house.run("base");
    house.finish(0, &run);
    let changed = [
        "--set",
        "run.generations=8",
        "--set",
        "run.prompts=4",
        "--set",
        "model.threads=1",
    ];
    let output = house.align(0, &run).args(changed).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    for words in ["run.generations: 8 and 6", "run.prompts: 4 and 5", "--fork"] {
        assert!(said(&output).contains(words), "{}", said(&output));
    }
    assert!(
        !said(&output).contains("threads:"),
        "what a machine may spend is no change: {}",
        said(&output)
    );
    let before = end_state(&run);
    let output = house
        .align(0, &run)
        .args(changed)
        .arg("--fork")
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{}", said(&output));
    assert_same(&end_state(&run), &before, "the run that was forked");
    let fork: Value = json(&run.with_file_name("tiny-2").join("result.json"));
    assert_eq!(
        (&fork["generations"], &fork["status"]),
        (&Value::from(8), &Value::from("finished"))
    );
    // Its first six generations are the other's.
    let row = |run: &Path, number: usize| {
        String::from_utf8(without_clocks(&run.join("metrics.csv")))
            .expect("text")
            .lines()
            .nth(number)
            .map(String::from)
    };
    assert_eq!(row(&run.with_file_name("tiny-2"), 7), row(&run, 7));
    // A strategy cannot go on as another.
    let output = house
        .align(0, &run)
        .args(["--set", "strategy.sigma=0.2", "--fork"])
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("goes on with what it began with"),
        "{}",
        said(&output)
    );
}

/// Settings of generation are searched beside an adapter and alone, and adapters that runs left are mixed by another.
#[test]
fn settings_are_searched_and_adapters_are_mixed() {
    let short = [
        "run.generations=2",
        "run.validate_every=1",
        "generation.temperature=0.7",
        "generation.top_p=0.9",
    ];
    let number = |run: &Path, key: &str| {
        let settings: Value = serde_json::from_value(json(&run.join("adapter/generation_config.json"))).expect("JSON");
        settings[key].as_f64().expect("a number")
    };
    let beside = House::new(&tiny_model())
        .with(&short)
        .with(&["space.also=[{kind='decoding'}]"]);
    let mut adapters = Vec::new();
    for seed in ["1", "2"] {
        let run = beside.run(seed);
        let output = beside
            .align(0, &run)
            .arg("--set")
            .arg(format!("seed={seed}"))
            .output()
            .expect("the binary runs");
        assert!(output.status.success(), "{}", said(&output));
        assert!(number(&run, "temperature") > 0.0 && number(&run, "top_p") < 1.0);
        adapters.push(run.join("adapter").display().to_string());
    }
    let alone = House::new(&tiny_model())
        .with(&short)
        .with(&["space={kind='decoding',settings=['temperature']}"]);
    let run = alone.run("alone");
    let output = alone.align(0, &run).output().expect("the binary runs");
    assert!(output.status.success(), "{}", said(&output));
    let settings: Value = serde_json::from_value(json(&run.join("adapter/generation_config.json"))).expect("JSON");
    assert!(
        settings.get("top_p").is_none() && settings["do_sample"] == true,
        "{settings}"
    );
    assert!(!run.join("adapter/adapter_config.json").exists());

    let mixed = House::new(&tiny_model()).with(&[&format!("space={{kind='mix',adapters={adapters:?},per='adapter'}}")]);
    mixed.finish(0, &mixed.run("mixed"));
    let config: Value =
        serde_json::from_value(json(&mixed.run("mixed").join("adapter/adapter_config.json"))).expect("JSON");
    assert_eq!(config["r"], 4, "two of rank 2");
    let missing = House::new(&tiny_model()).with(&["space={kind='mix',adapters=['nowhere']}"]);
    let output = missing
        .align(0, &missing.run("missing"))
        .output()
        .expect("the binary runs");
    assert!(
        !output.status.success() && said(&output).contains("nowhere"),
        "{}",
        said(&output)
    );
}

/// A budget is spent on the slots of which a number costs most, once: a run that goes on keeps them.
#[test]
fn a_budget_of_numbers_is_spent_on_what_costs_most() {
    let house = House::new(&tiny_model()).with(&["space.budget=9", "run.generations=2"]);
    let expected = house.undisturbed();
    let run = house.run("two ranks");
    house.finish(if has_mpi() { 2 } else { 0 }, &run);
    assert_same(&end_state(&run), &expected, "two ranks");
    let row: Value = serde_json::from_value(json(&run.join("result.json"))).expect("JSON");
    assert_eq!(row["n"], 8, "four slots of two numbers: {row}");
    let mut file = csv::Reader::from_reader(expected["sensitivity.csv"].as_slice());
    let rows: Vec<BTreeMap<String, String>> = file.deserialize().map(|row| row.expect("a row")).collect();
    let costs = |chosen: &str| -> Vec<f64> {
        let own = rows.iter().filter(|row| row["chosen"] == chosen);
        own.map(|row| row["kl_per_number"].parse().expect("nats")).collect()
    };
    let (own, others) = (costs("true"), costs("false"));
    assert_eq!(own.len(), 4);
    let least = own.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(
        !others.is_empty() && others.iter().all(|cost| *cost <= least),
        "{own:?} {others:?}"
    );
    let again = house.align(0, &run).output().expect("the binary runs");
    assert!(
        again.status.success() && said(&again).contains("is finished"),
        "{}",
        said(&again)
    );
    let small = House::new(&tiny_model()).with(&["space.budget=1"]);
    let output = small.align(0, &small.run("small")).output().expect("the binary runs");
    assert!(said(&output).contains("space.budget is 1"), "{}", said(&output));
}

#[test]
fn two_jobs_cannot_share_a_directory() {
    let house = House::new(&tiny_model()).with(&["run.generations=100000", "run.validate_every=0"]);
    let run = house.run("shared");
    let job = quietly(&mut house.align(0, &run));
    wait_for_generation(&run, 1);
    let output = house.align(0, &run).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains(&format!("in use by process {}", job.id())),
        "{}",
        said(&output)
    );
    signal(job.id(), "KILL");
    ends(job);
    // A dead owner holds nothing.
    let output = house
        .align(0, &run)
        .args(["--max-time", "200ms"])
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(75), "{}", said(&output));
}

#[test]
fn a_deleted_run_directory_ends_the_run() {
    let house = House::new(&tiny_model()).with(&["run.generations=100000", "run.validate_every=0"]);
    let run = house.run("deleted");
    let job = house
        .align(0, &run)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    wait_for_generation(&run, 1);
    let gone = run.with_file_name("gone");
    fs::rename(&run, &gone).expect("it is moved away");
    let output = ends(job);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(!run.exists(), "it was made again");
    assert!(
        said(&output).lines().any(|line| line.starts_with("essa: ")),
        "{}",
        said(&output)
    );
}

/// A shell in which a small disk is mounted at `$1`, where the system lets anybody have one.
fn with_small_disk(at: &Path, script: &str) -> Option<Command> {
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c"]);
    let works = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let mut attempt = Command::new("unshare");
    if !works(attempt.args(["-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"])) {
        skip(Missing::Namespace, "no file system can be mounted here");
        return None;
    }
    fs::create_dir_all(at).expect("a folder");
    command.arg(script).arg("sh").arg(at);
    Some(command)
}

#[test]
fn a_full_or_read_only_disk_says_what_is_saved() {
    let house = House::new(&tiny_model());
    let expected = house.undisturbed();
    let disk = house.folder.path().join("disk");
    let run = disk.join("tiny");
    let align = house.align(0, &run);
    let words: Vec<String> = align
        .get_args()
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let align = words.join(" ");
    let other = align.replace(&run.display().to_string(), &disk.join("other").display().to_string());
    // Room for the adapter and a checkpoint or two; then for everything.
    let pages: usize = expected.values().map(|bytes| bytes.len().div_ceil(4096)).sum();
    let script = format!(
        "mount -t tmpfs -o size={1}k tmpfs \"$1\" && {{ {align}; echo \"first $?\"; mount -o remount,size=64m \"$1\"; {align}; echo \"second $?\"; \
         mount -o remount,ro \"$1\"; {other}; echo \"third $?\"; cp -r {0}/tiny {0}-copy; }}",
        disk.display(),
        4 * pages * 2 / 3
    );
    let Some(mut shell) = with_small_disk(&disk, &script) else {
        return;
    };
    let output = shell.output().expect("a shell");
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout).into_owned(), said(&output));
    assert!(
        printed.contains("first 1") && printed.contains("second 0"),
        "{printed}\n{errors}"
    );
    // The last of them: before it the journal may have been given up.
    let full = errors
        .lines()
        .rfind(|line| line.contains("No space left on device"))
        .unwrap_or_else(|| panic!("{errors}"));
    assert!(
        full.starts_with("essa: ") && full.contains("saved") && !full.contains("journal"),
        "{full}"
    );
    println!("{full}");
    assert!(
        printed.contains("third 1") && errors.contains("Read-only file system"),
        "{printed}\n{errors}"
    );
    assert_same(
        &end_state(&disk.with_file_name("disk-copy")),
        &expected,
        "after the disk was full",
    );
}

/// Not a test by itself: what [`ranks_that_panic_or_drift_end_the_job`] has each rank do.
#[test]
#[ignore = "a part of another test, which starts it under a launcher"]
fn as_a_rank() {
    let Ok(what) = std::env::var("ESSA_TEST_RANK_DOES") else {
        return;
    };
    let ranks = Ranks::start().expect("ranks");
    let done = ranks.supervise(|ranks| {
        if what == "panic" {
            assert!(ranks.rank() != 1, "a bug on rank 1");
            std::thread::sleep(2 * PATIENCE);
        }
        let questions = Questions::new(Split::Train, vec![0, 1], Seed::new(0));
        let work = Work {
            candidates: 5,
            theta: &|candidate| vec![candidate as f64],
            questions: &questions,
            digest: if ranks.rank() == 2 {
                "another state"
            } else {
                "the state"
            },
            known: Vec::new(),
            racing: false,
        };
        evaluate(ranks, &mut Sphere::new(1, 0.0), work, &mut |_| Ok(()), &mut || true)
    });
    panic!("rank {} came through: {done:?}", ranks.rank());
}

#[test]
fn ranks_that_panic_or_drift_end_the_job() {
    if !has_mpi() {
        return;
    }
    let own = std::env::current_exe().expect("this program");
    for (what, words) in [
        ("panic", ["a bug on rank 1", "essa: rank 1 panicked"]),
        (
            "drift",
            ["essa: rank 0: ", "the strategy's state on rank 2 is not that of rank 0"],
        ),
    ] {
        let job = launcher(3)
            .arg(&own)
            .args([
                "--ignored",
                "--exact",
                "as_a_rank",
                "--nocapture",
                "--test-threads",
                "1",
            ])
            .env("ESSA_TEST_RANK_DOES", what)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the launcher runs");
        let output = ends(job);
        assert!(!output.status.success(), "{what}");
        words
            .iter()
            .for_each(|words| assert!(said(&output).contains(words), "{what}: {}", said(&output)));
        assert!(!said(&output).contains("came through"), "{what}: {}", said(&output));
    }
}

/// Runs of a sweep are those of `align`; what fails is a row; groups of ranks share the work, and a killed sweep goes on.
#[test]
fn a_sweep_is_its_runs() {
    let house = House::new(&tiny_model());
    let sweep = "[sweep]\n'space.rank' = [2, 100000]\nseed = [1, 2]\nstrategy = [{kind = 'cma-es', population = 6, sigma = 0.3}, {kind = 'open-es', population = 6}]\n";
    let file = house.folder.path().join("sweep.toml");
    fs::write(&file, format!("{CONFIG}{sweep}")).expect("a config");
    let folder = house.folder.path().join("study");
    let start = |ranks: usize, groups: &str| {
        let mut command = launcher(ranks);
        command
            .arg(env!("CARGO_BIN_EXE_essa"))
            .arg("sweep")
            .arg(&file)
            .env("ESSA_CACHE", house.folder.path().join("cache"))
            .arg("--out")
            .arg(&folder)
            .args(["--groups", groups]);
        command
    };
    let (ranks, groups) = if has_mpi() { (2, "2") } else { (0, "1") };
    let job = quietly(&mut start(ranks, groups));
    wait_until("a first row", || {
        fs::read_dir(&folder)
            .is_ok_and(|mut runs| runs.any(|run| run.expect("an entry").path().join("result.json").exists()))
    });
    signal(job.id(), "KILL");
    ends(job);
    wait_for_silence(&folder);
    let output = start(ranks, groups).output().expect("the binary runs");
    assert!(output.status.success(), "{}", said(&output));
    let table = fs::read_to_string(folder.join("leaderboard.csv")).expect("a leaderboard");
    let mut rows = csv::Reader::from_reader(table.as_bytes());
    let rows: Vec<BTreeMap<String, String>> = rows.deserialize().map(|row| row.expect("a row")).collect();
    let with = |status: &str| rows.iter().filter(|row| row["status"].starts_with(status)).count();
    assert_eq!((rows.len(), with("finished"), with("failed")), (8, 4, 4), "{table}");
    // A run of it, by itself.
    let run = house.run("alone");
    let name = "seed=1,rank=2,strategy=cma-es+population-6+sigma-0.3";
    let output = house
        .align(0, &run)
        .args(["--set", &format!("name=\"{name}\"")])
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{}", said(&output));
    assert_same(&end_state(&folder.join(name)), &end_state(&run), "a run of the sweep");
    // Once more: nothing is done but what failed, and seeds are pooled.
    let before = fs::metadata(folder.join(name).join("result.json"))
        .and_then(|file| file.modified())
        .expect("a file");
    assert!(start(0, "1").output().expect("the binary runs").status.success());
    let after = fs::metadata(folder.join(name).join("result.json"))
        .and_then(|file| file.modified())
        .expect("a file");
    assert_eq!(before, after);
    let mut pooled = Command::new(env!("CARGO_BIN_EXE_essa"));
    let pooled = pooled
        .arg("leaderboard")
        .arg(&folder)
        .args(["--group-by", "strategy,space.rank", "--csv"])
        .output()
        .expect("the binary runs");
    let text = String::from_utf8(pooled.stdout.clone()).expect("text");
    assert!(
        pooled.status.success() && text.contains("\"strategy=cma-es, space.rank=2\",2,0,"),
        "{text}{}",
        said(&pooled)
    );
}

/// A journal only saves time: a rank that cannot write its own says so once, and the run ends as any other.
#[test]
fn a_rank_without_a_journal_goes_on() {
    let house = House::new(&tiny_model());
    let expected = house.undisturbed();
    let run = house.run("no journal");
    let (ranks, rank) = if has_mpi() { (3, 1) } else { (0, 0) };
    fs::create_dir_all(run.join("journal")).expect("a folder");
    for generation in 0..7 {
        symlink("/dev/full", run.join(format!("journal/{generation}.{rank}.jsonl"))).expect("a link");
    }
    let output = house.align(ranks, &run).output().expect("the binary runs");
    assert!(output.status.success(), "{}", said(&output));
    let sentence = format!("essa: rank {rank}: ");
    let sentences: Vec<_> = said(&output)
        .lines()
        .filter(|line| line.starts_with(&sentence))
        .map(String::from)
        .collect();
    assert!(
        sentences.len() == 1 && sentences[0].contains("No space left") && sentences[0].contains("going on without"),
        "{}",
        said(&output)
    );
    assert_same(&end_state(&run), &expected, "a rank had no journal");
}

/// One rank's failure ends all, with that rank's words, wherever the others are.
#[test]
fn a_rank_that_fails_ends_the_job() {
    if !has_mpi() {
        return;
    }
    let house = House::new(&tiny_model()).with(&["run.generations=100000", "run.validate_every=0"]);
    let start = |command: &mut Command| {
        command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs")
    };

    // Before the first generation: rank 1 finds another config than the others.
    let align = house.align(0, &house.run("before"));
    let words: Vec<String> = align
        .get_args()
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let script = format!(
        "{} $([ $OMPI_COMM_WORLD_RANK = 1 ] && echo --set run.prompts=0)",
        words.join(" ")
    );
    let job = start(launcher(3).args(["sh", "-c", &script]));
    let output = ends(job);
    assert!(!output.status.success());
    assert!(
        said(&output).contains("essa: rank 1: run.prompts is 0"),
        "{}",
        said(&output)
    );
    assert_eq!(said(&output).matches("essa: ").count(), 1, "{}", said(&output));

    // In the gather: the others wait there for a rank that stands still, and then dies.
    let run = house.run("gather");
    let job = start(&mut house.align(3, &run));
    wait_for_generation(&run, 1);
    let (_, pid) = ranks_of(&job)[1];
    signal(pid, "STOP");
    std::thread::sleep(Duration::from_millis(1500));
    signal(pid, "KILL");
    let output = ends(job);
    assert!(!output.status.success());
    assert!(said(&output).contains("signal 9"), "{}", said(&output));
}
