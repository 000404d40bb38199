//! Rewards of one's own: runs whose judge is a program, a probability, several terms or several texts, and what is said of those that
//! cannot be, before anything is spent.

mod support;

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use support::house::{House, assert_same, end_state, essa, has_mpi};
use support::tiny_model::tiny_model;
use support::{cases, real_model};

/// A judge whose behaviour hangs on the response alone: it crashes, kills itself, hangs, prints garbage, floods its error output, closes
/// its output, answers nonsense, answers twice, and answers a batch backwards.
const WILD: &str = r#"
import json, os, signal, sys, time, zlib
mark = sys.argv[1]
held = []
def answer(asked):
    text = asked["response"]
    kind = zlib.crc32(text.encode()) % 120
    reward = zlib.crc32(text.encode()) % 1000 / 1000
    if kind == 0: os._exit(3)
    if kind == 1: os.kill(os.getpid(), signal.SIGSEGV)
    if kind == 2: time.sleep(1000)
    if kind == 3: print("garbage {")
    if kind == 4: sys.stderr.write("noise\n" * 50000)
    if kind == 5: os.close(1); time.sleep(1000)
    if kind == 6: print(json.dumps({"id": asked["id"], "reward": "much"}), flush=True); return
    if kind == 7: print('{"id": %d, "reward": NaN}' % asked["id"], flush=True); return
    if kind == 8: print(json.dumps({"id": 10**12, "reward": 1.0}))
    assert asked["row"]["n"] >= 0 and asked["messages"][-1]["role"] == "user"
    line = json.dumps({"id": asked["id"], "terms": {"reward": reward, "length": len(text)}})
    print(line, flush=True)
    if kind == 9: print(line, flush=True)
for line in sys.stdin:
    answer(json.loads(line))
"#;

fn house(judge: &str) -> House {
    let house = House::new(&tiny_model());
    let row = |n: usize| format!("{{\"n\": {n}, \"q\": \"question {n}\", \"a\": \"{}\"}}\n", n % 2);
    fs::write(
        house.folder.path().join("rows.jsonl"),
        (0..60).map(row).collect::<String>(),
    )
    .expect("a file");
    fs::write(house.folder.path().join("wild.py"), WILD).expect("a file");
    let config = format!(
        "name = 'tiny'\n[model]\npath = 'tiny.gguf'\n[space]\nrank = 2\n[strategy]\npopulation = 8\nsigma = 0.5\n[task]\nkind = 'jsonl'\ntrain = 'rows.jsonl'\n\
         prompt = '{{q}}'\nvalidation_size = 10\ntest_size = 10\n{judge}\n[generation]\nmax_new_tokens = 6\ntemperature = 1.0\n[run]\ngenerations = 4\nprompts = 30\nvalidate_every = 2\n"
    );
    fs::write(house.config(), config).expect("a config");
    house
}

/// Processes whose command line has this word.
fn processes_with(word: &str) -> usize {
    let own = std::process::id().to_string();
    let all = fs::read_dir("/proc").expect("Linux").flatten();
    let has = |name: String| {
        let line = fs::read(format!("/proc/{name}/cmdline")).unwrap_or_default();
        name != own
            && String::from_utf8_lossy(&line)
                .split('\0')
                .any(|argument| argument == word)
    };
    all.filter(|entry| has(entry.file_name().to_string_lossy().into_owned()))
        .count()
}

/// More than a thousand rows under a judge that misbehaves in every way: no row is lost, the numbers are the same on any number of ranks, copies and rows
/// in hand, and no process is left.
#[test]
fn a_judge_that_misbehaves_costs_its_own_rows_and_no_others() {
    let mark = format!("essa-wild-{}", std::process::id());
    // The interpreter itself: what is called `python3` may be a script that takes its time.
    let python = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .expect("Python");
    let python = String::from_utf8(python.stdout).expect("a path").trim().to_owned();
    let judge = |copies: usize, batch: usize| {
        // The time has to cover a start of the interpreter on a busy machine.
        format!(
            "judge = {{ command = ['{python}', 'wild.py', '{mark}'], timeout = '6s', copies = {copies}, batch = {batch} }}"
        )
    };
    let mut first = None;
    for (ranks, copies, batch) in [(0, 4, 1), (1, 2, 8), (2, 4, 4)] {
        if ranks > 0 && !has_mpi() {
            continue;
        }
        let house = house(&judge(copies, batch));
        let run = house.run("wild");
        house.finish(ranks, &run);
        let rollouts: Vec<Value> = fs::read_to_string(run.join("rollouts.jsonl"))
            .expect("rollouts")
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert!(rollouts.len() >= 4 * 8 * 30 + 40, "{}", rollouts.len());
        let failed = rollouts.iter().filter(|row| row["failed"] == true).count();
        assert!(
            failed > 10 && failed < rollouts.len() / 4,
            "{failed} of {}",
            rollouts.len()
        );
        for row in &rollouts {
            let text = row["completion"].as_str().expect("a text");
            let expected = if row["failed"] == true {
                0.0
            } else {
                f64::from(crc32(text.as_bytes()) % 1000) / 1000.0
            };
            assert_eq!(row["reward"], expected, "{row}");
            assert_eq!(row["failed"] == true, row["error"].is_string(), "{row}");
        }
        assert_eq!(processes_with(&mark), 0, "a judge is left");
        // Why a row failed may quote what another one wrote; that it failed may not.
        let mut state = end_state(&run);
        // These also name the folder, and how many copies there are.
        let others = [
            "rollouts",
            "checkpoints",
            "config.toml",
            "result.json",
            "plan.json",
            "adapter_config.json",
        ];
        state.retain(|name, _| !others.iter().any(|other| name.contains(other)));
        assert!(
            state.keys().any(|name| name.contains("adapter")) && state.keys().any(|name| name.contains("metrics")),
            "{:?}",
            state.keys()
        );
        match &first {
            None => first = Some(state),
            Some(first) => assert_same(
                &state,
                first,
                &format!("{ranks} ranks, {copies} copies, {batch} rows in hand"),
            ),
        }
    }
}

