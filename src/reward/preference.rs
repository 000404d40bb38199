//! What a preference earns: published objectives over pairs and labels as numbers that a search maximises, each the negative of the loss that its
//! authors minimise. They read log-probabilities of given texts and no text. y_w is the chosen text, y_l the rejected one, π a candidate, π_ref
//! the start of the search, log π(y|x) the sum over the tokens of y, |y| their number, and Δ = log π(y|x) − log π_ref(y|x).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which objective.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// log σ(β Δ_w − β Δ_l): Rafailov et al., *Direct Preference Optimization*, arXiv 2305.18290, equation 7.
    #[default]
    Dpo,
    /// log σ(β Δ_w / |y_w| − β Δ_l / |y_l|): the same with Δ a token, so that a long text is no stronger for its length (LN-DPO; Lambert et al.,
    /// *Tülu 3*, arXiv 2411.15124).
    LnDpo,
    /// −x_w + β log σ(φ(x_w) − φ(x_l)), with φ(x) = x / (eˣ − 1) and x = −log π(y|x) / |y|: the likelihood of the chosen text, and its margin over
    /// the rejected one through a bounded link; no reference. MaPO (Hong et al., arXiv 2406.06424, and its authors' code) with the negative
    /// log-likelihood of a token where a diffusion model has its squared error, and without the factor of its number of steps.
    Mapo,
    /// log σ(β Δ − δ) of a desirable text, log σ(δ − β Δ) of an undesirable one; of a pair the mean of the two. Jung et al., *Binary Classifier
    /// Optimization*, arXiv 2404.04656. There δ is a running mean of β Δ; here it is a setting, and 0, which is that
    /// mean at the start of every search, unless told: so a reward stays a function of the candidate alone.
    Bco,
    /// 1 where β Δ_w > β Δ_l, 0 where it is less, and ½ where they are equal, as they are for every pair at the start (TRL counts 0 there).
    Accuracy,
    /// β Δ_w − β Δ_l.
    Margin,
}

/// A goal with its numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preference {
    /// Which.
    pub goal: Goal,
    /// β.
    pub beta: f64,
    /// δ, in units of β Δ; [`Goal::Bco`] alone has it.
    pub delta: f64,
}

/// What is known of one text: its tokens' natural log-probabilities, of the candidate and, where the goal needs them, of the start.
#[derive(Clone, Copy, Debug)]
pub struct Scored<'a> {
    /// `[tokens]`, of the candidate.
    pub candidate: &'a [f32],
    /// `[tokens]`, of the start; empty where it was not asked for.
    pub start: &'a [f32],
}

