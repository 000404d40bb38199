//! A fixed LoRA beside what is searched: it is applied and moves no number.

use super::{Kind, Materials, Space};
use crate::adapter::peft::{Lora, PeftAdapter};
use crate::adapter::{Basis, Factors, Tie};
use crate::error::Result;
use crate::model::Module;
use serde::{Deserialize, Serialize};

/// `kind = "frozen"`: a supervised LoRA that stands still while others are searched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frozen {}

impl Kind for Frozen {
    fn label(&self) -> String {
        "frozen".into()
    }

    fn needs_adapter(&self) -> bool {
        true
    }

    fn open(&self, on: &Materials) -> Result<Space> {
        Ok(Space::frozen(&on.adapter()?))
    }
}

impl Space {
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
}