/// As Python's `zlib.crc32`.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
        })
    })
}

/// Several texts, several terms, another judge for candidates, and a lexicographic order: the same on any number of ranks.
#[test]
fn terms_texts_and_train_judges_are_the_same_on_any_number_of_ranks() {
    for (name, judge, set) in [
        (
            "samples",
            "answer = 'a'\njudge = 'contains'\n[reward]\nof_samples = 'pass@2'\nweights = { correct = 1.0, brief = 0.25 }\nterms = { brief = { length = 4 }, fresh = { repetition = 1 } }",
            vec!["run.samples=3"],
        ),
        (
            "likelihood",
            "answer = 'a'\njudge = 'exact'\ntrain_judge = { likelihood = 'log_probability' }",
            vec![],
        ),
        (
            "likeliest",
            "answer = 'a'\nanswer_map = { 0 = 'no', 1 = 'yes' }\njudge = { likeliest = 'probability' }",
            vec![],
        ),
        (
            "lexicographic",
            "answer = 'a'\njudge = 'contains'\n[reward]\nselection = 'lexicographic'\norder = ['correct', 'brief']\nterms = { brief = { length = 4 } }",
            vec![],
        ),
        (
            "pareto",
            "answer = 'a'\njudge = 'contains'\n[reward]\nselection = 'pareto'\norder = ['fresh', 'brief']\nterms = { brief = { length = 4 }, fresh = { repetition = 1 } }",
            vec![],
        ),
    ] {
        let house = house(judge).with(&set);
        let expected = house.undisturbed();
        if has_mpi() {
            let run = house.run("two");
            house.finish(2, &run);
            assert_same(&end_state(&run), &expected, name);
        }
    }
}

/// What a user got wrong is said in one sentence, before the model is opened: its file is not even there.
#[test]
fn what_cannot_be_judged_is_said_before_anything_is_spent() {
    for (judge, words) in [
        ("judge = { command = ['no-such-program-here'] }", "no-such-program-here"),
        ("judge = { command = [] }", "command is empty"),
        (
            "judge = { command = ['python3'], timeout = 'soon' }",
            "timeout is `soon`",
        ),
        ("judge = { command = ['python3'], copies = 0 }", "copies is 0"),
        ("judge = 'numbr'", "did you mean `number`?"),
        ("judge = 'number'", "set task.answer"),
        (
            "answer = 'gold'\njudge = 'exact'",
            "line 1: column `gold` is missing; the line has `n`, `q`, `a`",
        ),
        ("judge = 'ifeval'", "`instruction_id_list` is missing"),
        ("judge = 'countdown'", "`nums` is missing"),
        (
            "answer = 'a'\njudge = 'likeliest'",
            "the possible answers are not known",
        ),
        ("answer = 'a'\njudge = 'letter'", "which option is right is not known"),
        (
            "answer = 'a'\njudge = 'exact'\n[reward]\nweights = { corect = 1.0 }",
            "`corect`; expected some of reward, correct",
        ),
        (
            "answer = 'a'\njudge = 'exact'\n[reward.terms]\nshape = { json_schema = 'none.json' }",
            "none.json",
        ),
        (
            "answer = 'a'\njudge = 'exact'\n[reward]\nselection = 'pareto'",
            "reward.order",
        ),
        (
            "answer = 'a'\njudge = 'exact'\n[reward]\nof_samples = 'pass@2'",
            "run.samples is 1",
        ),
    ] {
        let house = house(judge);
        fs::remove_file(house.folder.path().join("tiny.gguf")).expect("it was there");
        let run = house.run("refused");
        let output = house.align(0, &run).output().expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(1) && said.contains(words),
            "{judge}: {said}"
        );
        let told = said.lines().filter(|line| line.starts_with("essa: ")).count();
        assert!(told == 1 && !said.contains("tiny.gguf: "), "{judge}: {said}");
        assert!(!run.join("config.toml").exists(), "{judge}");
    }
}

