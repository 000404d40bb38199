//! The whole matrix between the singular vectors of a supervised LoRA's factors: [`core()`] of [`lora_svd()`].

use super::core::core;
use super::kind::{Beside, default_modules, parse_modules};
use super::lora_svd::{Offsets, lora_svd};
use super::{Kind, Materials, Space};
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// `kind = "lora-core"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraCore {
    /// Which matrices of every layer.
    #[serde(default = "default_modules")]
    pub modules: Vec<String>,
}

impl Kind for LoraCore {
    fn label(&self) -> String {
        "lora-core".into()
    }

    fn check(&self, _: &Beside) -> Result<()> {
        parse_modules(&self.modules).map(drop)
    }

    fn needs_adapter(&self) -> bool {
        true
    }

    fn open(&self, on: &Materials) -> Result<Space> {
        let modules = parse_modules(&self.modules)?;
        Ok(core(
            lora_svd(&on.adapter()?, 1.0, &modules, Offsets::default())?,
            &modules,
        ))
    }
}
