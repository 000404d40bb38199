//! Where a solution puts its answer: in the last `\boxed{…}`, as the data set MATH (Hendrycks et al., 2021) writes it.

/// What the last `\boxed` of the text holds, or, in a text without one, the last `\fbox`. In braces that is all up to
/// the brace that closes the first one; `\{` and `\}` are signs and open and close nothing. Without braces
/// (`\boxed 5`) it is the rest of the line, or of the formula where a dollar sign ends it sooner. Braces that are
/// never closed hold no answer.
pub fn boxed_answer(text: &str) -> Option<&str> {
    let content = last_content(text, "\\boxed").or_else(|| last_content(text, "\\fbox"))?;
    if let Some(inside) = content.trim_start().strip_prefix('{') {
        return closing_brace(inside).map(|end| &inside[..end]);
    }
    let end = content.find(['$', '\n']).unwrap_or(content.len());
    let bare = content[..end].trim();
    (!bare.is_empty()).then_some(bare)
}

/// What follows the last `macro_name` that no letter continues.
fn last_content<'a>(text: &'a str, macro_name: &str) -> Option<&'a str> {
    text.rmatch_indices(macro_name)
        .map(|(start, name)| &text[start + name.len()..])
        .find(|rest| !rest.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// Where the brace stands that closes a group whose opening brace was just read.
fn closing_brace(inside: &str) -> Option<usize> {
    let mut open = 1_usize;
    let mut escaped = false;
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'{' => open += 1,
            b'}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_box_counts() {
        let boxes = [
            ("So $x=\\boxed{5}$.", "5"),
            ("\\boxed{1} or rather \\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
            ("\\boxed{\\{1,2\\}}", "\\{1,2\\}"),
            ("\\boxed{\\left\\{ x \\right.}", "\\left\\{ x \\right."),
            ("\\boxed{a\\\\}}", "a\\\\"),
            ("\\boxed {5}", "5"),
            ("so $\\boxed 5$ it is", "5"),
            ("\\boxed 5\nDone.", "5"),
            ("\\fbox{7}", "7"),
            ("\\boxed{5} \\fbox{7}", "5"),
            ("\\boxed{5} \\boxedtext{7}", "5"),
            ("\\boxed{}", ""),
            ("\\boxed{é}", "é"),
        ];
        for (text, answer) in boxes {
            assert_eq!(boxed_answer(text), Some(answer), "{text}");
        }
        for text in [
            "",
            "5",
            "\\boxed",
            "\\boxed{5",
            "\\boxed ",
            "boxed{5}",
            "\\boxed{5} \\boxed{6",
            "\\boxed{\\",
        ] {
            assert_eq!(boxed_answer(text), None, "{text}");
        }
    }

    #[test]
    fn long_texts_are_read_soon() {
        for unit in ["{", "\\boxed{", "\\boxed", "\\", "\\boxedé", "\\fbox{}"] {
            let _ = boxed_answer(&unit.repeat(1_000_000 / unit.len()));
        }
        let deep = format!("\\boxed{{{}{}}}", "{".repeat(500_000), "}".repeat(500_000));
        assert_eq!(boxed_answer(&deep).map(str::len), Some(1_000_000));
    }
}
