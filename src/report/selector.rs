//! A judge that selects among texts of one question, for best-of-n: any that a config can name, beside the task's own judge. It knows of each example
//! what it would know if the task named it.

use crate::error::{Error, Result};
use crate::judge::kind::{Asked, Context};
use crate::judge::{Example, Judge, JudgeConfig, Said, Scope, judge_all};
use crate::objective::Rollout;
use crate::task::{Split, Task};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The judge, at work.
pub struct Selector {
    /// What it is called.
    pub name: String,
    judge: Box<dyn Judge>,
    /// By their ids.
    examples: BTreeMap<String, Arc<Example>>,
}

impl Selector {
    /// The judge that `text` names as `task.judge` would, on the examples of these splits. Errors say what it lacks.
    pub fn new(text: &str, task: &dyn Task, splits: &[Split]) -> Result<Self> {
        let wrong = |what: String| Error::config(format!("--best-of-judge {text}: {what}"));
        // A bare word is a name.
        let value = match format!("judge = {text}").parse::<toml::Table>() {
            Ok(mut table) => table.remove("judge").expect("it was set"),
            Err(_) => toml::Value::String(text.into()),
        };
        let config = JudgeConfig::try_from(value).map_err(wrong)?;
        if config.asks_likelihood() {
            return Err(wrong("it reads probabilities and no texts".into()));
        }
        let kind = config.open(&Context::default())?;
        let known = splits.iter().flat_map(|split| task.examples(*split)).map(|example| {
            let asked = Asked {
                gold: example.answer(),
                ..Asked::of(&example.row)
            };
            let reference = kind.reference(&asked);
            let reference = reference.map_err(|what| wrong(format!("example `{}`: {what}", example.id)))?;
            let known = Example {
                reference,
                ..example.clone()
            };
            Ok((example.id.clone(), Arc::new(known)))
        });
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            name: config.name().into(),
            examples: known.collect::<Result<_>>()?,
            judge: kind.begin(threads)?,
        })
    }

    /// What each text is worth to it, of all texts of one subject; one that it cannot judge is chosen last.
    pub fn values(&mut self, texts: &[&Rollout]) -> Vec<f64> {
        let together = match self.judge.scope() {
            Scope::Response => vec![texts],
            Scope::Question => texts.chunk_by(|a, b| a.item.question == b.item.question).collect(),
        };
        let mut values = Vec::new();
        for texts in together {
            let said = texts.iter().map(|text| {
                let example = self.examples[&text.prompt_id].clone();
                (example, Said::Text(text.completion.clone()))
            });
            let verdicts = judge_all(&mut *self.judge, said.collect()).into_iter();
            values.extend(verdicts.map(|own| if own.failed { f64::NEG_INFINITY } else { own.reward }));
        }
        values
    }
}
