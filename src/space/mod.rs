//! What is searched: frozen bases on a model ([`crate::adapter`]), and a search vector that moves their factors. One kind of space a
//! file, each with its settings, its source, and its bases; [`kinds`] is the table of them, [`config`] the `[space]` table of a run's
//! config, and [`projection`] a random subspace of any of them.

pub mod config;
pub mod core;
pub mod decoding;
pub mod frozen;
pub mod kind;
pub mod kinds;
pub mod lora_core;
pub mod lora_svd;
pub mod mix;
pub mod projection;
pub mod spectral;
mod svd;

use crate::adapter::peft::PeftAdapter;
use crate::adapter::{AdapterBank, Basis, Factors, Tie};
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::model::{ModelConfig, SidePaths, Transformer};
use crate::search::{Layout, Slot};
use crate::seed::Seed;
pub use config::SpaceConfig;
use decoding::Setting;
pub use kind::{Kind, Materials};
pub use kinds::SpaceKind;
use projection::Projection;
use std::collections::BTreeMap;
use std::path::Path;
/// Frozen bases on a model and the search vector that moves their factors.
#[derive(Clone, Debug)]
pub struct Space {
    bases: Vec<Basis>,
    layout: Layout,
    /// Numbers a candidate has in the bank.
    line: usize,
    /// What is searched of how texts are written, with its values at θ = 0.
    decoding: BTreeMap<Setting, f64>,
    /// θ = P z, where not θ but z is searched.
    projection: Option<Projection>,
}
impl Space {
    /// Lays the factors of all bases out in one search vector.
    pub fn new(bases: Vec<Basis>) -> Self {
        let slots = bases
            .iter()
            .flat_map(|basis| basis.factors().map(|factors| (basis.slot(factors), factors.searched())));
        // Tied vectors have one slot together.
        let slots: BTreeMap<String, usize> = slots.filter(|(_, searched)| *searched > 0).collect();
        let layout = Layout::new(slots);
        let line = bases.iter().map(Basis::line).sum();
        Self {
            bases,
            layout,
            line,
            decoding: BTreeMap::new(),
            projection: None,
        }
    }

    /// The same space, in which these settings of generation are searched as well, from these values on.
    pub fn with_decoding(mut self, decoding: BTreeMap<Setting, f64>) -> Self {
        let adapters = self
            .adapter_slots()
            .map(|slot| (slot.name.clone(), slot.len))
            .collect::<Vec<_>>();
        let settings = decoding.keys().map(|&setting| (slot_of(setting), 1));
        self.layout = Layout::new(adapters.into_iter().chain(settings).collect::<Vec<_>>());
        self.decoding = decoding;
        self
    }

    /// Several spaces on one model, searched together under these names. An adapter that leaves is one of the summed rank.
    pub fn compose(spaces: impl IntoIterator<Item = (impl Into<String>, Self)>) -> Self {
        let (mut bases, mut decoding) = (Vec::new(), BTreeMap::new());
        for (name, space) in spaces {
            let name = name.into();
            let named = |basis: Basis| Basis {
                prefix: format!("{name}.{}", basis.prefix),
                ..basis
            };
            bases.extend(space.bases.into_iter().map(named));
            decoding.extend(space.decoding);
        }
        Self::new(bases).with_decoding(decoding)
    }

    /// The same space, searched in `layers` only. What an adapter does elsewhere it goes on doing.
    pub fn of_layers(self, layers: std::ops::Range<usize>) -> Self {
        self.searching(|basis, _| layers.contains(&basis.layer))
    }

