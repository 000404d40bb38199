//! Does a response follow verifiable instructions, as IFEval asks ("Instruction-Following Evaluation for Large
//! Language Models", arXiv 2311.07911)? 25 kinds, each with a strict and a loose verdict, which are those of Google's
//! `instruction_following_eval`. [`Instruction`] is one of them, and [`Verdict`] is what a response gets for a row of
//! the data. Sentences, words and languages are those of NLTK and langdetect, on which the reference rests:
//! [`sentence`], [`word`], [`language`]; `text` and `json` keep to Python where it differs from Rust.

mod arguments;
mod instruction;
mod json;
pub mod language;
pub mod sentence;
mod text;
pub mod word;

pub use arguments::InstructionError;
pub use instruction::Instruction;

use serde_json::{Map, Value};

/// The instructions of a row: `instruction_id_list` and `kwargs`, which are parallel.
///
/// # Errors
///
/// The two differ in length, or an instruction cannot be read (see [`Instruction::new`]).
pub fn instructions<S: AsRef<str>>(
    ids: &[S],
    kwargs: &[Map<String, Value>],
) -> Result<Vec<Instruction>, InstructionError> {
    if ids.len() != kwargs.len() {
        return Err(InstructionError::lengths(ids.len(), kwargs.len()));
    }
    ids.iter()
        .zip(kwargs)
        .map(|(id, arguments)| Instruction::new(id.as_ref(), arguments))
        .collect()
}

/// Which of a row's instructions a response follows, in the row's order. The prompt has no say: where it matters, it
/// is an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// As the response stands.
    pub strict: Vec<bool>,
    /// Forgiving first and last lines and asterisks; true wherever `strict` is.
    pub loose: Vec<bool>,
}

impl Verdict {
    /// Judges the response by each instruction.
    pub fn new(instructions: &[Instruction], response: &str) -> Self {
        let strict: Vec<bool> = instructions
            .iter()
            .map(|instruction| instruction.follows(response))
            .collect();
        let loosely = |(instruction, &strict): (&Instruction, &bool)| strict || instruction.follows_loosely(response);
        let loose = instructions.iter().zip(&strict).map(loosely).collect();
        Self { strict, loose }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_gets_a_verdict_for_each_instruction() {
        let kwargs: Vec<Map<String, Value>> =
            serde_json::from_value(json!([{}, {"num_words": 3, "relation": "at least"}])).expect("two objects");
        let ids = ["startend:quotation", "length_constraints:number_words"];
        let instructions = instructions(&ids, &kwargs).expect("both are known");
        let verdict = Verdict::new(&instructions, "Sure!\n\"One two.\"");
        assert_eq!(
            verdict,
            Verdict {
                strict: vec![false, true],
                loose: vec![true, true]
            }
        );
        assert_eq!(Verdict::new(&instructions, "").loose, [false, false]);
        assert!(Verdict::new(&[], "a").strict.is_empty());
    }

    #[test]
    fn ids_and_arguments_are_parallel() {
        let error = instructions(&["startend:quotation"], &[]).expect_err("one of them has no arguments");
        assert_eq!(
            error.to_string(),
            "There are 1 ids of instructions, but arguments for 0."
        );
        assert!(instructions::<&str>(&[], &[]).is_ok_and(|instructions| instructions.is_empty()));
    }
}
