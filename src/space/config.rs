//! `[space]`: a space, what is searched beside it, and how much of it all.

use super::kind::Beside;
use super::{Materials, Space, SpaceKind};
use crate::engine::Sampling;
use crate::error::{Error, Result};
use crate::seed::Seed;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The `[space]` table of a run's config.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpaceConfig {
    /// Searches so many random directions of everything instead of all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subspace: Option<usize>,
    /// First layer, and the layer after the last; without it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<[usize; 2]>,
    /// At most so many numbers are searched: those that lead furthest away from the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<usize>,
    /// Beginnings of the names of the slots that are searched, up to a dot; without it all. A budget fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<String>>,
    /// What a step of θ means.
    #[serde(default)]
    pub units: Units,
    /// The space. What it does not know is refused, so the keys above are all that there are beside its own.
    #[serde(flatten)]
    pub kind: SpaceKind,
    /// More spaces on the same model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<SpaceKind>,
    /// By what each slot's own gain is multiplied. Units fill it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gains: Option<BTreeMap<String, f64>>,
}

/// What a step of θ means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Units {
    /// What the space says: a share of a singular value, a number in a core.
    #[default]
    Raw,
    /// Candidates at σ = 1 are one nat a response away from the start, and every slot has about the same part in it.
    Kl,
}

impl SpaceConfig {
    /// All spaces.
    pub fn all(&self) -> impl Iterator<Item = &SpaceKind> {
        std::iter::once(&self.kind).chain(&self.also)
    }

    /// What a leaderboard calls it.
    pub fn label(&self) -> String {
        let mut label = self
            .all()
            .map(|space| space.kind().label())
            .collect::<Vec<_>>()
            .join(" + ");
        if let Some([first, end]) = self.layers {
            label += &format!(", layers {first}..{end}");
        }
        if let Some(budget) = self.budget {
            label += &format!(", budget {budget}");
        }
        if let Some(dim) = self.subspace {
            label += &format!(", subspace {dim}");
        }
        if self.units == Units::Kl {
            label += ", units kl";
        }
        label
    }

    /// PEFT directories that its spaces name by themselves.
    pub fn adapters(&self) -> impl Iterator<Item = &PathBuf> {
        self.all().flat_map(|space| space.kind().adapters())
    }

    /// What can be checked before anything is read. `adapter` is `model.adapter`; `asks_likelihood` says whether candidates are judged by
    /// probabilities.
    pub fn check(&self, adapter: Option<&Path>, sampling: Sampling, asks_likelihood: bool) -> Result<()> {
        let label = self.label();
        let beside = Beside {
            sampling,
            asks_likelihood,
        };
        self.all().try_for_each(|space| space.kind().check(&beside))?;
        if self.budget.is_some() && self.subspace.is_some() {
            return Err(Error::config(
                "space.budget and space.subspace are both set; a subspace has no parts to choose from: take one of them",
            ));
        }
        if self.units == Units::Kl && self.all().any(|space| matches!(space, SpaceKind::Decoding(_))) {
            return Err(Error::config(
                "space.units is \"kl\", and the space has decoding, whose numbers change no probability that nats could be counted of; take \"raw\"",
            ));
        }
        if self.units == Units::Raw && self.gains.is_some() {
            return Err(Error::config(
                "space.gains is set, which space.units = \"kl\" fills in; leave it out, or set the units",
            ));
        }
        let gains = self.gains.iter().flatten();
        if let Some((slot, gain)) = gains.into_iter().find(|(_, gain)| !(**gain > 0.0 && gain.is_finite())) {
            return Err(Error::config(format!(
                "space.gains.\"{slot}\" is {gain}, expected a number above 0"
            )));
        }
        let needs_adapter = self.all().any(|space| space.kind().needs_adapter());
        match adapter {
            None if needs_adapter => Err(Error::config(format!(
                "the space is {label}, which needs a supervised LoRA: set model.adapter to its PEFT directory"
            ))),
            Some(adapter) if !needs_adapter => Err(Error::config(format!(
                "model.adapter is {}, but the space {label} starts from the base model: use lora-svd, keep the adapter with space.also = [{{ kind = \"frozen\" }}], or leave it out",
                adapter.display()
            ))),
            _ => Ok(()),
        }?;
        match (self.subspace, self.layers) {
            (Some(0), _) => Err(Error::config("space.subspace is 0, expected 1 or more")),
            (_, Some([first, end])) if first >= end => Err(Error::config(format!(
                "space.layers is [{first}, {end}], expected the first layer and the layer after the last"
            ))),
            _ => Ok(()),
        }
    }

    /// The space on a model: its spaces, or the one if there is one, on its layers, or a subspace of that, which `seed` draws.
    pub fn open(&self, on: &Materials, seed: Seed) -> Result<Space> {
        let mut spaces = self
            .all()
            .map(|space| space.kind().open(on))
            .collect::<Result<Vec<Space>>>()?;
        let mut space = match spaces.len() {
            1 => spaces.swap_remove(0),
            _ => {
                let numbered = spaces.into_iter().enumerate();
                Space::compose(numbered.map(|(at, space)| (at.to_string(), space)))
            }
        };
        if let Some([first, end]) = self.layers {
            let layers = on.weights.config().layers;
            if end > layers {
                return Err(Error::config(format!(
                    "space.layers is [{first}, {end}], and the model has {layers} layers"
                )));
            }
            space = space.of_layers(first..end);
        }
        if let Some(only) = &self.only {
            space = space.only(only);
            if space.adapter_slots().next().is_none() {
                return Err(Error::config(format!(
                    "space.only: no slot of the space begins with {}; slots have names such as model.layers.0.self_attn.q_proj.z",
                    only.join(" or ")
                )));
            }
        }
        if let Some(gains) = &self.gains {
            let own: Vec<&str> = space.adapter_slots().map(|slot| slot.name.as_str()).collect();
            if let Some(slot) = gains.keys().find(|slot| !own.contains(&slot.as_str())) {
                return Err(Error::config(format!(
                    "space.gains: no slot of the space is called {slot}; leave space.gains out, and the units are measured"
                )));
            }
            space = space.scaled(gains);
        }
        let n = space.layout().dim();
        match self.subspace {
            Some(dim) if dim > n => Err(Error::config(format!(
                "space.subspace is {dim}, and the space has only {n} numbers"
            ))),
            Some(dim) => Ok(space.subspace(dim, seed.named("subspace"))),
            None => Ok(space),
        }
    }
}
