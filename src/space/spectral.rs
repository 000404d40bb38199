//! Spectral adapters need no supervised start and no gradient at all: ΔW = U_k diag(σ_k ⊙ z) V_kᵀ from the decomposition
//! of the base weight itself, z = 0 being the base model. `principal` takes the k largest components (SVF,
//! Transformer², arXiv 2501.06252), `minor` the k smallest (off the principal subspace, arXiv 2511.08567). θ is z, in units of
//! σ. A candidate leaves as a LoRA of rank k. The bases are computed once and kept by the model's digest.

use super::kind::{Beside, default_modules, parse_modules};
use super::svd::{numbers, svd, truncated_svd};
use super::{Kind, Materials, Space};
use crate::adapter::{Basis, Factors, Tie};
use crate::error::{Error, Result};
use crate::model::safetensors::SafetensorsFiles;
use crate::model::{ModelConfig, Module, Weights};
use crate::seed::Seed;
use rayon::prelude::*;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

/// `kind = "spectral"`: singular components of the base weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spectral {
    /// Which end of the spectrum.
    pub part: Part,
    /// Components a matrix.
    pub rank: usize,
    /// Which matrices of every layer.
    pub modules: Vec<String>,
}

impl Default for Spectral {
    fn default() -> Self {
        Self {
            part: Part::default(),
            rank: default_rank(),
            modules: default_modules(),
        }
    }
}

/// Components a matrix, where a config does not say.
pub(super) fn default_rank() -> usize {
    8
}

impl Kind for Spectral {
    fn label(&self) -> String {
        format!("spectral {:?} {}", self.part, self.rank).to_lowercase()
    }

    fn check(&self, _: &Beside) -> Result<()> {
        parse_modules(&self.modules).map(drop)
    }

    fn open(&self, on: &Materials) -> Result<Space> {
        on.spectral(self.part, self.rank, &parse_modules(&self.modules)?)
    }
}

impl Materials<'_> {
    /// The space over `k` components of each of `modules` in every layer.
    pub(super) fn spectral(&self, part: Part, k: usize, modules: &[Module]) -> Result<Space> {
        if self.only_shapes {
            shapes(self.weights.config(), k, modules)
        } else {
            spectral(self.weights, part, k, modules, self.cache, self.say)
        }
    }
}

/// Which end of the spectrum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The k largest singular values.
    #[default]
    Principal,
    /// The k smallest.
    Minor,
}

/// From this smaller side on, a matrix's largest components come from a truncated decomposition.
const TRUNCATE_FROM: usize = 1536;

