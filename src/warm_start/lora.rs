//! A LoRA adapter that gradients flow to: its factors as tensors, what it adds to a module's output, and its way to and from a PEFT directory.

use crate::adapter::peft::{Lora, PeftAdapter};
use crate::error::Result;
use crate::model::{ModelConfig, Module, numbers};
use crate::seed::Seed;
use rand::RngExt;
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// Factors by layer and module.
#[derive(Debug)]
pub struct TrainableLora {
    modules: BTreeMap<(usize, Module), Pair>,
}

/// ΔW = scale · B A.
#[derive(Debug)]
struct Pair {
    /// A, `[r, in]`.
    a: Tensor,
    /// B, `[out, r]`.
    b: Tensor,
    scale: f64,
}

fn leaf(numbers: &[f32], rows: usize) -> Tensor {
    Tensor::from_slice(numbers)
        .view([rows as i64, -1])
        .set_requires_grad(true)
}

impl TrainableLora {
    /// A new adapter, which changes nothing: as peft begins, A is uniform in ±1/√in (Kaiming with a = √5), and B is 0.
    pub fn new(model: &ModelConfig, modules: &[Module], rank: usize, alpha: f64, seed: Seed) -> Self {
        let pair = |layer: usize, module: Module| {
            let [outputs, inputs] = model.module_shape(module);
            let mut rng = seed.fold(layer as u64).named(module.name()).rng();
            let bound = 1.0 / (inputs as f32).sqrt();
            let a: Vec<f32> = (0..rank * inputs).map(|_| rng.random_range(-bound..bound)).collect();
            Pair {
                a: leaf(&a, rank),
                b: leaf(&vec![0.0; outputs * rank], outputs),
                scale: alpha / rank as f64,
            }
        };
        let layers = (0..model.layers).flat_map(|layer| modules.iter().map(move |&module| (layer, module)));
        Self {
            modules: layers
                .map(|(layer, module)| ((layer, module), pair(layer, module)))
                .collect(),
        }
    }

    /// The same adapter, to go on with.
    pub fn from_peft(adapter: &PeftAdapter) -> Self {
        let pair = |lora: &Lora| Pair {
            a: leaf(&lora.a, lora.rank),
            b: leaf(&lora.b, lora.b.len() / lora.rank),
            scale: f64::from(lora.scale),
        };
        Self {
            modules: adapter.modules.iter().map(|(&key, lora)| (key, pair(lora))).collect(),
        }
    }

    /// As PEFT keeps it.
    pub fn to_peft(&self) -> Result<PeftAdapter> {
        let mut adapter = PeftAdapter::default();
        for (&key, pair) in &self.modules {
            let lora = Lora {
                rank: pair.a.size()[0] as usize,
                scale: pair.scale as f32,
                a: numbers(&pair.a)?,
                b: numbers(&pair.b)?,
            };
            adapter.modules.insert(key, lora);
        }
        Ok(adapter)
    }

    /// y + scale · (x Aᵀ) Bᵀ. `x` `[rows, in]`, `y` `[rows, out]`.
    pub fn add(&self, layer: usize, module: Module, x: &Tensor, y: Tensor) -> Result<Tensor> {
        let Some(pair) = self.modules.get(&(layer, module)) else {
            return Ok(y);
        };
        let h = x
            .f_linear::<&Tensor>(&pair.a, None)?
            .f_linear::<&Tensor>(&pair.b, None)?;
        Ok(y.f_add(&h.f_mul_scalar(pair.scale)?)?)
    }

    /// All factors, A before B, each with a name of its own.
    pub fn factors(&self) -> Vec<(String, &Tensor)> {
        let named = self.modules.iter().flat_map(|((layer, module), pair)| {
            let path = module.path(*layer);
            [(format!("{path}.lora_A"), &pair.a), (format!("{path}.lora_B"), &pair.b)]
        });
        named.collect()
    }

    /// Overwrites the factors, by their names; false where one is missing or has another shape.
    pub fn restore(&mut self, saved: &BTreeMap<String, Tensor>) -> bool {
        tch::no_grad(|| {
            self.factors().into_iter().all(|(name, factor)| match saved.get(&name) {
                Some(tensor) if tensor.size() == factor.size() && tensor.kind() == Kind::Float => {
                    factor.shallow_clone().copy_(tensor);
                    true
                }
                _ => false,
            })
        })
    }
}
