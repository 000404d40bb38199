//! Which option of a multiple-choice question a response names. Graders search for a phrase (simple-evals:
//! `(?i)Answer[ \t]*:[ \t]*\$?([A-D])\$?`, its first match; MMLU-Pro: `answer is \(?([A-J])\)?`, then `Answer: X`, then
//! the last letter that stands free). [`letter`] reads what these read and what a reader sees besides: other wordings and
//! languages, brackets, bold type, LaTeX. Where a reader cannot tell, it names nothing.

use super::script::{is_cased, is_mark, plain};
use regex::Regex;
use std::sync::LazyLock;

/// The option that `response` names, counted from 0, where A is the first of `options` (26 at most).
///
/// A letter counts if it stands free: no letter with case and no digit touches it, not even over a point, an apostrophe,
/// a hyphen or an underscore (`D.C.`, `C's`, `A-level`, `x_A`), and it is no name (`C++`, `°C`). Letters of scripts
/// without case may touch it (`答案是B`). Small letters are options too. `a` and `A` before a word are an article, unless
/// the word goes on after an option (`A because`, `A is`), and `I` before a word is the pronoun. In this order:
///
/// 1. The last place that says what the answer is: `Answer: C`, `the answer is (C)`, `\boxed{C}`, `I choose C`,
///    `C is correct`, `答案是C`, `정답은 C`, and the like in some twenty languages. The last, as a chain of thought corrects
///    itself. If it names two options (`A or B`), the response names none. What is wrong (`the wrong answer is B`,
///    `不选B`) is no such place, nor is one with no option behind it (`the answer is not B`).
/// 2. The letter at the beginning, behind nothing but brackets, quotes and markup: `C`, `**C**`, `(C) Paris`, `c)`. A
///    small letter must have a closing mark or the end behind it. Not if the response lists the options: two lines, or
///    all options, that begin so.
/// 3. The only option that is mentioned, as a capital or in brackets, and not said to be wrong: `I think it is a C`.
pub fn letter(response: &str, options: usize) -> Option<usize> {
    let text = plain(response);
    let reader = Reader {
        text: &text,
        options: options.min(26),
    };
    let (marked, wrong) = reader.last_marked();
    match marked {
        Marked::Option(option) => Some(option),
        Marked::Several => None,
        Marked::Nothing => reader.at_the_beginning().or_else(|| reader.only_one(&wrong)),
    }
}

/// What says that an answer follows, in front of the letter. A copula or a colon must stand behind a noun. All that
/// repeats is bounded, so that long texts are read in linear time.
const MARKERS: &str = r#"(?ix)
    (?P<no>
        \b(?: wrong | incorrect | not\s(?: the | a | an | choose | select | pick ) )\s+
      | 不 | 不正确的 | 错误的? | 오
    )?
    (?P<marker>
        \\(?: boxed | fbox )
      | \b(?: answers? | choice | option | solution | respuesta | réponse | resposta | risposta | antwort | jawaban
            | odpowiedź | antwoord | svar | cevap | ответ | ответом | відповідь | đáp\s*án )\b
        [\s*_]*
        (?: [^\n.:;?!：。]{0,60}?
            \b(?: is | are | was | would\ be | should\ be | must\ be | est | es | é | è | ist | adalah | jest | är | là )\b
          | [:=→] | -> | - | \n )
      | \b(?: choose | chose | select | pick | go\ with | going\ with | vote\ for | elijo | wähle | choisis | выбираю
            | выберу )\b
      | (?: 答案 | 答え | 回答 | 解答 | 答 | 正解 | 选项 | 選項 ) [\s*]*
        (?: 应该 | 應該 | 应 | 應 | 就 )? [\s*]* (?: 是 | 为 | 為 | 选 | 選 | は | [:=] | \n )
      | 选择 | 選擇 | 选 | 選
      | (?: 정답 | 답변 | 답 ) \s* (?: 은 | 는 | : )
      | (?: คำตอบ | ตอบ ) \s* (?: ที่ถูกต้อง )? \s* (?: คือ | : )?
      | (?: الإجابة | الجواب | إجابة | جواب | پاسخ | תשובה | התשובה | उत्तर | উত্তর | जवाब )
        [^\n.:A-Za-z]{0,30} (?: [:ः] | \s )
    )
    (?: [\s:*_$"'“”‘’«「『【（(\[{<`~]+
      | \\(?: text | mathrm | mathbf | textbf | mathsf | boxed | fbox | [,;\ (\[] )
      | 是 | 为 | 為 | 选项 | 選項
      | \b(?: clearly | definitely | likely | most | probably | simply | therefore | thus | indeed | actually | still
            | also | then | only | just | now | option | choice | letter | answer | the | la | el | die | der | opción
            | opção | an? )\b
    ){0,10}
    (?P<letter>[a-z]) (?: [^\p{Latin}\p{Greek}\p{Cyrillic}0-9] | $ )"#;

/// What says that the option before it is the answer.
const BEHIND: &str = r"(?x)
    (?P<letter>[A-Z]) [)\]*_.]* \s*
    (?: \s(?:is|seems|looks|must\ be|would\ be)\s+(?:(?:the|clearly|definitely|therefore|most|actually|indeed|only|one)\s+)*
        (?:correct|right|best|true|answer)\b
      | (?:是|为)?(?:正确|正確|对的|對的) | (?:が|は)\s*(?:正解|正しい) | (?:가|이|번이)\s*(?:정답|맞) )";

/// Words that go on after an option and not after an article or a pronoun.
const GOES_ON: [&str; 22] = [
    "is",
    "because",
    "since",
    "as",
    "due",
    "given",
    "which",
    "that",
    "would",
    "was",
    "seems",
    "looks",
    "appears",
    "based",
    "according",
    "therefore",
    "or",
    "and",
    "but",
    "not",
    "i",
    "the",
];

/// What stands last of what marks an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marked {
    Nothing,
    Option(usize),
    Several,
}

