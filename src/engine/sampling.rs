//! From one row of logits to one token. The uniform number comes from outside, out of the row's own stream, so a
//! text does not depend on what else is in the batch. A row is never sorted, and the order of every sum is the row's own,
//! so the same row and the same number give the same token anywhere.

use crate::error::{Error, Result};
use crate::model::kernels::{Softmax, argmax, softmax_span_sums, softmax_weights, span_maxima};
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
    /// temperature, top-k, top-p. The uniform number walks what they keep from the likeliest token down, and without
    /// them the vocabulary as it stands. A token whose logit is no number or −∞ is never drawn, if there is another.
    pub fn choose(&self, logits: &[f32], uniform: f64) -> usize {
        if self.is_greedy() {
            return argmax(logits) as usize;
        }
        let row = Row::new(logits, self.temperature);
        let drawn = match (self.keeps_few(logits.len()), self.top_p < 1.0) {
            (false, false) => row.draw(uniform),
            (true, _) => {
                let mut tokens = row.likeliest(self.top_k);
                let total = row.weights(&tokens).iter().sum();
                row.draw_sorted(&mut tokens, self.top_p, total, uniform)
            }
            (false, true) => {
                let total = row.span_sums().iter().sum();
                let mut tokens = row.reaching(row.below_mass(self.top_p, total));
                row.draw_sorted(&mut tokens, self.top_p, total, uniform)
            }
        };
        // Nothing has a weight where the largest is no finite number, or the temperature nearly none.
        drawn.unwrap_or_else(|| argmax(logits) as usize)
    }

    fn keeps_few(&self, vocab: usize) -> bool {
        self.top_k > 0 && self.top_k < vocab
    }
}

/// A token and its logit in one number, the likelier the smaller; of equals, the first is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ranked(u64);

impl Ranked {
    fn new(token: usize, logit: f32) -> Self {
        Self(u64::from(!Self::turned(logit.to_bits())) << 32 | token as u64)
    }

    fn token(self) -> usize {
        self.0 as u32 as usize
    }

    fn logit(self) -> f32 {
        let bits = !((self.0 >> 32) as u32);
        f32::from_bits(if bits >> 31 == 1 { bits ^ 1 << 31 } else { !bits })
    }

    /// Bits in the order of the numbers that they stand for: negative ones count backwards.
    fn turned(bits: u32) -> u32 {
        if bits >> 31 == 1 { !bits } else { bits ^ 1 << 31 }
    }
}

/// Neighbouring tokens that are looked at as one before they are looked at one by one.
const SPAN: usize = 256;

/// A row of logits, and the largest of each span.
struct Row<'a> {
    logits: &'a [f32],
    temperature: f64,
    maxima: Vec<f32>,
    softmax: Softmax,
}

impl<'a> Row<'a> {
    fn new(logits: &'a [f32], temperature: f64) -> Self {
        let mut maxima = vec![0.0; logits.len().div_ceil(SPAN)];
        span_maxima(logits, SPAN, &mut maxima);
        let softmax = Softmax {
            largest: maxima.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            inverse_temperature: (1.0 / temperature) as f32,
        };
        Self {
            logits,
            temperature,
            maxima,
            softmax,
        }
    }

    /// The token where `uniform` of the vocabulary's weight is passed.
    fn draw(&self, uniform: f64) -> Option<usize> {
        let sums = self.span_sums();
        let left = uniform * sums.iter().sum::<f64>();
        let (span, left) = walk(sums.into_iter(), left)?;
        let first = span * SPAN;
        let logits = &self.logits[first..self.logits.len().min(first + SPAN)];
        let mut weights = [0.0; SPAN];
        softmax_weights(self.softmax, logits, &mut weights);
        let (inside, _) = walk(weights[..logits.len()].iter().copied().map(f64::from), left)?;
        Some(first + inside)
    }

