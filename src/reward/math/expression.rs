//! Expressions as people write them: `3sqrt(13)`, `15x-80`, `1+4/5`, `2^3(x+1)/pi`. They are read as the grader of
//! PRM800K has SymPy read them (`parse_expr` with implicit multiplication): Python's operators and their order,
//! products without a sign (`1/2x` is x/2), `xy` as x times y, and a letter right before a bracket as a function of
//! what is in it. Only what can be worked out exactly is known: `sqrt`, `pi`, numbers and letters. All else, a
//! factorial or `sin(x)`, is an error.

use super::problem::Problem;
use super::value::{Field, Value};

/// How deep brackets, signs and powers may nest.
const DEPTH: usize = 100;

/// Names of functions and constants of SymPy, of functions of Python and of its key words that have at most two
/// different letters: more are never read. They do not stand for products of letters.
const KNOWN_NAMES: [&str; 26] = [
    "all", "as", "csc", "eye", "ff", "fft", "frac", "fu", "gff", "hn1", "hn2", "id", "if", "im", "in", "is", "jn",
    "li", "nan", "ntt", "oo", "or", "re", "rf", "yn", "zoo",
];

/// Greek letters with names of two letters, which are one letter each.
const GREEK: [&str; 3] = ["mu", "nu", "xi"];

/// Whether two expressions are equal for all values of their letters.
pub fn equal(one: &str, other: &str) -> Result<bool, Problem> {
    let mut field = Field::new();
    let one = evaluated(one, &mut field)?;
    let other = evaluated(other, &mut field)?;
    field.same(&one, &other)
}

fn evaluated(text: &str, field: &mut Field) -> Result<Value, Problem> {
    let tokens = tokens(text)?;
    let mut reader = Reader {
        tokens: &tokens,
        depth: 0,
        field,
    };
    let value = reader.sum()?;
    if reader.tokens.is_empty() {
        Ok(value)
    } else {
        Err(Problem::Syntax)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// Digits and how many of them stand behind the point.
    Number(i128, i32),
    /// A number that Python takes for an imaginary one ends here: `2j`.
    Imaginary,
    Letter(String),
    /// A letter with a bracket behind it.
    Function(String),
    Root,
    Sign(char),
    Power,
}

fn tokens(text: &str) -> Result<Vec<Token>, Problem> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '0'..='9' | '.' => number(rest, &mut tokens)?,
            '*' if rest.starts_with("**") => {
                tokens.push(Token::Power);
                2
            }
            '^' => {
                tokens.push(Token::Power);
                1
            }
            '/' if rest.starts_with("//") => return Err(Problem::Syntax),
            '+' | '-' | '*' | '/' | '(' | ')' => {
                tokens.push(Token::Sign(first));
                1
            }
            _ if first.is_alphabetic() || first == '_' => {
                let in_name = |c: char| c.is_alphanumeric() || c == '_';
                let length = rest.find(|c| !in_name(c)).unwrap_or(rest.len());
                name(&rest[..length], rest[length..].starts_with('('), &mut tokens)?;
                length
            }
            _ => return Err(Problem::Syntax),
        };
        rest = &rest[length..];
    }
    Ok(tokens)
}

/// Reads a number as Python does, `.5`, `5.`, `1e3` and `1_000` included, and returns its length.
fn number(text: &str, tokens: &mut Vec<Token>) -> Result<usize, Problem> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let digits_end = |from: usize| {
        let mut at = from;
        while digit(at) || at > from && bytes.get(at) == Some(&b'_') && digit(at + 1) {
            at += 1;
        }
        at
    };
    let whole_end = digits_end(0);
    let mut end = whole_end;
    let mut behind = 0_i32;
    if bytes.get(end) == Some(&b'.') {
        end = digits_end(end + 1);
        let digits = bytes[whole_end..end]
            .iter()
            .filter(|byte| byte.is_ascii_digit())
            .count();
        behind = i32::try_from(digits).map_err(|_| Problem::Limit)?;
    }
    let mantissa = &text[..end];
    if mantissa == "." {
        return Err(Problem::Syntax);
    }
    // `007` is no number, and `0x1f`, `0b1` and `0o7` are other ones.
    let zero_first = bytes.first() == Some(&b'0');
    if zero_first && behind == 0 && mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'))
        || mantissa == "0" && matches!(bytes.get(1), Some(b'x' | b'b' | b'o'))
    {
        return Err(Problem::Syntax);
    }
    if matches!(bytes.get(end), Some(b'e')) {
        let signed = matches!(bytes.get(end + 1), Some(b'+' | b'-'));
        let first = end + 1 + usize::from(signed);
        let after = digits_end(first);
        if after > first {
            let power: i32 = text[end + 1..after]
                .replace('_', "")
                .parse()
                .map_err(|_| Problem::Limit)?;
            behind = behind.checked_sub(power).ok_or(Problem::Limit)?;
            end = after;
        }
    }
    let mut digits = 0_i128;
    for byte in mantissa.bytes().filter(u8::is_ascii_digit) {
        let next = digits
            .checked_mul(10)
            .and_then(|digits| digits.checked_add(i128::from(byte - b'0')));
        digits = next.ok_or(Problem::Limit)?;
    }
    tokens.push(Token::Number(digits, behind));
    if bytes.get(end) == Some(&b'j') {
        tokens.push(Token::Imaginary);
        end += 1;
    }
    Ok(end)
}

