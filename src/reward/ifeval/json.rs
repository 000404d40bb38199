//! Whether a text is JSON to Python's `json.loads`, which takes more than the standard (`NaN`, `Infinity`, numbers
//! beyond all bounds, halves of surrogate pairs) and less (no whole number of more than 4,300 digits). Values are not
//! built, and nesting has no limit.

/// Longest whole number that Python converts.
const DIGITS: usize = 4300;

/// Whether `json.loads` takes the text.
pub fn is_json(text: &str) -> bool {
    let mut reader = Reader { rest: text.as_bytes() };
    reader.value_and_end().is_some()
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn value_and_end(&mut self) -> Option<()> {
        // The closing brackets that are due.
        let mut open = Vec::new();
        loop {
            self.space();
            match self.next()? {
                b'{' => {
                    self.space();
                    if !self.skip(b"}") {
                        open.push(b'}');
                        self.key()?;
                        continue;
                    }
                }
                b'[' => {
                    self.space();
                    if !self.skip(b"]") {
                        open.push(b']');
                        continue;
                    }
                }
                b'"' => self.string()?,
                first => self.word_or_number(first)?,
            }
            // A value has ended: close what closes, or go on to the next value.
            loop {
                self.space();
                let Some(&close) = open.last() else {
                    return self.rest.is_empty().then_some(());
                };
                match self.next()? {
                    b',' => break,
                    byte if byte == close => open.pop(),
                    _ => return None,
                };
            }
            if open.last() == Some(&b'}') {
                self.space();
                self.key()?;
            }
        }
    }

    fn next(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    fn skip(&mut self, text: &[u8]) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn space(&mut self) {
        let end = self
            .rest
            .iter()
            .position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
        self.rest = &self.rest[end.unwrap_or(self.rest.len())..];
    }

    /// A key and its colon.
    fn key(&mut self) -> Option<()> {
        self.skip(b"\"").then_some(())?;
        self.string()?;
        self.space();
        self.skip(b":").then_some(())
    }

    /// A string, from behind its opening quote.
    fn string(&mut self) -> Option<()> {
        loop {
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        let (hex, rest) = self.rest.split_at_checked(4)?;
                        hex.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                        self.rest = rest;
                    }
                    _ => return None,
                },
                0..=0x1f => return None,
                _ => {}
            }
        }
    }

    fn word_or_number(&mut self, first: u8) -> Option<()> {
        let word: &[u8] = match first {
            b'n' => b"ull",
            b't' => b"rue",
            b'f' => b"alse",
            b'N' => b"aN",
            b'I' => b"nfinity",
            b'-' if self.skip(b"Infinity") => return Some(()),
            b'-' => {
                let digit = self.next()?;
                return self.number(digit);
            }
            _ => return self.number(first),
        };
        self.skip(word).then_some(())
    }

    /// A number from its first digit. What cannot belong to it (`01`, `1.`) is left for the caller to refuse.
    fn number(&mut self, first: u8) -> Option<()> {
        first.is_ascii_digit().then_some(())?;
        let whole = if first == b'0' { 1 } else { 1 + self.digits() };
        let mut is_whole = true;
        let before = self.rest;
        if self.skip(b".") {
            if self.digits() > 0 {
                is_whole = false;
            } else {
                self.rest = before;
            }
        }
        let before = self.rest;
        if self.skip(b"e") || self.skip(b"E") {
            let _sign = self.skip(b"-") || self.skip(b"+");
            if self.digits() > 0 {
                is_whole = false;
            } else {
                self.rest = before;
            }
        }
        (!is_whole || whole <= DIGITS).then_some(())
    }

    fn digits(&mut self) -> usize {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.rest = &self.rest[count..];
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_what_python_takes() {
        for text in [
            "1",
            "-0",
            "0.5e-3",
            "1E5",
            "1e999",
            "\"a\"",
            "null",
            "true",
            "false",
            "NaN",
            "-Infinity",
            "Infinity",
            "[]",
            "{}",
            "[ ]",
            "{ }",
            "[1, [2], {\"a\": {}}]",
            " {\"a\" : 1 , \"b\":[\n]} ",
            r#""\ud800\n\/""#,
            "[1,2]",
            "\"é\u{7f}\"",
        ] {
            assert!(is_json(text), "{text}");
        }
        for text in [
            "",
            " ",
            "01",
            "1.",
            "-",
            "+1",
            ".5",
            "1e",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "{'a':1}",
            "[1 2]",
            "[",
            "]",
            "{\"a\"}",
            "{\"a\":}",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"a\nb\"",
            "nul",
            "1 2",
            "[1}",
            "{\"a\":1]",
            "\u{feff}1",
            "\u{a0}1",
            ",",
        ] {
            assert!(!is_json(text), "{text}");
        }
        assert!(is_json(&"7".repeat(4300)) && !is_json(&"7".repeat(4301)));
        assert!(is_json(&format!("{}.0", "7".repeat(4301))));
    }

    #[test]
    fn depth_has_no_limit() {
        let deep = 1_000_000;
        assert!(is_json(&("[".repeat(deep) + &"]".repeat(deep))));
        assert!(!is_json(&"{\"a\":".repeat(deep)));
    }
}