    fn span_sums(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.maxima.len()];
        softmax_span_sums(self.softmax, self.logits, SPAN, &mut sums);
        sums
    }

    /// The token where `uniform` of the weight of those is passed that `top_p` of `total` keeps, likeliest first.
    fn draw_sorted(&self, tokens: &mut [Ranked], top_p: f64, total: f64, uniform: f64) -> Option<usize> {
        let (mut kept, mut mass) = (tokens.len(), total);
        if top_p < 1.0 {
            // The token that fills the share up to the last bit is the last one.
            let wanted = (top_p * total).next_down();
            let (last, left) = self.passes(tokens, wanted)?;
            kept = last + 1;
            mass = wanted - left + self.weights(&tokens[last..kept])[0];
        }
        let (place, _) = self.passes(&mut tokens[..kept], uniform * mass)?;
        Some(tokens[place].token())
    }

    /// [`walk`] over the tokens from the likeliest down, all of which weigh something. Nothing is sorted but a last few:
    /// halves are parted, and only the one in which the walk ends is looked into. The tokens before that end up before it.
    fn passes(&self, tokens: &mut [Ranked], mut left: f64) -> Option<(usize, f64)> {
        const FEW: usize = 64;
        let mut range = 0..tokens.len();
        while range.len() > FEW {
            let middle = range.len() / 2;
            let within = &mut tokens[range.clone()];
            within.select_nth_unstable(middle);
            let weight: f64 = self.weights(&within[..middle]).iter().sum();
            if left < weight {
                range.end = range.start + middle;
            } else {
                left -= weight;
                range.start += middle;
            }
        }
        let within = &mut tokens[range.clone()];
        within.sort_unstable();
        let (place, left) = walk(self.weights(within).into_iter(), left)?;
        Some((range.start + place, left))
    }

    fn weights(&self, tokens: &[Ranked]) -> Vec<f64> {
        let logits: Vec<f32> = tokens.iter().map(|token| token.logit()).collect();
        let mut weights = vec![0.0; tokens.len()];
        softmax_weights(self.softmax, &logits, &mut weights);
        weights.into_iter().map(f64::from).collect()
    }

    /// The `k` likeliest tokens, as far as they weigh something.
    fn likeliest(&self, k: usize) -> Vec<Ranked> {
        let mut tokens = self.reaching(self.below_top(k));
        if k < tokens.len() {
            tokens.select_nth_unstable(k);
            tokens.truncate(k);
        }
        tokens
    }

    /// A logit that at least `k` tokens reach: that of the k-th largest of the spans' maxima, if there are so many.
    fn below_top(&self, k: usize) -> f32 {
        if k > self.maxima.len() {
            return f32::NEG_INFINITY;
        }
        let mut maxima = self.maxima.clone();
        *maxima.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1
    }

    /// A logit that every token reaches which a share `top_p` of `total` needs: all tokens below half of what is left,
    /// shared out over the vocabulary, do not hold what is left.
    fn below_mass(&self, top_p: f64, total: f64) -> f32 {
        let weight = (1.0 - top_p) * total / (2 * self.logits.len()) as f64;
        let cut = f64::from(self.softmax.largest) + self.temperature * weight.ln();
        (cut as f32).next_down()
    }

    /// The tokens whose logits reach `cut` and that weigh something.
    fn reaching(&self, cut: f32) -> Vec<Ranked> {
        let mut tokens = Vec::new();
        for (span, maximum) in self.maxima.iter().enumerate() {
            if *maximum >= cut {
                let first = span * SPAN;
                let logits = self.logits[first..].iter().take(SPAN).enumerate();
                let reach = logits.filter(|(_, logit)| **logit >= cut && self.softmax.weighs(**logit));
                tokens.extend(reach.map(|(inside, logit)| Ranked::new(first + inside, *logit)));
            }
        }
        tokens
    }
}

