//! The first thing that is compared of two answers: their LaTeX without what is only spelling. The rules are those of
//! `math_normalize` in OpenAI's PRM800K, which has them from `math_equivalence` of the data set MATH (Hendrycks et
//! al., 2021), in the same order and with the same oddities: `0.5` is rewritten as `\frac{1}{2}` and no other decimal
//! is, and where a rule would run past the end of the text, all of them are given up.

/// The digits up to which Python reads a whole number.
const PYTHON_DIGITS: usize = 4300;

/// The answer without spaces, `\left` and `\right`, dollar and percent signs, degrees, a unit written `\text{ cm}`
/// and a leading `x=`; with `\frac` for its variants and for a plain `1/2`, and with braces around the arguments of
/// `\frac` and `\sqrt`.
pub fn normalize(answer: &str) -> String {
    let answer = answer.trim();
    let answer = inside_text(answer).map_or(answer, str::trim);
    stripped(answer).unwrap_or_else(|| answer.to_owned())
}

/// What stands in a `\text{…}` that spans the answer.
pub(super) fn inside_text(answer: &str) -> Option<&str> {
    let answer = answer.strip_suffix('\n').unwrap_or(answer);
    let inside = answer.strip_prefix("\\text{")?.strip_suffix('}')?;
    (!inside.is_empty() && !inside.contains('\n')).then_some(inside)
}

/// All rules in their order, or nothing where one of them fails.
fn stripped(answer: &str) -> Option<String> {
    let mut text = answer.to_owned();
    for (from, to) in [
        ("\n", ""),
        ("\\!", ""),
        ("\\\\", "\\"),
        ("tfrac", "frac"),
        ("dfrac", "frac"),
        ("\\left", ""),
        ("\\right", ""),
        ("^{\\circ}", ""),
        ("^\\circ", ""),
        ("\\$", ""),
    ] {
        text = text.replace(from, to);
    }
    let mut text = without_unit(&text)?
        .replace("\\%", "")
        .replace(" .", " 0.")
        .replace("{.", "{0.");
    if text.is_empty() {
        return Some(text);
    }
    if text.starts_with('.') {
        text.insert(0, '0');
    }
    let text = match text.split_once('=') {
        Some((name, value)) if !value.contains('=') && name.chars().nth(2).is_none() => value,
        _ => &text,
    };
    let text = braced_roots(text)?.replace(' ', "");
    let text = braced_fractions(&text)?;
    let text = if text == "0.5" { "\\frac{1}{2}".to_owned() } else { text };
    Some(simple_fraction(&text).unwrap_or(text))
}

/// What stands before a `\text{ …`, which in MATH only ever begins a unit. Two of them are too many.
fn without_unit(text: &str) -> Option<&str> {
    match text.split_once("\\text{ ") {
        Some((_, unit)) if unit.contains("\\text{ ") => None,
        Some((value, _)) => Some(value),
        None => Some(text),
    }
}

/// `\sqrt3` with braces; none if a `\sqrt` has no argument.
fn braced_roots(text: &str) -> Option<String> {
    let mut parts = text.split("\\sqrt");
    let mut result = parts.next()?.to_owned();
    for part in parts {
        let first = part.chars().next()?;
        result.push_str("\\sqrt");
        if first == '{' {
            result.push_str(part);
        } else {
            push_braced(&mut result, first);
            result.push_str(&part[first.len_utf8()..]);
        }
    }
    Some(result)
}

/// `\frac12` and `\frac1{2}` with braces (`\frac{1}2` stays). None if a `\frac` has no argument; if one has a single
/// sign, all stay as they are.
fn braced_fractions(text: &str) -> Option<String> {
    let mut parts = text.split("\\frac");
    let mut result = parts.next()?.to_owned();
    for part in parts {
        result.push_str("\\frac");
        let mut signs = part.chars();
        let first = signs.next()?;
        if first == '{' {
            result.push_str(part);
            continue;
        }
        let Some(second) = signs.next() else {
            return Some(text.to_owned());
        };
        push_braced(&mut result, first);
        if second == '{' {
            result.push(second);
        } else {
            push_braced(&mut result, second);
        }
        result.push_str(signs.as_str());
    }
    Some(result)
}

fn push_braced(text: &mut String, sign: char) {
    text.extend(['{', sign, '}']);
}

/// `-3/4` as `\frac{-3}{4}`, if both are whole numbers in their shortest spelling.
fn simple_fraction(text: &str) -> Option<String> {
    let (above, below) = text.split_once('/')?;
    (shortest_integer(above) && shortest_integer(below)).then(|| format!("\\frac{{{above}}}{{{below}}}"))
}

fn shortest_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let zero = digits.starts_with('0');
    (1..=PYTHON_DIGITS).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (!zero || text == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_does_not_count() {
        let pairs = [
            (" \\dfrac12 ", "\\frac{1}{2}"),
            ("\\tfrac1{72}", "\\frac{1}{72}"),
            ("\\frac{72}1", "\\frac{72}1"),
            ("-3/4", "\\frac{-3}{4}"),
            ("3/04", "3/04"),
            ("1/2/3", "1/2/3"),
            ("0.5", "\\frac{1}{2}"),
            (".5", "\\frac{1}{2}"),
            (".25", "0.25"),
            ("x = 5", "5"),
            ("abc=5", "abc=5"),
            ("a=b=5", "a=b=5"),
            ("\\sqrt3", "\\sqrt{3}"),
            ("\\left( 1, \\sqrt 2 \\right)", "(1,\\sqrt{}2)"),
            ("\\text{east}", "east"),
            ("90^\\circ", "90"),
            ("90^{\\circ}", "90"),
            ("\\$32,\\!348", "32,348"),
            ("15\\text{ cm}^2", "15"),
            ("50\\%", "50"),
            ("", ""),
            ("\\text{}", "\\text{}"),
        ];
        for (answer, normal) in pairs {
            assert_eq!(normalize(answer), normal, "{answer}");
        }
    }

    /// The rules end in an error of the source, which then returns the answer as it came.
    #[test]
    fn what_the_rules_cannot_read_stays() {
        for answer in ["2 \\sqrt", "1 \\frac", "1\\text{ cm} 2\\text{ m}"] {
            assert_eq!(normalize(answer), answer, "{answer}");
        }
        assert_eq!(normalize("1\\frac2"), "1\\frac2");
    }

    #[test]
    fn long_texts_are_read_soon() {
        for unit in [
            "{", "\\frac", "\\frac1", "\\sqrt3", "\\text{ ", "=", "/", "1", "\\", " .", "é",
        ] {
            let text = unit.repeat(1_000_000 / unit.len());
            assert!(normalize(&text).len() <= 4_000_000, "{unit}");
        }
        let number = "7".repeat(PYTHON_DIGITS + 1);
        assert_eq!(normalize(&format!("{number}/2")), format!("{number}/2"));
    }
}
