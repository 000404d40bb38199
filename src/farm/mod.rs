//! Who evaluates what: the population's rollouts ([`population`]) in the rounds of a race ([`racing`]) on the ranks of a job ([`ranks`]).

pub mod population;
pub mod racing;
pub mod ranks;