/// The tokens of a name: a letter, a product of letters and numbers, a function.
fn name(name: &str, bracket: bool, tokens: &mut Vec<Token>) -> Result<(), Problem> {
    if name == "sqrt" {
        tokens.push(Token::Root);
    } else if name == "pi" {
        tokens.push(Token::Letter(name.to_owned()));
    } else if name == "ln" && bracket {
        tokens.push(Token::Function(name.to_owned()));
    } else if KNOWN_NAMES.contains(&name) || name == "ln" {
        return Err(Problem::Syntax);
    } else if name.chars().nth(1).is_none() || name.contains('_') || GREEK.contains(&name) {
        let name = name.to_owned();
        tokens.push(if bracket {
            Token::Function(name)
        } else {
            Token::Letter(name)
        });
    } else {
        let mut rest = name;
        while let Some(first) = rest.chars().next() {
            let mut length = first.len_utf8();
            if first.is_numeric() {
                length = rest.find(|c: char| !c.is_numeric()).unwrap_or(rest.len());
                let number = rest[..length].parse().map_err(|_| Problem::Limit)?;
                tokens.push(Token::Number(number, 0));
            } else {
                tokens.push(Token::Letter(first.to_string()));
            }
            rest = &rest[length..];
        }
    }
    Ok(())
}

/// Works an expression out while it reads it.
struct Reader<'a> {
    tokens: &'a [Token],
    depth: usize,
    field: &'a mut Field,
}