/// A response that is read, in its plain form.
struct Reader<'a> {
    text: &'a str,
    options: usize,
}

impl Reader<'_> {
    /// What is marked last, and where the letters stand that are marked as wrong.
    fn last_marked(&self) -> (Marked, Vec<usize>) {
        static BEFORE: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(MARKERS).expect("the pattern is a constant and valid"));
        static AFTER: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(BEHIND).expect("the pattern is a constant and valid"));
        let mut last = (0, Marked::Nothing);
        let mut wrong = Vec::new();
        for (pattern, before) in [(&*BEFORE, true), (&*AFTER, false)] {
            let mut at = 0;
            while let Some(groups) = pattern.captures_at(self.text, at) {
                let (Some(found), Some(whole)) = (groups.name("letter"), groups.get(0)) else {
                    break;
                };
                let denied = groups.name("no").is_some();
                if denied {
                    wrong.push(found.start());
                }
                let unfit = if before {
                    self.is_article(found.start())
                } else {
                    self.is_denied(found.start())
                };
                let option = self.option(found.start()).filter(|_| !denied && !unfit);
                // A marker without an option may have begun before one that has it.
                let marker = groups.name("marker").map_or(found.end(), |marker| marker.start());
                let second = || self.text[marker..].chars().next().map_or(1, char::len_utf8) + marker;
                at = match option {
                    Some(_) => found.end(),
                    None if before => second(),
                    None => whole.start() + 1,
                };
                if let Some(option) = option.filter(|_| found.start() >= last.0) {
                    let several =
                        self.another_follows(found.end(), option) || !before && self.follows_another(found.start());
                    let marked = if several {
                        Marked::Several
                    } else {
                        Marked::Option(option)
                    };
                    last = (found.start(), marked);
                }
            }
        }
        (last.1, wrong)
    }

    /// The option whose letter stands free at `at`.
    fn option(&self, at: usize) -> Option<usize> {
        let letter = self.text[at..].chars().next().filter(char::is_ascii_alphabetic)?;
        let option = usize::from(letter.to_ascii_uppercase() as u8 - b'A');
        let touches = |c: char| is_cased(c) || c.is_ascii_digit() || is_mark(c);
        let joins = |c: char| matches!(c, '.' | '\'' | '’' | '-' | '‑' | '&' | '_');
        let mut before = self.text[..at].chars().rev();
        let mut after = self.text[at + 1..].chars();
        let (left, right) = (before.next(), after.next());
        let bound = left.is_some_and(|c| touches(c) || c == '°' || c == '\\')
            || left.is_some_and(joins) && before.next().is_some_and(touches)
            || right.is_some_and(|c| touches(c) || matches!(c, '+' | '#'))
            || right.is_some_and(joins) && after.next().is_some_and(touches);
        (option < self.options && !bound).then_some(option)
    }

    /// Whether the letter at `at` is an article or a pronoun before the word that follows.
    fn is_article(&self, at: usize) -> bool {
        let mut chars = self.text[at..].chars();
        let letter = chars.next();
        if !matches!(letter, Some('a' | 'A' | 'i' | 'I')) {
            return false;
        }
        let rest = chars.as_str();
        let next = rest.trim_start_matches([' ', '\t']);
        if next.len() == rest.len() || !next.starts_with(is_cased) {
            return false;
        }
        let word: String = next.chars().take(12).take_while(|&c| is_cased(c)).collect();
        let pronoun = matches!(letter, Some('i' | 'I'));
        !(if pronoun {
            word == "is"
        } else {
            letter == Some('A') && GOES_ON.contains(&word.to_lowercase().as_str())
        })
    }

    /// Whether `not`, `neither` or the like stands before `at`.
    fn is_denied(&self, at: usize) -> bool {
        let head = self.text[..at].trim_end_matches([' ', '(', '*', '"', '[', '$']);
        let head = ["option", "choice"]
            .iter()
            .find_map(|word| head.strip_suffix(word))
            .unwrap_or(head)
            .trim_end_matches(' ');
        let words = [
            "not", "n't", "n’t", "neither", "Neither", "nor", "Not", "except", "不是", "不选", "非",
        ];
        words.iter().any(|word| head.ends_with(word))
    }

    /// Whether what follows at `at` says that the option before it is wrong.
    fn is_refuted(&self, at: usize) -> bool {
        static REFUTED: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(
                r"^[)\]*.]*\s*(?:(?:is|was)\s+(?:\w+\s+)?(?:not|wrong|incorrect|false)\b|isn['’]t|不对|不正确|错|是错)",
            )
            .expect("the pattern is a constant and valid")
        });
        REFUTED.is_match(&self.text[at..])
    }

    /// Whether another option stands behind `and`, `or`, a comma or a slash at `at`.
    fn another_follows(&self, at: usize, option: usize) -> bool {
        static ALSO: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(
                r"^[)\]}*$]*\s*(?:,|/|&|、|和|或|与|と|\b(?:and|or|y|und|et|oder|ou|or\s+maybe)\b)[\s(\[*$]*([A-Z])",
            )
            .expect("the pattern is a constant and valid")
        });
        let Some(other) = ALSO.captures(&self.text[at..]).and_then(|groups| groups.get(1)) else {
            return false;
        };
        let other = at + other.start();
        self.option(other).is_some_and(|found| found != option) && !self.is_article(other)
    }

    /// Whether the option at `at` is the second of two (`A and B are right`).
    fn follows_another(&self, at: usize) -> bool {
        let head = self.text[..at].trim_end_matches([' ', '(', '*']);
        let head = ["and", "or", "&", "/"].iter().find_map(|word| head.strip_suffix(word));
        let head = head.map(|head| head.trim_end_matches([' ', ')', '*']));
        head.is_some_and(|head| {
            head.ends_with(|c: char| c.is_ascii_uppercase()) && self.option(head.len() - 1).is_some()
        })
    }

    fn at_the_beginning(&self) -> Option<usize> {
        static WRAPPER: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(
                r#"^(?:[\s*_#>"'“”‘’«「『【（(\[{$•`<-]|\\(?:text|mathrm|mathbf|textbf|\(|\[)|(?i:option|choice)\s)*"#,
            )
            .expect("the pattern is a constant and valid")
        });
        let start = WRAPPER.find(self.text)?.end();
        let option = self.option(start)?;
        let small = self.text[start..].starts_with(|c: char| c.is_ascii_lowercase());
        let closed = self.text[start + 1..].trim_start_matches(' ').chars().next();
        let closed = closed.is_none_or(|c| ")]}.:,;*\"'”’»」』】$`\n\r>".contains(c));
        let bare = small && !closed || self.is_article(start);
        let clear = !self.another_follows(start + 1, option) && !self.is_refuted(start + 1) && !self.lists_options();
        (!bare && clear).then_some(option)
    }

    /// Whether the response repeats the options: two lines, or all options, begin with `A)`, `(A)`, `A.` or `A:`.
    fn lists_options(&self) -> bool {
        static HEAD: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"(?m)(?P<line>^[\s*(-]*)?(?P<letter>[A-Za-z])[*]*(?:[).:](?:\s|[*])|、)")
                .expect("the pattern is a constant and valid")
        });
        let mut lines = [false; 26];
        let mut all = [false; 26];
        for groups in HEAD.captures_iter(self.text) {
            if let Some(found) = groups.name("letter")
                && let Some(option) = self.option(found.start())
            {
                all[option] = true;
                lines[option] |= groups.name("line").is_some();
            }
        }
        let count = |seen: &[bool]| seen.iter().filter(|&&seen| seen).count();
        count(&lines) > 1 || self.options > 1 && count(&all) == self.options
    }

    fn only_one(&self, wrong: &[usize]) -> Option<usize> {
        let mut only = None;
        for (at, _) in self.text.match_indices(|c: char| c.is_ascii_alphabetic()) {
            let Some(option) = self.option(at) else { continue };
            let small = self.text[at..].starts_with(|c: char| c.is_ascii_lowercase());
            let bracketed = || self.text[..at].ends_with('(') && self.text[at + 1..].starts_with(')');
            if small && !bracketed()
                || self.is_article(at)
                || self.is_denied(at)
                || self.is_refuted(at + 1)
                || wrong.binary_search(&at).is_ok()
            {
                continue;
            }
            if only.is_some_and(|only| only != option) {
                return None;
            }
            only = Some(option);
        }
        only
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each response, and the letter that it names among A to D, or `-`.
    const RESPONSES: &[(&str, char)] = &[
        // The phrases that simple-evals and MMLU-Pro search for.
        ("Answer: C", 'C'),
        ("answer : $C$", 'C'),
        ("Let me think. 2 + 2 = 4.\n\nAnswer: D", 'D'),
        ("**Answer:** B", 'B'),
        ("**Answer: (B)**", 'B'),
        ("The answer is (B)", 'B'),
        ("The answer is (B).", 'B'),
        ("The answer is B.", 'B'),
        ("the correct answer is: b", 'B'),
        ("The answer is A because the others are not.", 'A'),
        ("So the final answer is $\\boxed{C}$.", 'C'),
        ("\\boxed{C}", 'C'),
        ("\\boxed{\\text{(D)}}", 'D'),
        ("The correct option is therefore C", 'C'),
        ("The answer to the question is option D.", 'D'),
        ("Answer:\nB", 'B'),
        ("Answer\n\nB. Paris", 'B'),
        ("The best choice would be D", 'D'),
        ("I choose C.", 'C'),
        ("I would go with option B", 'B'),
        ("Final Answer: C) Paris", 'C'),
        ("__Answer__: __A__", 'A'),
        ("The answer that I was looking for among A to C is B", 'B'),
        ("An answer to this question is the option (C)", 'C'),
        // A chain of thought corrects itself.
        ("Answer: A. Wait, that is wrong. Answer: C", 'C'),
        ("A and B are wrong, so the answer is C", 'C'),
        ("The answer is B, because A is too small.", 'B'),
        ("A) is wrong. B) is wrong. C) is correct.", 'C'),
        ("Option B is the correct answer.", 'B'),
        ("A good answer is B", 'B'),
        // The beginning.
        ("C", 'C'),
        ("(C)", 'C'),
        ("**C**", 'C'),
        ("C.", 'C'),
        ("C) Paris", 'C'),
        ("C: Paris", 'C'),
        (" \"C\" ", 'C'),
        ("> **(C)** Paris, as Berlin (A) is in Germany", 'C'),
        ("b", 'B'),
        ("b)", 'B'),
        ("(b) Paris", 'B'),
        ("a", 'A'),
        ("a) Paris", 'A'),
        ("A", 'A'),
        ("A. Paris", 'A'),
        ("A because B is not true", 'A'),
        ("B Paris", 'B'),
        ("[D]", 'D'),
        ("$C$", 'C'),
        ("Option C", 'C'),
        ("\u{feff}C\u{200b}", 'C'),
        ("B's are wrong, D", 'D'),
        // The only one.
        ("I think it is a C", 'C'),
        ("It must be (b)", 'B'),
        ("Paris, so D", 'D'),
        ("Not A, but B", 'B'),
        // Other languages.
        ("答案是B", 'B'),
        ("答案：（Ｂ）", 'B'),
        ("答案是 **D**。", 'D'),
        ("正确答案为C，因为A和B都不对", 'C'),
        ("A不对，选C", 'C'),
        ("故选：D", 'D'),
        ("我认为是Ｃ。", 'C'),
        ("B是正确的，A不是", 'B'),
        ("答えはCです", 'C'),
        ("正解：D", 'D'),
        ("정답은 B입니다", 'B'),
        ("정답: (C)", 'C'),
        ("คำตอบคือ A", 'A'),
        ("Respuesta: C", 'C'),
        ("La respuesta correcta es la opción B", 'B'),
        ("La réponse est D.", 'D'),
        ("Die Antwort ist B", 'B'),
        ("Ответ: C", 'C'),
        ("الإجابة: D", 'D'),
        ("सही उत्तर है: B", 'B'),
        // None.
        ("", '-'),
        ("…", '-'),
        ("Paris", '-'),
        ("A good answer needs thought.", '-'),
        ("The answer is a matter of taste", '-'),
        ("a cat", '-'),
        ("E", '-'),
        ("Answer: E", '-'),
        ("Answer: Because", '-'),
        ("A or B", '-'),
        ("The answer is A or B.", '-'),
        ("Answer: A, C", '-'),
        ("Both A and C are correct", '-'),
        ("The answer is not B", '-'),
        ("It is not B", '-'),
        ("Neither A nor B", '-'),
        ("The wrong answer is B", '-'),
        ("不选B", '-'),
        ("오답은 B입니다", '-'),
        ("Option B is incorrect.", '-'),
        ("B is not what I would say", '-'),
        ("B不对", '-'),
        ("A can opener", '-'),
        ("Vitamins: A, C and D", '-'),
        ("A. Paris\nB. London\nC. Rome\nD. Oslo", '-'),
        ("A) Paris B) London C) Rome D) Oslo", '-'),
        ("Washington D.C. and the A-level in C++ at 20°C", '-'),
        ("x_A and H2B", '-'),
        ("Maybe B, maybe C", '-'),
    ];

    #[test]
    fn a_response_names_an_option_or_none() {
        let mut wrong = Vec::new();
        for &(response, wanted) in RESPONSES {
            let found = letter(response, 4).map_or('-', |option| char::from(b'A' + option as u8));
            if found != wanted {
                wrong.push((response, wanted, found));
            }
        }
        assert!(wrong.is_empty(), "response, wanted, found: {wrong:#?}");
    }

    #[test]
    fn options_are_as_many_as_are_given() {
        assert_eq!(letter("Answer: J", 10), Some(9));
        assert_eq!(letter("Answer: J", 9), None);
        assert_eq!(letter("I think that it is B", 10), Some(1));
        assert_eq!(letter("(I)", 10), Some(8));
        assert_eq!(letter("Answer: I", 10), Some(8));
        assert_eq!(letter("z", 1000), Some(25));
        assert_eq!(letter("A", 0), None);
        assert_eq!(letter("A", 1), Some(0));
        for (index, capital) in ('A'..='Z').enumerate() {
            for text in [
                format!("Answer: {capital}"),
                format!("({capital})"),
                format!("{capital}."),
                format!("\\boxed{{{capital}}}"),
            ] {
                assert_eq!(letter(&text, 26), Some(index), "{text}");
            }
        }
    }

    /// Where simple-evals and MMLU-Pro find a letter in a response, it is the one that is found here.
    #[test]
    fn the_graders_read_these_alike() {
        let simple = Regex::new(r"(?i)Answer[ \t]*:[ \t]*\$?([A-D])\$?").expect("valid");
        let pro = Regex::new(r"answer is \(?([A-J])\)?").expect("valid");
        let mut seen = 0;
        for &(response, wanted) in RESPONSES {
            for pattern in [&simple, &pro] {
                let found = pattern.captures(response).and_then(|groups| groups[1].chars().next());
                // They read the first of several, the first letter of a word, and letters that are no option.
                let known = [
                    "Answer: A. Wait",
                    "Answer: Because",
                    "Answer: A, C",
                    "The answer is A or B",
                    "The wrong",
                ];
                if let Some(found) = found
                    && !known.iter().any(|known| response.starts_with(known))
                {
                    seen += 1;
                    assert_eq!(found.to_ascii_uppercase(), wanted, "{response}");
                }
            }
        }
        assert!(seen > 10, "{seen}");
    }

    #[test]
    fn long_responses_are_read_soon() {
        let units = [
            "answer ",
            "answer is ",
            "Answer: A ",
            "A ",
            "(b) ",
            "the answer",
            "答",
            "答案",
            "选",
            "\\boxed",
            "\\boxed{",
            "a",
            "A.",
            "A, ",
            "*",
            "( ",
            " ",
            "A and ",
            "উত্তর",
            "not ",
            "not the ",
            "A) ",
            "the the ",
            "answer: ",
            "answer: the ",
            "option ",
            "选项",
            "the wrong answer is B ",
            "choose\n\n",
            "\n",
        ];
        for unit in units {
            let text = unit.repeat(100_000 / unit.len());
            let start = std::time::Instant::now();
            let _ = letter(&text, 4);
            assert!(start.elapsed().as_secs() < 5, "{unit:?}");
        }
    }
}
