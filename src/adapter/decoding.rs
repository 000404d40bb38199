//! How a candidate writes, as search variables beside those of its adapter: the temperature and the mass of the nucleus.
//! Both stay in their ranges for any θ, and at θ = 0 they are what the config says.

use serde::{Deserialize, Serialize};

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