impl Reader<'_> {
    fn take(&mut self, wanted: &Token) -> bool {
        let found = self.tokens.first() == Some(wanted);
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    fn sum(&mut self) -> Result<Value, Problem> {
        let mut sum = self.product()?;
        loop {
            if self.take(&Token::Sign('+')) {
                let next = self.product()?;
                sum = self.field.sum(sum, &next)?;
            } else if self.take(&Token::Sign('-')) {
                let next = self.product()?;
                let next = self.field.negated(&next)?;
                sum = self.field.sum(sum, &next)?;
            } else {
                return Ok(sum);
            }
        }
    }

    fn product(&mut self) -> Result<Value, Problem> {
        let mut product = self.signed()?;
        loop {
            let factor = if self.take(&Token::Sign('/')) {
                let divisor = self.signed()?;
                self.field.inverse(divisor)?
            } else if self.take(&Token::Sign('*')) {
                self.signed()?
            } else if matches!(
                self.tokens.first(),
                None | Some(Token::Sign('+' | '-' | ')') | Token::Power)
            ) {
                return Ok(product);
            } else {
                self.power()?
            };
            product = self.field.product(&product, &factor)?;
        }
    }

    fn signed(&mut self) -> Result<Value, Problem> {
        self.deeper(|reader| {
            if reader.take(&Token::Sign('-')) {
                let value = reader.signed()?;
                reader.field.negated(&value)
            } else if reader.take(&Token::Sign('+')) {
                reader.signed()
            } else {
                reader.power()
            }
        })
    }

    fn power(&mut self) -> Result<Value, Problem> {
        let base = self.primary()?;
        if !self.take(&Token::Power) {
            return Ok(base);
        }
        let exponent = self.signed()?;
        self.field.power(base, exponent)
    }

    fn primary(&mut self) -> Result<Value, Problem> {
        let (first, rest) = self.tokens.split_first().ok_or(Problem::Syntax)?;
        self.tokens = rest;
        match first {
            Token::Number(digits, behind) => {
                let ten = i128::from(10_u8)
                    .checked_pow(behind.unsigned_abs())
                    .ok_or(Problem::Limit)?;
                let scale = Value::whole(ten);
                let scale = if *behind > 0 { self.field.inverse(scale)? } else { scale };
                let number = self.field.product(&Value::whole(*digits), &scale)?;
                if !self.take(&Token::Imaginary) {
                    return Ok(number);
                }
                let unit = self.field.square_root(&Value::whole(-1))?;
                self.field.product(&number, &unit)
            }
            Token::Letter(name) => self.field.named(name),
            Token::Function(name) => {
                let argument = self.bracket()?;
                self.field.call(name, argument)
            }
            Token::Root => {
                let square = self.bracket()?;
                self.field.square_root(&square)
            }
            Token::Sign('(') => {
                let value = self.deeper(Self::sum)?;
                if self.take(&Token::Sign(')')) {
                    Ok(value)
                } else {
                    Err(Problem::Syntax)
                }
            }
            Token::Sign(_) | Token::Power | Token::Imaginary => Err(Problem::Syntax),
        }
    }

    fn bracket(&mut self) -> Result<Value, Problem> {
        match self.tokens.first() {
            Some(Token::Sign('(')) => self.primary(),
            _ => Err(Problem::Syntax),
        }
    }

    fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Result<Value, Problem>) -> Result<Value, Problem> {
        if self.depth == DEPTH {
            return Err(Problem::Limit);
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_many_expressions() {
        let pairs = [
            ("3sqrt(13)", "sqrt(117)"),
            ("15x-80", "-5(16-3x)"),
            ("1+4/5", "9/5"),
            ("1/2x", "x/2"),
            ("x^2y", "y*x**2"),
            ("-x^2", "0-x*x"),
            ("2^-1", "0.5"),
            ("2^3(x+1)", "8x+8"),
            ("1/(1+sqrt(2))", "sqrt(2)-1"),
            ("sqrt(3)/3", "1/sqrt(3)"),
            ("sqrt(1/2)", "sqrt(2)/2"),
            ("sqrt(4x)", "2sqrt(x)"),
            ("(x^2-1)/(x-1)", "x+1"),
            ("4/3", "4/3.0"),
            ("1.5e1", "15"),
            ("1_000", "1e3"),
            ("x2", "2x"),
            ("f(x+1)", "f(1+x)"),
            ("2^n-1", "-1+2^n"),
            ("2pi", "pi+pi"),
            ("4**.5", "2"),
            ("sqrt(sqrt(5))", "5**(1/4)"),
            ("--1", "1"),
            ("sqrt(x+1)^2", "x+1"),
            ("1.2.3", "1.2*.3"),
        ];
        for (one, other) in pairs {
            assert_eq!(equal(one, other), Ok(true), "{one} against {other}");
        }
        let different = [
            ("1/3", "0.3333333333333333"),
            ("x(x+1)", "x^2+x"),
            ("sqrt(x^2)", "x"),
            ("xy", "x+y"),
            ("sqrt(2)", "1.4142135623730951"),
            ("mu", "um"),
            ("x_1", "x_2"),
            ("2j", "2k"),
        ];
        for (one, other) in different {
            assert_eq!(equal(one, other), Ok(false), "{one} against {other}");
        }
    }

    #[test]
    fn what_is_no_expression() {
        for text in [
            "",
            "()",
            "(1",
            "1)",
            "1,2",
            "x=5",
            "x<3",
            "5!",
            "1+",
            "*2",
            "2**",
            "sqrt2+sqrt",
            "sqrt",
            "007",
            "0x1f",
            "5//2",
            ".",
            "|x|",
            "li(2)",
            "oo",
            "f()",
            "sqrt^2(3)",
            "±1",
            "\\pi",
            "\u{0}",
        ] {
            assert_eq!(equal(text, "1"), Err(Problem::Syntax), "{text}");
        }
        for text in ["1/0", "1/(x-x)", "0^-1", "(x-x)/(x-x)"] {
            assert_eq!(equal(text, text), Err(Problem::Undefined), "{text}");
        }
    }

    #[test]
    fn hostile_expressions_end_soon() {
        let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(2000), close.repeat(2000));
        for text in [
            "9**9**9**9".to_owned(),
            "-2**126*2/(0-1)".to_owned(),
            "1e999999999".to_owned(),
            "1e99999999999999999999".to_owned(),
            "9".repeat(4000),
            deep("(", ")"),
            deep("sqrt(", ")"),
            deep("-", ""),
            deep("2**", ""),
            "(x+y)**999".to_owned(),
            "(x+1)".repeat(800),
            "(sqrt(2)+sqrt(3)+sqrt(5)+sqrt(7)+sqrt(11)+sqrt(13)+sqrt(17))".repeat(60),
            "(1+sqrt(".repeat(50) + "x" + &"))".repeat(50) + "**999",
            (1..500).map(|n| format!("+1/(x+{n})")).collect(),
            (1..800).map(|n| format!("+x_{n}")).collect::<String>() + "**2",
        ] {
            assert_eq!(
                equal(&text, "2"),
                Err(Problem::Limit),
                "{}",
                &text[..20.min(text.len())]
            );
        }
    }
}
