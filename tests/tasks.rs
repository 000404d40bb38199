//! Promise 7, that the prompts of train, validation and test never mix, and the part of promise 6 that is about
//! judges: whatever a model writes, a judgement is data. Both for each task that there is.

mod support;

use essa::engine::{Limits, Sampling, ScoreRequest};
use essa::judge::RewardConfig;
use essa::judge::likelihood::Grade;
use essa::language_model::LanguageModel;
use essa::model::{LoadOptions, Precision};
use essa::objective::{Alignment, Asks, Item, Objective, Questions, Rollout};
use essa::seed::Seed;
use essa::space::Space;
use essa::task::instructions::{DEFAULT_KINDS, Instructions, InstructionsConfig, Kind};
use essa::task::{Example, Split, Task, TaskConfig, Verdict};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use support::data_folder_with;

const SPLITS: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

#[test]
fn instructions_keep_their_splits_apart() {
    let config = TaskConfig::Instructions(InstructionsConfig::default());
    let mut firsts = BTreeSet::new();
    for seed in 0..30 {
        let task = load(&config, seed, Path::new("."));
        assert_eq!(SPLITS.map(|split| task.examples(split).len()), [512, 128, 256]);
        assert_apart(&*task);
        assert!(task.notes().is_empty());
        let prompts: BTreeSet<String> = all(&*task).map(prompt).collect();
        assert_eq!(prompts.len(), 512 + 128 + 256, "a prompt is there twice");
        let first = &task.examples(Split::Train)[0];
        assert!(
            firsts.insert(prompt(first)),
            "seeds 0 to {seed} share their first prompt"
        );
    }
}

#[test]
fn facts_of_instructions_are_kept_apart_too() {
    let task = load(&TaskConfig::default(), 3, Path::new("."));
    let mut owner = BTreeMap::new();
    for split in SPLITS {
        for example in task.examples(split) {
            // The instruction is the last sentence; what stands before it is the question.
            let prompt = prompt(example);
            let end = prompt
                .trim_end_matches('.')
                .rfind(['.', '?'])
                .expect("a question and an instruction");
            let first = owner.entry(prompt[..=end].to_owned()).or_insert(split);
            assert_eq!(*first, split, "{}", &prompt[..=end]);
        }
    }
}

#[test]
fn carved_files_keep_their_splits_apart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // 300 lines, every prompt three times.
    let line = |n: usize| format!("{{\"q\": \"What follows {}?\", \"a\": {}}}\n", n % 100, n % 100 + 1);
    std::fs::write(folder.path().join("rows.jsonl"), (0..300).map(line).collect::<String>()).expect("a file");
    let config: TaskConfig = toml::from_str(
        r#"
        kind = "jsonl"
        train = "rows.jsonl"
        validation_size = 20
        test_size = 40
        prompt = "{q}"
        answer = "a"
        judge = "number"
        "#,
    )
    .expect("valid");
    for seed in 0..50 {
        let task = load(&config, seed, folder.path());
        assert_eq!(task.examples(Split::Validation).len(), 20);
        assert_eq!(task.examples(Split::Test).len(), 40);
        assert_apart(&*task);
        assert_eq!(task.notes().len(), 1, "removed examples are reported");
    }
}

#[test]
fn the_same_seed_gives_the_same_examples() {
    for seed in [0, 1, u64::MAX] {
        let [one, other] = [(); 2].map(|()| load(&TaskConfig::default(), seed, Path::new(".")));
        for split in SPLITS {
            assert_eq!(one.examples(split), other.examples(split));
        }
    }
}

#[test]
fn sst2_is_a_task() {
    let Some(data) = data_folder_with("classify/sst2_train.jsonl") else {
        return;
    };
    let config: TaskConfig = toml::from_str(
        r#"
        kind = "jsonl"
        train = "classify/sst2_train.jsonl"
        validation = "classify/sst2_dev.jsonl"
        test = "classify/sst2_test.jsonl"
        prompt = "Is this movie review positive or negative? Answer in one word.\n{text}"
        answer = "label"
        answer_map = { 0 = "negative", 1 = "positive" }
        judge = "first_word"
        "#,
    )
    .expect("valid");
    let task = load(&config, 0, &data);
    assert_apart(&*task);
    assert_eq!(task.examples(Split::Test).len(), 1821, "test keeps its published size");
    let lost = 6920 + 872 - task.examples(Split::Train).len() - task.examples(Split::Validation).len();
    assert!(lost > 0, "the published files share sentences");
    println!("{}", task.notes().join("\n"));
    let first = &task.examples(Split::Test)[0];
    assert!(prompt(first).ends_with("\nno movement , no yuks , not much of anything ."));
    assert_eq!(verdict(&*task, first, "Negative.").reward, 1.0);
    assert_eq!(verdict(&*task, first, "Positive.").reward, 0.0);
    assert_eq!(verdict(&*task, first, "").reward, 0.0);
}

