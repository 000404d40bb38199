//! Countdown, the puzzle of TinyZero: from the numbers `[44, 19, 35]` make an equation that equals 98, each number being
//! used exactly once. [`Countdown`] judges an answer without running it: a parser of its own with exact fractions, so that
//! `8 / (3 - 8 / 3)` is 24 and not 23.999999999999996. [`generate`] makes puzzles that have a solution, and [`solvable`]
//! finds out by trying everything.
//!
//! TinyZero lets Python evaluate what consists of `0-9 + - * / ( ) .` and white space. Here as there: the four
//! operations with their usual precedence, brackets, signs (`-3 * -2`, `+5`), and no product without `*`. Other than
//! there: `**` and `//` are refused, as the task allows the four operations; so are decimal points, by which `4.5` would
//! use up a 4 and a 5. `×`, `·`, `÷`, `−` and the like are read as `*`, `/`, `-`, and `= 98` may stand behind.

use super::script::plain;
use std::ops::RangeInclusive;

/// Longest expression that is read, in characters. Six numbers need some hundred.
const LONGEST: usize = 1_000;

/// Deepest nesting of brackets that is read.
const DEEPEST: usize = 100;

/// How many numbers a generated puzzle may have.
const COUNTS: RangeInclusive<usize> = 3..=6;

/// A puzzle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Countdown {
    /// What is to be used, each exactly once; a number that stands here twice, twice.
    pub numbers: Vec<i64>,
    /// What is to come out.
    pub target: i64,
}

/// What is right with a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// There is an answer: something between the last `<answer>` and `</answer>`, or an expression on some line.
    pub answered: bool,
    /// The answer is an expression that has a value and uses exactly the numbers of the puzzle.
    pub valid: bool,
    /// And its value is the target.
    pub correct: bool,
}

impl Judged {
    /// The parts of the verdict as 0 or 1, with their names.
    pub fn terms(self) -> [(&'static str, f64); 3] {
        [
            ("correct", f64::from(self.correct)),
            ("answered", f64::from(self.answered)),
            ("valid", f64::from(self.valid)),
        ]
    }
}

impl Countdown {
    /// Judges a response. The answer is what stands in the last pair of `<answer>` and `</answer>`, line breaks included.
    /// Without such a pair it is the last expression on the last line that has one: characters of expressions, with an
    /// operator between digits. A pair around nothing is no answer. Behind the expression `=` and the target may stand, and
    /// at the very end a full stop; a different number behind `=` makes the answer invalid.
    pub fn judge(&self, response: &str) -> Judged {
        let response = plain(response);
        let Some(answer) = answer(&response) else {
            return Judged::default();
        };
        let value = self.value(&ascii(answer));
        Judged {
            answered: true,
            valid: value.is_some(),
            correct: value == Some(Fraction::from(self.target)),
        }
    }

    /// The value of a valid expression over the numbers.
    fn value(&self, expression: &str) -> Option<Fraction> {
        let expression = expression.trim();
        let expression = expression.strip_suffix('.').unwrap_or(expression);
        if expression.len() > LONGEST {
            return None;
        }
        let expression = match expression.split_once('=') {
            Some((left, right)) if right.trim() == self.target.to_string() => left,
            Some(_) => return None,
            None => expression,
        };
        let mut parser = Parser {
            text: expression.as_bytes(),
            at: 0,
            depth: 0,
            numbers: Vec::new(),
        };
        let value = parser.sum()?;
        let mut wanted: Vec<i128> = self.numbers.iter().copied().map(i128::from).collect();
        wanted.sort_unstable();
        parser.numbers.sort_unstable();
        (parser.peek().is_none() && parser.numbers == wanted).then_some(value)
    }
}

/// The answer of a response (see [`Countdown::judge`]).
fn answer(response: &str) -> Option<&str> {
    const OPEN: &str = "<answer>";
    const CLOSE: &str = "</answer>";
    if let Some(head) = response.rfind(CLOSE).map(|close| &response[..close])
        && let Some(open) = head.rfind(OPEN)
    {
        let inside = &response[open + OPEN.len()..];
        let inside = inside.find(CLOSE).map_or(inside, |close| &inside[..close]);
        return Some(inside.trim()).filter(|inside| !inside.is_empty());
    }
    response.lines().rev().find_map(|line| {
        line.rsplit(|c: char| !(is_part(c) || c.is_whitespace()))
            .map(stripped)
            .find(|run| is_expression(run))
    })
}

/// The run of characters without what belongs to the text around it: asterisks of bold type, halves of brackets, a bullet
/// or a dash with a space behind it, an arrow's shaft.
fn stripped(run: &str) -> &str {
    let run = run.trim_end_matches(|c: char| c.is_whitespace() || is_operator(c) || matches!(c, '(' | '='));
    let run = run.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '*' | ')' | '='));
    run.strip_prefix("- ").unwrap_or(run)
}

