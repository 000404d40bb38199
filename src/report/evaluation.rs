//! What an evaluation found: subjects scored on the same questions, each two of them compared, by category, beside best-of-n, and the
//! winner where one was selected. Three renderings of the same numbers: Markdown for reading, CSV with one number a line, JSON.

use crate::error::{Error, Result};
use crate::judge::OfSamples;
use crate::objective::{Rollout, evaluation};
use crate::seed::Seed;
use crate::statistics::{Estimate, mcnemar, mean, sign_flip};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// All that `essa eval` found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Each subject by each decoding on each split that was asked.
    pub scores: Vec<Score>,
    /// Each two subjects on the same questions.
    pub pairs: Vec<Pair>,
    /// Best-of-n.
    pub best_of: Vec<BestOf>,
    /// Who was selected, where somebody was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub winner: Option<String>,
}

/// A subject's score.
#[derive(Clone, Debug, Serialize)]
pub struct Score {
    /// Whose.
    pub subject: String,
    /// On which split.
    pub split: String,
    /// How its tokens were chosen.
    pub decoding: String,
    /// The value of the column that questions were grouped by; empty for all questions.
    pub category: String,
    /// Questions.
    pub questions: usize,
    /// Texts to each.
    pub samples: usize,
    /// The mean reward of a question, with its interval.
    pub score: Bounds,
    /// Means of the judge's terms, and where there are several texts a question of avg@k, pass@k and the best text.
    pub terms: BTreeMap<String, f64>,
    /// Share of texts that ended because their token budget did.
    pub truncated: f64,
    /// Mean tokens of a text.
    pub tokens: f64,
    /// Judgements that failed.
    pub failed: usize,
    /// Of each question; what pairs are compared by.
    pub rewards: Vec<f64>,
}

/// A number and the ends of its 95 % interval.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Bounds {
    /// The number.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl From<Estimate> for Bounds {
    fn from(of: Estimate) -> Self {
        let Estimate { value, low, high } = of;
        Self { value, low, high }
    }
}

/// Two subjects on the same questions.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    /// Whose rewards.
    pub subject: String,
    /// Less whose.
    pub against: String,
    /// On which split.
    pub split: String,
    /// How tokens were chosen.
    pub decoding: String,
    /// The mean difference, with its interval.
    pub difference: Bounds,
    /// How likely so large a difference is between equals, in either direction.
    pub p_value: f64,
    /// Which test says so.
    pub test: &'static str,
}

/// The best of several texts by a judge, under the task's judge.
#[derive(Clone, Debug, Serialize)]
pub struct BestOf {
    /// Whose texts.
    pub subject: String,
    /// On which split.
    pub split: String,
    /// Who selects.
    pub selector: String,
    /// Texts to each question.
    pub n: usize,
    /// The mean reward of what was selected, with its interval.
    pub score: Bounds,
    /// Mean reward of one text.
    pub of_one: f64,
    /// Mean tokens written to a question, all texts together.
    pub tokens: f64,
}

impl Score {
    /// Of one subject's rollouts, in the order of their items.
    pub fn of(subject: &str, split: &str, decoding: &str, rollouts: &[&Rollout], rule: OfSamples) -> Self {
        let whole = evaluation(rollouts, rule);
        let questions = by_question(rollouts);
        let samples = questions.first().map_or(1, Vec::len);
        let mut terms = whole.terms;
        if samples > 1 {
            let average = terms.remove("mean").expect("the mean of several texts");
            terms.insert(format!("avg@{samples}"), average);
            for k in (0..usize::BITS).map(|bit| 1 << bit).take_while(|k| *k < samples) {
                let pass: Vec<f64> = questions.iter().map(|own| OfSamples::Pass(k).reward(own)).collect();
                terms.insert(format!("pass@{k}"), mean(&pass));
            }
        }
        let texts = rollouts.len().max(1) as f64;
        Self {
            subject: subject.into(),
            split: split.into(),
            decoding: decoding.into(),
            category: String::new(),
            questions: questions.len(),
            samples,
            score: Estimate::of_mean(&whole.rewards).into(),
            terms,
            truncated: whole.truncated as f64 / texts,
            tokens: whole.completion_tokens as f64 / texts,
            failed: whole.failed,
            rewards: whole.rewards,
        }
    }

