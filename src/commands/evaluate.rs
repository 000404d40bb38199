//! `essa eval`: what adapters earn on a split of a config's task, or a run's start and mean, and how sure one may be of the differences.
//! A run without further flags is scored as it scored itself. Everything that can be refused is refused before the model is opened.

use crate::config::RunConfig;
use crate::engine::Sampling;
use crate::error::{Error, Result};
use crate::farm::population::{self, Evaluated, Work};
use crate::farm::ranks::Ranks;
use crate::files::{check_output, write_output};
use crate::judge::kind::{Asked, Context};
use crate::judge::{Example, Judge, JudgeConfig, Said, judge_all};
use crate::objective::alignment::open_task;
use crate::objective::{Alignment, Objective, Questions, Rollout};
use crate::record::RunDirectory;
use crate::report::evaluation::{BestOf, Pair, Report, Score};
use crate::search::{Evaluation, Layout, start};
use crate::seed::Seed;
use crate::space::mix::{Mix, Per};
use crate::space::{SpaceConfig, SpaceKind};
use crate::statistics::Estimate;
use crate::task::{Split, Task};
use crate::terminal::{print, say};
use crate::threads::Node;
use clap::{Args, ValueEnum};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

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

/// How texts are written: a name, how many to a prompt, and the sampling where it is not the config's.
type Decoding = (String, usize, Option<Sampling>);

