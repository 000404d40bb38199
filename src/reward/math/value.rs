//! What an expression is worth: quotients of [polynomials](Polynomial) whose unknowns are letters, π, square roots and
//! whatever else is not worked out. Roots of numbers are taken apart into roots of primes, of which products are
//! independent over the rationals, and a square of a root is what stands under it; so two values without nested roots
//! are equal exactly if their difference becomes zero. Nothing is ever rounded.

use super::polynomial::{Budget, Monomial, Polynomial, greatest_common_divisor, shared};
use super::problem::Problem;

/// The primes that are looked for under a root. What is left is taken as it is, which may miss an equality and never
/// makes one up.
const DIVISORS: i128 = 10_000;

/// The greatest exponent that is worked out.
const EXPONENT: i128 = 1000;

/// A quotient; the lower polynomial is not zero.
#[derive(Clone, Debug)]
pub struct Value {
    above: Polynomial,
    below: Polynomial,
}

impl Value {
    /// A whole number.
    pub fn whole(number: i128) -> Self {
        Self {
            above: Polynomial::constant(number),
            below: Polynomial::constant(1),
        }
    }

    /// The fraction that it is, in lowest terms and with a denominator above zero, if it has no unknown.
    fn as_fraction(&self) -> Option<(i128, i128)> {
        self.above.as_constant().zip(self.below.as_constant())
    }
}

/// What an unknown stands for.
#[derive(Debug)]
enum Unknown {
    /// A letter or π.
    Name(String),
    /// The square root of a polynomial.
    Root(Polynomial),
    /// The square root of a quotient.
    QuotientRoot(Value),
    /// A function of which only the name is known.
    Call(String, Value),
    /// A power that is not worked out.
    Power(Value, Value),
}

impl Unknown {
    fn is(&self, other: &Self, budget: &mut Budget) -> Result<bool, Problem> {
        Ok(match (self, other) {
            (Self::Name(one), Self::Name(two)) => one == two,
            (Self::Root(one), Self::Root(two)) => one == two,
            (Self::QuotientRoot(one), Self::QuotientRoot(two)) => equal(one, two, budget)?,
            (Self::Call(one, argument), Self::Call(two, of)) => one == two && equal(argument, of, budget)?,
            (Self::Power(one, exponent), Self::Power(two, of)) => {
                equal(one, two, budget)? && equal(exponent, of, budget)?
            }
            _ => false,
        })
    }
}

/// The unknowns met so far and the work that is still allowed. Values of different fields cannot be compared.
#[derive(Debug)]
pub struct Field {
    unknowns: Vec<Unknown>,
    budget: Budget,
}

impl Field {
    /// Without unknowns.
    pub fn new() -> Self {
        Self {
            unknowns: Vec::new(),
            budget: Budget::new(),
        }
    }

    /// The value of a letter or a constant that is as good as one.
    pub fn named(&mut self, name: &str) -> Result<Value, Problem> {
        self.known(Unknown::Name(name.to_owned()))
    }

    /// The value of a function of one argument.
    pub fn call(&mut self, name: &str, argument: Value) -> Result<Value, Problem> {
        self.known(Unknown::Call(name.to_owned(), argument))
    }

    /// The value of an unknown, under the number that it had before, if it is not a new one.
    fn known(&mut self, wanted: Unknown) -> Result<Value, Problem> {
        let mut number = self.unknowns.len();
        for (at, unknown) in self.unknowns.iter().enumerate() {
            self.budget.spend(1)?;
            if unknown.is(&wanted, &mut self.budget)? {
                number = at;
                break;
            }
        }
        if number == self.unknowns.len() {
            self.unknowns.push(wanted);
        }
        Ok(Value {
            above: Polynomial::unknown(number),
            below: Polynomial::constant(1),
        })
    }

    /// The sum of both.
    pub fn sum(&mut self, one: Value, other: &Value) -> Result<Value, Problem> {
        if one.below == other.below {
            let above = one.above.plus(&other.above, &mut self.budget)?;
            return self.quotient(above, one.below);
        }
        let left = self.product_of(&one.above, &other.below)?;
        let right = self.product_of(&other.above, &one.below)?;
        let below = self.product_of(&one.below, &other.below)?;
        let above = left.plus(&right, &mut self.budget)?;
        self.quotient(above, below)
    }

    /// What, added to it, makes zero.
    pub fn negated(&mut self, value: &Value) -> Result<Value, Problem> {
        let above = value.above.times(&Polynomial::constant(-1), &mut self.budget)?;
        Ok(Value {
            above,
            below: value.below.clone(),
        })
    }

