//! Rotary positions as a model states them: which part of a head is turned, how fast, and how the frequencies are scaled for
//! long contexts. Read from `rope_parameters` as transformers 5 writes it, from `rope_theta` beside `rope_scaling` as transformers 4
//! did, or from the metadata of a GGUF file. A kind of scaling that is not computed here is refused by its name, and so is a
//! key of one that nobody reads.

use super::family;
use super::gguf::Gguf;
use super::json::Json;
use crate::error::{Error, Result};

/// Rotary positions that some layers of a model have.
#[derive(Clone, Debug, PartialEq)]
pub struct Positions {
    /// `[turned / 2]`, scaling applied.
    pub inverse_frequencies: Vec<f32>,
    /// What cos and sin are multiplied by.
    pub amplitude: f32,
    /// Whether dimension 2i pairs with 2i + 1, and not i with i + half.
    pub interleaved: bool,
}

/// What the positions are computed from beside what a config says of them.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub head_dim: usize,
    pub context: usize,
}

impl Positions {
    /// The kinds that layers of a folder's model have: that of layers that see everything, and, where the family has one, that
    /// of layers with a window.
    pub(super) fn from_json(json: &Json, row: &family::Rotary, sizes: Sizes) -> Result<Vec<Self>> {
        let stated = json.object("rope_parameters").or_else(|| json.object("rope_scaling"));
        let nested = |key: &str| json.object("rope_parameters").and_then(|all| all.object(key));
        let Some(local_base) = row.local_base else {
            return Ok(vec![Self::stated(
                json,
                stated.as_ref(),
                row,
                row.base,
                "rope_theta",
                sizes,
            )?]);
        };
        let (full, sliding) = (nested("full_attention"), nested("sliding_attention"));
        let of_full = match json.object("rope_parameters") {
            // Those of transformers 4, for layers that see everything.
            None => json.object("rope_scaling"),
            Some(all) => {
                let foreign = all
                    .stated()
                    .find(|(key, _)| !["full_attention", "sliding_attention"].contains(key));
                if let Some((key, _)) = foreign {
                    let what = format!(
                        "rope_parameters has `{key}`, expected `full_attention` and `sliding_attention` with parameters each"
                    );
                    return Err(json.error(what));
                }
                full
            }
        };
        Ok(vec![
            Self::stated(json, of_full.as_ref(), row, row.base, "rope_theta", sizes)?,
            Self::stated(json, sliding.as_ref(), row, local_base, "rope_local_base_freq", sizes)?,
        ])
    }