#[test]
fn gsm8k_is_a_task() {
    let Some(data) = data_folder_with("gsm8k/train.jsonl") else {
        return;
    };
    let config: TaskConfig = toml::from_str(
        r#"
        kind = "jsonl"
        train = "gsm8k/train.jsonl"
        test = "gsm8k/test.jsonl"
        prompt = "{question}"
        answer = "answer"
        judge = "number"
        "#,
    )
    .expect("valid");
    let task = load(&config, 0, &data);
    assert_apart(&*task);
    for split in SPLITS {
        for example in task.examples(split) {
            let gold = example.reference["answer"].as_str().expect("text");
            let number = gold.rsplit("####").next().expect("rsplit gives at least one part");
            assert_eq!(
                verdict(&*task, example, &format!("So it is ${}.00.", number.trim())).reward,
                1.0,
                "{gold}"
            );
        }
    }
}

/// A search that finds a string which pays without reading the prompt would write that string for ever.
#[test]
fn no_constant_response_pays() {
    let words = [
        "42",
        "a",
        "yes",
        "positive",
        "red",
        "white",
        "elephant",
        "monday",
        "DONE",
        "cold plant",
        "sure positive done",
    ];
    let mut constants = Vec::new();
    for word in words {
        constants.extend([
            word.to_owned(),
            word.to_uppercase(),
            format!("\"{word}\""),
            format!("\"{}\"", word.to_uppercase()),
        ]);
        constants.extend(["answer", "result", "reply"].map(|key| format!("{{\"{key}\": \"{word}\"}}")));
    }
    for lists in [
        "dog cat horse cow fish",
        "apple banana cherry grape mango",
        "red blue green white black",
        "a b c d e",
    ] {
        let items: Vec<&str> = lists.split(' ').collect();
        for count in 1..=items.len() {
            constants.extend([
                items[..count].join(", "),
                items[..count].join(" "),
                format!("- {}", items[..count].join("\n- ")),
            ]);
        }
    }
    constants.extend(
        [
            "",
            " ",
            "{}",
            "[]",
            "DONE DONE",
            "\"RED DONE\"",
            "{\"answer\": 4, \"result\": 4, \"reply\": 4}",
        ]
        .map(str::to_owned),
    );
    constants.push(constants.join("\n"));
    constants.push("sure, positive plant cold elephant monday red 12. ".repeat(5) + "done");

    for partial_credit in [0.0, 0.5] {
        let config = InstructionsConfig {
            partial_credit,
            ..InstructionsConfig::default()
        };
        let task = load(&TaskConfig::Instructions(config), 0, Path::new("."));
        let examples = task.examples(Split::Train);
        let mean = |respond: &dyn Fn(&Example) -> String| {
            examples
                .iter()
                .map(|example| verdict(&*task, example, &respond(example)).reward)
                .sum::<f64>()
                / examples.len() as f64
        };
        let mut scores: Vec<(f64, &str)> = constants
            .iter()
            .map(|text| (mean(&|_| text.clone()), text.as_str()))
            .collect();
        scores.sort_by(|one, other| other.0.total_cmp(&one.0));
        for (score, response) in &scores[..5] {
            println!("{score:.3} for {response:?} at partial credit {partial_credit}");
        }
        assert!(scores[0].0 <= 0.35, "{:?} scores {}", scores[0].1, scores[0].0);
        assert_eq!(mean(&|_| String::new()), 0.0);
        let echo = mean(&prompt);
        println!("{echo:.3} for the prompt itself at partial credit {partial_credit}");
        assert!(echo <= 0.35, "an echo scores {echo}");
    }
}

