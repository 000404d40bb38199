//! The errors that a user, a file or a machine can cause. Each message is one sentence that says where, what was
//! found, what was expected and, where there is one, what to do. Our own bugs panic through `expect("reason")`
//! instead; a failed judgement is no error at all but data (see [`crate::search::Fitness`]).

use std::path::{Path, PathBuf};

/// What every fallible function of the crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused: no such file, no permission, disk full.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder in question.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// A file is there, and its content is not what it should be.
    #[error("{}: {what}", path.display())]
    File {
        /// The file in question.
        path: PathBuf,
        /// What was found and what was expected.
        what: String,
    },
    /// A configuration key, a flag, or a combination of them cannot be used.
    #[error("{0}")]
    Config(String),
    /// Parts that are each valid do not fit together: an adapter and a model, a prompt and a context.
    #[error("{0}")]
    Mismatch(String),
    /// Another rank of the job failed; it says why itself.
    #[error("rank {rank} failed: {what}")]
    Elsewhere {
        /// Which one.
        rank: usize,
        /// Its own words.
        what: String,
    },
    /// A run could not go on.
    #[error("{source}; {saved}")]
    Run {
        /// Why.
        source: Box<Self>,
        /// What is saved of it, and how to go on.
        saved: String,
    },
    /// libtorch refused an operation; always a bug or a machine out of memory.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

impl Error {
    /// An [`Error::Io`] for `path`, made to be used with `map_err`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { path, source }
    }

    /// An [`Error::File`] for `path`.
    pub fn file(path: impl AsRef<Path>, what: impl Into<String>) -> Self {
        Self::File {
            path: path.as_ref().to_path_buf(),
            what: what.into(),
        }
    }

    /// An [`Error::Config`].
    pub fn config(what: impl Into<String>) -> Self {
        Self::Config(what.into())
    }

    /// An [`Error::Mismatch`].
    pub fn mismatch(what: impl Into<String>) -> Self {
        Self::Mismatch(what.into())
    }
}
