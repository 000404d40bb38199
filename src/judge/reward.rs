//! `[reward]`: from named terms to the one number that a response earns, and from the numbers of several texts to that of a question. A
//! task's judge may be joined by terms of other judges; the terms keep their names into the log, whatever they weigh.

use super::kind::{Asked, Context};
use super::{Continuation, Example, Judge, JudgeConfig, Response, Scope, Verdict};
use crate::error::{Error, Result};
use crate::rows::Row;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The `[reward]` table of a config.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RewardConfig {
    /// What each term weighs in the sum that is the reward; none takes the judge's own reward and, of further terms, each once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<BTreeMap<String, f64>>,
    /// What a response earns that could not be judged.
    pub failed: f64,
    /// What the texts of a question earn together, where there are several.
    pub of_samples: OfSamples,
    /// How candidates are compared.
    pub selection: Selection,
    /// Terms that are compared, the most important first; not for `weighted`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<String>,
    /// Further terms, by name, each of a judge of its own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub terms: BTreeMap<String, JudgeConfig>,
}

/// What several texts to one question earn together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum OfSamples {
    /// Their mean.
    #[default]
    Mean,
    /// The best of them.
    Best,
    /// pass@k: the probability that of k of them, drawn without replacement, at least one is right, that is, earns 1 or more
    /// (Chen et al., *Evaluating Large Language Models Trained on Code*, arXiv 2107.03374, equation 1; unbiased).
    Pass(usize),
}

impl OfSamples {
    /// Of these rewards, one a text.
    pub fn reward(self, rewards: &[f64]) -> f64 {
        match self {
            _ if rewards.len() == 1 => rewards[0],
            Self::Mean => crate::statistics::mean(rewards),
            Self::Best => rewards.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Self::Pass(k) => {
                let right = rewards.iter().filter(|reward| **reward >= 1.0).count();
                pass_at(k, rewards.len(), right)
            }
        }
    }
}

/// 1 − C(n − c, k) / C(n, k), as a product that cannot overflow.
pub fn pass_at(k: usize, n: usize, right: usize) -> f64 {
    if n - right < k {
        return 1.0;
    }
    let miss: f64 = (n - right + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product();
    1.0 - miss
}

impl TryFrom<String> for OfSamples {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        let count = text.strip_prefix("pass@").and_then(|k| k.parse().ok());
        match (text.as_str(), count) {
            ("mean", _) => Ok(Self::Mean),
            ("best", _) => Ok(Self::Best),
            (_, Some(k)) if k > 0 => Ok(Self::Pass(k)),
            _ => Err(format!(
                "unknown variant `{text}`, expected one of `mean`, `best`, `pass@1`, `pass@2` and so on"
            )),
        }
    }
}

impl From<OfSamples> for String {
    fn from(of: OfSamples) -> Self {
        match of {
            OfSamples::Mean => "mean".into(),
            OfSamples::Best => "best".into(),
            OfSamples::Pass(k) => format!("pass@{k}"),
        }
    }
}

/// How candidates are compared by their terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Selection {
    /// By the weighted sum.
    #[default]
    Weighted,
    /// By the first term of `order`, and where that is equal by the next.
    Lexicographic,
    /// By non-dominated sorting of the terms in `order`.
    Pareto,
}

impl RewardConfig {
    /// Whether everything in it can be, with so many texts a question.
    pub fn check(&self, samples: usize) -> Result<()> {
        let wrong = |what: String| Err(Error::config(what));
        if !self.failed.is_finite() {
            return wrong(format!("reward.failed is {}, expected a number", self.failed));
        }
        for (name, weight) in self.weights.iter().flatten() {
            if !weight.is_finite() {
                return wrong(format!("reward.weights.{name} is {weight}, expected a number"));
            }
        }
        if let OfSamples::Pass(k) = self.of_samples
            && k > samples
        {
            return wrong(format!(
                "reward.of_samples is pass@{k}, and run.samples is {samples}; expected at least {k} texts a question"
            ));
        }
        match (self.selection, self.order.len()) {
            (Selection::Weighted, 0) => {}
            (Selection::Weighted, _) => {
                return wrong("reward.order is set, and reward.selection is weighted; set reward.selection to lexicographic or pareto, or reward.weights".into());
            }
            (_, 0 | 1) => {
                return wrong("reward.selection compares terms; set reward.order to two or more of their names".into());
            }
            _ => {}
        }
        for (name, judge) in &self.terms {
            if judge.asks_likelihood() {
                return wrong(format!(
                    "reward.terms.{name} is {}, which reads no text; make it task.judge or task.train_judge",
                    judge.name()
                ));
            }
        }
        Ok(())
    }