/// The space over `k` components of each of `modules` in every layer. Bases are read from and written to `cache`, which
/// only saves time: where it cannot be written, they are computed again the next time. `say` hears of that, and of the work as it
/// goes on.
pub fn spectral(
    weights: &Weights,
    part: Part,
    k: usize,
    modules: &[Module],
    cache: &Path,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Space> {
    let config = weights.config();
    check_rank(config, k, modules)?;
    let mut names: Vec<&str> = modules.iter().map(|module| module.name()).collect();
    names.sort_unstable();
    let part_name = if part == Part::Principal { "principal" } else { "minor" };
    let file = cache.join(format!(
        "spectral-{}-{part_name}-{k}-{}.safetensors",
        &weights.digest()?[..24],
        names.join("-")
    ));
    let places: Vec<(usize, Module)> = (0..config.layers)
        .flat_map(|layer| modules.iter().map(move |&module| (layer, module)))
        .collect();
    let shapes: Vec<[usize; 2]> = places.iter().map(|&(_, module)| config.module_shape(module)).collect();
    if let Some(space) = read(&file, &places, &shapes, k) {
        return Ok(space);
    }

    // One thread a matrix: LAPACK's results depend on how many threads share one decomposition.
    let threads = tch::get_num_threads();
    tch::set_num_threads(1);
    let done = Mutex::new(0);
    let bases: Result<Vec<Basis>> = places
        .par_iter()
        .map(|&(layer, module)| {
            let [rows, columns] = config.module_shape(module);
            let name = format!("{}.weight", module.path(layer));
            let matrix = weights.read(&name)?;
            if let Some(weight) = matrix.iter().find(|weight| !weight.is_finite()) {
                let what = format!("`{name}` holds {weight}, and only finite numbers can be decomposed");
                return Err(Error::file(weights.path(), what));
            }
            let truncate = part == Part::Principal && rows.min(columns) >= TRUNCATE_FROM && 8 * k < rows.min(columns);
            let whole = if truncate {
                truncated_svd(&matrix, rows, columns, k, Seed::new(0).named("range finder"))?
            } else {
                svd(&matrix, rows, columns)?
            };
            let first = if part == Part::Principal { 0 } else { whole.s.len() - k };
            let mut done = done.lock().expect("no holder of this lock panics");
            *done += 1;
            let of = places.len();
            if *done == 1 || *done == of || done.is_multiple_of((of / 10).max(1)) {
                say(&format!("decomposed {done} of {of} matrices"));
            }
            Ok(basis(
                (layer, module),
                numbers(&whole.vt.f_narrow(0, first as i64, k as i64)?),
                numbers(&whole.u.f_narrow(1, first as i64, k as i64)?),
                whole.s[first..first + k].iter().map(|&s| s as f32).collect(),
            ))
        })
        .collect();
    tch::set_num_threads(threads);
    let space = Space::new(bases?);
    if let Err(error) = write(&file, &space) {
        say(&format!(
            "{error}; going on without the cache, so these bases are computed again next time (ESSA_CACHE names another folder)"
        ));
    }
    Ok(space)
}

fn check_rank(config: &ModelConfig, k: usize, modules: &[Module]) -> Result<()> {
    let largest = modules
        .iter()
        .flat_map(|module| config.module_shape(*module))
        .min()
        .unwrap_or(0);
    if k == 0 || k > largest {
        return Err(Error::config(format!(
            "space.rank is {k}, expected between 1 and {largest}, the smaller side of the smallest matrix"
        )));
    }
    Ok(())
}

/// The same space with bases of zeros.
fn shapes(config: &ModelConfig, k: usize, modules: &[Module]) -> Result<Space> {
    check_rank(config, k, modules)?;
    let of_layer = |layer| modules.iter().map(move |&module| (layer, module));
    let bases = (0..config.layers).flat_map(of_layer).map(|(layer, module)| {
        let [outputs, inputs] = config.module_shape(module);
        basis(
            (layer, module),
            vec![0.0; k * inputs],
            vec![0.0; outputs * k],
            vec![1.0; k],
        )
    });
    Ok(Space::new(bases.collect()))
}

/// Singular values come in single precision, as a cache keeps them, so that a run is the same to the last bit whether its
/// bases were computed or read.
fn basis((layer, module): (usize, Module), v: Vec<f32>, u: Vec<f32>, singular_values: Vec<f32>) -> Basis {
    Basis {
        layer,
        module,
        rank: singular_values.len(),
        v,
        core: None,
        u,
        scale: 1.0,
        a: Factors {
            tie: Tie::Free,
            name: "z",
            origin: vec![0.0; singular_values.len()],
            gain: singular_values.into_iter().map(f64::from).collect(),
        },
        b: None,
        searched_core: None,
        prefix: String::new(),
    }
}

/// The bases kept in `file`, or none when it is not there or not what was asked for: `k` components of matrices of these
/// shapes.
fn read(file: &Path, places: &[(usize, Module)], matrices: &[[usize; 2]], k: usize) -> Option<Space> {
    let files = SafetensorsFiles::open(&[file.to_path_buf()]).ok()?;
    let mut bases = Vec::new();
    let shapes = files.tensors();
    for (&(layer, module), &[outputs, inputs]) in places.iter().zip(matrices) {
        let path = module.path(layer);
        let part = |part: &str, shape: &[usize]| -> Option<Vec<f32>> {
            let name = format!("{path}.{part}");
            let numbers = (shapes.get(&name)?.as_slice() == shape).then(|| files.read(&name).ok())??;
            numbers.iter().all(|x| x.is_finite()).then_some(numbers)
        };
        let (v, u, s) = (part("v", &[k, inputs])?, part("u", &[outputs, k])?, part("s", &[k])?);
        bases.push(basis((layer, module), v, u, s));
    }
    Some(Space::new(bases))
}

fn write(file: &Path, space: &Space) -> Result<()> {
    let mut tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)> = BTreeMap::new();
    for basis in space.bases() {
        let path = basis.module.path(basis.layer);
        let (k, inputs, outputs) = (basis.rank, basis.v.len() / basis.rank, basis.u.len() / basis.rank);
        let singular_values: Vec<f32> = basis.a.gain.iter().map(|&s| s as f32).collect();
        for (part, shape, values) in [
            ("v", vec![k, inputs], &basis.v),
            ("u", vec![outputs, k], &basis.u),
            ("s", vec![k], &singular_values),
        ] {
            let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            tensors.insert(format!("{path}.{part}"), (shape, bytes));
        }
    }
    let views = tensors.iter().map(|(name, (shape, bytes))| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).expect("bytes made for this shape");
        (name.as_str(), view)
    });
    let bytes = safetensors::serialize(views, None).expect("tensors with distinct names");
    crate::files::write_atomically(file, &bytes)
}
