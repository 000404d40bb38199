//! `essa eval`: what adapters earn on a split of a config's task, or a run's start and mean, and how sure one may be of the differences.
//! A run is scored on the texts by which it scored itself. Everything that can be refused is refused before the model is opened.

use crate::config::{DriftSection, RunConfig};
use crate::engine::Sampling;
use crate::error::{Error, Result};
use crate::files::{check_output, write_output};
use crate::objective::alignment::open_task;
use crate::objective::{Objective, Questions, Rollout};
use crate::record::RunDirectory;
use crate::report::evaluation::{BestOf, Pair, Report, Score};
use crate::report::selector::Selector;
use crate::report::subjects::{Stage, Subjects};
use crate::seed::Seed;
use crate::task::{Split, Task};
use crate::terminal::print;
use clap::{Args, ValueEnum};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Flags of `essa eval`.
#[derive(Args, Clone, Debug)]
pub struct EvalArguments {
    /// A run's directory, or a config file.
    #[arg(value_name = "RUN|CONFIG")]
    pub run: PathBuf,
    /// Which examples; without it test, and validation with --select.
    #[arg(long, value_enum)]
    pub split: Option<SplitName>,
    /// Overrides one key of the config.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Writes the texts as JSON lines.
    #[arg(long, value_name = "FILE")]
    pub rollouts: Option<PathBuf>,
    /// Scores a PEFT LoRA on the base model, under this name.
    #[arg(long, value_name = "NAME=DIR", value_parser = named)]
    pub adapter: Vec<(String, PathBuf)>,
    /// Scores the base model.
    #[arg(long)]
    pub base: bool,
    /// Scores the likeliest text.
    #[arg(long)]
    pub greedy: bool,
    /// Scores so many sampled texts a prompt: avg@k and pass@k.
    #[arg(long, value_name = "K")]
    pub samples: Option<usize>,
    /// Temperature of sampled texts, instead of the config's.
    #[arg(long, value_name = "T")]
    pub temperature: Option<f64>,
    /// A table by this column of the task's rows.
    #[arg(long, value_name = "COLUMN")]
    pub by: Option<String>,
    /// The best of so many sampled texts a prompt, as the task judges them.
    #[arg(long, value_name = "N")]
    pub best_of: Option<usize>,
    /// Who selects among them, as `task.judge` is written; without it the task's own judge.
    #[arg(long, value_name = "JUDGE", requires = "best_of")]
    pub best_of_judge: Option<String>,
    /// Names the best subject, and scores it on the test split.
    #[arg(long)]
    pub select: bool,
    /// Writes the report as .md, .csv or .json.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// A split on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SplitName {
    /// What judges candidates.
    Train,
    /// What judges the mean during a run.
    Validation,
    /// What judges the result.
    Test,
}

impl From<SplitName> for Split {
    fn from(name: SplitName) -> Self {
        match name {
            SplitName::Train => Self::Train,
            SplitName::Validation => Self::Validation,
            SplitName::Test => Self::Test,
        }
    }
}

/// Scores what was asked for, and prints or writes the report.
pub fn evaluate(arguments: &EvalArguments) -> Result<()> {
    let a = arguments;
    if let Some(path) = &a.output {
        Report::default().rendered(path)?;
    }
    let mut outputs = [&a.output, &a.rollouts].into_iter().flatten();
    outputs.try_for_each(|path| check_output(path))?;
    let usual = if a.select { Split::Validation } else { Split::Test };
    let split = a.split.map_or(usual, Split::from);
    let mut bout = Bout::open(a, split)?;
    let all: Vec<usize> = (0..bout.stage.subjects().names().len()).collect();
    bout.score(split, &all)?;
    if a.select {
        let name = bout.report.best().expect("two subjects or more").to_owned();
        let winner = bout.stage.subjects().names().iter().position(|own| *own == name);
        bout.score(Split::Test, &[winner.expect("it was scored")])?;
        bout.report.winner = Some(name);
    }
    match &a.output {
        Some(path) => write_output(path, bout.report.rendered(path)?.as_bytes())?,
        None => print(bout.report.markdown().trim_end())?,
    }
    match &a.rollouts {
        Some(path) => write_output(path, bout.lines.as_bytes()),
        None => Ok(()),
    }
}

/// How texts are written: a name, how many to a prompt, and the sampling where it is not the config's.
type Decoding = (String, usize, Option<Sampling>);

/// An evaluation at work.
struct Bout {
    config: RunConfig,
    stage: Stage,
    decodings: Vec<Decoding>,
    /// The category of each example by its id; empty where none was asked for.
    categories: BTreeMap<String, String>,
    best_of: Option<(usize, Option<Selector>)>,
    report: Report,
    /// The texts, a JSON line each.
    lines: String,
}

