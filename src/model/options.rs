//! How a model is held in memory, and where.

use super::kernels::KvKind;
use super::linear::Precision;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How a model is held in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// What matrix products are computed in.
    pub precision: Precision,
    /// int4: how many weights share a scale, where the file has not decided that already.
    pub group_size: usize,
    /// What keys and values are kept in.
    pub kv_cache: KvKind,
    /// Where it runs.
    pub device: Device,
}

impl From<Precision> for LoadOptions {
    /// The usual ones beside this precision: an f32 cache in f32, bf16 otherwise.
    fn from(precision: Precision) -> Self {
        Self {
            precision,
            group_size: 64,
            kv_cache: if precision == Precision::F32 {
                KvKind::F32
            } else {
                KvKind::Bf16
            },
            device: Device::Cpu,
        }
    }
}

impl LoadOptions {
    /// Refuses what does not go together, and a GPU that is not there.
    pub(super) fn check(&self) -> Result<()> {
        let Device::Cuda(number) = self.device else {
            return Ok(());
        };
        let found = tch::Cuda::device_count();
        if !tch::Cuda::is_available() || found <= number as i64 {
            return Err(Error::config(format!(
                "device is `{}`, but libtorch finds {found} GPUs here; use device `cpu`, or build against a libtorch with CUDA on a machine that has the GPU",
                self.device
            )));
        }
        if self.kv_cache == KvKind::Int8 {
            return Err(Error::config(format!(
                "device is `{}`, where the cache cannot be int8 yet; use kv_cache `bf16`",
                self.device
            )));
        }
        Ok(())
    }
}

/// Where a model runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The GPU with this number.
    Cuda(usize),
    /// A GPU for each rank of a machine, in turn; the first where there are no ranks.
    CudaOfRank,
}

impl Device {
    /// The device of the `rank`th process on its machine.
    pub fn of_rank(self, rank: usize) -> Self {
        match self {
            Self::CudaOfRank => Self::Cuda(rank % (tch::Cuda::device_count().max(1) as usize)),
            other => other,
        }
    }
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = match text {
            "cpu" => return Ok(Self::Cpu),
            "cuda" => return Ok(Self::CudaOfRank),
            other => other.strip_prefix("cuda:").and_then(|number| number.parse().ok()),
        };
        let wrong = || {
            Error::config(format!(
                "device is `{text}`; expected cpu, cuda:N with the number of a GPU, or cuda for one GPU a rank"
            ))
        };
        number.map(Self::Cuda).ok_or_else(wrong)
    }
}

impl TryFrom<String> for Device {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.to_string()
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::CudaOfRank => f.write_str("cuda"),
        }
    }
}

/// What the plain twin computes int8 and int4 with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    /// The kernels' arithmetic in f32, step by step: what they are tested against.
    Reference,
    /// libtorch's quantized products: what a GPU computes with.
    Library,
}