    /// The same by category, which each example has by its id; nothing where none has one.
    pub fn by_category(
        whole: &Self,
        rollouts: &[&Rollout],
        rule: OfSamples,
        categories: &BTreeMap<String, String>,
    ) -> Vec<Self> {
        let mut groups: BTreeMap<&str, Vec<&Rollout>> = BTreeMap::new();
        for text in rollouts {
            if let Some(category) = categories.get(&text.prompt_id) {
                groups.entry(category).or_default().push(text);
            }
        }
        let score = |(category, own): (&str, Vec<&Rollout>)| Self {
            category: category.into(),
            ..Self::of(&whole.subject, &whole.split, &whole.decoding, &own, rule)
        };
        groups.into_iter().map(score).collect()
    }
}

impl Pair {
    /// `subject` less `against`, on the same questions. Rewards of 0 and 1 are held by McNemar's exact test, others by flipped signs, which
    /// `seed` draws.
    pub fn of(subject: &Score, against: &Score, seed: Seed) -> Self {
        let (after, before) = (&subject.rewards, &against.rewards);
        let mut draw = 0;
        let mut coin = || {
            draw += 1;
            seed.fold(draw).uniform() < 0.5
        };
        let (p_value, test) = match mcnemar(after, before) {
            Some(p) => (p, "McNemar, exact"),
            None => (sign_flip(after, before, &mut coin), "sign flips"),
        };
        Self {
            subject: subject.subject.clone(),
            against: against.subject.clone(),
            split: subject.split.clone(),
            decoding: subject.decoding.clone(),
            difference: Estimate::of_gain(after, before).into(),
            p_value,
            test,
        }
    }
}

impl BestOf {
    /// Of one subject's rollouts, in the order of their items, as `chosen_by` values them: the first of the most valued among the first `n`
    /// texts of each question.
    pub fn of(subject: &str, split: &str, selector: &str, n: usize, rollouts: &[&Rollout], chosen_by: &[f64]) -> Self {
        let (mut best, mut one, mut tokens, mut at) = (Vec::new(), Vec::new(), 0, 0);
        for texts in rollouts.chunk_by(|a, b| a.item.question == b.item.question) {
            let own = &texts[..n.min(texts.len())];
            let mut chosen = 0;
            for text in 1..own.len() {
                if chosen_by[at + text] > chosen_by[at + chosen] {
                    chosen = text;
                }
            }
            best.push(own[chosen].verdict.reward);
            one.extend(own.iter().map(|text| text.verdict.reward));
            tokens += own.iter().map(|text| text.tokens).sum::<usize>();
            at += texts.len();
        }
        Self {
            subject: subject.into(),
            split: split.into(),
            selector: selector.into(),
            n,
            score: Estimate::of_mean(&best).into(),
            of_one: mean(&one),
            tokens: tokens as f64 / best.len().max(1) as f64,
        }
    }
}

fn by_question(rollouts: &[&Rollout]) -> Vec<Vec<f64>> {
    let rewards = |texts: &[&Rollout]| texts.iter().map(|text| text.verdict.reward).collect();
    rollouts
        .chunk_by(|a, b| a.item.question == b.item.question)
        .map(rewards)
        .collect()
}

impl Report {
    /// The subject with the best score by the first decoding; of equals the first. None where nothing was scored.
    pub fn best(&self) -> Option<&str> {
        let decoding = &self.scores.first()?.decoding;
        let whole = |own: &&Score| own.decoding == *decoding && own.category.is_empty();
        let of_all = self.scores.iter().filter(whole);
        let best = of_all.reduce(|best, own| if own.score.value > best.score.value { own } else { best });
        best.map(|own| own.subject.as_str())
    }