    /// Whether names in `weights` and `order` are terms that there are: those of the task's judge, which are `known` unless it answers freely.
    pub fn check_names(&self, known: Option<&[&str]>) -> Result<()> {
        let Some(own) = known else { return Ok(()) };
        let mut free = false;
        let mut names: Vec<String> = std::iter::once("reward")
            .chain(own.iter().copied())
            .map(String::from)
            .collect();
        for (name, judge) in &self.terms {
            free |= judge.terms().is_empty();
            names.push(name.clone());
            if judge.terms().len() > 1 {
                names.extend(judge.terms().iter().map(|term| format!("{name}.{term}")));
            }
        }
        let asked = self
            .weights
            .iter()
            .flat_map(BTreeMap::keys)
            .map(|name| ("weights", name));
        let asked = asked.chain(self.order.iter().map(|name| ("order", name)));
        for (key, name) in asked {
            let may_come = free && name.contains('.');
            if !names.contains(name) && !may_come {
                let what = format!(
                    "reward.{key} names the term `{name}`; expected some of {}",
                    names.join(", ")
                );
                return Err(Error::config(what));
            }
        }
        Ok(())
    }

    /// Whether all that the further terms name is there: files, and programs.
    pub fn check_files(&self) -> Result<()> {
        let context = Context::default();
        self.terms
            .values()
            .try_for_each(|judge| judge.open(&context).map(|_| ()))
    }

    /// Joins the further terms to a task's judge, and weighs.
    pub fn join(&self, own: Box<dyn Judge>, context: &Context) -> Result<Box<dyn Judge>> {
        if self.weights.is_none() && self.terms.is_empty() && self.failed == 0.0 {
            return Ok(own);
        }
        let terms = self.terms.iter().map(|(name, config)| {
            let kind = config.open(context)?;
            // Terms of a text hang on no column; one that needs a gold answer is a task's judge.
            let needs = kind.reference(&Asked::of(&Row::default()));
            needs.map_err(|what| Error::config(format!("reward.terms.{name}: {what}; it can only be task.judge")))?;
            Ok((name.clone(), kind.begin(1)?))
        });
        Ok(Box::new(Weighed {
            own,
            terms: terms.collect::<Result<_>>()?,
            config: self.clone(),
            pending: BTreeMap::new(),
        }))
    }
}

/// A task's judge with further terms, weighed.
struct Weighed {
    own: Box<dyn Judge>,
    terms: Vec<(String, Box<dyn Judge>)>,
    config: RewardConfig,
    /// Verdicts of the own judge, which comes first, and of the terms, as they come.
    pending: BTreeMap<usize, Vec<Option<Verdict>>>,
}

impl Weighed {
    fn take(&mut self, ticket: usize, part: usize, verdict: Verdict, sink: &mut dyn FnMut(usize, Verdict)) {
        let Some(parts) = self.pending.get_mut(&ticket) else {
            return;
        };
        parts[part] = Some(verdict);
        if parts.iter().all(Option::is_some) {
            let parts: Vec<Verdict> = self.pending.remove(&ticket).into_iter().flatten().flatten().collect();
            sink(ticket, self.weigh(parts));
        }
    }

    fn weigh(&self, parts: Vec<Verdict>) -> Verdict {
        let mut parts = parts.into_iter();
        let mut whole = parts.next().expect("the own judge's");
        let mut sum = whole.reward;
        let own = whole.reward;
        for ((name, _), part) in self.terms.iter().zip(parts) {
            sum += part.reward;
            if part.failed {
                whole
                    .error
                    .get_or_insert_with(|| format!("{name}: {}", part.error.unwrap_or_default()));
                whole.failed = true;
                continue;
            }
            // A judge of one term says no more than its reward; what a program answers may be weighed by name.
            if self.config.terms.get(name).is_none_or(|judge| judge.terms().len() != 1) {
                let inner = part
                    .terms
                    .into_iter()
                    .map(|(inner, value)| (format!("{name}.{inner}"), value));
                whole.terms.extend(inner);
            }
            whole.terms.insert(name.clone(), part.reward);
        }
        if let Some(weights) = &self.config.weights {
            sum = 0.0;
            for (name, weight) in weights {
                match whole.terms.get(name) {
                    Some(value) => sum += weight * value,
                    None if name == "reward" => sum += weight * own,
                    None if whole.failed => {}
                    None => {
                        whole.failed = true;
                        whole.error = Some(format!("the judge gave no term `{name}`"));
                    }
                }
            }
        }
        if !sum.is_finite() {
            (whole.failed, whole.error) = (true, Some(format!("the weighted sum is {sum}")));
        }
        whole.reward = if whole.failed { self.config.failed } else { sum };
        whole
    }
}

impl Judge for Weighed {
    fn continuations(&self, example: &Example) -> Option<Vec<Continuation>> {
        self.own.continuations(example)
    }

    fn compares_with_start(&self) -> bool {
        self.own.compares_with_start()
    }

    fn scope(&self) -> Scope {
        let mut scopes = self.terms.iter().map(|(_, judge)| judge.scope());
        match scopes.any(|scope| scope == Scope::Question) {
            true => Scope::Question,
            false => self.own.scope(),
        }
    }

