//! From one row of logits to one token. The uniform number comes from outside, out of the row's own stream, so a
//! text does not depend on what else is in the batch.

use crate::error::{Error, Result};
use crate::model::kernels::argmax;
use serde::{Deserialize, Serialize};

/// How a token is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// 0 chooses the likeliest token; above, logits are divided by it.
    pub temperature: f64,
    /// Keeps the smallest set of likeliest tokens that holds this probability; 1 keeps all.
    pub top_p: f64,
    /// Keeps this many likeliest tokens; 0 keeps all.
    pub top_k: usize,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
        }
    }
}

impl Sampling {
    /// Whether the likeliest token is taken, and no random number.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }

    /// Refuses values outside of their ranges; `place` names them in the message.
    pub fn check(&self, place: &str) -> Result<()> {
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return Err(Error::config(format!(
                "{place}.temperature is {}, expected 0 or more",
                self.temperature
            )));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(Error::config(format!(
                "{place}.top_p is {}, expected above 0 and at most 1",
                self.top_p
            )));
        }
        Ok(())
    }

    /// The token for these logits; `uniform` in [0, 1). Filters apply in the order of Hugging Face's generate:
    /// temperature, top-k, top-p.
    pub fn choose(&self, logits: &[f32], uniform: f64) -> usize {
        if self.is_greedy() {
            return argmax(logits) as usize;
        }
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        let likelier = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
        if self.top_k > 0 && self.top_k < order.len() {
            order.select_nth_unstable_by(self.top_k - 1, likelier);
            order.truncate(self.top_k);
        }
        order.sort_unstable_by(likelier);
        let largest = f64::from(logits[order[0] as usize]);
        let weight = |token: &u32| ((f64::from(logits[*token as usize]) - largest) / self.temperature).exp();
        let weights: Vec<f64> = order.iter().map(weight).collect();
        let total: f64 = weights.iter().sum();
        let mut kept = weights.len();
        if self.top_p < 1.0 {
            let mut sum = 0.0;
            kept = weights
                .iter()
                .take_while(|weight| {
                    let before = sum;
                    sum += **weight;
                    before < self.top_p * total
                })
                .count()
                .max(1);
        }
        let mut left = uniform * weights[..kept].iter().sum::<f64>();
        for (token, weight) in order.iter().zip(&weights[..kept]) {
            left -= weight;
            if left < 0.0 {
                return *token as usize;
            }
        }
        order[kept - 1] as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        assert_eq!(Sampling::default().choose(&[1.0, 3.0, 3.0, f32::NAN], 0.9), 1);
        assert_eq!(Sampling::default().choose(&[0.0, 2.0, 1.0], 0.9), 1);
    }

    /// Frequencies of 20,000 draws against the softmax: a standard error is at most 0.0036, so 0.018 is five of them.
    #[test]
    fn draws_follow_the_softmax_of_what_is_kept() {
        let logits = [0.0_f32, 1.0, 2.0, 3.0];
        let frequencies = |sampling: Sampling| {
            let mut counts = [0.0; 4];
            for draw in 0..20_000 {
                counts[sampling.choose(&logits, Seed::new(5).fold(draw).uniform())] += 1.0 / 20_000.0;
            }
            counts
        };
        let softmax = |keep: [bool; 4], temperature: f64| {
            let weights = [0, 1, 2, 3].map(|i| {
                if keep[i] {
                    (f64::from(logits[i]) / temperature).exp()
                } else {
                    0.0
                }
            });
            weights.map(|w| w / weights.iter().sum::<f64>())
        };
        let all = Sampling {
            temperature: 1.0,
            ..Default::default()
        };
        // Probabilities are 0.032, 0.087, 0.237, 0.644: the last two hold 0.88, the last three 0.97.
        for (sampling, expected) in [
            (all, softmax([true; 4], 1.0)),
            (
                Sampling {
                    temperature: 2.0,
                    ..all
                },
                softmax([true; 4], 2.0),
            ),
            (Sampling { top_k: 2, ..all }, softmax([false, false, true, true], 1.0)),
            (Sampling { top_p: 0.9, ..all }, softmax([false, true, true, true], 1.0)),
            (Sampling { top_p: 0.6, ..all }, [0.0, 0.0, 0.0, 1.0]),
        ] {
            for (found, expected) in frequencies(sampling).iter().zip(expected) {
                assert!((found - expected).abs() < 0.018, "{sampling:?}: {found} {expected}");
                assert!(expected > 0.0 || *found == 0.0);
            }
        }
    }
}