/// The text with the ASCII characters that it means.
fn ascii(text: &str) -> String {
    let narrow = |c| match c {
        '×' | '·' | '⋅' | '∙' | '∗' => '*',
        '÷' | '∕' | '⁄' => '/',
        '−' | '–' => '-',
        c => c,
    };
    text.chars().map(narrow).collect()
}

/// Whether a character may stand in an expression.
fn is_part(c: char) -> bool {
    c.is_ascii_digit() || is_operator(c) || matches!(c, '(' | ')' | '=')
}

fn is_operator(c: char) -> bool {
    matches!(
        c,
        '+' | '-' | '*' | '/' | '×' | '·' | '⋅' | '∙' | '∗' | '÷' | '∕' | '⁄' | '−' | '–'
    )
}

/// Whether there is an operator with a digit somewhere before and one somewhere behind it.
fn is_expression(run: &str) -> bool {
    let digit = |c: char| c.is_ascii_digit();
    let inner = run.find(digit).zip(run.rfind(digit));
    inner.is_some_and(|(first, last)| run[first..=last].contains(is_operator))
}

/// Reads an expression from left to right and computes it on the way. None of its functions goes on where something is
/// wrong: not an expression, too deep, no value.
struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    /// Every number so far.
    numbers: Vec<i128>,
}

impl Parser<'_> {
    /// The next character that is not white space.
    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at)?.is_ascii_whitespace() {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    /// The next character if it is one of `these`, which is then read.
    fn take(&mut self, these: &[u8]) -> Option<u8> {
        let next = self.peek().filter(|next| these.contains(next))?;
        self.at += 1;
        Some(next)
    }

    fn sum(&mut self) -> Option<Fraction> {
        let mut value = self.product()?;
        while let Some(operator) = self.take(b"+-") {
            let right = self.product()?;
            value = value.combined(operator, right)?;
        }
        Some(value)
    }

    fn product(&mut self) -> Option<Fraction> {
        let mut value = self.signed()?;
        // `**` and `//` end here: no sign and no number begins with their second character.
        while let Some(operator) = self.take(b"*/") {
            let right = self.signed()?;
            value = value.combined(operator, right)?;
        }
        Some(value)
    }

    fn signed(&mut self) -> Option<Fraction> {
        let mut negative = false;
        while let Some(sign) = self.take(b"+-") {
            negative ^= sign == b'-';
        }
        let value = if self.take(b"(").is_some() {
            self.depth += 1;
            if self.depth > DEEPEST {
                return None;
            }
            let value = self.sum()?;
            self.take(b")")?;
            self.depth -= 1;
            value
        } else {
            self.number()?
        };
        if negative {
            Fraction::new(0, 1)?.combined(b'-', value)
        } else {
            Some(value)
        }
    }

    /// A whole number. As in Python, only zero may begin with 0.
    fn number(&mut self) -> Option<Fraction> {
        self.peek()?;
        let rest = &self.text[self.at..];
        let digits = &rest[..rest.iter().take_while(|byte| byte.is_ascii_digit()).count()];
        let value: i128 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        if digits.len() > 1 && digits[0] == b'0' && value != 0 {
            return None;
        }
        self.at += digits.len();
        self.numbers.push(value);
        Fraction::new(value, 1)
    }
}

