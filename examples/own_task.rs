//! A task of one's own, through the public API: answers of exactly three words. It is searched for two generations.
//!
//! ```text
//! cargo run --release --example own_task -- model.gguf runs/three-words
//! ```

use essa::config::RunConfig;
use essa::engine::Limits;
use essa::error::Result;
use essa::farm::ranks::Ranks;
use essa::judge::{Judge, pure};
use essa::language_model::LanguageModel;
use essa::objective::{Alignment, Objective};
use essa::plan::Plan;
use essa::record::{RunDirectory, Standing};
use essa::run::Run;
use essa::task::{Example, Split, Task, Verdict};
use essa::text::Message;
use std::path::Path;

/// Questions, and a judge that counts words.
struct ThreeWords {
    splits: [Vec<Example>; 3],
}

impl ThreeWords {
    fn new() -> Self {
        let things = [
            "the sea",
            "a bicycle",
            "winter",
            "bread",
            "a library",
            "the moon",
            "a cat",
            "rain",
        ];
        let example = |split: &str, number: usize| Example {
            id: format!("{split}/{number}"),
            messages: vec![Message::user(format!(
                "Describe {} in three words. ({split} {number})",
                things[number % things.len()]
            ))],
            ..Example::default()
        };
        let make = |split: &str, count: usize| (0..count).map(|number| example(split, number)).collect();
        Self {
            splits: [make("train", 32), make("validation", 8), make("test", 8)],
        }
    }
}

impl Task for ThreeWords {
    fn name(&self) -> String {
        "three words".into()
    }

    fn examples(&self, split: Split) -> &[Example] {
        &self.splits[split as usize]
    }

    fn judge(&self) -> Result<Box<dyn Judge>> {
        Ok(pure(|_, response| {
            let words = response.split_whitespace().count();
            let distance = words.abs_diff(3) as f64;
            Verdict::new(1.0 / (1.0 + distance), [("words", words as f64)])
        }))
    }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(model), Some(directory)) = (arguments.next(), arguments.next()) else {
        eprintln!("expected a model and a directory for the run");
        std::process::exit(2);
    };
    let mut table = toml::toml! {
        name = "three-words"
        [model]
        path = ""
        [space]
        rank = 2
        [strategy]
        population = 6
        [generation]
        max_new_tokens = 12
        [run]
        generations = 2
        prompts = 8
    };
    table["model"]["path"] = model.into();
    let config = RunConfig::from_table(table, Path::new("three-words"))?;

    let model = LanguageModel::open(&config.model.path, config.model.options(), Limits::default())?;
    let space = config.open_space(&model.weights, &|text| eprintln!("{text}"))?;
    let generation = (config.sampling(), config.generation.max_new_tokens);
    let task = Box::new(ThreeWords::new());
    let mut objective = Alignment::new(model, space, task, &config.reward, generation, "the base".into())?;

    let plan = Plan::of(config, objective.layout().dim())?;
    let (ranks, mut directory) = (Ranks::alone(), RunDirectory::at(directory));
    if let Standing::Finished(row) = directory.claim(&plan.config)? {
        println!("{} was done before: {:?}", directory.path().display(), row.test);
        return Ok(());
    }
    let (row, outcome) = Run::open(&plan, &directory, &ranks, &mut objective)?.align()?;
    println!("{}: {:?} before, {:?} after", outcome.name(), row.start_test, row.test);
    Ok(())
}
