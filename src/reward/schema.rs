//! Is a response JSON of the shape that was asked for? The shape is a JSON Schema (json-schema.org; draft 2020-12 unless the
//! schema names another in `$schema`), compiled once and held against any number of texts.
//!
//! Nothing that the schema's author wrote is passed over in silence where it could be checked: `format` is an assertion in
//! every draft, and one that the library does not know is an error. A `$ref` may point into the schema itself or to the
//! drafts' own schemas; nothing is ever fetched. Patterns run in linear time, so a response cannot make one take for ever;
//! look-around and back-references, which linear time rules out, are errors.

use super::format::unfenced;
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

/// How deep a schema may be nested: what serde_json reads. Compiling and checking take stack in proportion to the depth.
const DEEPEST: usize = 127;

/// A compiled JSON Schema.
#[derive(Clone, Debug)]
pub struct Schema {
    validator: Validator,
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    ///
    /// One sentence that says where in the schema the first fault is and what it is.
    pub fn new(schema: &Value) -> Result<Self, String> {
        if deeper_than(schema, DEEPEST) {
            return Err(format!(
                "the JSON Schema is nested more than {DEEPEST} deep; expected one that is flatter"
            ));
        }
        let compiled = jsonschema::options()
            .offline()
            .should_validate_formats(true)
            .should_ignore_unknown_formats(false)
            .with_pattern_options(PatternOptions::regex())
            .build(schema);
        match compiled {
            Ok(validator) => Ok(Self { validator }),
            Err(error) => {
                let place = error.instance_path().to_string();
                let place = if place.is_empty() { "its root" } else { &place };
                Err(format!("the JSON Schema cannot be used, at {place}: {error}"))
            }
        }
    }

    /// 1 for a text that consists of one JSON value valid under the schema, bare or in one Markdown code fence, else 0. JSON
    /// nested more than 127 deep, and numbers beyond f64, are not read and have 0.
    pub fn term(&self, text: &str) -> f64 {
        match serde_json::from_str(unfenced(text.trim())) {
            Ok(value) if self.validator.is_valid(&value) => 1.0,
            _ => 0.0,
        }
    }
}

