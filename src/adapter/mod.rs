//! Adapters with frozen bases. Every adapter that this engine searches has the form
//!
//! ```text
//! ΔW x = s · U (b ⊙ M (a ⊙ V x))
//! ```
//!
//! in which V, U and s are the same for every candidate and only the short vectors `a` and `b`, or a small M, differ. [`peft`]
//! reads and writes LoRA as PEFT does; [`lora_svd`], [`spectral`] [`core`] and [`mix`] make the bases; a [`Space`] says which of the
//! numbers are searched and how; and [`bank`] holds the numbers of all candidates of a batch.

pub mod bank;
pub mod core;
pub mod decoding;
pub mod lora_svd;
pub mod mix;
pub mod peft;
pub mod spectral;
mod svd;

use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::model::kernels::{Core, SidePath};
use crate::model::{Module, SidePaths};
use crate::search::{Layout, Slot};
use crate::seed::Seed;
pub use bank::AdapterBank;
use decoding::Setting;
use peft::{Lora, PeftAdapter};
use std::collections::BTreeMap;
use std::path::Path;

/// One frozen basis on one weight matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Basis {
    /// The layer.
    pub layer: usize,
    /// The matrix.
    pub module: Module,
    /// r.
    pub rank: usize,
    /// V, `[r, in]`.
    pub v: Vec<f32>,
    /// M, `[r, r]`; none where it is the identity, or searched.
    pub core: Option<Vec<f32>>,
    /// M where it is searched, `[r · r]`, row by row.
    pub searched_core: Option<Factors>,
    /// U, `[out, r]`.
    pub u: Vec<f32>,
    /// s.
    pub scale: f32,
    /// The factors `a`, `[r]`.
    pub a: Factors,
    /// The factors `b`, `[r]`; none where they are one.
    pub b: Option<Factors>,
    /// Comes before the names of its slots, so that several spaces can be searched on one matrix.
    pub prefix: String,
}

/// A vector of factors, of which the first few may be searched: value = origin + gain · θ.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// Names the slot, such as `a`.
    pub name: &'static str,
    /// The values at θ = 0, `[r]`.
    pub origin: Vec<f64>,
    /// What one unit of θ adds, for the searched ones, `[searched]`.
    pub gain: Vec<f64>,
    /// Which of them move together.
    pub tie: Tie,
}

/// Which factors share a number of θ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tie {
    /// None: each has its own.
    #[default]
    Free,
    /// All of the vector.
    Vector,
    /// All vectors of this name under one prefix.
    Prefix,
}

impl Factors {
    /// How many numbers of θ move it.
    fn searched(&self) -> usize {
        match self.tie {
            Tie::Free => self.gain.len(),
            Tie::Vector | Tie::Prefix => self.gain.len().min(1),
        }
    }
}

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

