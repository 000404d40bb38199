//! AdamW (arXiv 1711.05101, algorithm 2) as PyTorch computes it, with the clipping of the gradient's norm before it. libtorch's own keeps its moments to itself,
//! and a warm start that goes on needs them.

use crate::error::Result;
use std::collections::BTreeMap;
use tch::Tensor;

const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-8;

/// First and second moments of each factor, by its name.
#[derive(Debug, Default)]
pub struct AdamW {
    steps: i32,
    moments: BTreeMap<String, [Tensor; 2]>,
}

impl AdamW {
    /// Moves the factors against their gradients and forgets these. Returns the norm that the gradient had before it was clipped to `max_norm`.
    pub fn step(&mut self, factors: &[(String, &Tensor)], rate: f64, decay: f64, max_norm: f64) -> Result<f64> {
        let guard = tch::no_grad_guard();
        let mut squares = 0.0;
        for (_, factor) in factors {
            squares += factor
                .grad()
                .f_square()?
                .f_sum(tch::Kind::Double)?
                .f_double_value(&[])?;
        }
        let norm = squares.sqrt();
        let clip = (max_norm / (norm + 1e-6)).min(1.0);
        self.steps += 1;
        let [first, second] = BETAS.map(|beta| 1.0 - beta.powi(self.steps));
        for (name, factor) in factors {
            let mut gradient = factor.grad();
            let scaled = gradient.f_mul_scalar(clip)?;
            let zeros = || Ok::<_, tch::TchError>([scaled.f_zeros_like()?, scaled.f_zeros_like()?]);
            if !self.moments.contains_key(name) {
                self.moments.insert(name.clone(), zeros()?);
            }
            let [m, v] = self.moments.get_mut(name).expect("just made");
            *m = m.f_mul_scalar(BETAS[0])?.f_add(&scaled.f_mul_scalar(1.0 - BETAS[0])?)?;
            *v = v
                .f_mul_scalar(BETAS[1])?
                .f_add(&scaled.f_square()?.f_mul_scalar(1.0 - BETAS[1])?)?;
            let denominator = v.f_sqrt()?.f_div_scalar(second.sqrt())?.f_add_scalar(EPSILON)?;
            let mut factor = factor.shallow_clone();
            let _ = factor.f_mul_scalar_(1.0 - rate * decay)?;
            let _ = factor.f_sub_(&m.f_div(&denominator)?.f_mul_scalar(rate / first)?)?;
            let _ = gradient.f_zero_()?;
        }
        drop(guard);
        Ok(norm)
    }

    /// The moments, each with a name of its own.
    pub fn moments(&self) -> impl Iterator<Item = (String, &Tensor)> {
        self.moments
            .iter()
            .flat_map(|(name, [m, v])| [(format!("{name}.m"), m), (format!("{name}.v"), v)])
    }

    /// Goes on after so many steps, with what [`AdamW::moments`] gave.
    pub fn restore(factors: &[(String, &Tensor)], saved: &BTreeMap<String, Tensor>, steps: u64) -> Option<Self> {
        let moments = factors.iter().map(|(name, factor)| {
            let [m, v] = ["m", "v"].map(|moment| saved.get(&format!("{name}.{moment}")));
            let fits = |tensor: &&Tensor| tensor.size() == factor.size();
            Some((name.clone(), [m.filter(fits)?.copy(), v.filter(fits)?.copy()]))
        });
        Some(Self {
            steps: steps as i32,
            moments: moments.collect::<Option<_>>()?,
        })
    }
}

/// The learning rate of a step, counted from 0, as a share of the highest: it rises from 0 over `warmup` steps and falls to 0 along half a cosine
/// (`get_cosine_schedule_with_warmup` of transformers).
pub fn cosine(step: u64, warmup: u64, steps: u64) -> f64 {
    if step < warmup {
        return step as f64 / warmup as f64;
    }
    let progress = (step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64;
    (0.5 * (1.0 + (std::f64::consts::PI * progress).cos())).max(0.0)
}
