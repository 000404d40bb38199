//! The table of the kinds of spaces. A new kind is its file and its line here.

use super::kind::Kind;
use serde::{Deserialize, Serialize};

/// Declares [`SpaceKind`] from the table below: the kinds, each with the key of its settings that holds paths, if one does.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident($kind:ty) $($path:literal)?;)*) => {
        /// `kind`, and the settings of this kind.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum SpaceKind {
            $($(#[$doc])* $name($kind),)*
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
    Spectral(super::spectral::Spectral);
    /// Singular values of a supervised LoRA's factors.
    LoraSvd(super::lora_svd::LoraSvd);
    /// The whole matrix between principal components of the base weights (LoRA-XS).
    Core(super::core::Core);
    /// The whole matrix between the singular vectors of a supervised LoRA's factors.
    LoraCore(super::lora_core::LoraCore);
    /// A supervised LoRA that stands still while others are searched.
    Frozen(super::frozen::Frozen);
    /// The weights of a sum of several LoRAs.
    Mix(super::mix::Mix) "adapters";
    /// How texts are written.
    Decoding(super::decoding::Decoding);
}

impl Default for SpaceKind {
    fn default() -> Self {
        Self::Spectral(super::spectral::Spectral::default())
    }
}
