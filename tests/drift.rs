//! What a run watches beside its task: the divergence from a reference, other tasks, length; as columns, as a penalty, and as a reason to stop.

mod support;

use serde_json::Value;
use std::fs;
use support::house::{CONFIG, House, assert_same, end_state, has_mpi};
use support::jobs::{ends, newest_generation, quietly, signal, wait_until};
use support::tiny_model::tiny_model;

/// A run that watches everything, with these keys more.
fn house(more: &str) -> House {
    let house = House::new(&tiny_model());
    let config = format!(
        "{CONFIG}[drift]\ntexts = 6\n{more}\n[drift.tasks.words]\nkinds = ['one_word']\ntopics = ['sentiment']\nvalidation_size = 4\ntest_size = 4\n"
    );
    fs::write(house.config(), config).expect("a config");
    house
}

/// A column of a run's metrics; nothing where a cell is empty.
fn column(run: &std::path::Path, name: &str) -> Vec<Option<f64>> {
    let text = fs::read_to_string(run.join("metrics.csv")).expect("metrics");
    let mut lines = text
        .lines()
        .map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let header = lines.next().expect("a header");
    let at = header.iter().position(|own| own == name);
    let at = at.unwrap_or_else(|| panic!("{name} is none of {header:?}"));
    lines.map(|line| line[at].parse().ok()).collect()
}

