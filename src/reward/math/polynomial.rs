//! Polynomials with whole coefficients, exact or not at all: a coefficient or an exponent that does not fit, or more
//! work than a [`Budget`] allows, is an error, so that no expression can take long or much memory.

use super::problem::Problem;
use std::collections::BTreeMap;

/// How many products of two terms may still be taken.
#[derive(Debug)]
pub struct Budget(u32);

impl Budget {
    /// Enough for any answer to a school problem and done in a fraction of a second.
    pub fn new() -> Self {
        Self(100_000)
    }

    /// Takes `work` from what is left.
    pub fn spend(&mut self, work: usize) -> Result<(), Problem> {
        let left = u32::try_from(work).ok().and_then(|work| self.0.checked_sub(work));
        self.0 = left.ok_or(Problem::Limit)?;
        Ok(())
    }
}

/// A product of unknowns: their numbers, ascending, with exponents above zero.
pub type Monomial = Vec<(usize, u32)>;

/// A sum of terms; no coefficient is zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Polynomial {
    terms: BTreeMap<Monomial, i128>,
}

impl Polynomial {
    /// A number.
    pub fn constant(value: i128) -> Self {
        Self::term(Vec::new(), value)
    }

    /// One unknown.
    pub fn unknown(number: usize) -> Self {
        Self::term(vec![(number, 1)], 1)
    }

    /// One term.
    pub fn term(monomial: Monomial, coefficient: i128) -> Self {
        let terms = (coefficient != 0).then_some((monomial, coefficient));
        Self {
            terms: terms.into_iter().collect(),
        }
    }

    /// The terms, in a fixed order of their monomials.
    pub fn terms(&self) -> impl Iterator<Item = (&Monomial, i128)> {
        self.terms
            .iter()
            .map(|(monomial, &coefficient)| (monomial, coefficient))
    }

    /// Whether it is zero.
    pub fn is_zero(&self) -> bool {
        self.terms.is_empty()
    }

    /// The number that it is, if it has no unknown.
    pub fn as_constant(&self) -> Option<i128> {
        match self.terms.len() {
            0 => Some(0),
            1 => self.terms.get(&Monomial::new()).copied(),
            _ => None,
        }
    }

    /// The coefficient of the last term in the order of [`Self::terms`].
    pub fn leading(&self) -> i128 {
        self.terms.last_key_value().map_or(0, |(_, &coefficient)| coefficient)
    }

    /// The sum of both.
    pub fn plus(mut self, other: &Self, budget: &mut Budget) -> Result<Self, Problem> {
        budget.spend(other.terms.len())?;
        for (monomial, coefficient) in other.terms() {
            self.add(monomial.clone(), coefficient)?;
        }
        Ok(self)
    }

    /// Adds one term.
    fn add(&mut self, monomial: Monomial, coefficient: i128) -> Result<(), Problem> {
        let entry = self.terms.entry(monomial.clone()).or_insert(0);
        *entry = entry.checked_add(coefficient).ok_or(Problem::Limit)?;
        if *entry == 0 {
            self.terms.remove(&monomial);
        }
        Ok(())
    }

    /// The product of both.
    pub fn times(&self, other: &Self, budget: &mut Budget) -> Result<Self, Problem> {
        budget.spend(self.terms.len().saturating_mul(other.terms.len()))?;
        let mut product = Self::constant(0);
        for (left, one) in self.terms() {
            for (right, two) in other.terms() {
                budget.spend(left.len() + right.len())?;
                product.add(merged(left, right)?, one.checked_mul(two).ok_or(Problem::Limit)?)?;
            }
        }
        Ok(product)
    }

    /// The greatest number that divides all coefficients; zero for zero.
    pub fn content(&self) -> i128 {
        self.terms
            .values()
            .fold(0, |divisor, &coefficient| greatest_common_divisor(divisor, coefficient))
    }

    /// The product of unknowns that divides all terms.
    pub fn common_monomial(&self) -> Monomial {
        let mut monomials = self.terms.keys();
        let mut common = monomials.next().cloned().unwrap_or_default();
        for monomial in monomials {
            common = shared(&common, monomial);
        }
        common
    }

