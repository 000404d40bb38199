//! The table of the kinds of spaces. A new kind is its file and its line here.

use super::core::Core;
use super::decoding::Decoding;
use super::frozen::Frozen;
use super::kind::Kind;
use super::lora_core::LoraCore;
use super::lora_svd::LoraSvd;
use super::mix::Mix;
use super::spectral::Spectral;
use serde::{Deserialize, Serialize};

/// Declares [`SpaceKind`] from the table below: the kinds, each with the key of its settings that holds paths, if one does.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $($path:literal)?;)*) => {
        /// `kind`, and the settings of this kind.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum SpaceKind {
            $($(#[$doc])* $name($name),)*
        }

        impl SpaceKind {
            /// Keys whose values are paths, of all kinds.
            pub const PATHS: &[&str] = &[$($($path,)?)*];

            /// What the kind answers for itself.
            pub fn kind(&self) -> &dyn Kind {
                match self {
                    $(Self::$name(settings) => settings,)*
                }
            }
        }
    };
}

kinds! {
    /// Singular components of the base weights.
    Spectral;
    /// Singular values of a supervised LoRA's factors.
    LoraSvd;
    /// The whole matrix between principal components of the base weights (LoRA-XS).
    Core;
    /// The whole matrix between the singular vectors of a supervised LoRA's factors.
    LoraCore;
    /// A supervised LoRA that stands still while others are searched.
    Frozen;
    /// The weights of a sum of several LoRAs.
    Mix "adapters";
    /// How texts are written.
    Decoding;
}

impl Default for SpaceKind {
    fn default() -> Self {
        Self::Spectral(Spectral::default())
    }
}
