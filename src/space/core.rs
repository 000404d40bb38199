//! The whole r × r matrix between two frozen bases. Between the principal components of a base weight it is LoRA-XS
//! (arXiv 2405.17604): ΔW = U_r Σ_r R V_rᵀ, R = 0 being the base model, n = r² a matrix. Between the singular vectors of a
//! supervised LoRA's factors it turns what lies between them: ΔW = s U_B S_B (M + R) S_A V_Aᵀ.

use super::kind::{Beside, default_modules, parse_modules};
use super::spectral::{Part, default_rank};
use super::{Kind, Materials, Space};
use crate::adapter::{Basis, Factors, Tie};
use crate::error::Result;
use crate::model::Module;
use serde::{Deserialize, Serialize};

/// `kind = "core"`: the whole matrix between principal components of the base weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Core {
    /// Components a matrix.
    #[serde(default = "default_rank")]
    pub rank: usize,
    /// Which matrices of every layer.
    #[serde(default = "default_modules")]
    pub modules: Vec<String>,
}

impl Kind for Core {
    fn label(&self) -> String {
        format!("core {}", self.rank)
    }

    fn check(&self, _: &Beside) -> Result<()> {
        parse_modules(&self.modules).map(drop)
    }

    fn open(&self, on: &Materials) -> Result<Space> {
        let modules = parse_modules(&self.modules)?;
        Ok(core(on.spectral(Part::Principal, self.rank, &modules)?, &modules))
    }
}

/// Searches the matrix between the two halves of each of `space`'s bases on `modules`, instead of its factors. The factors are frozen
/// at their values at θ = 0. For a `spectral` basis those are zeros, which would leave nothing to search: its factors become ones, and the
/// singular values go into the gain of the core.
pub fn core(space: Space, modules: &[Module]) -> Space {
    let cored = |basis: Basis| {
        if !modules.contains(&basis.module) {
            return basis;
        }
        let rank = basis.rank;
        let frozen = |factors: Factors| Factors {
            gain: Vec::new(),
            ..factors
        };
        match &basis.core {
            // z ⊙ σ of a spectral basis: all of the singular value, and R decides what of it is added.
            None => Basis {
                searched_core: Some(Factors {
                    tie: Tie::Free,
                    name: "core",
                    origin: vec![0.0; rank * rank],
                    gain: basis.a.gain.iter().flat_map(|sigma| vec![*sigma; rank]).collect(),
                }),
                a: Factors {
                    tie: Tie::Free,
                    name: basis.a.name,
                    origin: vec![1.0; rank],
                    gain: Vec::new(),
                },
                ..basis
            },
            Some(core) => Basis {
                searched_core: Some(Factors {
                    tie: Tie::Free,
                    name: "core",
                    origin: core.iter().map(|&m| f64::from(m)).collect(),
                    gain: vec![1.0; rank * rank],
                }),
                core: None,
                a: frozen(basis.a),
                b: basis.b.map(frozen),
                ..basis
            },
        }
    };
    Space::new(space.bases.into_iter().map(cored).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use tch::Tensor;

    fn random(seed: u64, n: usize) -> Vec<f32> {
        Seed::new(seed).normals(n).iter().map(|&z| z as f32).collect()
    }

    fn spectral_basis(inputs: usize, outputs: usize, sigma: &[f64]) -> Basis {
        Basis {
            layer: 0,
            module: Module::Q,
            rank: sigma.len(),
            v: random(1, sigma.len() * inputs),
            core: None,
            searched_core: None,
            u: random(2, outputs * sigma.len()),
            scale: 1.0,
            a: Factors {
                tie: Tie::Free,
                name: "z",
                origin: vec![0.0; sigma.len()],
                gain: sigma.to_vec(),
            },
            b: None,
            prefix: String::new(),
        }
    }

    /// The exported adapter against U Σ R V in libtorch, and alone at θ = 0.
    #[test]
    fn a_core_is_what_lora_xs_says() {
        let (inputs, outputs, sigma) = (7, 5, [3.0, 2.0]);
        let basis = spectral_basis(inputs, outputs, &sigma);
        let (u, v) = (basis.u.clone(), basis.v.clone());
        let space = core(Space::new(vec![basis]), &[Module::Q]);
        assert_eq!(space.layout().dim(), 4);
        let r = [0.5, -1.0, 0.25, 2.0];
        let tensor = |x: &[f32], rows: i64| Tensor::from_slice(x).view([rows, -1]);
        let delta = |theta: &[f64]| {
            let adapter = space.export(theta);
            let lora = &adapter.modules[&(0, Module::Q)];
            tensor(&lora.b, outputs as i64).matmul(&tensor(&lora.a, 2)) * f64::from(lora.scale)
        };
        let sigma_r: Vec<f32> = r.iter().enumerate().map(|(at, r)| (r * sigma[at / 2]) as f32).collect();
        let expected = tensor(&u, outputs as i64)
            .matmul(&tensor(&sigma_r, 2))
            .matmul(&tensor(&v, 2));
        assert!(delta(&r).allclose(&expected, 1e-5, 1e-5, false));
        assert_eq!(delta(&[0.0; 4]).abs().max().double_value(&[]), 0.0);
    }

    #[test]
    fn spaces_compose_and_have_subspaces() {
        let one = || Space::new(vec![spectral_basis(7, 5, &[3.0, 2.0])]);
        let both = Space::compose(vec![("spectral", one()), ("core", core(one(), &[Module::Q]))]);
        assert_eq!(both.layout().dim(), 2 + 4);
        let names: Vec<&str> = both.layout().slots().iter().map(|slot| slot.name.as_str()).collect();
        assert!(
            names[0].starts_with("core.") && names[1].starts_with("spectral."),
            "{names:?}"
        );
        let adapter = both.export(&[0.1; 6]);
        assert_eq!(adapter.modules[&(0, Module::Q)].rank, 4);
        // P z is a point of the space, and the same one each time.
        let part = |seed: u64| both.clone().subspace(3, Seed::new(seed));
        let z = [0.3, -0.2, 0.7];
        assert_eq!(part(1).layout().dim(), 3);
        assert_eq!(part(1).line(&z), part(1).line(&z));
        assert_ne!(part(1).line(&z), part(2).line(&z));
        assert_eq!(part(1).line(&[0.0; 3]), both.line(&[0.0; 6]));
        let [a, b] = [[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]].map(|z| part(1).line(&z));
        let sum = part(1).line(&[1.0, 2.0, 0.0]);
        let zero = both.line(&[0.0; 6]);
        for (at, sum) in sum.iter().enumerate() {
            assert!((sum - (a[at] + b[at] - zero[at])).abs() < 1e-5, "a linear map");
        }
        assert_eq!(both.clone().of_layers(1..2).layout().dim(), 0);
    }
}