    /// The quotient by a number and a monomial that both divide all terms.
    pub fn over(&self, divisor: i128, monomial: &Monomial) -> Result<Self, Problem> {
        let exponent = |unknown| {
            monomial
                .iter()
                .find(|&&(other, _)| other == unknown)
                .map_or(0, |&(_, of)| of)
        };
        let mut terms = BTreeMap::new();
        for (term, coefficient) in self.terms() {
            let rest = term
                .iter()
                .map(|&(unknown, of)| (unknown, of.saturating_sub(exponent(unknown))));
            // The least number has no opposite.
            let quotient = coefficient.checked_div(divisor).ok_or(Problem::Limit)?;
            terms.insert(rest.filter(|&(_, of)| of > 0).collect(), quotient);
        }
        Ok(Self { terms })
    }
}

/// The product of two monomials.
fn merged(left: &Monomial, right: &Monomial) -> Result<Monomial, Problem> {
    let mut product = Monomial::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    loop {
        let next = match (left.peek(), right.peek()) {
            (Some(&&(one, first)), Some(&&(two, second))) if one == two => {
                left.next();
                right.next();
                (one, first.checked_add(second).ok_or(Problem::Limit)?)
            }
            (Some(&&one), Some(&&two)) if one.0 < two.0 => {
                left.next();
                one
            }
            (_, Some(&&two)) => {
                right.next();
                two
            }
            (Some(&&one), None) => {
                left.next();
                one
            }
            (None, None) => return Ok(product),
        };
        product.push(next);
    }
}

/// What two monomials have in common.
pub fn shared(left: &Monomial, right: &Monomial) -> Monomial {
    let lower = |&(unknown, one): &(usize, u32)| {
        let other = right.iter().find(|&&(other, _)| other == unknown)?;
        Some((unknown, one.min(other.1)))
    };
    left.iter().filter_map(lower).collect()
}

/// Above zero, unless both are zero.
pub fn greatest_common_divisor(one: i128, other: i128) -> i128 {
    let (mut one, mut other) = (one.unsigned_abs(), other.unsigned_abs());
    while other != 0 {
        (one, other) = (other, one % other);
    }
    i128::try_from(one).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn x() -> Polynomial {
        Polynomial::unknown(0)
    }

    fn n(value: i128) -> Polynomial {
        Polynomial::constant(value)
    }

    #[test]
    fn sums_and_products() -> Result<(), Problem> {
        let mut budget = Budget::new();
        let one_more = x().plus(&n(1), &mut budget)?;
        let one_less = x().plus(&n(-1), &mut budget)?;
        let product = one_more.times(&one_less, &mut budget)?;
        assert_eq!(product, x().times(&x(), &mut budget)?.plus(&n(-1), &mut budget)?);
        assert!(
            one_more
                .clone()
                .plus(&one_more.times(&n(-1), &mut budget)?, &mut budget)?
                .is_zero()
        );
        assert_eq!(
            (product.as_constant(), n(7).as_constant(), n(0).as_constant()),
            (None, Some(7), Some(0))
        );
        let sum = x().times(&n(6), &mut budget)?.plus(&n(-4), &mut budget)?;
        assert_eq!((sum.content(), sum.leading()), (2, 6));
        let both = sum.times(&x(), &mut budget)?;
        assert_eq!(both.common_monomial(), vec![(0, 1)]);
        assert_eq!(both.over(2, &vec![(0, 1)])?, sum.over(2, &Monomial::new())?);
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let mut budget = Budget::new();
        assert_eq!(n(i128::MAX).times(&n(2), &mut budget), Err(Problem::Limit));
        assert_eq!(n(i128::MAX).plus(&n(1), &mut budget), Err(Problem::Limit));
        let high = Polynomial::term(vec![(0, u32::MAX)], 1);
        assert_eq!(high.times(&x(), &mut budget), Err(Problem::Limit));
        assert_eq!(n(i128::MIN).over(-1, &Monomial::new()), Err(Problem::Limit));
        assert_eq!(Budget(5).spend(6), Err(Problem::Limit));
        assert_eq!(greatest_common_divisor(i128::MIN, i128::MIN), 1);
    }
}
