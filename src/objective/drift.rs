//! How far a candidate is from a reference model, in nats, by forward passes alone. Texts y are sampled from the reference at temperature 1;
//! what a text is worth is `log p_ref(y | x) − log p_θ(y | x)`, summed over its tokens and the one that ended it. Its mean over texts is the
//! Kullback-Leibler divergence KL(p_ref ‖ p_θ) of a response (of at most `generation.max_new_tokens` tokens), without bias whatever θ is,
//! because nothing of θ decides the texts. All candidates are asked about the same ones, so what a text adds to all of them cancels between two.
//!
//! A text is written when a candidate is first asked about its prompt, from a stream that hangs on the run's seed and the prompt alone, so each
//! rank writes those of its own share and all have the same.

use super::exam::Prepared;
use super::{Item, Questions, Rollout};
use crate::adapter::AdapterBank;
use crate::engine::{Completion, Engine, Finish, Request, Sampling, ScoreRequest};
use crate::error::Result;
use crate::seed::Seed;
use crate::task::{Split, Verdict};
use std::collections::{BTreeMap, BTreeSet};

/// The reference, and what it has written.
#[derive(Debug)]
pub struct Drift {
    /// Who writes.
    pub reference: Reference,
    seed: Seed,
    texts: BTreeMap<(Split, usize), Text>,
}

/// Whose texts are scored.
#[derive(Debug)]
pub enum Reference {
    /// θ = start, with the adapter that it starts with.
    Start,
    /// The base model without any adapter.
    Base,
    /// The average of several adapters: a bank with it as its only candidate.
    Average(AdapterBank),
}

#[derive(Debug)]
struct Text {
    /// With the token that ended it.
    ids: Vec<u32>,
    finish: Finish,
    /// Natural logarithms of the tokens' probabilities under the reference.
    logarithms: Vec<f32>,
}

/// What the model is asked with, whoever it is.
pub struct Asking<'a> {
    /// The engine.
    pub engine: &'a mut Engine,
    /// Examples of the split.
    pub examples: &'a [Prepared],
    /// What is asked.
    pub questions: &'a Questions,
    /// Of whom.
    pub items: &'a [Item],
}

/// The whole distribution: no token is left out, and none is favoured.
const PLAIN: Sampling = Sampling {
    temperature: 1.0,
    top_p: 1.0,
    top_k: 0,
};

impl Drift {
    /// From a reference, whose texts are drawn from `seed`.
    pub fn new(reference: Reference, seed: Seed) -> Self {
        Self {
            reference,
            seed,
            texts: BTreeMap::new(),
        }
    }

    /// Has the reference write what is asked about and not there yet, texts of at most `max_new_tokens`, and scores it. `start` is a bank with
    /// the start as its only candidate. Returns whether all is there, which it is not when `go_on` says no.
    pub fn write(
        &mut self,
        asking: &mut Asking,
        start: &AdapterBank,
        stop: &[u32],
        max_new_tokens: usize,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let split = asking.questions.split;
        let asked = asking
            .items
            .iter()
            .map(|item| asking.questions.indices[item.question])
            .filter(|&example| !self.texts.contains_key(&(split, example)));
        let missing: Vec<usize> = asked.collect::<BTreeSet<usize>>().into_iter().collect();
        if missing.is_empty() {
            return Ok(true);
        }
        let bank = match &self.reference {
            Reference::Start => Some(start),
            Reference::Base => None,
            Reference::Average(bank) => Some(bank),
        };
        let stream = self.seed.fold(split as u64);
        let request = |&example: &usize| Request {
            prompt_ids: asking.examples[example].prompt_ids.clone(),
            candidate: 0,
            max_new_tokens,
            sampling: PLAIN,
            seed: stream.fold(example as u64),
            stop: stop.to_vec(),
        };
        let requests: Vec<Request> = missing.iter().map(request).collect();
        let Some(written) = asking.engine.generate(&requests, bank, go_on)? else {
            return Ok(false);
        };
        let ids = |completion: &Completion| [completion.token_ids.as_slice(), completion.stop.as_slice()].concat();
        let scored: Vec<ScoreRequest> = requests
            .iter()
            .zip(&written)
            .map(|(request, completion)| ScoreRequest {
                prompt_ids: request.prompt_ids.clone(),
                completion_ids: ids(completion),
                candidate: 0,
            })
            .collect();
        let logarithms = asking.engine.score(&scored, bank)?;
        for (((example, request), completion), logarithms) in
            missing.into_iter().zip(scored).zip(written).zip(logarithms)
        {
            let text = Text {
                ids: request.completion_ids,
                finish: completion.finish,
                logarithms,
            };
            self.texts.insert((split, example), text);
        }
        Ok(true)
    }