    /// The product of both.
    pub fn product(&mut self, one: &Value, other: &Value) -> Result<Value, Problem> {
        let above = self.product_of(&one.above, &other.above)?;
        let below = self.product_of(&one.below, &other.below)?;
        self.quotient(above, below)
    }

    /// One over it.
    pub fn inverse(&mut self, value: Value) -> Result<Value, Problem> {
        self.quotient(value.below, value.above)
    }

    /// The power. Exponents that are whole numbers or halves, quarters and eighths of them are worked out, the others
    /// are not.
    pub fn power(&mut self, base: Value, exponent: Value) -> Result<Value, Problem> {
        if let Some((above, below @ (1 | 2 | 4 | 8))) = exponent.as_fraction() {
            let mut root = base;
            for _ in 0..below.ilog2() {
                root = self.square_root(&root)?;
            }
            return self.whole_power(root, above);
        }
        self.known(Unknown::Power(base, exponent))
    }

    fn whole_power(&mut self, base: Value, exponent: i128) -> Result<Value, Problem> {
        if !(-EXPONENT..=EXPONENT).contains(&exponent) {
            return Err(Problem::Limit);
        }
        let mut square = if exponent < 0 { self.inverse(base)? } else { base };
        let mut left = exponent.unsigned_abs();
        let mut power = Value::whole(1);
        while left > 0 {
            if left % 2 == 1 {
                power = self.product(&power, &square)?;
            }
            left /= 2;
            if left > 0 {
                square = self.product(&square, &square)?;
            }
        }
        Ok(power)
    }

    /// The square root, the one of a number above zero being above zero.
    pub fn square_root(&mut self, value: &Value) -> Result<Value, Problem> {
        if value.above.is_zero() {
            return Ok(Value::whole(0));
        }
        let Some(below) = value.below.as_constant() else {
            return self.known(Unknown::QuotientRoot(value.clone()));
        };
        // √(a/b) = √(a·b)/b and √(c·p) = √c·√p for numbers b and c above zero.
        let square = value.above.times(&Polynomial::constant(below), &mut self.budget)?;
        let content = square.content();
        let rest = square.over(content, &Monomial::new())?;
        let mut root = self.number_root(content)?;
        if rest.as_constant() != Some(1) {
            let factor = self.known(Unknown::Root(rest))?;
            root = self.product(&root, &factor)?;
        }
        let divisor = self.inverse(Value::whole(below))?;
        self.product(&root, &divisor)
    }

    /// The square root of a number above zero.
    fn number_root(&mut self, mut number: i128) -> Result<Value, Problem> {
        self.budget.spend(100)?;
        let mut outside = 1_i128;
        let mut root = Value::whole(1);
        let mut divisor = 2;
        while divisor <= DIVISORS && divisor * divisor <= number {
            let mut exponent = 0_u32;
            while number % divisor == 0 {
                number /= divisor;
                exponent += 1;
            }
            outside *= divisor.pow(exponent / 2);
            if exponent % 2 == 1 {
                let factor = self.known(Unknown::Root(Polynomial::constant(divisor)))?;
                root = self.product(&root, &factor)?;
            }
            divisor += 1;
        }
        let whole = i128::try_from(number.unsigned_abs().isqrt()).unwrap_or(1);
        if whole * whole == number {
            outside *= whole;
        } else {
            let factor = self.known(Unknown::Root(Polynomial::constant(number)))?;
            root = self.product(&root, &factor)?;
        }
        self.product(&root, &Value::whole(outside))
    }

    /// The product of two polynomials, with the squares of roots worked out.
    fn product_of(&mut self, one: &Polynomial, other: &Polynomial) -> Result<Polynomial, Problem> {
        let product = one.times(other, &mut self.budget)?;
        self.reduced(product)
    }

    /// The polynomial with the squares of roots worked out. What stands under a root has only older roots in it, so
    /// this comes to an end.
    fn reduced(&mut self, polynomial: Polynomial) -> Result<Polynomial, Problem> {
        let squared = |field: &Self, monomial: &Monomial| {
            let root =
                |&&(number, of): &&(usize, u32)| of > 1 && matches!(field.unknowns.get(number), Some(Unknown::Root(_)));
            monomial.iter().rfind(root).copied()
        };
        if !polynomial
            .terms()
            .any(|(monomial, _)| squared(self, monomial).is_some())
        {
            return Ok(polynomial);
        }
        let mut sum = Polynomial::constant(0);
        for (monomial, coefficient) in polynomial.terms() {
            let term = match squared(self, monomial) {
                None => Polynomial::term(monomial.clone(), coefficient),
                Some((number, exponent)) => {
                    let rest = monomial
                        .iter()
                        .map(|&(other, of)| (other, if other == number { of % 2 } else { of }));
                    let mut term = Polynomial::term(rest.filter(|&(_, of)| of > 0).collect(), coefficient);
                    for _ in 0..exponent / 2 {
                        let Some(Unknown::Root(square)) = self.unknowns.get(number) else {
                            break;
                        };
                        term = term.times(square, &mut self.budget)?;
                    }
                    self.reduced(term)?
                }
            };
            sum = sum.plus(&term, &mut self.budget)?;
        }
        Ok(sum)
    }

