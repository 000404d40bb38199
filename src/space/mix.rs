//! A weighted sum of PEFT adapters: ΔW = Σ w_k s_k B_k A_k. The search begins at the plain average (a model soup of
//! adapters: Wortsman et al., arXiv 2203.05482; with weights searched without gradients: LoraHub, arXiv 2307.13269), and the
//! adapter that leaves is one of the summed rank.

use super::kind::Beside;
use super::{Kind, Materials, Space};
use crate::adapter::peft::{Lora, PeftAdapter};
use crate::adapter::{Basis, Factors, Tie};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `kind = "mix"`: the weights of a sum of several LoRAs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// PEFT LoRA directories.
    pub adapters: Vec<PathBuf>,
    /// What has a weight of its own.
    #[serde(default)]
    pub per: Per,
}

impl Kind for Mix {
    fn label(&self) -> String {
        format!("mix {} by {:?}", self.adapters.len(), self.per).to_lowercase()
    }

    fn check(&self, _: &Beside) -> Result<()> {
        if self.adapters.is_empty() {
            return Err(Error::config("space.adapters is empty, expected PEFT LoRA directories"));
        }
        Ok(())
    }

    fn adapters(&self) -> &[PathBuf] {
        &self.adapters
    }

    fn open(&self, on: &Materials) -> Result<Space> {
        let adapters = self.adapters.iter().map(|directory| on.peft(directory));
        Ok(mix(&adapters.collect::<Result<Vec<_>>>()?, self.per))
    }
}

/// What has a weight of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// Each adapter.
    Adapter,
    /// Each matrix of each adapter.
    #[default]
    Module,
}

/// The space of the weights of `adapters`: w = 1 / K + θ.
pub fn mix(adapters: &[PeftAdapter], per: Per) -> Space {
    weighted(adapters, per, 1.0 / adapters.len() as f64)
}

/// The space of the weights of `adapters`: w = `share` + θ.
pub fn weighted(adapters: &[PeftAdapter], per: Per, share: f64) -> Space {
    let of_adapter = |(index, adapter): (usize, &PeftAdapter)| {
        let basis = move |(&(layer, module), lora): (&_, &Lora)| Basis {
            layer,
            module,
            rank: lora.rank,
            v: lora.a.clone(),
            core: None,
            searched_core: None,
            u: lora.b.clone(),
            scale: lora.scale,
            a: Factors {
                name: "weight",
                origin: vec![share; lora.rank],
                gain: vec![1.0; lora.rank],
                tie: match per {
                    Per::Adapter => Tie::Prefix,
                    Per::Module => Tie::Vector,
                },
            },
            b: None,
            prefix: format!("adapter{index}."),
        };
        adapter.modules.iter().map(basis).collect::<Vec<_>>()
    };
    Space::new(adapters.iter().enumerate().flat_map(of_adapter).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Module;
    use crate::seed::Seed;
    use tch::Tensor;

    fn random(seed: u64, n: usize) -> Vec<f32> {
        Seed::new(seed).normals(n).iter().map(|&z| z as f32).collect()
    }

    fn adapter(seed: u64, rank: usize, modules: &[Module]) -> PeftAdapter {
        let lora = |module: Module| Lora {
            rank,
            scale: 0.5 * seed as f32,
            a: random(10 * seed + module.index() as u64, rank * 7),
            b: random(100 * seed + module.index() as u64, 5 * rank),
        };
        PeftAdapter {
            modules: modules.iter().map(|&module| ((0, module), lora(module))).collect(),
        }
    }

    fn delta(adapter: &PeftAdapter, module: Module) -> Tensor {
        let lora = &adapter.modules[&(0, module)];
        let tensor = |x: &[f32], rows: usize| Tensor::from_slice(x).view([rows as i64, -1]);
        tensor(&lora.b, 5).matmul(&tensor(&lora.a, lora.rank)) * f64::from(lora.scale)
    }

    #[test]
    fn a_mix_is_the_weighted_sum() {
        let two = [adapter(1, 2, &[Module::Q, Module::V]), adapter(2, 3, &[Module::Q])];
        let (whole, parts) = (mix(&two, Per::Adapter), mix(&two, Per::Module));
        assert_eq!((whole.layout().dim(), parts.layout().dim()), (2, 3));
        let is_sum = |space: &Space, theta: &[f64], module: Module, weights: &[f64]| {
            let of = |(adapter, weight): (&PeftAdapter, &f64)| delta(adapter, module) * *weight;
            let expected: Tensor = two.iter().zip(weights).map(of).reduce(|a, b| a + b).expect("some");
            let found = delta(&space.export(theta), module);
            assert!(found.allclose(&expected, 1e-5, 1e-5, false), "{theta:?} {module:?}");
        };
        is_sum(&whole, &[0.0; 2], Module::Q, &[0.5, 0.5]);
        is_sum(&whole, &[0.25, -1.0], Module::Q, &[0.75, -0.5]);
        is_sum(&whole, &[0.25, -1.0], Module::V, &[0.75]);
        let names: Vec<&str> = parts.layout().slots().iter().map(|slot| slot.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "adapter0.model.layers.0.self_attn.q_proj.weight",
                "adapter0.model.layers.0.self_attn.v_proj.weight",
                "adapter1.model.layers.0.self_attn.q_proj.weight"
            ]
        );
        is_sum(&parts, &[0.25, 0.125, -1.0], Module::Q, &[0.75, -0.5]);
        is_sum(&parts, &[0.25, 0.125, -1.0], Module::V, &[0.625]);
        // Beside itself, in a composed space, it has names of its own.
        let both = Space::compose([("0", whole.clone()), ("1", parts)]);
        assert_eq!(both.layout().dim(), 5);
    }
}