/// The reward and its terms by name; what is not a number stays so.
pub type Earned = (f64, BTreeMap<&'static str, f64>);

impl Goal {
    /// Whether it needs to know what the start says.
    pub fn needs_reference(self) -> bool {
        self != Self::Mapo
    }
}

impl Preference {
    /// What a pair earns. Terms, as TRL names them below `rewards/`: `chosen` and `rejected` are what stands for each side in the comparison
    /// (β Δ, β Δ / |y|, or of MaPO −x), `margin` their difference, `accuracy` whether it is positive; `loss` is the loss of the goal, and the DPO loss
    /// beside `accuracy` and `margin`.
    pub fn pair(&self, chosen: Scored, rejected: Scored) -> Earned {
        let [of_chosen, of_rejected] = [chosen, rejected].map(|text| self.implicit(text));
        let margin = of_chosen - of_rejected;
        let accuracy = match margin.partial_cmp(&0.0) {
            Some(order) => f64::from(order as i8).midpoint(1.0),
            None => f64::NAN,
        };
        let loss = match self.goal {
            Goal::Mapo => {
                let [link_chosen, link_rejected] = [of_chosen, of_rejected].map(|own| bounded(-own));
                -of_chosen - self.beta * log_sigmoid(link_chosen - link_rejected)
            }
            Goal::Bco => f64::midpoint(self.classified(of_chosen, true), self.classified(of_rejected, false)),
            _ => -log_sigmoid(margin),
        };
        let reward = match self.goal {
            Goal::Accuracy => accuracy,
            Goal::Margin => margin,
            _ => -loss,
        };
        let terms = [
            ("accuracy", accuracy),
            ("margin", margin),
            ("chosen", of_chosen),
            ("rejected", of_rejected),
            ("loss", loss),
        ];
        (reward, terms.into())
    }

    /// What one text earns that is desirable or not, under [`Goal::Bco`]. `accuracy` is whether the classifier is right, ½ where it is undecided.
    pub fn labelled(&self, text: Scored, desirable: bool) -> Earned {
        let implicit = self.implicit(text);
        let right = if desirable {
            implicit - self.delta
        } else {
            self.delta - implicit
        };
        let accuracy = right
            .partial_cmp(&0.0)
            .map_or(f64::NAN, |order| f64::from(order as i8).midpoint(1.0));
        let loss = self.classified(implicit, desirable);
        let side = if desirable { "chosen" } else { "rejected" };
        (-loss, [("accuracy", accuracy), (side, implicit), ("loss", loss)].into())
    }

    /// What stands for a text in a comparison.
    fn implicit(&self, text: Scored) -> f64 {
        let sum = |logarithms: &[f32]| logarithms.iter().map(|&own| f64::from(own)).sum::<f64>();
        let tokens = text.candidate.len() as f64;
        match self.goal {
            Goal::Mapo => sum(text.candidate) / tokens,
            _ if text.start.len() != text.candidate.len() => f64::NAN,
            Goal::LnDpo => self.beta * ((sum(text.candidate) - sum(text.start)) / tokens),
            _ => self.beta * (sum(text.candidate) - sum(text.start)),
        }
    }

    /// The loss of the binary classifier.
    fn classified(&self, implicit: f64, desirable: bool) -> f64 {
        let logit = implicit - self.delta;
        -log_sigmoid(if desirable { logit } else { -logit })
    }
}

/// log σ(x), without overflow on either side.
fn log_sigmoid(x: f64) -> f64 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

/// MaPO's link x / (eˣ − 1): 1 at x = 0, and falling to 0 as x grows.
fn bounded(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { x / x.exp_m1() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preference(goal: Goal) -> Preference {
        Preference {
            goal,
            beta: 0.1,
            delta: 0.0,
        }
    }

    fn text<'a>(candidate: &'a [f32], start: &'a [f32]) -> Scored<'a> {
        Scored { candidate, start }
    }

    #[test]
    fn the_start_is_a_tie_and_costs_what_a_coin_does() {
        let (one, two) = ([-1.5, -0.25], [-3.0, -0.125, -7.0]);
        let tie = [text(&one, &one), text(&two, &two)];
        for goal in [Goal::Dpo, Goal::LnDpo, Goal::Bco, Goal::Accuracy, Goal::Margin] {
            let (reward, terms) = preference(goal).pair(tie[0], tie[1]);
            assert_eq!((terms["accuracy"], terms["margin"]), (0.5, 0.0), "{goal:?}");
            assert!((terms["loss"] - 2_f64.ln()).abs() < 1e-15, "{goal:?}");
            assert_eq!(
                reward,
                match goal {
                    Goal::Accuracy => 0.5,
                    Goal::Margin => 0.0,
                    _ => -terms["loss"],
                }
            );
        }
    }

    #[test]
    fn what_is_no_number_is_none_in_the_end() {
        let (good, nan, never) = ([-1.0, -2.0], [f32::NAN, -2.0], [f32::NEG_INFINITY, -2.0]);
        for goal in [Goal::Dpo, Goal::LnDpo, Goal::Bco, Goal::Accuracy, Goal::Margin] {
            let of = |chosen: Scored| preference(goal).pair(chosen, text(&good, &good)).0;
            assert!(
                of(text(&nan, &good)).is_nan() && of(text(&good, &nan)).is_nan(),
                "{goal:?}"
            );
            assert!(of(text(&never, &never)).is_nan(), "{goal:?}");
            assert!(
                of(text(&good, &good[..1])).is_nan(),
                "{goal:?}: a reference of another text"
            );
        }
    }

    /// Far from zero a loss is the margin itself, and the link of an unlikely text is 0.
    #[test]
    fn no_side_overflows() {
        assert_eq!([log_sigmoid(800.0), log_sigmoid(-800.0)], [0.0, -800.0]);
        assert_eq!([bounded(0.0), bounded(800.0)], [1.0, 0.0]);
        assert!((bounded(1e-9) - 1.0).abs() < 1e-8);
    }
}