/// The tokens of an answer are those of the whole text, with every way in which a tokenizer may mark the beginning of one.
#[test]
fn a_completion_is_tokenized_as_part_of_its_text() {
    let Some(folder) = cases("10-metaspace-completions") else {
        return;
    };
    let house = House::new(b"");
    let (input, output) = (
        house.folder.path().join("in.jsonl"),
        house.folder.path().join("out.jsonl"),
    );
    fs::write(
        &input,
        "{\"prompt\": \"what is the answer\", \"completion\": \"Yes\"}\n",
    )
    .expect("a file");
    for form in ["always", "first", "legacy", "never"] {
        let model = folder.join(form);
        let expected: Value =
            serde_json::from_str(&fs::read_to_string(model.join("expected.json")).expect("a file")).expect("JSON");
        let [model, input, output] = [&model, &input, &output].map(|path| path.to_str().expect("a path"));
        let arguments = [
            "score",
            "--model",
            model,
            "--precision",
            "f32",
            "--input",
            input,
            "--output",
            output,
        ];
        essa(&arguments, &house.cache(form));
        let found: Value = serde_json::from_str(&fs::read_to_string(output).expect("a file")).expect("JSON");
        let numbers = |value: &Value| -> Vec<f64> {
            value
                .as_array()
                .expect("a list")
                .iter()
                .map(|own| own.as_f64().expect("a number"))
                .collect()
        };
        let (found, expected) = (numbers(&found["logprobs"]), numbers(&expected["logprobs"]));
        assert_eq!(found.len(), expected.len(), "{form}: {found:?} against {expected:?}");
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-3, "{form}: {found} against {expected}");
        }
    }
}

/// Seconds of the evaluations of a run on the real model under a judge that waits so long for each row.
fn seconds(model: &Path, wait: f64) -> f64 {
    let judge = format!("judge = {{ command = ['python3', 'slow.py', '{wait}'], copies = 4 }}");
    let house = house(&judge);
    let slow = "import json, sys, time\nfor line in sys.stdin:\n    asked = json.loads(line)\n    time.sleep(float(sys.argv[1]))\n    print(json.dumps({'id': asked['id'], 'reward': len(asked['response'])}), flush=True)\n";
    fs::write(house.folder.path().join("slow.py"), slow).expect("a file");
    let path = format!("model.path={}", model.display());
    let house = house.with(&[
        &path,
        "generation.max_new_tokens=96",
        "run.generations=1",
        "run.prompts=32",
        "strategy.population=16",
        "run.validate_every=0",
    ]);
    let run = house.run("slow");
    house.finish(0, &run);
    let metrics = fs::read_to_string(run.join("metrics.csv")).expect("metrics");
    let mut lines = metrics.lines();
    let column = lines
        .next()
        .expect("a header")
        .split(',')
        .position(|name| name == "evaluation_time")
        .expect("a column");
    lines
        .filter_map(|line| line.split(',').nth(column)?.parse::<f64>().ok())
        .sum()
}

/// A judge that thinks for 50 ms does not hold up decoding: `make test-long`, where the machine has nothing else to do. The rollouts are
/// many (16 candidates, 32 prompts), because the last texts of a generation end together and their judging (128 texts, 1.6 s) waits for
/// nothing to decode beside it: over few rollouts that end is timed, and not the decoding.
#[test]
#[ignore = "times the real model; for a quiet machine"]
fn a_slow_judge_does_not_hold_up_the_engine() {
    let Some(model) = real_model() else { return };
    let began = Instant::now();
    let mut ratios: Vec<f64> = (0..3).map(|_| seconds(&model, 0.0) / seconds(&model, 0.05)).collect();
    ratios.sort_by(f64::total_cmp);
    println!("{ratios:?} in {:?}", began.elapsed());
    assert!(ratios[1] >= 0.95, "{ratios:?}");
    assert!(began.elapsed() < Duration::from_secs(3600));
}

/// A sweep looks at the data of all its runs before it begins with the first.
#[test]
fn a_sweep_checks_the_data_of_all_its_runs_first() {
    let house = house("answer = 'a'\njudge = 'exact'");
    let mut config = fs::read_to_string(house.config()).expect("the config");
    config += "[sweep]\n\"task.answer\" = ['a', 'gold']\n";
    fs::write(house.config(), config).expect("a config");
    let output: Output = Command::new(env!("CARGO_BIN_EXE_essa"))
        .arg("sweep")
        .arg(house.config())
        .arg("--out")
        .arg(house.folder.path().join("runs"))
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(1) && said.contains("column `gold` is missing"),
        "{said}"
    );
    assert!(!said.contains("loading"), "{said}");
}