    /// The quotient of two polynomials without the numbers and unknowns that divide both.
    fn quotient(&mut self, above: Polynomial, below: Polynomial) -> Result<Value, Problem> {
        if below.is_zero() {
            return Err(Problem::Undefined);
        }
        if above.is_zero() {
            return Ok(Value::whole(0));
        }
        self.budget.spend(above.terms().count() + below.terms().count())?;
        let number = greatest_common_divisor(above.content(), below.content());
        let number = if below.leading() < 0 { -number } else { number };
        let monomial = shared(&above.common_monomial(), &below.common_monomial());
        if number == 1 && monomial.is_empty() {
            return Ok(Value { above, below });
        }
        Ok(Value {
            above: above.over(number, &monomial)?,
            below: below.over(number, &monomial)?,
        })
    }

    /// Whether both are the same.
    pub fn same(&mut self, one: &Value, other: &Value) -> Result<bool, Problem> {
        let left = self.product_of(&one.above, &other.below)?;
        let right = self.product_of(&other.above, &one.below)?;
        Ok(left == right)
    }
}

/// Whether two arguments of unknowns are the same quotient, the squares of roots aside.
fn equal(one: &Value, other: &Value, budget: &mut Budget) -> Result<bool, Problem> {
    Ok(one.above.times(&other.below, budget)? == other.above.times(&one.below, budget)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(number: i128) -> Value {
        Value::whole(number)
    }

    #[test]
    fn roots_of_numbers_are_taken_apart() -> Result<(), Problem> {
        let mut field = Field::new();
        let (two, three, six, twelve) = (
            field.square_root(&n(2))?,
            field.square_root(&n(3))?,
            field.square_root(&n(6))?,
            field.square_root(&n(12))?,
        );
        let product = field.product(&two, &three)?;
        assert!(field.same(&product, &six)?);
        let double = field.product(&n(2), &three)?;
        assert!(field.same(&double, &twelve)?);
        assert!(!field.same(&two, &three)?);
        let inverse = field.inverse(two.clone())?;
        let half = field.inverse(n(2))?;
        let half = field.product(&half, &two)?;
        assert!(field.same(&inverse, &half)?);
        let large = field.square_root(&n(1_000_003 * 1_000_003))?;
        assert!(field.same(&large, &n(1_000_003))?);
        let imaginary = field.square_root(&n(-4))?;
        let square = field.product(&imaginary, &imaginary)?;
        assert!(field.same(&square, &n(-4))?);
        Ok(())
    }

    #[test]
    fn letters_stay() -> Result<(), Problem> {
        let mut field = Field::new();
        let x = field.named("x")?;
        let more = field.sum(x.clone(), &n(1))?;
        let less = field.sum(x.clone(), &n(-1))?;
        let product = field.product(&more, &less)?;
        let square = field.whole_power(x.clone(), 2)?;
        let difference = field.sum(square.clone(), &n(-1))?;
        assert!(field.same(&product, &difference)?);
        let inverse = field.inverse(less)?;
        let quotient = field.product(&difference, &inverse)?;
        assert!(field.same(&quotient, &more)?);
        // The root of x² is not x: x may be below zero.
        let root = field.square_root(&square)?;
        assert!(!field.same(&root, &x)?);
        let again = field.product(&root, &root)?;
        assert!(field.same(&again, &square)?);
        Ok(())
    }

    #[test]
    fn what_has_no_value_and_what_is_too_much() -> Result<(), Problem> {
        let mut field = Field::new();
        assert_eq!(field.inverse(n(0)).map(|_| ()), Err(Problem::Undefined));
        assert_eq!(field.whole_power(n(9), 387_420_489).map(|_| ()), Err(Problem::Limit));
        assert_eq!(field.whole_power(n(9), 100).map(|_| ()), Err(Problem::Limit));
        let x = field.named("x")?;
        let y = field.named("y")?;
        let sum = field.sum(x, &y)?;
        assert_eq!(field.whole_power(sum, 1000).map(|_| ()), Err(Problem::Limit));
        assert!(Field::new().square_root(&n(i128::MAX)).is_ok());
        assert!(Field::new().square_root(&n(i128::MIN)).is_ok());
        Ok(())
    }
}
