//! One frozen basis on one weight matrix, and which of its numbers a search may move.

use super::peft::Lora;
use crate::model::Module;
use crate::model::kernels::{Core, SidePath};

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
    pub fn searched(&self) -> usize {
        match self.tie {
            Tie::Free => self.gain.len(),
            Tie::Vector | Tie::Prefix => self.gain.len().min(1),
        }
    }
}

impl Basis {
    /// All vectors of factors, as they lie in a line of the bank.
    pub fn factors(&self) -> impl Iterator<Item = &Factors> {
        std::iter::once(&self.a).chain(&self.b).chain(&self.searched_core)
    }

    /// The same, to be narrowed.
    pub fn factors_mut(&mut self) -> impl Iterator<Item = &mut Factors> {
        std::iter::once(&mut self.a)
            .chain(&mut self.b)
            .chain(&mut self.searched_core)
    }

    /// Numbers that it has in a line of the bank.
    pub fn line(&self) -> usize {
        self.factors().map(|factors| factors.origin.len()).sum()
    }

    /// Where a searched core begins, counted from the basis' first factor.
    fn core_start(&self) -> usize {
        self.rank + self.b.as_ref().map_or(0, |b| b.origin.len())
    }

    /// The name of the slot of one of its vectors.
    pub fn slot(&self, factors: &Factors) -> String {
        match factors.tie {
            Tie::Free | Tie::Vector => format!("{}{}.{}", self.prefix, self.module.path(self.layer), factors.name),
            Tie::Prefix => format!("{}{}", self.prefix, factors.name),
        }
    }

    /// What the model applies, for candidates whose factors begin at `start` of their line.
    pub fn side_path(&self, start: usize) -> SidePath {
        let outputs = self.u.len() / self.rank;
        let transposed =
            (0..self.rank).flat_map(|r| (0..outputs).map(move |out| self.u[out * self.rank + r] * self.scale));
        SidePath {
            rank: self.rank,
            v: self.v.clone(),
            core: match (&self.core, &self.searched_core) {
                (_, Some(_)) => Core::Searched {
                    start: start + self.core_start(),
                },
                (Some(core), None) => Core::Frozen(core.clone()),
                (None, None) => Core::Identity,
            },
            ut: transposed.collect(),
            a_start: start,
            b_start: self.b.as_ref().map(|_| start + self.rank),
        }
    }

    /// The LoRA that one candidate is, from its factors, [`Basis::line`] numbers.
    pub fn lora_of(&self, line: &[f32]) -> Lora {
        let b = self.b.as_ref().map(|_| &line[self.rank..2 * self.rank]);
        let core = match &self.searched_core {
            Some(core) => Some(&line[self.core_start()..][..core.origin.len()]),
            None => self.core.as_deref(),
        };
        self.lora(&line[..self.rank], b, core)
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
