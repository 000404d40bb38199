//! How near is a text to a sample of texts? By compression, as ZIP-FIT chooses training data (Obbad et al., arXiv
//! 2410.18194): what two texts share in words, phrases and layout, gzip writes only once, so the two together compress to
//! less than the sum. No model and no vocabulary is asked, and every language and code is measured alike.
//!
//! The normalised compression distance is NCD(x, y) = (C(xy) − min(C(x), C(y))) / max(C(x), C(y)) (Cilibrasi and Vitányi,
//! *Clustering by Compression*, 2005), C the size in bytes of the gzip file and xy the two texts one after the other,
//! without anything between. Nearness to a sample is the mean of 1 − NCD over it, as in the authors' code. Only its
//! order means something: it depends on length, and short texts have little to share.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

/// One text of the sample, with its compressed size, which every comparison needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    text: String,
    size: usize,
}

impl Target {
    /// Compresses the text once.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let size = size(&[&text]);
        Self { text, size }
    }
}

/// The mean of 1 − NCD over `targets`: near 1 for a text that they contain, near 0 for one that shares nothing with
/// them, and by a little outside [0, 1] at either end, for gzip is not a perfect compressor. 0 without targets.
///
/// Compresses once a target, some 30 µs for two texts of 300 bytes. gzip looks back 32 KiB: of a longer text, a target
/// sees the end only.
pub fn nearness(text: &str, targets: &[Target]) -> f64 {
    if targets.is_empty() {
        return 0.0;
    }
    let own = size(&[text]);
    let near = |target: &Target| {
        let both = size(&[text, &target.text]) as f64;
        1.0 - (both - own.min(target.size) as f64) / own.max(target.size) as f64
    };
    targets.iter().map(near).sum::<f64>() / targets.len() as f64
}

/// Bytes of the gzip file of the parts one after the other, at level 9, the default of Python's `gzip.compress`.
fn size(parts: &[&str]) -> usize {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    for part in parts {
        gzip.write_all(part.as_bytes()).expect("a vector takes all bytes");
    }
    gzip.finish().expect("a vector takes all bytes").len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    /// Made by make_nearness.py from Python's gzip.
    #[derive(Deserialize)]
    struct Fixture {
        targets: Vec<String>,
        sources: Vec<Source>,
    }

    #[derive(Deserialize)]
    struct Source {
        topic: String,
        text: String,
        size: usize,
        nearness: f64,
    }

    fn fixture() -> Fixture {
        serde_json::from_str(include_str!("../../tests/golden/fixtures/nearness.json")).unwrap()
    }

    fn sample(texts: &[String]) -> Vec<Target> {
        texts.iter().map(Target::new).collect()
    }

    #[test]
    fn sizes_and_order_agree_with_python() {
        let fixture = fixture();
        let targets = sample(&fixture.targets);
        let found: Vec<f64> = fixture.sources.iter().map(|s| nearness(&s.text, &targets)).collect();
        for (source, found) in fixture.sources.iter().zip(&found) {
            let own = size(&[&source.text]);
            assert!(
                own.abs_diff(source.size) <= 2 + source.size / 100,
                "{own} against {}",
                source.size
            );
            assert!(
                (found - source.nearness).abs() < 0.02,
                "{found} against {}",
                source.nearness
            );
        }
        let expected: Vec<f64> = fixture.sources.iter().map(|s| s.nearness).collect();
        let agreement = rank_correlation(&found, &expected);
        assert!(agreement > 0.99, "{agreement}");
    }

    #[test]
    fn the_near_topic_comes_first() {
        let fixture = fixture();
        let targets = sample(&fixture.targets);
        let of = |topic: &str| -> Vec<f64> {
            let those = fixture.sources.iter().filter(|s| s.topic == topic);
            those.map(|s| nearness(&s.text, &targets)).collect()
        };
        let farthest_near = of("arithmetic").into_iter().fold(f64::INFINITY, f64::min);
        let nearest_far = of("cooking").into_iter().fold(f64::NEG_INFINITY, f64::max);
        assert!(farthest_near > nearest_far, "{farthest_near} against {nearest_far}");
    }

    #[test]
    fn the_ends_of_the_scale() {
        let text: String = (0..200).map(|i| format!("{} ", i * i % 997)).collect();
        let other: String = (0..200).map(|i| char::from(b'a' + (i * i * 7 % 26) as u8)).collect();
        let targets = sample(std::slice::from_ref(&text));
        assert!(nearness(&text, &targets) > 0.9);
        assert!(nearness(&other, &targets) < 0.3);
        let both = sample(&[text.clone(), other.clone()]);
        let mean = (nearness(&text, &both[..1]) + nearness(&text, &both[1..])) / 2.0;
        assert!((nearness(&text, &both) - mean).abs() < 1e-15);
    }

    #[test]
    fn any_text_has_a_nearness() {
        let empty = sample(&[String::new()]);
        assert_eq!(nearness("", &empty), 1.0);
        assert_eq!(nearness("anything", &[]), 0.0);
        for text in ["", "a", "\0", "東京", &"a".repeat(1_000_000)] {
            assert!(nearness(text, &empty).is_finite());
            assert!(nearness(text, &sample(&["some words".into(), "\u{200b}".into()])).is_finite());
        }
    }

    /// Spearman's, without ties.
    fn rank_correlation(a: &[f64], b: &[f64]) -> f64 {
        let ranks = |values: &[f64]| -> Vec<f64> {
            values
                .iter()
                .map(|v| values.iter().filter(|w| *w < v).count() as f64)
                .collect()
        };
        let squares: f64 = ranks(a).iter().zip(ranks(b)).map(|(x, y)| (x - y).powi(2)).sum();
        let n = a.len() as f64;
        1.0 - 6.0 * squares / (n * (n * n - 1.0))
    }
}