    /// `base_key` is where the base stands beside the parameters.
    fn stated(
        json: &Json,
        parameters: Option<&Json>,
        row: &family::Rotary,
        base: f64,
        base_key: &str,
        Sizes { head_dim, context }: Sizes,
    ) -> Result<Self> {
        let positive = |key: &str, value: f64| check_positive(key, value).map_err(|what| json.error(what));
        let beside = json.number_or(base_key, base)?;
        positive(base_key, beside)?;
        let base = parameters.map_or(Ok(beside), |parameters| parameters.number_or("rope_theta", beside))?;
        positive("rope_theta", base)?;
        let turned = turned_part(json, parameters, row, head_dim)?;
        let mut positions = Self {
            inverse_frequencies: inverse_frequencies(base as f32, turned),
            amplitude: 1.0,
            interleaved: row.interleaved,
        };
        let Some(parameters) = parameters else {
            return Ok(positions);
        };
        let kind = parameters
            .str("rope_type")
            .or_else(|_| parameters.str("type"))
            .unwrap_or("default");
        check_keys(parameters, kind)?;
        let number = |key: &str| -> Result<f64> {
            let value = parameters.value.get(key).and_then(serde_json::Value::as_f64);
            let value = value.ok_or_else(|| json.error(format!("rope key `{key}` is missing or not a number")))?;
            positive(key, value)?;
            Ok(value)
        };
        let frequencies = &mut positions.inverse_frequencies;
        match kind {
            "default" => {}
            "linear" => {
                let factor = number("factor")? as f32;
                frequencies.iter_mut().for_each(|f| *f /= factor);
            }
            "llama3" => {
                let (factor, original) = (number("factor")?, number("original_max_position_embeddings")?);
                let (low, high) = (number("low_freq_factor")?, number("high_freq_factor")?);
                if low >= high {
                    let what =
                        format!("low_freq_factor is {low}, expected less than high_freq_factor, which is {high}");
                    return Err(json.error(what));
                }
                frequencies
                    .iter_mut()
                    .for_each(|f| *f = llama3_frequency(f64::from(*f), factor, low, high, original) as f32);
            }
            "yarn" => {
                let factor = number("factor")?;
                positions.amplitude = yarn_amplitude(parameters, factor)?;
                let ramp = yarn_ramp(json, parameters, base, turned)?;
                for (f, interpolated) in frequencies.iter_mut().zip(ramp) {
                    let kept = 1.0 - interpolated;
                    *f = *f / factor as f32 * (1.0 - kept) + *f * kept;
                }
            }
            "longrope" | "su" if row.part.is_some() => {
                let original = original_context(json, parameters, context)? as f64;
                let factor = match parameters.has("factor") {
                    true => number("factor")?,
                    false => longest(json)? as f64 / original,
                };
                positions.amplitude = match parameters.number_or("attention_factor", 0.0)? {
                    0.0 if factor <= 1.0 => 1.0,
                    0.0 => (1.0 + factor.ln() / original.ln()).sqrt() as f32,
                    stated => stated as f32,
                };
                let divisors = divisors(parameters, "short_factor", frequencies.len())?;
                frequencies
                    .iter_mut()
                    .zip(divisors)
                    .for_each(|(f, divisor)| *f /= divisor);
            }
            other => {
                let what = format!(
                    "rope scaling `{other}` is not supported; supported are default, linear, llama3, yarn, and longrope of Phi-3"
                );
                return Err(json.error(what));
            }
        }
        Ok(positions)
    }

    /// The positions of a GGUF file of the architecture `name`.
    pub(super) fn from_gguf(gguf: &Gguf, name: &str, row: &family::Rotary, head_dim: usize) -> Result<Self> {
        let error = |what: String| Error::file(gguf.path(), what);
        let key = format!("{name}.rope.dimension_count");
        let whole = (head_dim as f64 * row.part.unwrap_or(1.0)) as usize;
        let turned = gguf.find::<u32>(&key)?.map_or(whole, |turned| turned as usize);
        let is_whole = turned == head_dim || row.part.is_some();
        if !is_whole || turned == 0 || turned > head_dim || !turned.is_multiple_of(2) {
            return Err(error(format!(
                "{key} is {turned}, which this architecture does not turn of a head of {head_dim}"
            )));
        }
        Ok(Self {
            inverse_frequencies: gguf_frequencies(gguf, name, row, turned)?,
            amplitude: 1.0,
            interleaved: row.interleaved,
        })
    }
}

/// The longest sequence that longrope's `short_factor` is for, and this engine runs: beyond it every position would turn otherwise,
/// those before it included.
pub(super) fn original_context(json: &Json, parameters: &Json, context: usize) -> Result<usize> {
    let inside = parameters.size_or("original_max_position_embeddings", context)?;
    json.size_or("original_max_position_embeddings", inside)
}

/// The context that a config's positions allow.
pub(super) fn longest(json: &Json) -> Result<usize> {
    json.size_or("max_position_embeddings", 2048)
}

/// The context of a model: what it states, and with longrope what it was trained for first.
pub(super) fn context(json: &Json) -> Result<usize> {
    let longest = longest(json)?;
    let parameters = json.object("rope_parameters").or_else(|| json.object("rope_scaling"));
    match parameters {
        Some(parameters) if is_longrope(&parameters) => Ok(original_context(json, &parameters, longest)?.min(longest)),
        _ => Ok(longest),
    }
}

fn is_longrope(parameters: &Json) -> bool {
    let kind = parameters.str("rope_type").or_else(|_| parameters.str("type"));
    matches!(kind, Ok("longrope" | "su"))
}