/// An exact fraction in lowest terms with a positive denominator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fraction {
    numerator: i128,
    denominator: i128,
}

impl Fraction {
    /// None if the denominator is zero or a part does not fit.
    fn new(numerator: i128, denominator: i128) -> Option<Self> {
        if denominator == 0 {
            return None;
        }
        let (mut divisor, mut rest) = (numerator.checked_abs()?, denominator.checked_abs()?);
        while rest != 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        let divisor = divisor * denominator.signum();
        Some(Self {
            numerator: numerator / divisor,
            denominator: denominator / divisor,
        })
    }

    /// The value of an operation; None if it has none or one that does not fit.
    fn combined(self, operator: u8, right: Self) -> Option<Self> {
        let (a, b) = (self.numerator, self.denominator);
        let (c, d) = (right.numerator, right.denominator);
        let (left, right) = (a.checked_mul(d), c.checked_mul(b));
        match operator {
            b'+' => Self::new(left?.checked_add(right?)?, b.checked_mul(d)?),
            b'-' => Self::new(left?.checked_sub(right?)?, b.checked_mul(d)?),
            b'*' => Self::new(a.checked_mul(c)?, b.checked_mul(d)?),
            b'/' => Self::new(left?, right?),
            _ => None,
        }
    }
}

impl From<i64> for Fraction {
    fn from(value: i64) -> Self {
        Self {
            numerator: value.into(),
            denominator: 1,
        }
    }
}

/// Makes a puzzle that has a solution: numbers, target and solution. `random(n)` draws uniformly from `0..n`. There are
/// `count` numbers (at least 3, at most 6), each uniform from 1 to `largest`. Two of them are drawn and combined by an
/// operation that is drawn from those whose result is a whole number from 1 to ten times `largest` (numbers up to 100
/// make targets up to 1,000, as on television), until one is left.
pub fn generate(random: &mut impl FnMut(u64) -> u64, count: usize, largest: i64) -> (Vec<i64>, i64, String) {
    let largest = largest.max(1);
    let most = largest.saturating_mul(10);
    let mut draw = |n: usize| usize::try_from(random(n as u64)).unwrap_or(usize::MAX) % n;
    let numbers: Vec<i64> = (0..count.clamp(*COUNTS.start(), *COUNTS.end()))
        .map(|_| {
            let range = usize::try_from(largest).unwrap_or(usize::MAX);
            i64::try_from(draw(range)).map_or(largest, |below| (below + 1).min(largest))
        })
        .collect();
    let mut parts: Vec<(i64, String)> = numbers.iter().map(|number| (*number, number.to_string())).collect();
    loop {
        let (a, left) = parts.swap_remove(draw(parts.len()));
        if parts.is_empty() {
            return (numbers, a, unbracketed(&left));
        }
        let (b, right) = parts.swap_remove(draw(parts.len()));
        let results = [
            ('+', a.checked_add(b)),
            ('-', Some(a - b)),
            ('*', a.checked_mul(b)),
            ('/', Some(a / b).filter(|_| a % b == 0)),
        ];
        let fine: Vec<(char, i64)> = results
            .into_iter()
            .filter_map(|(operator, result)| Some((operator, result?)))
            .filter(|(_, result)| (1..=most).contains(result))
            .collect();
        match fine.get(draw(fine.len().max(1))) {
            Some((operator, result)) => parts.push((*result, format!("({left} {operator} {right})"))),
            // The other way round there is a difference.
            None => parts.push((b - a, format!("({right} - {left})"))),
        }
    }
}

/// The expression without the brackets around it all.
fn unbracketed(expression: &str) -> String {
    let inside = expression.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    inside.unwrap_or(expression).to_owned()
}

/// Whether some valid expression over `numbers` equals `target`. It tries everything: up to five numbers take
/// milliseconds, six some seconds, and each one more some hundred times as long.
pub fn solvable(numbers: &[i64], target: i64) -> bool {
    let numbers: Vec<Fraction> = numbers.iter().copied().map(Fraction::from).collect();
    reaches(&numbers, Fraction::from(target))
}