/// Scores what was asked for, and prints or writes the report.
pub fn evaluate(arguments: &EvalArguments) -> Result<()> {
    let a = arguments;
    let is_run = !a.run.is_file() && a.run.as_os_str() != "quickstart";
    let is_plain = a.adapter.is_empty() && a.samples.is_none() && a.temperature.is_none() && a.by.is_none();
    let is_plain = is_plain && !a.base && !a.greedy && !a.select && a.best_of.is_none() && a.output.is_none();
    if is_run && is_plain {
        return of_run(a);
    }
    if let Some(path) = &a.output {
        Report::default().rendered(path)?;
    }
    [&a.output, &a.rollouts]
        .into_iter()
        .flatten()
        .try_for_each(|path| check_output(path))?;
    let mut bout = Bout::open(a, is_run)?;
    let split = bout.split;
    let all: Vec<usize> = (0..bout.names.len()).collect();
    bout.score(split, &all)?;
    if a.select {
        let decoding = &bout.decodings[0].0;
        let first = bout
            .report
            .scores
            .iter()
            .filter(|own| own.decoding == *decoding && own.category.is_empty());
        // Of equals the first.
        let best = first.reduce(|best, own| if own.score.value > best.score.value { own } else { best });
        let name = best.expect("two subjects or more").subject.clone();
        let winner = bout.names.iter().position(|own| *own == name).expect("it was scored");
        bout.score(Split::Test, &[winner])?;
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

/// An evaluation at work.
struct Bout {
    config: RunConfig,
    objective: Alignment,
    task: Box<dyn Task>,
    split: Split,
    /// Names of the subjects; those of the run, which search its space, come first.
    names: Vec<String>,
    /// Search vectors of the run's subjects.
    of_run: Vec<Vec<f64>>,
    /// The others, by adapter; none is the base model.
    others: Vec<Option<usize>>,
    /// The space of the others.
    mix: SpaceConfig,
    decodings: Vec<Decoding>,
    by: Option<String>,
    best_of: Option<(usize, Option<Selector>)>,
    report: Report,
    lines: String,
}

/// A judge that selects, and the examples of a split as it knows them.
struct Selector {
    name: String,
    judge: Box<dyn Judge>,
    examples: BTreeMap<Split, Vec<Arc<Example>>>,
}

impl Bout {
    fn open(a: &EvalArguments, is_run: bool) -> Result<Self> {
        let wrong = |what: String| Err(Error::config(what));
        let usual = if a.select { Split::Validation } else { Split::Test };
        let split = a.split.map_or(usual, Split::from);
        if a.select && split == Split::Test {
            return wrong("--select with --split test: whoever is selected on the test split has no honest score left; select on validation".into());
        }
        let directory = RunDirectory::at(&a.run);
        let mut config = if is_run {
            directory.config(&a.set)?
        } else {
            RunConfig::load(&a.run, &a.set)?
        };
        let (mut names, mut others) = (Vec::new(), Vec::new());
        let mean = if is_run { Some(directory.mean()?) } else { None };
        if let Some(mean) = &mean {
            names.extend(["start".to_string(), format!("mean of generation {}", mean.generation)]);
        }
        if a.base {
            names.push("base".into());
            others.push(None);
        }
        for (at, (name, path)) in a.adapter.iter().enumerate() {
            if !path.exists() {
                return Err(Error::file(path, "is not there, expected a PEFT LoRA directory"));
            }
            names.push(name.clone());
            others.push(Some(at));
        }
        if names.is_empty() {
            return wrong("nothing is to be scored: give --base, --adapter NAME=DIR, or a run's directory".into());
        }
        if let Some(name) = names
            .iter()
            .enumerate()
            .find(|(at, own)| names[..*at].contains(own))
            .map(|(_, own)| own)
        {
            return wrong(format!("two subjects are called `{name}`; give each a name of its own"));
        }
        if a.select && names.len() < 2 {
            return wrong(
                "--select chooses among subjects, and there is one; give more with --adapter NAME=DIR or --base".into(),
            );
        }
        let mix = SpaceConfig {
            kind: SpaceKind::Mix(Mix {
                adapters: a.adapter.iter().map(|(_, path)| path.clone()).collect(),
                per: Per::Adapter,
            }),
            ..SpaceConfig::default()
        };
        if !is_run {
            // Nothing is searched, and no generation is drawn.
            config.space = mix.clone();
            (config.run.prompts, config.run.prompts_max, config.model.adapter) = (1, None, None);
        }
        let decodings = decodings(a, &config)?;
        let task = open_task(&config)?;
        let splits: &[Split] = if a.select { &[split, Split::Test] } else { &[split] };
        for split in splits {
            let examples = task.examples(*split);
            if examples.is_empty() {
                return wrong(format!("the task's {} split is empty", word(*split)));
            }
            for (column, example) in
                a.by.iter()
                    .flat_map(|column| examples.iter().map(move |own| (column, own)))
            {
                let value = example.row.text(column);
                value.map_err(|what| Error::config(format!("--by {column}: example `{}`: {what}", example.id)))?;
            }
        }
        let best_of = match a.best_of {
            Some(n) => Some((n, selector(a, &*task, splits)?)),
            None => None,
        };
        let objective = Alignment::open(&config, Node::ALONE, &|note| say(format_args!("{note}")))?;
        let n = objective.layout().dim();
        let of_run = match mean {
            Some(mean) if mean.theta.len() != n => {
                let what = format!(
                    "mean.json holds {} numbers, and the config's space has {n}",
                    mean.theta.len()
                );
                return Err(Error::file(directory.path(), what));
            }
            Some(mean) => vec![start(n), mean.theta],
            None => Vec::new(),
        };
        Ok(Self {
            config,
            objective,
            task,
            split,
            names,
            of_run,
            others,
            mix,
            decodings,
            by: a.by.clone(),
            best_of,
            report: Report::default(),
            lines: String::new(),
        })
    }

    /// Scores some subjects on a split by every decoding, and compares each two.
    fn score(&mut self, split: Split, subjects: &[usize]) -> Result<()> {
        for (name, samples, sampling) in self.decodings.clone() {
            self.objective.sample(sampling);
            let examples = self.objective.examples(split);
            let questions = Questions {
                samples,
                ..Questions::whole(&self.config, split, examples)
            };
            let mut scores = Vec::new();
            for (subject, texts) in self.texts(&questions, subjects)? {
                let label = self.names[subject].clone();
                let texts: Vec<&Rollout> = texts.iter().collect();
                let score = Score::of(&label, word(split), &name, &texts, questions.of_samples);
                scores.push(score.clone());
                self.report.scores.push(score);
                self.by_category(split, &name, &label, &texts, &questions);
                if samples > 1
                    && let Some((n, selector)) = &mut self.best_of
                {
                    let (by, values) = match selector {
                        Some(selector) => (selector.name.clone(), selector.values(split, &texts)),
                        None => (
                            "the task's judge".into(),
                            texts.iter().map(|own| own.verdict.reward).collect(),
                        ),
                    };
                    self.report
                        .best_of
                        .push(BestOf::of(&label, word(split), &by, *n, &texts, &values));
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

    fn by_category(&mut self, split: Split, decoding: &str, label: &str, texts: &[&Rollout], questions: &Questions) {
        let Some(column) = &self.by else { return };
        let examples = self.task.examples(split);
        let mut groups: BTreeMap<String, Vec<&Rollout>> = BTreeMap::new();
        for text in texts {
            let example = &examples[questions.indices[text.item.question]];
            let value = example.row.text(column).expect("looked at before");
            groups.entry(value).or_default().push(text);
        }
        for (value, own) in groups {
            let mut score = Score::of(label, word(split), decoding, &own, questions.of_samples);
            score.category = format!("{column} = {value}");
            self.report.scores.push(score);
        }
    }

    /// The texts of these subjects: those of the run in its space, and then the others together, each an adapter of weight 1 beside others of 0.
    fn texts(&mut self, questions: &Questions, subjects: &[usize]) -> Result<Vec<(usize, Vec<Rollout>)>> {
        let weights_of = |layout: &Layout, adapter: Option<usize>, count: usize| {
            let mut theta = vec![-1.0 / count.max(1) as f64; layout.dim()];
            if let Some(adapter) = adapter {
                let prefix = format!("adapter{adapter}.");
                let own = layout.slots().iter().filter(|slot| slot.name.starts_with(&prefix));
                own.for_each(|slot| theta[slot.start] += 1.0);
            }
            theta
        };
        let mut found = Vec::new();
        let (first, rest): (Vec<usize>, Vec<usize>) = subjects.iter().partition(|at| **at < self.of_run.len());
        if !first.is_empty() {
            if !self.others.is_empty() {
                let space = self.config.open_space(&self.objective.opened().weights, &|_| ())?;
                self.objective.search(space);
            }
            let thetas: Vec<Vec<f64>> = first.iter().map(|&at| self.of_run[at].clone()).collect();
            found.extend(first.into_iter().zip(judged(&mut self.objective, questions, &thetas)?));
        }
        if !rest.is_empty() {
            if !self.of_run.is_empty() {
                let mut config = self.config.clone();
                config.space = self.mix.clone();
                let space = config.open_space(&self.objective.opened().weights, &|_| ())?;
                self.objective.search(space);
            }
            let count = self.others.iter().flatten().count();
            let other = |at: &usize| self.others[at - self.of_run.len()];
            let thetas: Vec<Vec<f64>> = rest
                .iter()
                .map(|at| weights_of(self.objective.layout(), other(at), count))
                .collect();
            found.extend(rest.into_iter().zip(judged(&mut self.objective, questions, &thetas)?));
        }
        Ok(found)
    }
}

impl Selector {
    fn values(&mut self, split: Split, texts: &[&Rollout]) -> Vec<f64> {
        let examples = &self.examples[&split];
        let said = texts.iter().map(|text| {
            let example = examples[text.item.question].clone();
            (example, Said::Text(text.completion.clone()))
        });
        let verdicts = judge_all(&mut *self.judge, said.collect());
        let value = |verdict: crate::judge::Verdict| {
            if verdict.failed {
                f64::NEG_INFINITY
            } else {
                verdict.reward
            }
        };
        verdicts.into_iter().map(value).collect()
    }
}

fn judged(objective: &mut Alignment, questions: &Questions, thetas: &[Vec<f64>]) -> Result<Vec<Vec<Rollout>>> {
    let work = Work {
        candidates: thetas.len(),
        theta: &|candidate| thetas[candidate].clone(),
        questions,
        digest: "",
        known: Vec::new(),
        racing: false,
    };
    let done = population::evaluate(&Ranks::alone(), objective, work, &mut |_| Ok(()), &mut || true)?;
    let texts = done.expect("nobody says stop").rollouts;
    let of_candidate = |own: &[Rollout]| own.to_vec();
    Ok(texts
        .chunk_by(|a, b| a.item.candidate == b.item.candidate)
        .map(of_candidate)
        .collect())
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

/// The judge of `--best-of-judge`, with what it needs of each example.
fn selector(a: &EvalArguments, task: &dyn Task, splits: &[Split]) -> Result<Option<Selector>> {
    let Some(text) = &a.best_of_judge else { return Ok(None) };
    let wrong = |what: String| Error::config(format!("--best-of-judge {text}: {what}"));
    let table = format!("judge = {text}").parse::<toml::Table>();
    // A bare word is a name.
    let value = table.map_or_else(
        |_| toml::Value::String(text.clone()),
        |mut own| own.remove("judge").expect("it was set"),
    );
    let config = JudgeConfig::try_from(value).map_err(wrong)?;
    if config.asks_likelihood() {
        return Err(wrong("it reads probabilities and no texts".into()));
    }
    let kind = config.open(&Context::default())?;
    let mut examples = BTreeMap::new();
    for split in splits {
        let known = task.examples(*split).iter().map(|example| {
            let asked = Asked {
                gold: example.answer(),
                ..Asked::of(&example.row)
            };
            let reference = kind
                .reference(&asked)
                .map_err(|what| wrong(format!("example `{}`: {what}", example.id)))?;
            Ok(Arc::new(Example {
                reference,
                ..example.clone()
            }))
        });
        examples.insert(*split, known.collect::<Result<Vec<_>>>()?);
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Some(Selector {
        name: config.name().into(),
        judge: kind.begin(threads)?,
        examples,
    }))
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

/// Judges the start and the kept mean of a run on a split.
fn of_run(arguments: &EvalArguments) -> Result<()> {
    let split = arguments.split.map_or(Split::Test, Split::from);
    let rollouts = arguments.rollouts.as_deref();
    rollouts.map_or(Ok(()), check_output)?;
    let directory = RunDirectory::at(&arguments.run);
    let config = directory.config(&arguments.set)?;
    let best = directory.mean()?;
    let mut objective = Alignment::open(&config, Node::ALONE, &|_| ())?;
    let n = objective.layout().dim();
    if best.theta.len() != n {
        let what = format!(
            "mean.json holds {} numbers, and the config's space has {n}",
            best.theta.len()
        );
        return Err(Error::file(directory.path(), what));
    }
    let questions = Questions::whole(&config, split, objective.examples(split));
    let thetas = [start(n), best.theta];
    let work = Work {
        candidates: thetas.len(),
        theta: &|candidate| thetas[candidate].clone(),
        questions: &questions,
        digest: "",
        known: Vec::new(),
        racing: false,
    };
    let judged = population::evaluate(&Ranks::alone(), &mut objective, work, &mut |_| Ok(()), &mut || true)?;
    let Evaluated {
        evaluations: judged,
        rollouts: texts,
        ..
    } = judged.expect("nobody says stop");
    let (start, end) = (&judged[0], &judged[1]);
    print(format_args!(
        "{} examples of the {} split, with 95 % intervals\nstart                 {}\nmean of generation {:<3}{}\n\
         gain                  {:.4}",
        end.rewards.len(),
        format!("{split:?}").to_lowercase(),
        score(start),
        best.generation,
        score(end),
        Estimate::of_gain(&end.rewards, &start.rewards),
    ))?;
    if let Some(path) = rollouts {
        let lines: String = texts
            .iter()
            .map(|text| serde_json::to_string(text).expect("JSON of text") + "\n")
            .collect();
        write_output(path, lines.as_bytes())?;
    }
    Ok(())
}

fn score(evaluation: &Evaluation) -> String {
    let terms: Vec<String> = evaluation
        .terms
        .iter()
        .map(|(name, value)| format!("{name} {value:.3}"))
        .collect();
    format!("{:.4}  {}", evaluation.estimate(), terms.join("  "))
}