/// What the mix looks like: `cargo test --test tasks -- --nocapture three_examples`.
#[test]
fn three_examples_of_each_kind_are_short() {
    for kind in Kind::ALL {
        let config = InstructionsConfig {
            kinds: vec![kind],
            ..InstructionsConfig::default()
        };
        let task = Instructions::new(&config, Seed::new(0)).expect("each kind fills the default sizes");
        println!(
            "{}{}",
            kind.name(),
            if DEFAULT_KINDS.contains(&kind) {
                ""
            } else {
                " (not in the default mix)"
            }
        );
        for example in task.examples(Split::Train).iter().take(3) {
            println!("    {}\n        {}", prompt(example), example.reference);
        }
        for example in all(&task) {
            assert!(prompt(example).len() <= 150, "{}", prompt(example));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any text, the kinds of text that formats are made of included, gets a verdict in [0, 1].
    #[test]
    fn any_response_gets_a_verdict(
        response in prop_oneof![
            any::<String>(),
            "(- |\\* |[a-z]{1,5}|[A-Z]{1,5}|[0-9]{1,4}|[.,:;!?\"“”{}\\[\\]\n$%−+-]|é|ß|İ|東|\u{301}|\u{200d}){0,40}",
        ],
        seed in 0_u64..1000,
    ) {
        let config = InstructionsConfig { train_size: 36, validation_size: 1, test_size: 1, ..Default::default() };
        let task = Instructions::new(&config, Seed::new(seed)).expect("a small task can be made");
        for example in task.examples(Split::Train) {
            let verdict = verdict(&task, example, &response);
            prop_assert!((0.0..=1.0).contains(&verdict.reward) && !verdict.failed);
            prop_assert!(verdict.terms.values().all(|value| (0.0..=1.0).contains(value)));
            let foreign = Example { reference: response.clone().into(), ..example.clone() };
            prop_assert!(crate::verdict(&task, &foreign, &response).failed);
        }
    }

    #[test]
    fn any_file_is_read_or_refused(content in any::<String>(), response in any::<String>()) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let quoted = serde_json::Value::from(content.as_str());
        let rows = |n: usize| format!("{{\"q\": {quoted}, \"n\": {n}, \"a\": {quoted}}}\n");
        std::fs::write(folder.path().join("wild.jsonl"), &content).expect("a file");
        std::fs::write(folder.path().join("rows.jsonl"), (0..9).map(rows).collect::<String>()).expect("a file");
        for judge in ["'exact'", "'first_word'", "'contains'", "'number'", "{ regex = '(?s)(.*)' }"] {
            let prompts = ["'{q}'".to_owned(), "'{n} {q}'".to_owned(), quoted.to_string()];
            for (file, prompt) in ["wild", "rows", "rows"].into_iter().zip(prompts) {
                let source = format!("kind = 'jsonl'\ntrain = '{file}.jsonl'\nvalidation_size = 2\ntest_size = 2");
                let config = format!("{source}\nprompt = {prompt}\nanswer = 'a'\njudge = {judge}");
                let Ok(config) = toml::from_str::<TaskConfig>(&config) else { continue };
                match config.load(Seed::new(0), folder.path()) {
                    Ok(task) => {
                        assert_apart(&*task);
                        let judged = verdict(&*task, &task.examples(Split::Test)[0], &response);
                        prop_assert!(!judged.failed && (0.0..=1.0).contains(&judged.reward));
                        let own = verdict(&*task, &task.examples(Split::Test)[0], &content);
                        prop_assert_eq!(own.reward, 1.0, "the gold answer is right under {}", judge);
                    }
                    Err(error) => prop_assert!(!error.to_string().is_empty()),
                }
            }
        }
    }
}

fn verdict(task: &dyn Task, example: &Example, response: &str) -> Verdict {
    essa::task::verdict(task, example, response).expect("a judge")
}

fn load(config: &TaskConfig, seed: u64, base_dir: &Path) -> Box<dyn Task> {
    config
        .load(Seed::new(seed), base_dir)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn all(task: &dyn Task) -> impl Iterator<Item = &Example> {
    SPLITS.into_iter().flat_map(|split| task.examples(split))
}

fn prompt(example: &Example) -> String {
    example
        .messages
        .last()
        .map(|message| message.content.clone())
        .unwrap_or_default()
}

/// No prompt in two splits, whatever its case and spacing, no id twice, and no split empty.
fn assert_apart(task: &dyn Task) {
    let mut owner = BTreeMap::new();
    for split in SPLITS {
        assert!(!task.examples(split).is_empty(), "{split:?} is empty");
        for example in task.examples(split) {
            let words: Vec<String> = prompt(example).split_whitespace().map(str::to_lowercase).collect();
            let first = owner.entry(words.join(" ")).or_insert(split);
            assert_eq!(*first, split, "{} of {split:?} is in {first:?}", prompt(example));
        }
    }
    let ids: BTreeSet<&str> = all(task).map(|example| example.id.as_str()).collect();
    assert_eq!(ids.len(), all(task).count(), "an id is there twice");
}

// ------------------------------------------------------------------------------------------- rewards by probability

/// Under the judge `likelihood` a candidate earns the probability of the gold answer and the end of the turn, token by token
/// what the engine says of these tokens; validation is judged by texts.
#[test]
fn a_reward_by_likelihood_is_the_probability_of_the_answer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = folder.path().join("tiny.gguf");
    std::fs::write(&model, support::tiny_model::tiny_model()).expect("a model");
    let line = |n: usize| format!("{{\"q\": \"{n}?\", \"a\": {}}}\n", n % 2);
    std::fs::write(folder.path().join("rows.jsonl"), (0..12).map(line).collect::<String>()).expect("a file");
    let config = "kind = 'jsonl'\ntrain = 'rows.jsonl'\nvalidation_size = 2\ntest_size = 2\nprompt = '{q}'\nanswer = 'a'\n\
                  answer_map = { 0 = 'no', 1 = 'yes' }\njudge = 'exact'\ntrain_judge = { likelihood = 'log_probability' }";
    let config: TaskConfig = toml::from_str(config).expect("valid");
    let task = load(&config, 1, folder.path());
    let examples: Vec<Example> = task.examples(Split::Train).to_vec();
    let options = LoadOptions::from(Precision::F32);
    let open = || LanguageModel::open(&model, options, Limits::default()).expect("opens");
    let space = Space::new(Vec::new());
    let mut alignment = {
        let reward = RewardConfig::default();
        Alignment::new(open(), space, task, &reward, (Sampling::default(), 4), "tiny".into()).expect("fits")
    };
    let mut ask = |split: Split, by_train_judge: bool, count: usize| {
        let questions = Questions {
            asks: if by_train_judge { Asks::Candidates } else { Asks::Mean },
            ..Questions::new(split, (0..count).collect(), Seed::new(0))
        };
        let items: Vec<Item> = questions.items(0, 0..count).collect();
        let mut rollouts: Vec<Rollout> = Vec::new();
        let mut take = |some: Vec<Rollout>| {
            rollouts.extend(some);
            Ok(())
        };
        let done = alignment.evaluate(&[Vec::new()], &questions, &items, &mut take, &mut || true);
        assert!(done.expect("evaluates"));
        rollouts.sort_by_key(|rollout| rollout.item);
        rollouts
    };
    let mut engine = open().engine;
    let mut floors = 0;
    let graded = ask(Split::Train, true, examples.len());
    for (rollout, example) in graded.iter().zip(&examples) {
        // Single bytes are tokens of their own number, 256 to 258 the special ones.
        let bytes = |text: &str| text.bytes().map(u32::from).collect::<Vec<u32>>();
        let (question, answer) = (
            &example.messages[0].content,
            example.reference["answer"].as_str().expect("text"),
        );
        // A template's last line break is left out, as Jinja has it, and so is the answer's to begin with.
        let prompt = [
            vec![257],
            bytes(&format!("user\n{question}")),
            vec![258],
            bytes("\n"),
            vec![257],
            bytes("assistant"),
        ];
        let prompt_ids = prompt.concat();
        let completion_ids = [bytes(&format!("\n{answer}")), vec![258]].concat();
        assert_eq!(
            (rollout.prompt_tokens, rollout.tokens),
            (prompt_ids.len(), completion_ids.len())
        );
        assert_eq!(rollout.completion, answer);
        let request = ScoreRequest {
            prompt_ids,
            completion_ids,
            candidate: 0,
        };
        let logarithms = engine.score(&[request], None).expect("scores").concat();
        // No token counts for less than one of probability 0.001.
        let floored: f64 = logarithms.iter().map(|&own| f64::from(own).max(0.001_f64.ln())).sum();
        floors += logarithms.iter().filter(|&&own| own < -6.9078).count();
        assert!(rollout.verdict.reward < -7.0, "of random weights");
        assert!((rollout.verdict.reward - floored).abs() < 1e-4);
        let probability = Grade::Probability.verdict(&logarithms);
        let whole: f64 = logarithms.iter().map(|&own| f64::from(own)).sum();
        assert!((probability.reward / whole.exp() - 1.0).abs() < 1e-9);
        assert_eq!(probability.terms.len(), rollout.verdict.terms.len());
        for (part, own) in &probability.terms {
            assert!((own - rollout.verdict.terms[part]).abs() < 1e-4 * own.abs(), "{part}");
        }
    }
    assert!(floors > 0, "the floor was met, so the test could fail");
    for texts in [ask(Split::Train, false, 4), ask(Split::Validation, true, 2)] {
        assert!(
            texts
                .iter()
                .all(|text| text.verdict.reward == 0.0 && text.verdict.terms.contains_key("correct"))
        );
    }
}