fn reaches(numbers: &[Fraction], target: Fraction) -> bool {
    if let [last] = numbers {
        // A sign in an expression changes at most the sign of a value that is reached without it.
        return last.denominator == target.denominator
            && last.numerator.unsigned_abs() == target.numerator.unsigned_abs();
    }
    for i in 0..numbers.len() {
        for j in (0..numbers.len()).filter(|&j| j != i) {
            let mut rest: Vec<Fraction> = (0..numbers.len())
                .filter(|&k| k != i && k != j)
                .map(|k| numbers[k])
                .collect();
            let operators: &[u8] = if i < j { b"+-*/" } else { b"-/" };
            for &operator in operators {
                let Some(value) = numbers[i].combined(operator, numbers[j]) else {
                    continue;
                };
                rest.push(value);
                if reaches(&rest, target) {
                    return true;
                }
                rest.pop();
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn puzzle(numbers: &[i64], target: i64) -> Countdown {
        Countdown {
            numbers: numbers.to_vec(),
            target,
        }
    }

    /// `c` is correct, `v` only valid, `a` only an answer, `-` none.
    fn verdict(puzzle: &Countdown, response: &str) -> char {
        let judged = puzzle.judge(response);
        match (judged.answered, judged.valid, judged.correct) {
            (true, true, true) => 'c',
            (true, true, false) => 'v',
            (true, false, false) => 'a',
            (false, false, false) => '-',
            impossible => panic!("{impossible:?}"),
        }
    }

    #[test]
    fn each_number_is_used_exactly_once() {
        let this = puzzle(&[44, 19, 35], 98);
        for (expression, wanted) in [
            ("44 + 19 + 35", 'c'),
            ("(44+19)+35", 'c'),
            ("35 - -19 + 44", 'c'),
            ("+44+19+35", 'c'),
            ("44 + 19 + 35 = 98", 'c'),
            ("44 + 19 + 35 = 98.", 'c'),
            ("44\n+ 19\t+ 35", 'c'),
            ("４４＋１９＋３５", 'c'),
            ("44 + 35 − 19", 'v'),
            ("44 × 19 ÷ 35", 'v'),
            ("44 · 19 – 35", 'v'),
            ("44 + 19 + 35 = 97", 'a'),
            ("98 = 44 + 19 + 35", 'a'),
            ("44 + 19 = 63 + 35 = 98", 'a'),
            ("44 + 19", 'a'),
            ("98", 'a'),
            ("44 + 19 + 35 + 0", 'a'),
            ("44 + 44 + 10", 'a'),
            ("44 + 19 + 35 - 44 + 44", 'a'),
            ("441935", 'a'),
            ("44 19 35", 'a'),
            ("44(19)35", 'a'),
            ("44 ** 19 + 35", 'a'),
            ("44 // 19 + 35", 'a'),
            ("44.0 + 19 + 35", 'a'),
            ("044 + 19 + 35", 'a'),
            ("(44 + 19 + 35", 'a'),
            ("44 + 19 + 35)", 'a'),
            ("() + 44 + 19 + 35", 'a'),
            ("44 + 19 + 35 +", 'a'),
            ("44 + 19 / (35 - 35)", 'a'),
            ("import os", 'a'),
            ("44 + 19 + x", 'a'),
        ] {
            assert_eq!(
                verdict(&this, &format!("<answer>{expression}</answer>")),
                wanted,
                "{expression}"
            );
        }
        let twice = puzzle(&[3, 3, 7], 7);
        assert_eq!(verdict(&twice, "<answer>7 + 3 - 3</answer>"), 'c');
        assert_eq!(verdict(&twice, "<answer>7 * 3 / 3</answer>"), 'c');
        assert_eq!(verdict(&twice, "<answer>7 + 3</answer>"), 'a');
        assert_eq!(verdict(&puzzle(&[0, 0, 5], 5), "<answer>0 + 00 + 5</answer>"), 'c');
        assert_eq!(verdict(&puzzle(&[0, 1, 5], 5), "<answer>5 / 0 + 1</answer>"), 'a');
    }

    #[test]
    fn the_answer_is_in_the_last_pair_or_on_the_last_line() {
        let this = puzzle(&[44, 19, 35], 98);
        for (response, wanted) in [
            ("<think>44 - 19</think> <answer>44 + 19 + 35</answer>", 'c'),
            ("<answer>44</answer> no <answer>\n44 + 19 + 35\n</answer> done", 'c'),
            ("<answer>44 + 19 + 35</answer> or <answer>44</answer>", 'a'),
            ("<answer>44 + 19 + 35</answer></answer>", 'c'),
            ("<answer><answer>44 + 19 + 35</answer>", 'c'),
            ("<answer>44 + 19 + 35</answer> <answer>", 'c'),
            ("<answer></answer> 44 + 19 + 35", '-'),
            ("<answer> 44 + 19 + 35", 'c'),
            ("44 + 19 + 35</answer>", 'c'),
            ("44 + 19 + 35", 'c'),
            ("44 - 19 = 25\nSo it is (44 + 19) + 35 = 98.\nI hope this helps!", 'c'),
            ("**44 + 19 + 35 = 98**", 'c'),
            ("- 44 + 19 + 35 = 98", 'c'),
            ("3. 44 + 19 + 35 = 98 (all used)", 'c'),
            ("Solution = 44 + 19 + 35 -> 98", 'c'),
            ("44 + 19 = 63, 63 + 35 = 98", 'a'),
            ("答案是44+19+35。", 'c'),
            ("44 × 19 − 35", 'v'),
            ("", '-'),
            ("98", '-'),
            ("I do not know; 44 19 35", '-'),
            ("+ - * / ( ) =", '-'),
        ] {
            assert_eq!(verdict(&this, response), wanted, "{response}");
        }
        assert_eq!(
            this.judge("44 - 19 - 35").terms(),
            [("correct", 0.0), ("answered", 1.0), ("valid", 1.0)]
        );
    }

    #[test]
    fn fractions_are_exact() {
        let hard = puzzle(&[8, 3, 8, 3], 24);
        assert_eq!(verdict(&hard, "<answer>8/(3-8/3)</answer>"), 'c');
        let third = puzzle(&[1, 3, 3], 1);
        assert_eq!(verdict(&third, "<answer>1 / 3 * 3</answer>"), 'c');
        assert_eq!(verdict(&puzzle(&[1, 3], 0), "<answer>1 / 3</answer>"), 'v');
        // A double cannot tell these from 0 and from each other.
        let large = puzzle(&[9_007_199_254_740_993, 9_007_199_254_740_992], 1);
        assert_eq!(
            verdict(&large, "<answer>9007199254740993 - 9007199254740992</answer>"),
            'c'
        );
    }

    #[test]
    fn what_is_too_large_long_or_deep_is_invalid() {
        let most = i64::MAX;
        let this = puzzle(&[most, most, most], most);
        assert_eq!(verdict(&this, &format!("{most} * {most} * {most}")), 'a');
        assert_eq!(verdict(&this, &format!("{most} * {most} / {most}")), 'c');
        assert_eq!(verdict(&this, &format!("<answer>{}</answer>", "9".repeat(500))), 'a');
        let least = puzzle(&[i64::MIN, 1], i64::MIN);
        assert_eq!(verdict(&least, &format!("<answer>{} * 1</answer>", i64::MIN)), 'a');
        let one = puzzle(&[1], 1);
        let nested = |depth: usize| format!("<answer>{}1{}</answer>", "(".repeat(depth), ")".repeat(depth));
        assert_eq!(verdict(&one, &nested(DEEPEST)), 'c');
        assert_eq!(verdict(&one, &nested(DEEPEST + 1)), 'a');
        assert_eq!(verdict(&one, &nested(1_000_000)), 'a');
        assert_eq!(verdict(&one, &format!("<answer>{}1</answer>", "-".repeat(998))), 'c');
        for unit in [
            "(",
            "1+",
            "-",
            "<answer>",
            "</answer>",
            "<answer>1+1</answer>",
            "1 ",
            "\n",
            "1=",
            "答",
            "× ",
            "1+1\n",
            "+1 a",
        ] {
            let text = unit.repeat(1_000_000 / unit.len());
            let start = std::time::Instant::now();
            let judged = one.judge(&text);
            assert!(!judged.correct && start.elapsed().as_secs() < 5, "{unit:?}");
        }
    }

    /// A small generator, as good as these tests need.
    fn random(mut state: u64) -> impl FnMut(u64) -> u64 {
        move |n| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        }
    }

    #[test]
    fn every_generated_puzzle_has_a_solution() {
        let mut random = random(1);
        let mut operators = [0; 4];
        for index in 0..1_000 {
            let count = 3 + index % 4;
            let largest = [1, 9, 100, 1_000][index / 4 % 4];
            let (numbers, target, solution) = generate(&mut random, count, largest);
            assert_eq!(numbers.len(), count);
            assert!(
                numbers.iter().all(|number| (1..=largest).contains(number)),
                "{numbers:?}"
            );
            assert!((1..=10 * largest).contains(&target), "{target}");
            let this = Countdown { numbers, target };
            assert_eq!(
                verdict(&this, &format!("<answer>{solution}</answer>")),
                'c',
                "{this:?} {solution}"
            );
            assert_eq!(
                verdict(&this, &format!("So {solution} = {target}.")),
                'c',
                "{this:?} {solution}"
            );
            // Six numbers take too long to try everything every time.
            assert!(
                count == 6 && index % 100 != 3 || solvable(&this.numbers, target),
                "{this:?} {solution}"
            );
            for (count, operator) in operators.iter_mut().zip("+-*/".chars()) {
                *count += solution.matches(operator).count();
            }
        }
        assert!(operators.iter().all(|&count| count > 200), "{operators:?}");
        for (count, largest) in [(0, 0), (100, -5), (6, i64::MAX), (3, i64::MAX - 1)] {
            for _ in 0..100 {
                let (numbers, target, solution) = generate(&mut random, count, largest);
                let this = Countdown { numbers, target };
                assert_eq!(
                    verdict(&this, &format!("<answer>{solution}</answer>")),
                    'c',
                    "{this:?} {solution}"
                );
            }
        }
        let (numbers, _, _) = generate(&mut |_| u64::MAX, 4, 10);
        assert_eq!(numbers.len(), 4);
    }

    #[test]
    fn what_has_no_solution_is_not_solvable() {
        assert!(
            solvable(&[8, 3, 8, 3], 24) && solvable(&[44, 19, 35], 98) && solvable(&[5], 5) && solvable(&[1, 2], -3)
        );
        assert!(
            !solvable(&[1, 1, 1], 5) && !solvable(&[], 0) && !solvable(&[2, 2, 2], 7) && !solvable(&[1, 1, 1, 1, 1], 8)
        );
    }

    /// The verdicts of `make_countdown.py`: Python's own parser and the module `fractions`.
    #[test]
    fn verdicts_are_those_of_python() {
        let fixture = include_str!("../../tests/golden/fixtures/countdown.jsonl");
        let mut seen = [0; 3];
        for line in fixture.lines() {
            let row: serde_json::Value = serde_json::from_str(line).expect("the fixture is JSON");
            let number = |value: &serde_json::Value| value.as_i64().expect("a whole number");
            let list = |key: &str| row[key].as_array().expect("a list").iter();
            let this = puzzle(&list("numbers").map(number).collect::<Vec<_>>(), number(&row["target"]));
            for pair in list("verdicts") {
                let (expression, wanted) = (pair[0].as_str().expect("a text"), number(&pair[1]));
                let found = this.judge(&format!("<answer>{expression}</answer>"));
                let found = i64::from(found.valid) + i64::from(found.correct);
                assert_eq!(found, wanted, "{this:?} {expression}");
                seen[found as usize] += 1;
            }
        }
        assert!(
            seen.iter().sum::<usize>() >= 2_000 && seen.iter().all(|&count| count >= 300),
            "{seen:?}"
        );
    }
}