    fn submit(&mut self, responses: Vec<Response>) {
        for response in &responses {
            self.pending.insert(response.ticket, vec![None; 1 + self.terms.len()]);
        }
        for (_, judge) in &mut self.terms {
            judge.submit(responses.clone());
        }
        self.own.submit(responses);
    }

    fn poll(&mut self, wait: Duration, sink: &mut dyn FnMut(usize, Verdict)) {
        // Whoever is waited for, the others have their say on the next turn.
        let waits = [Duration::ZERO, wait];
        for wait in waits {
            let mut came = Vec::new();
            let own = std::iter::once(&mut self.own);
            let judges = own.chain(self.terms.iter_mut().map(|(_, judge)| judge)).enumerate();
            for (part, judge) in judges {
                // One that has given all waits for nothing, so the wait is that of the first who has something outstanding.
                let wait = if came.is_empty() { wait } else { Duration::ZERO };
                judge.poll(wait, &mut |ticket, verdict| came.push((ticket, part, verdict)));
            }
            let any = !came.is_empty();
            for (ticket, part, verdict) in came {
                self.take(ticket, part, verdict, sink);
            }
            if any {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Said, judge_all, pure};
    use super::*;
    use std::sync::Arc;

    /// The estimator against counting all subsets.
    #[test]
    fn pass_at_k_is_the_share_of_subsets_with_a_right_one() {
        for n in 1..=7_usize {
            for right in 0..=n {
                for k in 1..=n {
                    let subsets = (0..1_u32 << n).filter(|set| set.count_ones() as usize == k);
                    let (mut all, mut hit) = (0, 0);
                    for set in subsets {
                        all += 1;
                        hit += usize::from(set & ((1 << right) - 1) != 0);
                    }
                    let expected = f64::from(hit as u32) / f64::from(all);
                    assert!(
                        (pass_at(k, n, right) - expected).abs() < 1e-12,
                        "{k} of {n}, {right} right"
                    );
                }
            }
        }
        assert_eq!(OfSamples::Pass(1).reward(&[1.0, 0.0, 0.0, 0.5]), 0.25);
        assert_eq!(OfSamples::Best.reward(&[0.2, 0.7]), 0.7);
        assert_eq!(OfSamples::Mean.reward(&[0.2, 0.6]), 0.4);
    }

    fn reward(config: &str, text: &str) -> Verdict {
        let config: RewardConfig = toml::from_str(config).expect("a table");
        config.check(1).expect("a good one");
        let own = pure(|_, text| match text {
            "nonsense" => Verdict::failed("nonsense"),
            text => Verdict::new(1.0, [("correct", 1.0), ("words", text.split(' ').count() as f64)]),
        });
        let mut judge = config.join(own, &Context::default()).expect("a judge");
        let said = (Arc::new(Example::default()), Said::Text(text.into()));
        judge_all(&mut *judge, vec![said]).remove(0)
    }

    #[test]
    fn terms_are_weighed_and_kept() {
        let two = "[terms]\nbrief = { length = 10 }\npolite = { matches = \"please\" }\n";
        let verdict = reward(two, "please");
        assert_eq!(verdict.reward, 3.0);
        assert_eq!(verdict.terms["polite"], 1.0);
        let weights = "weights = { words = 2.0, polite = -1.0 }\n";
        let verdict = reward(&format!("{weights}{two}"), "now please");
        assert_eq!(
            (verdict.reward, verdict.terms["brief"], verdict.failed),
            (3.0, 1.0, false)
        );
        let verdict = reward(&format!("failed = -1.0\n{weights}{two}"), "nonsense");
        assert!(verdict.failed && verdict.reward == -1.0 && verdict.terms["polite"] == 0.0);
        assert!(reward("weights = { other = 1.0 }", "x").failed);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (text, expected) in [
            ("failed = nan", "reward.failed"),
            ("of_samples = \"pass@3\"", "run.samples is 2"),
            ("selection = \"pareto\"", "reward.order"),
            ("order = [\"a\", \"b\"]", "reward.selection"),
            ("terms = { a = \"likelihood\" }", "reads no text"),
        ] {
            let config: RewardConfig = toml::from_str(text).expect("a table");
            let told = config.check(2).expect_err(text).to_string();
            assert!(told.contains(expected), "{text}: {told}");
        }
        for text in [
            "of_samples = \"pass@0\"",
            "of_samples = \"median\"",
            "selection = \"best\"",
            "weight = 1",
        ] {
            assert!(toml::from_str::<RewardConfig>(text).is_err(), "{text}");
        }
        let config: RewardConfig =
            toml::from_str("weights = { corect = 1.0 }\nterms = { a = { length = 3 } }").expect("a table");
        let told = config
            .check_names(Some(&["correct"]))
            .expect_err("a wrong name")
            .to_string();
        assert!(
            told.contains("`corect`") && told.contains("reward, correct, a"),
            "{told}"
        );
        let gold: RewardConfig = toml::from_str("terms = { a = \"number\" }").expect("a table");
        assert!(gold.join(pure(|_, _| Verdict::default()), &Context::default()).is_err());
    }
}