    /// The report as the ending of `path` says: `md`, `csv` or `json`.
    pub fn rendered(&self, path: &Path) -> Result<String> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("md") => Ok(self.markdown()),
            Some("csv") => Ok(self.csv()),
            Some("json") => Ok(serde_json::to_string_pretty(self).expect("JSON of text and numbers") + "\n"),
            _ => Err(Error::config(format!(
                "--output {}: expected a name that ends in .md, .csv or .json",
                path.display()
            ))),
        }
    }

    /// Tables for reading.
    pub fn markdown(&self) -> String {
        let bounds = |of: &Bounds| format!("{:.4} [{:.4}, {:.4}]", of.value, of.low, of.high);
        let mut text = String::from(
            "Scores with 95 % intervals\n\n| subject | split | decoding | category | questions | score | terms | truncated | tokens | failed |\n|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for own in &self.scores {
            let terms: Vec<String> = own
                .terms
                .iter()
                .map(|(name, x)| format!("{} {x:.4}", cell(name)))
                .collect();
            text += &format!(
                "| {} | {} | {} | {} | {} | {} | {} | {:.3} | {:.1} | {} |\n",
                cell(&own.subject),
                own.split,
                own.decoding,
                cell(&own.category),
                own.questions,
                bounds(&own.score),
                terms.join(", "),
                own.truncated,
                own.tokens,
                own.failed
            );
        }
        if !self.pairs.is_empty() {
            text += "\nDifferences on the same questions\n\n| subject | less | split | decoding | difference | p | test |\n|---|---|---|---|---|---|---|\n";
        }
        for own in &self.pairs {
            let (subject, against) = (cell(&own.subject), cell(&own.against));
            let (difference, p) = (bounds(&own.difference), own.p_value);
            text += &format!(
                "| {subject} | {against} | {} | {} | {difference} | {p:.4} | {} |\n",
                own.split, own.decoding, own.test
            );
        }
        if !self.best_of.is_empty() {
            text += "\nBest of n\n\n| subject | split | selected by | n | score | one text | tokens a question |\n|---|---|---|---|---|---|---|\n";
        }
        for own in &self.best_of {
            let (subject, selector) = (cell(&own.subject), cell(&own.selector));
            text += &format!(
                "| {subject} | {} | {selector} | {} | {} | {:.4} | {:.1} |\n",
                own.split,
                own.n,
                bounds(&own.score),
                own.of_one,
                own.tokens
            );
        }
        if let Some(winner) = &self.winner {
            text += &format!(
                "\nSelected: {winner}. The score that it was selected by is biased upwards; that on the test split is not.\n"
            );
        }
        text
    }

    /// One number a line; docs/evaluation.md has the columns.
    pub fn csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let header = [
            "table", "subject", "against", "split", "decoding", "category", "metric", "value", "low", "high",
            "p_value", "test",
        ];
        writer.write_record(header).expect("a row in memory");
        let mut line = |table: &str, words: [&str; 6], value: f64, ends: Option<Bounds>, [p_value, test]: [&str; 2]| {
            let [low, high] = ends.map_or_else(Default::default, |own| [own.low.to_string(), own.high.to_string()]);
            let [subject, against, split, decoding, category, metric] = words;
            let value = value.to_string();
            let row = [
                table, subject, against, split, decoding, category, metric, &value, &low, &high, p_value, test,
            ];
            writer.write_record(row).expect("a row in memory");
        };
        for own in &self.scores {
            let words = |metric| [&*own.subject, "", &*own.split, &*own.decoding, &*own.category, metric];
            line("score", words("score"), own.score.value, Some(own.score), ["", ""]);
            let terms = own.terms.iter().map(|(name, value)| (name.as_str(), *value));
            let others = [
                ("truncated", own.truncated),
                ("tokens", own.tokens),
                ("questions", own.questions as f64),
                ("samples", own.samples as f64),
                ("failed", own.failed as f64),
            ];
            for (name, value) in terms.chain(others) {
                line("score", words(name), value, None, ["", ""]);
            }
        }
        for own in &self.pairs {
            let words = [&*own.subject, &own.against, &own.split, &own.decoding, "", "difference"];
            let p_value = own.p_value.to_string();
            line(
                "pair",
                words,
                own.difference.value,
                Some(own.difference),
                [&p_value, own.test],
            );
        }
        for own in &self.best_of {
            let decoding = format!("best of {} by {}", own.n, own.selector);
            let words = |metric| [&*own.subject, "", &*own.split, &*decoding, "", metric];
            line("best_of", words("score"), own.score.value, Some(own.score), ["", ""]);
            line("best_of", words("one_text"), own.of_one, None, ["", ""]);
            line("best_of", words("tokens_a_question"), own.tokens, None, ["", ""]);
        }
        if let Some(winner) = &self.winner {
            line("winner", [winner, "", "", "", "", "selected"], 1.0, None, ["", ""]);
        }
        String::from_utf8(writer.into_inner().expect("a writer to memory")).expect("CSV of text")
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}