/// What a run that is refused says.
fn refused(house: &House) -> String {
    let output = house.align(0, &house.run("refused")).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_is_watched_stands_in_columns_on_any_number_of_ranks() {
    let house = house("penalty = 0.01");
    let run = house.run("alone");
    house.finish(0, &run);
    let kl = column(&run, "kl");
    assert_eq!(kl[0], Some(0.0), "the start is its own reference");
    assert!(
        kl.iter().flatten().count() == 4 && kl.iter().flatten().all(|kl| kl.is_finite()),
        "{kl:?}"
    );
    assert!(kl[6].expect("the last look") > 0.0, "{kl:?}");
    assert_eq!(column(&run, "off_task/words").iter().flatten().count(), 4);
    assert!(column(&run, "terms/kl")[1..].iter().all(Option::is_some));
    let row: Value = serde_json::from_str(&fs::read_to_string(run.join("result.json")).expect("a row")).expect("JSON");
    for name in [
        "kl",
        "kl_se",
        "start_kl",
        "mean_length",
        "start_mean_length",
        "off_task/words",
        "start_off_task/words",
    ] {
        assert!(row["drift"][name].is_number(), "{name}: {row}");
    }
    let board = fs::read_to_string(run.parent().expect("a folder").join("leaderboard.csv")).expect("a board");
    assert!(
        board.lines().next().expect("a header").ends_with(
            "kl,kl_se,mean_length,off_task/words,start_kl,start_kl_se,start_mean_length,start_off_task/words"
        ),
        "{board}"
    );
    if has_mpi() {
        let ranks = house.run("ranks");
        house.finish(2, &ranks);
        assert_same(&end_state(&run), &end_state(&ranks), "1 and 2 ranks");
    }
}

/// Killed somewhere after its fourth generation, a run comes to the same end.
#[test]
fn a_run_that_goes_on_watches_the_same() {
    let house = house("penalty = 0.01").with(&["run.generations=60", "run.validate_every=3"]);
    let (whole, parts) = (house.run("whole"), house.run("parts"));
    house.finish(0, &whole);
    let mut job = quietly(&mut house.align(0, &parts));
    wait_until("generation 4", || {
        newest_generation(&parts) >= Some(4) || job.try_wait().expect("a status").is_some()
    });
    signal(job.id(), "KILL");
    ends(job);
    assert!(!parts.join("result.json").exists(), "it was over before it was killed");
    house.finish(0, &parts);
    assert_same(&end_state(&whole), &end_state(&parts), "whole and in parts");
}

/// The mean goes as far as it may and no further, and a run in parts goes the same way.
#[test]
fn a_trust_region_holds_the_mean() {
    let free = house("").with(&["strategy.sigma=2.0", "strategy.max_kl=1000.0"]);
    let held = house("").with(&["strategy.sigma=2.0", "strategy.max_kl=0.1"]);
    let (far, near) = (free.run("far"), held.run("near"));
    free.finish(0, &far);
    held.finish(0, &near);
    let from_start =
        |run: &std::path::Path| -> Vec<f64> { column(run, "kl_from_start").into_iter().flatten().collect() };
    let largest = |run: &std::path::Path| from_start(run).into_iter().fold(0.0, f64::max);
    assert!(largest(&far) > 0.1, "{:?}", from_start(&far));
    let kls = from_start(&near);
    assert!(
        kls.iter().all(|kl| *kl <= 0.1) && kls.iter().any(|kl| *kl > 0.0),
        "{kls:?}"
    );
    assert_eq!(kls.len() + 1, column(&near, "kl_from_start").len(), "one a generation");
    // Both begin with the same candidates, so the first step is the same, but for the bound.
    let first_step = |run: &std::path::Path| column(run, "step_norm").into_iter().flatten().next().expect("a step");
    let (long, short) = (first_step(&far), first_step(&near));
    assert_eq!(short < long, from_start(&far)[0] > 0.1, "{short} {long}");
    if has_mpi() {
        let ranks = held.run("ranks");
        held.finish(2, &ranks);
        assert_same(&end_state(&near), &end_state(&ranks), "one process and two ranks");
    }
    let parts = held.run("parts");
    let short = ["--set", "run.generations=2"];
    let output = held.align(0, &parts).args(short).output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = held.align(0, &parts).arg("--fork").output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let fork = parts.with_file_name("tiny-2");
    assert_eq!(from_start(&fork), kls, "a fork goes on as the run would have");
}

/// A limit on the divergence; the others are judged by the same function, whose own test has them all (`run/watch.rs`).
#[test]
fn a_mean_that_goes_too_far_ends_the_run_and_is_not_kept() {
    let house = house("max_kl = 0.0001").with(&["strategy.sigma=2.0", "run.validate_every=1"]);
    let run = house.run("far");
    house.finish(0, &run);
    let row: Value = serde_json::from_str(&fs::read_to_string(run.join("result.json")).expect("a row")).expect("JSON");
    assert_eq!(row["status"], "stopped", "{row}");
    assert!(
        row["reason"].as_str().expect("words").contains("nats a response"),
        "{row}"
    );
    assert!(row["generations"].as_u64() < Some(6), "{row}");
    // What is kept validated within the limit.
    let kept = row["best_generation"].as_u64().expect("a number") as usize;
    let seen = column(&run, "kl");
    assert!(seen[kept].expect("looked at") <= 0.0001, "{kept}: {seen:?}");
    assert!(seen.last().copied().flatten().expect("looked at") > 0.0001, "{seen:?}");
}

/// The base model as the reference is the start of a space that begins at it; the average of one adapter is that adapter.
#[test]
fn references_are_models() {
    let house = house("reference = 'base'").with(&["strategy.sigma=1.0"]);
    let run = house.run("base");
    house.finish(0, &run);
    assert_eq!(column(&run, "kl")[0], Some(0.0));
    let of_base = column(&run, "kl");
    let adapter = run.join("adapter");
    let text = fs::read_to_string(house.config()).expect("a config");
    let set = format!("reference = ['{}', '{}']", adapter.display(), adapter.display());
    fs::write(house.config(), text.replace("reference = 'base'", &set)).expect("a config");
    let soup = house.run("soup");
    house.finish(0, &soup);
    let of_soup = column(&soup, "kl");
    assert!(of_soup[0].expect("a number").abs() > 1e-6, "{of_soup:?}");
    assert_ne!(of_base, of_soup);
    // The mean of the last generation is the adapter that was exported, if it was kept: at no distance but for its rounding.
    let kept: Value = serde_json::from_str(&fs::read_to_string(run.join("result.json")).expect("a row")).expect("JSON");
    let at = kept["best_generation"].as_u64().expect("a number") as usize;
    assert!(
        of_soup[at].expect("looked at").abs() < 0.2 * of_soup[0].expect("a number").abs().max(0.05),
        "{at}: {of_soup:?}"
    );
}

#[test]
fn what_cannot_be_watched_is_refused_before_a_model_is_opened() {
    for (more, word) in [
        ("reference = 'beginning'", "expected \"start\", \"base\", or a list"),
        ("reference = []", "expected PEFT LoRA directories"),
        (
            "reference = ['nowhere']",
            "is not there, expected a PEFT LoRA directory",
        ),
        ("max_kl = -1", "drift.max_kl is -1"),
        ("max_length = 0.5", "drift.max_length is 0.5"),
        ("penalty = -1", "drift.penalty is -1"),
        ("max_fal = 1", "did you mean `max_fall`"),
        ("max_fall = -1", "drift.max_fall is -1"),
    ] {
        let house = house(more);
        fs::remove_file(house.folder.path().join("tiny.gguf")).expect("it was there");
        let said = refused(&house);
        assert!(said.contains(word), "{more}: {said}");
    }
    for (set, word) in [
        ("drift.texts=7", "validation split has only 6 examples"),
        ("drift.texts=0", "drift.texts is 0"),
        ("drift.tasks.words.test_size=0", "drift.tasks.words"),
        ("drift.tasks.words.kind=jsonl", "drift.tasks.words"),
        ("run.racing=true", "drift.penalty"),
    ] {
        let house = house("penalty = 0.1").with(&[set]);
        let said = refused(&house);
        assert!(said.contains(word), "{set}: {said}");
    }
}