/// The first of the weights that is more than what is `left` after those before it, and what is left there. Rounding may
/// leave a little after all of them, which is the last one's.
fn walk(weights: impl Iterator<Item = f64>, mut left: f64) -> Option<(usize, f64)> {
    let mut last = None;
    for (place, weight) in weights.enumerate().filter(|(_, weight)| *weight > 0.0) {
        last = Some((place, left));
        if left < weight {
            break;
        }
        left -= weight;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use proptest::prelude::*;

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

    /// Every token that is kept, in the order in which it is drawn, and the probability that ends with it, by sorting all
    /// of them in double precision. The number is how near a filter came to keeping one token more or less.
    fn plainly(sampling: Sampling, logits: &[f32]) -> (Vec<usize>, Vec<f64>, f64) {
        let weight = |token: &usize| (f64::from(logits[*token]) / sampling.temperature).exp();
        let mut order: Vec<usize> = (0..logits.len()).collect();
        let filtered = sampling.top_p < 1.0 || (1..logits.len()).contains(&sampling.top_k);
        if filtered {
            order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
        }
        if sampling.top_k > 0 {
            order.truncate(sampling.top_k);
        }
        let mut nearest = f64::INFINITY;
        if sampling.top_p < 1.0 {
            let total: f64 = order.iter().map(weight).sum();
            let (mut kept, mut sum) = (0, 0.0);
            while kept < order.len() && sum < sampling.top_p {
                sum += weight(&order[kept]) / total;
                nearest = nearest.min((sum - sampling.top_p).abs());
                kept += 1;
            }
            order.truncate(kept);
        }
        let total: f64 = order.iter().map(weight).sum();
        let mut sum = 0.0;
        let ends = order.iter().map(|token| {
            sum += weight(token) / total;
            sum
        });
        let ends = ends.collect();
        (order, ends, nearest)
    }

    proptest! {
        /// Against the plain version. Steps make ties; weights are f32, so a draw within 1e-5 of the edge between two
        /// tokens may fall on either side.
        #[test]
        fn the_token_is_the_plain_versions(
            seed in any::<u64>(), n in 1..3000_usize, spread in 0.1..8.0_f64, steps in prop::sample::select(vec![0.0, 2.0, 0.25]),
            temperature in 0.2..3.0_f64, uniform in 0.0..1.0_f64,
            top_k in prop_oneof![Just(0), 1..400_usize], top_p in prop_oneof![Just(1.0), 0.01..0.9999_f64],
        ) {
            let round = |z: f64| if steps > 0.0 { (z / steps).round() * steps } else { z };
            let logits: Vec<f32> = Seed::new(seed).normals(n).iter().map(|z| round(z * spread) as f32).collect();
            let sampling = Sampling { temperature, top_p, top_k };
            let (order, ends, nearest) = plainly(sampling, &logits);
            prop_assume!(nearest > 1e-6);
            let found = sampling.choose(&logits, uniform);
            let place = order.iter().position(|token| *token == found);
            prop_assert!(place.is_some(), "{} is not kept", found);
            let place = place.expect("just asked");
            let begins = if place > 0 { ends[place - 1] } else { 0.0 };
            prop_assert!(begins - 1e-5 < uniform && uniform < ends[place] + 1e-5, "{} of {:?}", found, order);
        }
    }

    #[test]
    fn what_cannot_be_is_never_drawn() {
        let mut logits = vec![f32::NEG_INFINITY; 600];
        logits[3] = f32::NAN;
        (logits[300], logits[599]) = (1.0, 1.0);
        let all = Sampling {
            temperature: 1.0,
            ..Default::default()
        };
        for sampling in [
            all,
            Sampling { top_k: 5, ..all },
            Sampling { top_k: 500, ..all },
            Sampling { top_p: 0.9, ..all },
            Sampling {
                top_p: 0.9,
                top_k: 5,
                ..all
            },
        ] {
            let drawn = [0.0, 0.4999, 0.5001, 1.0_f64.next_down()].map(|uniform| sampling.choose(&logits, uniform));
            assert_eq!(drawn, [300, 300, 599, 599], "{sampling:?}");
            assert_eq!(sampling.choose(&[f32::NEG_INFINITY, f32::INFINITY], 0.5), 1);
            assert_eq!(sampling.choose(&[f32::NAN; 2], 0.5), 0);
        }
    }

    #[test]
    fn only_a_temperature_of_zero_is_greedy() {
        let at = |temperature: f64| Sampling {
            temperature,
            ..Default::default()
        };
        assert!(at(0.0).is_greedy() && !at(1e-9).is_greedy());
        let checked = |sampling: Sampling| sampling.check("generation").map_err(|error| error.to_string());
        for temperature in [0.0, 0.7, 1e6] {
            assert_eq!(checked(at(temperature)), Ok(()));
        }
        for temperature in [-0.5, f64::INFINITY, f64::NAN] {
            let words = format!("generation.temperature is {temperature}, expected 0 or more");
            assert_eq!(checked(at(temperature)), Err(words));
        }
        let nucleus = |top_p: f64| Sampling { top_p, ..at(1.0) };
        assert_eq!((checked(nucleus(1.0)), checked(nucleus(1e-9))), (Ok(()), Ok(())));
        for top_p in [0.0, -0.1, 1.0_f64.next_up(), f64::NAN] {
            let words = format!("generation.top_p is {top_p}, expected above 0 and at most 1");
            assert_eq!(checked(nucleus(top_p)), Err(words));
        }
    }

    /// Of n equal tokens the one at n · u is drawn, and a number that falls on the edge between two belongs to the second: a
    /// weight of 1 is exact. 200 tokens are more than are sorted at once, 300 more than a span.
    #[test]
    fn equal_tokens_are_drawn_at_even_steps() {
        let all = Sampling {
            temperature: 1.0,
            ..Default::default()
        };
        // All below 0, where a token that weighs nothing could be taken for one that weighs much.
        let drawn = |sampling: Sampling, vocab: usize, uniform: f64| sampling.choose(&vec![-5.0; vocab], uniform);
        for token in 0..128 {
            let uniform = token as f64 / 128.0;
            assert_eq!(drawn(all, 128, uniform), token);
            assert_eq!(drawn(Sampling { top_k: 128, ..all }, 200, uniform), token);
            assert_eq!(drawn(Sampling { top_k: 128, ..all }, 300, uniform), token);
        }
        for (top_p, uniform, token) in [(0.9, 0.505, 45), (0.5, 0.99, 49), (0.25, 0.5, 12)] {
            assert_eq!(drawn(Sampling { top_p, ..all }, 100, uniform), token, "{top_p}");
            // An even temperature changes no equal token.
            let warm = Sampling {
                top_p,
                temperature: 3.0,
                ..all
            };
            assert_eq!(drawn(warm, 100, uniform), token, "{top_p}");
        }
    }

    /// What keeps all keeps the order of the vocabulary, too; what keeps one is greedy.
    #[test]
    fn a_filter_of_all_is_none() {
        let logits = [0.0, 1.0, 0.5];
        let sampling = |top_k: usize| Sampling {
            temperature: 1.0,
            top_k,
            ..Default::default()
        };
        // e⁰ / (e⁰ + e¹ + e^½) is 0.19: 0.1 is the first token's, and the likeliest one's where the walk begins with that.
        let drawn = [0, 1, 2, 3, 4].map(|top_k| sampling(top_k).choose(&logits, 0.1));
        assert_eq!(drawn, [0, 1, 1, 0, 0]);
        assert_eq!(sampling(1).choose(&logits, 0.999), 1);
    }
}