    /// The same space, of which only the slots are searched whose names begin with one of these, up to a dot. What comes before a
    /// module's path (the number of a composed space, the adapter of a mix) may be left out, and then means all of them.
    pub fn only(self, beginnings: &[String]) -> Self {
        self.searching(|basis, factors| {
            let slot = basis.slot(factors);
            let parts = basis.prefix.match_indices('.').map(|(dot, _)| dot + 1);
            let mut names = std::iter::once(0).chain(parts).map(|start| &slot[start..]);
            let begins = |name: &str, beginning: &str| {
                let rest = name.strip_prefix(beginning.trim_end_matches('.'));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            names.any(|name| beginnings.iter().any(|beginning| begins(name, beginning)))
        })
    }

    /// The same space, of which only these factors are searched. What then does nothing is left out.
    fn searching(self, is_searched: impl Fn(&Basis, &Factors) -> bool) -> Self {
        let narrowed = |mut basis: Basis| {
            let keep: Vec<bool> = basis.factors().map(|factors| is_searched(&basis, factors)).collect();
            for (factors, keep) in basis.factors_mut().zip(keep) {
                if !keep {
                    factors.gain.clear();
                }
            }
            let zeros = |factors: &Factors| factors.gain.is_empty() && factors.origin.iter().all(|&x| x == 0.0);
            let is_nothing = zeros(&basis.a) || basis.searched_core.as_ref().is_some_and(zeros);
            (!is_nothing).then_some(basis)
        };
        Self::new(self.bases.into_iter().filter_map(narrowed).collect()).with_decoding(self.decoding)
    }

    /// The same space in other units: a step of one of a slot's number is what a step of its gain was. Slots that are not named keep theirs.
    pub fn scaled(mut self, gains: &BTreeMap<String, f64>) -> Self {
        for basis in &mut self.bases {
            let gains: Vec<Option<f64>> = basis
                .factors()
                .map(|factors| gains.get(&basis.slot(factors)).copied())
                .collect();
            for (factors, gain) in basis.factors_mut().zip(gains) {
                factors.gain.iter_mut().for_each(|own| *own *= gain.unwrap_or(1.0));
            }
        }
        self
    }

    /// A random subspace of this space, of `dim` numbers.
    pub fn subspace(mut self, dim: usize, seed: Seed) -> Self {
        self.projection = Some(Projection::new(self.layout.dim(), dim, seed));
        self
    }

    /// The search vector's slots.
    pub fn layout(&self) -> &Layout {
        self.projection.as_ref().map_or(&self.layout, Projection::layout)
    }

    /// The slots that move adapters, in θ.
    pub fn adapter_slots(&self) -> impl Iterator<Item = &Slot> {
        let settings: Vec<String> = self.decoding.keys().map(|&setting| slot_of(setting)).collect();
        let slots = self.layout().slots().iter();
        slots.filter(move |slot| !settings.contains(&slot.name))
    }

    /// The bases, in the order in which their factors lie in a line of the bank.
    pub fn bases(&self) -> &[Basis] {
        &self.bases
    }

    /// The factors of one candidate, as a line of the bank.
    ///
    /// # Panics
    /// When `theta` is not as long as the layout: a bug of the caller.
    pub fn line(&self, theta: &[f64]) -> Vec<f32> {
        assert_eq!(theta.len(), self.layout().dim(), "a search vector of this space");
        let projected: Vec<f64>;
        let theta = match &self.projection {
            None => theta,
            Some(projection) => {
                projected = projection.times(theta);
                &projected
            }
        };
        let start = self.starts();
        let mut line = Vec::with_capacity(self.line);
        for basis in &self.bases {
            for factors in basis.factors() {
                let from = start.get(basis.slot(factors).as_str()).copied().unwrap_or(0);
                line.extend(factors.origin.iter().enumerate().map(|(index, &origin)| {
                    let gain = factors.gain.get(index);
                    gain.map_or(origin, |gain| {
                        origin + gain * theta[from + if factors.tie == Tie::Free { index } else { 0 }]
                    }) as f32
                }));
            }
        }
        line
    }

    /// The searched settings of generation of one candidate.
    pub fn decoding(&self, theta: &[f64]) -> BTreeMap<Setting, f64> {
        let theta = self
            .projection
            .as_ref()
            .map_or_else(|| theta.to_vec(), |projection| projection.times(theta));
        let start = self.starts();
        let moved = self.decoding.iter().map(|(&setting, &origin)| {
            let at = start[slot_of(setting).as_str()];
            (setting, setting.at(origin, theta[at]))
        });
        moved.collect()
    }

    /// Where each slot begins.
    fn starts(&self) -> BTreeMap<&str, usize> {
        let slots = self.layout.slots().iter();
        slots.map(|slot| (slot.name.as_str(), slot.start)).collect()
    }

    /// The bases as the forward pass of a model with so many layers reads them.
    pub fn side_paths(&self, layers: usize) -> SidePaths {
        let mut paths: SidePaths = (0..layers).map(|_| Default::default()).collect();
        let mut start = 0;
        for basis in &self.bases {
            paths[basis.layer][basis.module.index()].push(basis.side_path(start));
            start += basis.line();
        }
        paths
    }

    /// A bank over the space's bases on this model, with no candidates yet.
    pub fn bank(&self, model: &Transformer) -> AdapterBank {
        AdapterBank::new(self.side_paths(model.config().layers), self.line)
    }

    /// Replaces the candidates of a bank of this space by these, numbered in order.
    pub fn fill(&self, bank: &mut AdapterBank, thetas: &[Vec<f64>]) {
        bank.set(thetas.iter().flat_map(|theta| self.line(theta)).collect());
    }

    /// One candidate as a plain LoRA of the same rank: lora_A = diag(a) V, lora_B = U diag(b) M, the scale in
    /// `lora_alpha`. Several bases on one matrix become one of the summed rank.
    pub fn export(&self, theta: &[f64]) -> PeftAdapter {
        let line = self.line(theta);
        let mut start = 0;
        let mut adapter = PeftAdapter::default();
        for basis in &self.bases {
            let lora = basis.lora_of(&line[start..start + basis.line()]);
            start += basis.line();
            let place = (basis.layer, basis.module);
            let lora = match adapter.modules.remove(&place) {
                Some(earlier) => earlier.stack(&lora),
                None => lora,
            };
            adapter.modules.insert(place, lora);
        }
        adapter
    }

    /// Writes one candidate: its adapter as PEFT does, and where they are searched, its settings of generation as
    /// transformers does, in `generation_config.json`.
    pub fn write(&self, theta: &[f64], directory: &Path, model: &ModelConfig, base_model: &str) -> Result<()> {
        if !self.bases.is_empty() {
            self.export(theta).write_for(model, directory, base_model)?;
        }
        if !self.decoding.is_empty() {
            let mut config = serde_json::Map::from_iter([("do_sample".to_string(), true.into())]);
            let settings = self.decoding(theta).into_iter();
            config.extend(settings.map(|(setting, value)| (setting.name().to_string(), value.into())));
            std::fs::create_dir_all(directory).map_err(Error::io(directory))?;
            let json = serde_json::to_vec_pretty(&config).expect("JSON of numbers");
            write_atomically(&directory.join("generation_config.json"), &json)?;
        }
        Ok(())
    }
}
fn slot_of(setting: Setting) -> String {
    format!("decoding.{}", setting.name())
}
