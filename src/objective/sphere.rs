//! A test function in place of a model.

use super::{Asks, Item, Objective, Questions, Rollout};
use crate::engine::Finish;
use crate::error::Result;
use crate::search::Layout;
use crate::task::{Split, Verdict};
use std::path::Path;

/// −‖θ − target‖², the same on every question: a smoke test of everything above an objective. Its divergence from the start is what it is from
/// zero, ‖θ‖², and a floor.
pub struct Sphere {
    layout: Layout,
    target: f64,
    floor: f64,
}

impl Sphere {
    /// In `n` dimensions, with the optimum at `target` in each.
    pub fn new(n: usize, target: f64) -> Self {
        Self {
            layout: Layout::new([("x".to_string(), n)]),
            target,
            floor: 0.0,
        }
    }

    /// One of which every divergence is larger by `floor`, as rounding makes it.
    pub fn rounded(n: usize, floor: f64) -> Self {
        Self {
            floor,
            ..Self::new(n, 0.0)
        }
    }
}

impl Objective for Sphere {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn examples(&self, _: Split) -> usize {
        8
    }

    fn evaluate(
        &mut self,
        thetas: &[Vec<f64>],
        questions: &Questions,
        items: &[Item],
        report: &mut dyn FnMut(Vec<Rollout>) -> Result<()>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let value = |theta: &Vec<f64>, question: usize| match questions.asks {
            Asks::DriftFromStart => {
                let kl = theta.iter().map(|x| x * x).sum::<f64>() + self.floor;
                // A logarithm of such a mean has a variance of twice that.
                let sign = if question.is_multiple_of(2) { 1.0 } else { -1.0 };
                kl + sign * (2.0 * kl.abs()).sqrt()
            }
            _ => -theta.iter().map(|x| (x - self.target).powi(2)).sum::<f64>(),
        };
        for item in items {
            if !go_on() {
                return Ok(false);
            }
            report(vec![Rollout {
                item: *item,
                prompt_id: item.question.to_string(),
                prompt: String::new(),
                completion: String::new(),
                verdict: Verdict {
                    reward: value(&thetas[item.candidate], item.question),
                    ..Default::default()
                },
                prompt_tokens: 0,
                tokens: 0,
                finish_reason: Finish::Stop,
            }])?;
        }
        Ok(true)
    }

    fn digest(&self) -> Result<String> {
        Ok(format!("sphere {} around {}", self.layout.dim(), self.target))
    }

    fn export(&self, theta: &[f64], directory: &Path) -> Result<()> {
        let json = serde_json::to_string(theta).expect("JSON of numbers");
        crate::files::write_atomically(&directory.join("theta.json"), json.as_bytes())
    }
}
