//! The answer rules of GSM8K, as the task `gsm8k` (version 3) of EleutherAI's lm-evaluation-harness defines them: two
//! ways to find the answer in a response, [`strict`] and [`flexible`], and the comparison [`same`], its `exact_match`
//! with what it ignores. The data set's own solutions end in `#### 42`, and what stands there is the right answer.

use regex::Regex;
use std::sync::LazyLock;

/// What stands before the answer at the end of a solution.
const MARK: &str = "#### ";

/// The filter `strict-match`: digits, points and commas, perhaps negative, behind the first `#### ` that has some.
pub fn strict(response: &str) -> Option<String> {
    static MARKED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"#### (-?[0-9.,]+)").expect("the pattern is a constant and valid"));
    let groups = MARKED.captures(response)?;
    groups.get(1).map(|found| found.as_str().to_owned())
}

/// The filter `flexible-extract`: the last number of the response. As there, two or more dollar signs, points and
/// commas are a number too, so an answer that trails off in `...` is read as these points.
pub fn flexible(response: &str) -> Option<String> {
    static NUMBER: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"-?[$0-9.,]{2,}|-?[0-9]+").expect("the pattern is a constant and valid"));
    NUMBER.find_iter(response).last().map(|found| found.as_str().to_owned())
}

/// Whether an answer that was found is the right one. `gold` is the answer itself or a whole solution that ends in
/// it. Commas, dollar signs, one closing full stop and the case of letters do not count; `18.00` is not `18`.
pub fn same(found: &str, gold: &str) -> bool {
    bare(found) == bare(gold)
}

/// What is left to compare of an answer, in the order in which the task's `regexes_to_ignore` remove the rest.
fn bare(answer: &str) -> String {
    let answer = answer.replace([',', '$'], "");
    let answer = answer.rsplit_once(MARK).map_or(answer.as_str(), |(_, behind)| behind);
    // The pattern `\.$` of the source also finds a full stop before a closing line break.
    let (answer, end) = match answer.strip_suffix('\n') {
        Some(line) if line.ends_with('.') => (line, "\n"),
        _ => (answer, ""),
    };
    let answer = answer.strip_suffix('.').unwrap_or(answer);
    (answer.to_owned() + end).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_reads_the_first_mark() {
        let read = |text: &str| strict(text);
        assert_eq!(read("9 * 2 = 18\n#### 18"), Some("18".to_owned()));
        assert_eq!(read("#### -1,234.50. Done. #### 7"), Some("-1,234.50.".to_owned()));
        assert_eq!(read("#### none\n#### 7"), Some("7".to_owned()));
        for text in ["", "18", "####18", "#### $18", "### 18", "#### ", "#### - 5"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn flexible_reads_the_last_number() {
        let read = |text: &str| flexible(text);
        assert_eq!(read("She has 3 and 4, so 7 apples."), Some("7".to_owned()));
        assert_eq!(read("It costs $1,234.50."), Some("$1,234.50.".to_owned()));
        assert_eq!(read("It is -5 degrees"), Some("-5".to_owned()));
        assert_eq!(read("10-12"), Some("-12".to_owned()));
        assert_eq!(read("7 it is ..."), Some("...".to_owned()));
        for text in ["", "seven", "- .", "٤٢"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn what_does_not_count() {
        assert!(same("18", "18") && same("$1,234.", "1234") && same("18", "9 * 2\n#### 18"));
        assert!(same("5.\n", "5\n") && same("A", "a"));
        for (found, gold) in [
            ("18.00", "18"),
            ("18..", "18"),
            ("18", "-18"),
            ("18 ", "18"),
            ("", "18"),
        ] {
            assert!(!same(found, gold), "{found} against {gold}");
        }
    }

    #[test]
    fn long_texts_are_read_soon() {
        for unit in ["#### ", "-", "$.,", "1", "#### 1 ", "é"] {
            let text = unit.repeat(1_000_000 / unit.len());
            let _ = (strict(&text), flexible(&text), same(&text, &text));
        }
        assert_eq!(
            flexible(&"1".repeat(1_000_000)).map(|found| found.len()),
            Some(1_000_000)
        );
    }
}
