//! Why an expression has no value.

/// Why an expression has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is none, or one of a kind that is not known here.
    Syntax,
    /// It divides by zero.
    Undefined,
    /// It is too long, too deep or too large to be worked out.
    Limit,
}