impl Bout {
    /// Opens all that is asked for, the model last.
    fn open(a: &EvalArguments, split: Split) -> Result<Self> {
        let wrong = |what: String| Err(Error::config(what));
        if a.select && split == Split::Test {
            return wrong("--select with --split test: whoever is selected on the test split has no honest score left; select on validation".into());
        }
        let is_run = !a.run.is_file() && a.run.as_os_str() != "quickstart";
        let directory = RunDirectory::at(&a.run);
        let (config, mean) = if is_run {
            let config = RunConfig {
                drift: DriftSection::default(),
                ..directory.config(&a.set)?
            };
            (config, Some(directory.mean()?))
        } else {
            (RunConfig::load(&a.run, &a.set)?, None)
        };
        let subjects = Subjects::new(mean, a.base, &a.adapter)?;
        if a.select && subjects.names().len() < 2 {
            return wrong(
                "--select chooses among subjects, and there is one; give more with --adapter NAME=DIR or --base".into(),
            );
        }
        let on_base = subjects.on_base(&config);
        if is_run && !a.adapter.is_empty() {
            // What these were trained on may not be asked of them, though the run itself never saw it.
            open_task(&on_base)?;
        }
        let config = if is_run { config } else { on_base };
        let task = open_task(&config)?;
        let decodings = decodings(a, &config)?;
        if subjects.are_mixed() && config.task.asks_likelihood() && task.judge()?.compares_with_start() {
            return wrong("the task's judge compares with the start, which is the run's own for the run and the base model for the others; score them one by one".into());
        }
        let splits: &[Split] = if a.select { &[split, Split::Test] } else { &[split] };
        let categories = match &a.by {
            Some(column) => categories(column, &*task, splits)?,
            None => BTreeMap::new(),
        };
        let selector = a.best_of_judge.as_deref();
        let selector = selector.map(|text| Selector::new(text, &*task, splits)).transpose()?;
        Ok(Self {
            stage: subjects.open(config.clone())?,
            config,
            decodings,
            categories,
            best_of: a.best_of.map(|n| (n, selector)),
            report: Report::default(),
            lines: String::new(),
        })
    }

    /// Scores some subjects on a split by every decoding, and compares each two.
    fn score(&mut self, split: Split, subjects: &[usize]) -> Result<()> {
        for (name, samples, sampling) in self.decodings.clone() {
            self.stage.objective().sample(sampling);
            let examples = self.stage.objective().examples(split);
            let questions = Questions {
                samples,
                ..Questions::whole(&self.config, split, examples)
            };
            let rule = questions.of_samples;
            let mut scores: Vec<Score> = Vec::new();
            for (subject, texts) in self.stage.texts(&questions, subjects)? {
                let label = self.stage.subjects().names()[subject].clone();
                let texts: Vec<&Rollout> = texts.iter().collect();
                let score = Score::of(&label, word(split), &name, &texts, rule);
                self.report.scores.push(score.clone());
                self.report
                    .scores
                    .extend(Score::by_category(&score, &texts, rule, &self.categories));
                scores.push(score);
                if let Some((n, selector)) = self.best_of.as_mut().filter(|_| samples > 1) {
                    let (by, values) = match selector {
                        Some(selector) => (selector.name.clone(), selector.values(&texts)),
                        None => (
                            "the task's judge".into(),
                            texts.iter().map(|own| own.verdict.reward).collect(),
                        ),
                    };
                    let best = BestOf::of(&label, word(split), &by, *n, &texts, &values);
                    self.report.best_of.push(best);
                }
                for text in texts {
                    let mut line = serde_json::to_value(text).expect("JSON of text");
                    line["subject"] = label.clone().into();
                    line["split"] = word(split).into();
                    line["decoding"] = name.clone().into();
                    self.lines += &format!("{line}\n");
                }
            }
            let seed = Seed::new(self.config.seed).named("paired tests");
            for later in 1..scores.len() {
                let pairs = (0..later).map(|earlier| Pair::of(&scores[later], &scores[earlier], seed));
                self.report.pairs.extend(pairs);
            }
        }
        Ok(())
    }
}

/// How texts are to be written; what cannot be is refused.
fn decodings(a: &EvalArguments, config: &RunConfig) -> Result<Vec<Decoding>> {
    let wrong = |what: &str| Err(Error::config(what));
    let writes = config.task.judges().is_none_or(|(judge, _)| !judge.asks_likelihood());
    let asks_texts = a.greedy || a.samples.is_some() || a.temperature.is_some() || a.best_of.is_some();
    if !writes {
        return match asks_texts {
            true => wrong(
                "the task's judge reads probabilities, and nothing is written for it; leave out --greedy, --samples, --temperature and --best-of",
            ),
            false => Ok(vec![("probabilities".into(), 1, None)]),
        };
    }
    if a.samples == Some(0) || a.best_of.is_some_and(|n| n < 2) {
        return wrong("expected --samples of 1 or more, and --best-of of 2 or more");
    }
    let mut sampling = config.sampling();
    sampling.temperature = a.temperature.unwrap_or(sampling.temperature);
    sampling.check("--")?;
    let samples = a
        .samples
        .unwrap_or_else(|| config.samples_of_mean())
        .max(a.best_of.unwrap_or(1));
    if samples > 1 && sampling.temperature == 0.0 {
        return wrong(
            "several texts a prompt were asked for at temperature 0, at which all are the same; set --temperature",
        );
    }
    let fixed = a.temperature.map(|_| sampling);
    let greedy = (
        "greedy".into(),
        1,
        Some(Sampling {
            temperature: 0.0,
            ..sampling
        }),
    );
    let sampled = (format!("temperature {}", sampling.temperature), samples, fixed);
    let is_sampled = !a.greedy || a.samples.is_some() || a.temperature.is_some() || a.best_of.is_some();
    let sampled = is_sampled.then_some(sampled);
    Ok(a.greedy.then_some(greedy).into_iter().chain(sampled).collect())
}

/// What each example of these splits has in a column, as `column = value`.
fn categories(column: &str, task: &dyn Task, splits: &[Split]) -> Result<BTreeMap<String, String>> {
    let examples = splits.iter().flat_map(|split| task.examples(*split));
    let category = examples.map(|example| {
        let value = example.row.text(column);
        let value = value.map_err(|what| Error::config(format!("--by {column}: example `{}`: {what}", example.id)))?;
        Ok((example.id.clone(), format!("{column} = {value}")))
    });
    category.collect()
}

fn named(text: &str) -> std::result::Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name.into(), path.into())),
        _ => Err("expected NAME=DIR".into()),
    }
}

fn word(split: Split) -> &'static str {
    match split {
        Split::Train => "train",
        Split::Validation => "validation",
        Split::Test => "test",
    }
}