    /// Scores the texts under the candidates of `bank`: a rollout for each item, whose reward is in nats.
    pub fn score(
        &self,
        asking: &mut Asking,
        bank: &AdapterBank,
        report: &mut dyn FnMut(Vec<Rollout>) -> Result<()>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let Asking {
            engine,
            examples,
            questions,
            items,
        } = asking;
        let example = |item: &Item| questions.indices[item.question];
        let text = |item: &Item| &self.texts[&(questions.split, example(item))];
        let request = |item: &Item| ScoreRequest {
            prompt_ids: examples[example(item)].prompt_ids.clone(),
            completion_ids: text(item).ids.clone(),
            candidate: item.candidate,
        };
        let requests: Vec<ScoreRequest> = items.iter().map(request).collect();
        let mut hand_in = |scores: Vec<(usize, Vec<f32>)>| {
            let rollouts = scores.into_iter().map(|(index, logarithms)| {
                let item = items[index];
                let text = text(&item);
                let pairs = text.logarithms.iter().zip(&logarithms);
                let nats: f64 = pairs.map(|(own, other)| f64::from(*own) - f64::from(*other)).sum();
                let mut rollout = examples[example(&item)].rollout(item, String::new(), text.ids.len(), text.finish);
                rollout.verdict = Verdict::new(nats, []);
                rollout
            });
            report(rollouts.collect())
        };
        engine.score_each(&requests, Some(bank), &mut hand_in, go_on)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::peft::PeftAdapter;
    use crate::engine::Limits;
    use crate::judge::Example;
    use crate::model::{LoadOptions, Precision, Transformer, Weights};
    use crate::space::mix::{Per, mix};
    use crate::statistics::{Estimate, mean, standard_error};
    use serde::Deserialize;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    #[derive(Deserialize)]
    struct Fixture {
        model: String,
        stop: Vec<u32>,
        max_new_tokens: usize,
        rows: Vec<Exact>,
        /// The diagonal of the Fisher information, by matrix.
        fisher: BTreeMap<String, f64>,
    }

    #[derive(Deserialize)]
    struct Exact {
        prompt_ids: Vec<u32>,
        kl: f64,
    }

    fn fixtures() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fixtures")
    }

    fn fixture() -> Fixture {
        let text = std::fs::read_to_string(fixtures().join("drift.json")).expect("the fixture");
        serde_json::from_str(&text).expect("JSON")
    }

    /// So many times each prompt of the fixture.
    fn prompts(fixture: &Fixture, times: usize) -> Vec<Prepared> {
        let prepared = |at: usize| Prepared {
            example: Arc::new(Example::default()),
            prompt_ids: fixture.rows[at / times].prompt_ids.clone(),
        };
        (0..times * fixture.rows.len()).map(prepared).collect()
    }

    /// The mean over many texts is the exact divergence (PyTorch, whole vocabulary) within its standard error; of the reference itself it is zero.
    #[test]
    fn the_mean_over_texts_is_the_exact_divergence() {
        const TEXTS: usize = 600;
        let fixture = fixture();
        let weights = Weights::open(&fixtures().join(&fixture.model)).expect("a model");
        let model = Transformer::load(&weights, LoadOptions::from(Precision::F32)).expect("a model");
        let adapter = PeftAdapter::read(&fixtures().join("drift-adapter"), weights.config()).expect("an adapter");
        let space = mix(&[adapter], Per::Adapter);
        let mut bank = space.bank(&model);
        // The adapter's weight is 1 + θ, so the second candidate is the base model.
        space.fill(&mut bank, &[vec![0.0], vec![-1.0]]);
        let mut engine = Engine::new(model, Limits::default());
        let examples = prompts(&fixture, TEXTS);
        let questions = Questions::new(Split::Test, (0..examples.len()).collect(), Seed::new(0));
        let items: Vec<Item> = (0..2)
            .flat_map(|candidate| questions.items(candidate, 0..examples.len()))
            .collect();
        let mut asking = Asking {
            engine: &mut engine,
            examples: &examples,
            questions: &questions,
            items: &items,
        };
        let mut drift = Drift::new(Reference::Base, Seed::new(5));
        let go_on = &mut || true;
        let written = drift.write(&mut asking, &bank, &fixture.stop, fixture.max_new_tokens, go_on);
        assert!(written.expect("texts"));
        let ended = drift.texts.values().filter(|text| text.finish == Finish::Stop).count();
        assert!(ended > TEXTS / 4 && ended < 3 * TEXTS, "{ended}");
        let mut nats = vec![[0.0; 2]; examples.len()];
        let mut take = |some: Vec<Rollout>| {
            for rollout in some {
                nats[rollout.item.question][rollout.item.candidate] = rollout.verdict.reward;
            }
            Ok(())
        };
        assert!(drift.score(&mut asking, &bank, &mut take, go_on).expect("scores"));
        for (row, nats) in fixture.rows.iter().zip(nats.chunks(TEXTS)) {
            let of_adapter: Vec<f64> = nats.iter().map(|own| own[0]).collect();
            let estimate = Estimate::of_mean(&of_adapter);
            // The interval is of 95 %; twice its width on either side is four standard errors.
            let (low, high) = (
                2.0 * estimate.low - estimate.value,
                2.0 * estimate.high - estimate.value,
            );
            assert!(low < row.kl && row.kl < high, "{estimate} of {}", row.kl);
            assert!(high - low < 0.8 * row.kl, "{estimate} of {} tells nothing", row.kl);
            let of_base = nats.iter().map(|own| own[1].abs()).fold(0.0, f64::max);
            assert!(of_base < 1e-5, "{of_base}");
        }
    }

