//! How a candidate writes, as search variables beside those of its adapter: the temperature and the mass of the nucleus.
//! Both stay in their ranges for any θ, and at θ = 0 they are what the config says.

use super::kind::Beside;
use super::{Kind, Materials, Space};
use crate::engine::Sampling;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// `kind = "decoding"`: how texts are written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decoding {
    /// Which settings of `[generation]`.
    pub settings: Vec<Setting>,
}

impl Default for Decoding {
    fn default() -> Self {
        Self {
            settings: vec![Setting::Temperature, Setting::TopP],
        }
    }
}

impl Kind for Decoding {
    fn label(&self) -> String {
        "decoding".into()
    }

    fn check(&self, beside: &Beside) -> Result<()> {
        if beside.asks_likelihood {
            return Err(Error::config(
                "candidates are judged by probabilities (task.train_judge), and the space has decoding; a probability does not hang on how tokens are chosen: \
                 take one of them",
            ));
        }
        for setting in &self.settings {
            let value = setting.of(&beside.sampling);
            if !setting.can_move_from(value) {
                return Err(Error::config(format!(
                    "space.settings: generation.{0} is {value}, from where it cannot be searched; expected above 0, and top_p \
                     below 1: set generation.{0}, such as to {1}",
                    setting.name(),
                    if *setting == Setting::TopP { 0.95 } else { 1.0 }
                )));
            }
        }
        Ok(())
    }

    fn open(&self, on: &Materials) -> Result<Space> {
        let settings = self.settings.iter().map(|&setting| (setting, setting.of(&on.sampling)));
        Ok(Space::new(Vec::new()).with_decoding(settings.collect()))
    }
}

/// A setting of generation that can be searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// T = T₀ e^(5θ).
    Temperature,
    /// ln (p / (1 − p)) = ln (p₀ / (1 − p₀)) + 10θ.
    TopP,
}

impl Setting {
    /// Its name, in the config and in the search vector's layout.
    pub fn name(self) -> &'static str {
        match self {
            Self::Temperature => "temperature",
            Self::TopP => "top_p",
        }
    }

    /// What `[generation]` says of it.
    pub fn of(self, sampling: &Sampling) -> f64 {
        match self {
            Self::Temperature => sampling.temperature,
            Self::TopP => sampling.top_p,
        }
    }

    /// Puts a value in its place.
    pub fn put(self, sampling: &mut Sampling, value: f64) {
        match self {
            Self::Temperature => sampling.temperature = value,
            Self::TopP => sampling.top_p = value,
        }
    }

    /// What it is at `theta`, from what it is at 0. A step of 0.1 is one that can be seen: a temperature times or by 1.65, one
    /// logit of the nucleus.
    pub fn at(self, origin: f64, theta: f64) -> f64 {
        match self {
            // Where a temperature can neither overflow nor become the greedy 0.
            Self::Temperature => (origin * (5.0 * theta).exp()).clamp(1e-3, 1e3),
            Self::TopP => {
                let logit = (origin / (1.0 - origin)).ln() + 10.0 * theta;
                (1.0 / (1.0 + (-logit).exp())).max(1e-6)
            }
        }
    }

    /// The values from which it can move.
    pub fn can_move_from(self, origin: f64) -> bool {
        match self {
            Self::Temperature => origin > 0.0,
            Self::TopP => origin > 0.0 && origin < 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_stay_in_range_and_begin_where_the_config_says() {
        for (setting, origin, range) in [
            (Setting::Temperature, 0.7, 1e-3..=1e3),
            (Setting::TopP, 0.9, 1e-6..=1.0),
        ] {
            assert!((setting.at(origin, 0.0) - origin).abs() < 1e-15);
            for theta in [-1e300, -100.0, -1.0, -0.1, 0.1, 1.0, 100.0, 1e300] {
                let value = setting.at(origin, theta);
                assert!(range.contains(&value), "{setting:?} at {theta}: {value}");
            }
            assert!(setting.at(origin, 0.1) > origin && setting.at(origin, -0.1) < origin);
        }
        assert!(!Setting::Temperature.can_move_from(0.0) && !Setting::TopP.can_move_from(1.0));
    }
}
