//! The paper's space (ESSA, arXiv 2507.04453, section 3.2): each factor of a supervised LoRA is decomposed on its own,
//! A = U_A S_A V_Aᵀ and B = U_B S_B V_Bᵀ, all four orthogonal factors are frozen, and the top ⌊α·r⌋ singular values of both are
//! searched as additive offsets: n = 2 ⌊α·r⌋ a matrix. With M = V_Bᵀ U_A every candidate shares the same products.

use super::kind::{Beside, default_modules, parse_modules};
use super::svd::{numbers, svd};
use super::{Kind, Materials, Space};
use crate::adapter::peft::PeftAdapter;
use crate::adapter::{Basis, Factors, Tie};
use crate::error::{Error, Result};
use crate::model::Module;
use serde::{Deserialize, Serialize};

/// `kind = "lora-svd"`: singular values of a supervised LoRA's factors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraSvd {
    /// Share of each factor's singular values that is searched.
    #[serde(default = "default_alpha")]
    pub alpha: f64,
    /// What one unit of the search vector is.
    #[serde(default)]
    pub offsets: Offsets,
    /// Which matrices of every layer.
    #[serde(default = "default_modules")]
    pub modules: Vec<String>,
}

fn default_alpha() -> f64 {
    1.0
}

impl Kind for LoraSvd {
    fn label(&self) -> String {
        format!("lora-svd {}", self.alpha)
    }

    fn check(&self, _: &Beside) -> Result<()> {
        parse_modules(&self.modules)?;
        if !(self.alpha > 0.0 && self.alpha <= 1.0) {
            return Err(Error::config(format!(
                "space.alpha is {}, expected above 0 and at most 1",
                self.alpha
            )));
        }
        Ok(())
    }

    fn needs_adapter(&self) -> bool {
        true
    }

    fn open(&self, on: &Materials) -> Result<Space> {
        lora_svd(&on.adapter()?, self.alpha, &parse_modules(&self.modules)?, self.offsets)
    }
}

/// What one unit of θ is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Offsets {
    /// σ̃ = σ + θ, as in the paper.
    Absolute,
    /// σ̃ = σ (1 + θ): the same step fits singular values of any size.
    #[default]
    Relative,
}

/// The search space over `adapter`'s singular values: the top ⌊`alpha`·r⌋ of both factors of the `modules`. Other
/// modules of the adapter stay in place and are not searched.
pub fn lora_svd(adapter: &PeftAdapter, alpha: f64, modules: &[Module], offsets: Offsets) -> Result<Space> {
    let mut bases = Vec::new();
    for (&(layer, module), lora) in &adapter.modules {
        let searched = if modules.contains(&module) {
            (alpha * lora.rank as f64).floor() as usize
        } else {
            0
        };
        let (inputs, outputs) = (lora.a.len() / lora.rank, lora.b.len() / lora.rank);
        if lora.rank > inputs.min(outputs) {
            return Err(Error::mismatch(format!(
                "the adapter has rank {} on {}, whose matrix is {outputs} × {inputs}; lora-svd needs a rank that is at most the \
                 smaller side",
                lora.rank,
                module.path(layer)
            )));
        }
        let a = svd(&lora.a, lora.rank, inputs)?;
        let b = svd(&lora.b, outputs, lora.rank)?;
        let factors = |name, singular_values: Vec<f64>| Factors {
            tie: Tie::Free,
            name,
            gain: match offsets {
                Offsets::Absolute => vec![1.0; searched],
                Offsets::Relative => singular_values[..searched].to_vec(),
            },
            origin: singular_values,
        };
        bases.push(Basis {
            layer,
            module,
            rank: lora.rank,
            v: numbers(&a.vt),
            core: Some(numbers(&b.vt.f_matmul(&a.u)?)), // M = V_Bᵀ U_A
            u: numbers(&b.u),
            scale: lora.scale,
            a: factors("a", a.s),
            b: Some(factors("b", b.s)),
            searched_core: None,
            prefix: String::new(),
        });
    }
    let space = Space::new(bases);
    if space.layout().dim() == 0 {
        return Err(Error::mismatch(format!(
            "the space lora-svd has nothing to search: ⌊alpha · r⌋ is 0 or the adapter has none of the chosen modules; alpha is {alpha}"
        )));
    }
    Ok(space)
}