/// How many numbers of a head are turned.
fn turned_part(json: &Json, parameters: Option<&Json>, row: &family::Rotary, head_dim: usize) -> Result<usize> {
    let key = "partial_rotary_factor";
    let beside = json.number_or(key, row.part.unwrap_or(1.0))?;
    let part = parameters.map_or(Ok(beside), |parameters| parameters.number_or(key, beside))?;
    if row.part.is_none() && part != 1.0 {
        return Err(json.error("partial_rotary_factor is not 1; partial rotary positions are not supported"));
    }
    let turned = (head_dim as f64 * part) as usize;
    if !(part > 0.0 && part <= 1.0) || turned == 0 || !turned.is_multiple_of(2) {
        let what = format!("{key} is {part}, expected one that turns an even part of a head of {head_dim}");
        return Err(json.error(what));
    }
    Ok(turned)
}

/// Refuses what a kind of scaling does not read.
fn check_keys(parameters: &Json, kind: &str) -> Result<()> {
    const ALL: [&str; 4] = ["rope_type", "type", "rope_theta", "partial_rotary_factor"];
    let own: &[&str] = match kind {
        "default" => &["original_max_position_embeddings"],
        "linear" => &["factor", "original_max_position_embeddings"],
        "llama3" => &[
            "factor",
            "low_freq_factor",
            "high_freq_factor",
            "original_max_position_embeddings",
        ],
        "yarn" => &[
            "factor",
            "attention_factor",
            "mscale",
            "mscale_all_dim",
            "beta_fast",
            "beta_slow",
            "truncate",
            "original_max_position_embeddings",
        ],
        "longrope" | "su" => &[
            "factor",
            "short_factor",
            "long_factor",
            "attention_factor",
            "original_max_position_embeddings",
        ],
        // Refused by its name.
        _ => return Ok(()),
    };
    match parameters
        .stated()
        .find(|(key, _)| !ALL.contains(key) && !own.contains(key))
    {
        None => Ok(()),
        Some((key, value)) => Err(parameters.error(format!(
            "rope key `{key}` is {value}, which rope scaling `{kind}` does not read; remove it if it changes nothing"
        ))),
    }
}

/// What YaRN (arXiv 2309.00071) multiplies cos and sin by.
fn yarn_amplitude(parameters: &Json, factor: f64) -> Result<f32> {
    if parameters.has("attention_factor") {
        return Ok(parameters.number_or("attention_factor", 1.0)? as f32);
    }
    let amplitude = |scale: f64| {
        if factor <= 1.0 {
            1.0
        } else {
            0.1 * scale * factor.ln() + 1.0
        }
    };
    let (scale, of_all) = (
        parameters.number_or("mscale", 0.0)?,
        parameters.number_or("mscale_all_dim", 0.0)?,
    );
    Ok(match scale != 0.0 && of_all != 0.0 {
        true => amplitude(scale) / amplitude(of_all),
        false => amplitude(1.0),
    } as f32)
}

/// How far each of YaRN's frequencies is slowed, from 0, not at all, to 1: those that turn `beta_fast` times and more within the context
/// that the model was trained for first are not, those that turn less than `beta_slow` times are, and those between in part.
fn yarn_ramp(json: &Json, parameters: &Json, base: f64, turned: usize) -> Result<Vec<f32>> {
    let original = parameters.number_or("original_max_position_embeddings", longest(json)? as f64)?;
    let beta = |key: &str, default: f64| -> Result<f64> {
        let stated = parameters.number_or(key, default)?;
        Ok(if stated == 0.0 { default } else { stated })
    };
    let (fast, slow) = (beta("beta_fast", 32.0)?, beta("beta_slow", 1.0)?);
    for (key, value) in [
        ("original_max_position_embeddings", original),
        ("beta_fast", fast),
        ("beta_slow", slow),
    ] {
        check_positive(key, value).map_err(|what| json.error(what))?;
    }
    let dimension =
        |turns: f64| turned as f64 * (original / (turns * 2.0 * std::f64::consts::PI)).ln() / (2.0 * base.ln());
    let (mut low, mut high) = (dimension(fast), dimension(slow));
    if parameters.flag("truncate", true)? {
        (low, high) = (low.floor(), high.ceil());
    }
    (low, high) = (low.max(0.0), high.min(turned as f64 - 1.0));
    if low == high {
        high += 0.001;
    }
    let ramp = |i: usize| ((i as f64 - low) / (high - low)).clamp(0.0, 1.0) as f32;
    Ok((0..turned / 2).map(ramp).collect())
}