    /// The mean of a small step and its opposite is half of the step's square times the Fisher information (PyTorch, whole vocabulary), within its
    /// standard error: what units are made of.
    #[test]
    fn a_step_and_its_opposite_tell_the_fisher_information() {
        const TEXTS: usize = 400;
        const STEP: f64 = 0.02;
        let fixture = fixture();
        let weights = Weights::open(&fixtures().join(&fixture.model)).expect("a model");
        let model = Transformer::load(&weights, LoadOptions::from(Precision::F32)).expect("a model");
        let adapter = PeftAdapter::read(&fixtures().join("drift-adapter"), weights.config()).expect("an adapter");
        let space = mix(&[adapter], Per::Module);
        let mut bank = space.bank(&model);
        let slots = space.layout().slots().to_vec();
        assert!(slots.len() == fixture.fisher.len() && slots.len() > 4, "{slots:?}");
        let n = slots.len();
        let mut engine = Engine::new(model, Limits::default());
        let examples = prompts(&fixture, TEXTS);
        let questions = Questions::new(Split::Test, (0..examples.len()).collect(), Seed::new(0));
        let items: Vec<Item> = (0..2 * n)
            .flat_map(|candidate| questions.items(candidate, 0..examples.len()))
            .collect();
        let mut asking = Asking {
            engine: &mut engine,
            examples: &examples,
            questions: &questions,
            items: &items,
        };
        let go_on = &mut || true;
        let mut drift = Drift::new(Reference::Start, Seed::new(6));
        space.fill(&mut bank, &[vec![0.0; n]]);
        assert!(
            drift
                .write(&mut asking, &bank, &fixture.stop, fixture.max_new_tokens, go_on)
                .expect("texts")
        );
        let theta = |candidate: usize| {
            let mut theta = vec![0.0; n];
            theta[candidate / 2] = if candidate.is_multiple_of(2) { STEP } else { -STEP };
            theta
        };
        space.fill(&mut bank, &(0..2 * n).map(theta).collect::<Vec<_>>());
        // By the logarithm, and by its square.
        let mut found = [vec![vec![0.0; examples.len()]; n], vec![vec![0.0; examples.len()]; n]];
        let mut take = |some: Vec<Rollout>| {
            for rollout in some {
                let (slot, question, x) = (
                    rollout.item.candidate / 2,
                    rollout.item.question,
                    rollout.verdict.reward,
                );
                found[0][slot][question] += x / (STEP * STEP);
                found[1][slot][question] += ((-x).exp_m1() + x) / (STEP * STEP);
            }
            Ok(())
        };
        assert!(drift.score(&mut asking, &bank, &mut take, go_on).expect("scores"));
        for (slot, found) in found.iter().flat_map(|found| slots.iter().zip(found)) {
            let (_, exact) = fixture
                .fisher
                .iter()
                .find(|(matrix, _)| slot.name.contains(matrix.as_str()))
                .expect("a matrix of the fixture");
            let (own, error) = (mean(found), standard_error(found));
            assert!(
                (own - exact).abs() < 4.0 * error,
                "{}: {own} ± {error}, exactly {exact}",
                slot.name
            );
            assert!(
                error < 0.25 * exact,
                "{}: ± {error} of {exact} tells nothing",
                slot.name
            );
        }
    }
}