/// A random subspace of a search space: θ = P z, P `[n, d]` with entries from N(0, 1/d), so that a step of z moves each
/// number of θ as a step of the same σ would (intrinsic dimension, arXiv 1804.08838; TinyLoRA's random mixing).
#[derive(Clone, Debug)]
struct Projection {
    layout: Layout,
    /// P, row by row.
    rows: Vec<f32>,
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
        let line = bases
            .iter()
            .flat_map(|basis| basis.factors())
            .map(|factors| factors.origin.len())
            .sum();
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
        let adapters = self.layout.slots().iter().map(|slot| (slot.name.clone(), slot.len));
        let settings = decoding.keys().map(|&setting| (slot_of(setting), 1));
        self.layout = Layout::new(adapters.chain(settings).collect::<Vec<_>>());
        self.decoding = decoding;
        self
    }

    /// Several spaces on one model, searched together. An adapter that leaves is one of the summed rank.
    pub fn compose(spaces: Vec<(&str, Self)>) -> Self {
        let bases = spaces.into_iter().flat_map(|(name, space)| {
            let named = move |basis: Basis| Basis {
                prefix: format!("{name}.{}", basis.prefix),
                ..basis
            };
            space.bases.into_iter().map(named)
        });
        Self::new(bases.collect())
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
        Self::new(self.bases.into_iter().filter_map(narrowed).collect())
    }

    /// A random subspace of this space, of `dim` numbers.
    pub fn subspace(mut self, dim: usize, seed: Seed) -> Self {
        let scale = 1.0 / (dim as f64).sqrt();
        let row = |at: usize| seed.fold(at as u64).normals(dim);
        let rows = (0..self.layout.dim()).flat_map(|at| row(at).into_iter().map(|z| (z * scale) as f32));
        self.projection = Some(Projection {
            layout: Layout::new([("subspace".to_string(), dim)]),
            rows: rows.collect(),
        });
        self
    }

    /// A fixed adapter: nothing is searched.
    pub fn frozen(adapter: &PeftAdapter) -> Self {
        let one = |(&(layer, module), lora): (&(usize, Module), &Lora)| Basis {
            layer,
            module,
            rank: lora.rank,
            v: lora.a.clone(),
            core: None,
            u: lora.b.clone(),
            scale: lora.scale,
            a: Factors {
                tie: Tie::Free,
                name: "a",
                origin: vec![1.0; lora.rank],
                gain: Vec::new(),
            },
            b: None,
            searched_core: None,
            prefix: String::new(),
        };
        Self::new(adapter.modules.iter().map(one).collect())
    }

    /// The search vector's slots.
    pub fn layout(&self) -> &Layout {
        self.projection
            .as_ref()
            .map_or(&self.layout, |projection| &projection.layout)
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
            let outputs = basis.u.len() / basis.rank;
            let transposed =
                (0..basis.rank).flat_map(|r| (0..outputs).map(move |out| basis.u[out * basis.rank + r] * basis.scale));
            let path = SidePath {
                rank: basis.rank,
                v: basis.v.clone(),
                core: match (&basis.core, &basis.searched_core) {
                    (_, Some(_)) => Core::Searched {
                        start: start + basis.core_start(),
                    },
                    (Some(core), None) => Core::Frozen(core.clone()),
                    (None, None) => Core::Identity,
                },
                ut: transposed.collect(),
                a_start: start,
                b_start: basis.b.as_ref().map(|_| start + basis.rank),
            };
            start += basis.factors().map(|factors| factors.origin.len()).sum::<usize>();
            paths[basis.layer][basis.module.index()].push(path);
        }
        paths
    }

    /// One candidate as a plain LoRA of the same rank: lora_A = diag(a) V, lora_B = U diag(b) M, the scale in
    /// `lora_alpha`. Several bases on one matrix become one of the summed rank.
    pub fn export(&self, theta: &[f64]) -> PeftAdapter {
        let line = self.line(theta);
        let mut start = 0;
        let mut adapter = PeftAdapter::default();
        for basis in &self.bases {
            let a = &line[start..start + basis.rank];
            let b = basis
                .b
                .as_ref()
                .map(|_| &line[start + basis.rank..start + 2 * basis.rank]);
            let core = match &basis.searched_core {
                Some(core) => Some(&line[start + basis.core_start()..][..core.origin.len()]),
                None => basis.core.as_deref(),
            };
            start += basis.factors().map(|factors| factors.origin.len()).sum::<usize>();
            let lora = basis.lora(a, b, core);
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
    pub fn write(&self, theta: &[f64], directory: &Path, base_model: &str) -> Result<()> {
        if !self.bases.is_empty() {
            self.export(theta).write(directory, base_model)?;
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

impl Projection {
    /// P z.
    fn times(&self, z: &[f64]) -> Vec<f64> {
        let dot = |row: &[f32]| row.iter().zip(z).map(|(p, z)| f64::from(*p) * z).sum();
        self.rows.chunks_exact(z.len()).map(dot).collect()
    }
}

fn slot_of(setting: Setting) -> String {
    format!("decoding.{}", setting.name())
}

impl Basis {
    fn factors_mut(&mut self) -> impl Iterator<Item = &mut Factors> {
        std::iter::once(&mut self.a)
            .chain(&mut self.b)
            .chain(&mut self.searched_core)
    }

    fn factors(&self) -> impl Iterator<Item = &Factors> {
        std::iter::once(&self.a).chain(&self.b).chain(&self.searched_core)
    }

    /// Where a searched core begins, counted from the basis' first factor.
    fn core_start(&self) -> usize {
        self.rank + self.b.as_ref().map_or(0, |b| b.origin.len())
    }

    fn slot(&self, factors: &Factors) -> String {
        match factors.tie {
            Tie::Free | Tie::Vector => format!("{}{}.{}", self.prefix, self.module.path(self.layer), factors.name),
            Tie::Prefix => format!("{}{}", self.prefix, factors.name),
        }
    }

    /// The basis with its factors multiplied in. `a` and `b` `[r]`, `core` `[r, r]`.
    fn lora(&self, a: &[f32], b: Option<&[f32]>, core: Option<&[f32]>) -> Lora {
        let (r, inputs) = (self.rank, self.v.len() / self.rank);
        let lora_a = (0..r)
            .flat_map(|row| self.v[row * inputs..][..inputs].iter().map(move |v| v * a[row]))
            .collect();
        let scaled = |row: usize, column: usize| self.u[row * r + column] * b.map_or(1.0, |b| b[column]);
        let outputs = self.u.len() / r;
        let lora_b = (0..outputs)
            .flat_map(|row| (0..r).map(move |column| (row, column)))
            .map(|(row, column)| match core {
                None => scaled(row, column),
                Some(core) => (0..r)
                    .map(|k| f64::from(scaled(row, k)) * f64::from(core[k * r + column]))
                    .sum::<f64>() as f32,
            });
        Lora {
            rank: r,
            scale: self.scale,
            b: lora_b.collect(),
            a: lora_a,
        }
    }
}