/// A list of divisors of the frequencies.
fn divisors(parameters: &Json, key: &str, count: usize) -> Result<Vec<f32>> {
    let values = parameters.value.get(key).and_then(serde_json::Value::as_array);
    let values = values.into_iter().flatten();
    let divisors: Vec<f32> = values.filter_map(|value| Some(value.as_f64()? as f32)).collect();
    if divisors.len() != count || !divisors.iter().all(|&divisor| divisor > 0.0 && divisor.is_finite()) {
        return Err(parameters.error(format!("rope key `{key}` is not a list of {count} numbers above 0")));
    }
    Ok(divisors)
}

/// The rotary frequencies of a GGUF file of the architecture `name`.
fn gguf_frequencies(gguf: &Gguf, name: &str, row: &family::Rotary, turned: usize) -> Result<Vec<f32>> {
    let error = |what: String| Error::file(gguf.path(), what);
    let theta = gguf.find(&format!("{name}.rope.freq_base"))?.unwrap_or(row.base as f32);
    check_positive("rope.freq_base", f64::from(theta)).map_err(error)?;
    let mut frequencies = inverse_frequencies(theta, turned);
    // As llama.cpp reads them: a factor without a type is linear, and files of 2023 have it under another name; 0 is none.
    let stated = |key: &str| gguf.find::<f32>(&format!("{name}.rope.{key}"));
    let factor = match stated("scaling.factor")? {
        Some(factor) => Some(factor),
        None => stated("scale_linear")?,
    };
    match gguf.find::<&str>(&format!("{name}.rope.scaling.type"))? {
        Some("none") => {}
        None | Some("linear") => {
            if let Some(factor) = factor.filter(|&factor| factor != 0.0) {
                check_positive("rope.scaling.factor", f64::from(factor)).map_err(error)?;
                frequencies.iter_mut().for_each(|f| *f /= factor);
            }
        }
        Some(other) => {
            let what = format!("rope scaling `{other}` is not supported; supported are none, linear and llama3");
            return Err(error(what));
        }
    }
    // llama.cpp's converter writes Llama-3's scaling as one divisor a frequency.
    if let Some(info) = gguf.tensor("rope_freqs.weight") {
        if info.len() != frequencies.len() {
            let what = format!(
                "rope_freqs.weight has shape {:?}, expected [{}]",
                info.shape,
                turned / 2
            );
            return Err(Error::file(gguf.path(), what));
        }
        let factors = gguf.dequantize("rope_freqs.weight")?;
        frequencies.iter_mut().zip(factors).for_each(|(f, factor)| *f /= factor);
    }
    Ok(frequencies)
}

/// A base or a factor of the rotary positions, which goes into `f32`.
fn check_positive(key: &str, value: f64) -> std::result::Result<(), String> {
    match value > 0.0 && (value as f32).is_finite() {
        true => Ok(()),
        false => Err(format!("{key} is {value}, expected a number above 0")),
    }
}

/// 1 / θ^(2i / head_dim), in f32 as the reference computes it.
fn inverse_frequencies(theta: f32, head_dim: usize) -> Vec<f32> {
    (0..head_dim / 2)
        .map(|i| 1.0 / theta.powf((2 * i) as f32 / head_dim as f32))
        .collect()
}

/// Llama 3.1's scaling: long waves are slowed by `factor`, short ones kept, those between interpolated.
fn llama3_frequency(f: f64, factor: f64, low: f64, high: f64, original_context: f64) -> f64 {
    let wavelength = 2.0 * std::f64::consts::PI / f;
    if wavelength > original_context / low {
        f / factor
    } else if wavelength < original_context / high {
        f
    } else {
        let smooth = (original_context / wavelength - low) / (high - low);
        (1.0 - smooth) * f / factor + smooth * f
    }
}