/// Whether the value has more than `levels` containers inside one another; by a list of what is still to see, because a
/// recursion would overflow on what it is meant to refuse.
fn deeper_than(value: &Value, levels: usize) -> bool {
    let mut pending = vec![(value, 0)];
    while let Some((value, above)) = pending.pop() {
        let inside: Vec<&Value> = match value {
            Value::Array(items) => items.iter().collect(),
            Value::Object(map) => map.values().collect(),
            _ => continue,
        };
        if above == levels {
            return true;
        }
        pending.extend(inside.into_iter().map(|value| (value, above + 1)));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn person() -> Schema {
        let schema = json!({
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 1},
                "born": {"type": "string", "format": "date"},
                "code": {"type": "string", "pattern": "^[A-Z]{2}$"},
                "friends": {"type": "array", "items": {"$ref": "#"}},
            },
            "required": ["name"],
            "additionalProperties": false,
        });
        Schema::new(&schema).unwrap()
    }

    #[test]
    fn a_valid_text_has_one_and_every_other_none() {
        let schema = person();
        for text in [
            r#"{"name": "Ada"}"#,
            " {\"name\": \"Ada\", \"born\": \"1815-12-10\"}\n",
            "```json\n{\"name\": \"Ada\", \"code\": \"GB\"}\n```",
            "```\n{\"name\": \"Ada\"}```",
            r#"{"name": "Ada", "friends": [{"name": "Charles", "friends": []}]}"#,
        ] {
            assert_eq!(schema.term(text), 1.0, "{text}");
        }
        for text in [
            "",
            "```json\n```",
            "{}",
            "[]",
            "Ada",
            r#"{"name": ""}"#,
            r#"{"name": 1}"#,
            r#"{"name": "Ada", "age": 36}"#,
            r#"{"name": "Ada", "born": "10 December 1815"}"#,
            r#"{"name": "Ada", "born": "1815-02-30"}"#,
            r#"{"name": "Ada", "code": "GBR"}"#,
            r#"{"name": "Ada", "friends": [{"nick": "C"}]}"#,
            r#"{"name": "Ada"} {"name": "Ada"}"#,
            r#"Here it is: {"name": "Ada"}"#,
            "```python\n{\"name\": \"Ada\"}\n```",
            r#"{"name": "Ada""#,
        ] {
            assert_eq!(schema.term(text), 0.0, "{text}");
        }
    }

    #[test]
    fn values_other_than_objects_may_be_asked_for() {
        let numbers =
            Schema::new(&json!({"type": "array", "items": {"type": "integer"}, "uniqueItems": true})).unwrap();
        assert_eq!(numbers.term("[1, 2, 3]"), 1.0);
        assert_eq!(numbers.term("[1, 2.0, 3]"), 1.0, "2.0 is an integer to JSON Schema");
        assert_eq!(numbers.term("[1, 1]"), 0.0);
        assert_eq!(numbers.term("[1e999]"), 0.0);
        assert_eq!(Schema::new(&json!(true)).unwrap().term("null"), 1.0);
        assert_eq!(Schema::new(&json!(false)).unwrap().term("null"), 0.0);
    }

    #[test]
    fn what_cannot_be_checked_is_an_error_that_says_where() {
        for (schema, place, what) in [
            (json!(3), "its root", "3 is not of types"),
            (json!({"type": "strin"}), "/type", "strin"),
            (
                json!({"properties": {"a": {"minLength": -1}}}),
                "/properties/a/minLength",
                "-1",
            ),
            (json!({"format": "nonsense"}), "/format", "nonsense"),
            (json!({"pattern": "(?=a)b"}), "/pattern", "(?=a)b"),
            (json!({"pattern": "(a{1000}){1000}"}), "/pattern", "a{1000}"),
            (json!({"$schema": "https://example.com/x"}), "its root", "example.com"),
            (json!({"$ref": "#/$defs/none"}), "its root", "none"),
        ] {
            let error = Schema::new(&schema).unwrap_err();
            assert!(
                error.contains(&format!("at {place}: ")) && error.contains(what),
                "{error}"
            );
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn nothing_is_fetched() {
        for place in [
            "https://example.com/x.json",
            "http://127.0.0.1:1/x",
            "file:///etc/hostname",
        ] {
            let error = Schema::new(&json!({"$ref": place})).unwrap_err();
            assert!(error.contains("Retrieval is disabled"), "{error}");
        }
        let own = json!({"$ref": "https://json-schema.org/draft/2020-12/schema"});
        assert_eq!(Schema::new(&own).unwrap().term(r#"{"type": "object"}"#), 1.0);
    }

    #[test]
    fn depth_is_bounded_on_both_sides() {
        let schema = Schema::new(&json!({"items": {"$ref": "#"}, "additionalProperties": {"$ref": "#"}})).unwrap();
        assert_eq!(schema.term(&format!("{}{}", "[".repeat(127), "]".repeat(127))), 1.0);
        assert_eq!(schema.term(&format!("{}{}", "[".repeat(128), "]".repeat(128))), 0.0);
        assert_eq!(schema.term(&"[".repeat(1_000_000)), 0.0);
        assert_eq!(schema.term(&"{\"a\":".repeat(1_000_000)), 0.0);
        let nested = |levels: usize| (0..levels).fold(json!(true), |inside, _| json!({"not": inside}));
        assert!(Schema::new(&nested(DEEPEST)).is_ok());
        assert!(
            Schema::new(&nested(DEEPEST + 1))
                .unwrap_err()
                .contains("nested more than 127")
        );
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        for schema in [
            json!({"$ref": "#"}),
            json!({"allOf": [{"$ref": "#"}]}),
            json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
            json!({"$dynamicAnchor": "n", "anyOf": [{"$dynamicRef": "#n"}]}),
        ] {
            assert_eq!(Schema::new(&schema).unwrap().term("{}"), 1.0, "{schema}");
        }
    }

    #[test]
    fn a_pattern_takes_linear_time() {
        let schema = Schema::new(&json!({"pattern": "^(a+)+$"})).unwrap();
        assert_eq!(schema.term(&format!("\"{}!\"", "a".repeat(100_000))), 0.0);
    }
}
