//! A Hugging Face folder's weights: one `model.safetensors`, or shards named by an index. Files are mapped, not read;
//! the `safetensors` crate says what is valid, once, and rows are widened to f32 as they are asked for.

use crate::error::{Error, Result};
use crate::files::read_config_text;
use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::tensor::{Dtype, Metadata};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

/// The mapped files of one model or adapter.
#[derive(Debug)]
pub struct SafetensorsFiles {
    shards: Vec<Shard>,
    /// Tensor name to shard.
    place: BTreeMap<String, usize>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    map: Mmap,
    /// Where the tensors' bytes begin.
    data: usize,
    metadata: Metadata,
}

impl SafetensorsFiles {
    /// Opens the weights of a model's folder.
    pub fn open_folder(folder: &Path) -> Result<Self> {
        let whole = folder.join("model.safetensors");
        if whole.exists() {
            return Self::open(&[whole]);
        }
        let index = folder.join("model.safetensors.index.json");
        if !index.exists() {
            let what = "holds neither model.safetensors nor model.safetensors.index.json; give a Hugging Face model folder or a .gguf file";
            return Err(Error::file(folder, what));
        }
        let text = read_config_text(&index)?;
        let json: serde_json::Value =
            serde_json::from_str(&text).map_err(|e| Error::file(&index, format!("not valid JSON: {e}")))?;
        let map = json.get("weight_map").and_then(|map| map.as_object());
        let map = map.ok_or_else(|| Error::file(&index, "has no object `weight_map`"))?;
        let mut names: Vec<&str> = Vec::new();
        for (tensor, file) in map {
            let file = file
                .as_str()
                .ok_or_else(|| Error::file(&index, format!("weight_map of `{tensor}` is not a file name")))?;
            // A file name in a downloaded index must not lead out of its folder. Errors name the file.
            let mut parts = Path::new(file).components();
            let is_name = matches!(parts.next(), Some(Component::Normal(_))) && parts.next().is_none();
            if !is_name || file.contains(char::is_control) {
                return Err(Error::file(
                    &index,
                    format!("weight_map names `{file}`, expected a file in the same folder"),
                ));
            }
            names.push(file);
        }
        names.sort_unstable();
        names.dedup();
        Self::open(&names.iter().map(|name| folder.join(name)).collect::<Vec<_>>())
    }

    /// Opens these files as one set of tensors.
    pub fn open(paths: &[PathBuf]) -> Result<Self> {
        let shards = paths.iter().map(|path| Shard::open(path)).collect::<Result<Vec<_>>>()?;
        let mut place = BTreeMap::new();
        for (index, shard) in shards.iter().enumerate() {
            for name in shard.metadata.tensors().into_keys() {
                if let Some(earlier) = place.insert(name.clone(), index) {
                    let what = format!("tensor `{name}` is also in {}", shards[earlier].path.display());
                    return Err(Error::file(&shard.path, what));
                }
            }
        }
        Ok(Self { shards, place })
    }

    /// Every tensor's name and shape, sorted by name.
    pub fn tensors(&self) -> BTreeMap<String, Vec<usize>> {
        self.place
            .iter()
            .map(|(name, &shard)| (name.clone(), self.shards[shard].shape(name)))
            .collect()
    }

    /// Gives the files' pages back to the system until they are looked at again.
    pub fn release(&self) {
        self.shards.iter().for_each(|shard| super::map::release(&shard.map));
    }

    /// The files, in order.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.shards.iter().map(|shard| shard.path.as_path())
    }

    /// Widens rows of the tensor `name` into `out`; a vector is one row a number.
    ///
    /// # Panics
    /// When there is no such tensor, or `out` is not those rows' size: bugs of the caller.
    pub fn rows(&self, name: &str, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let shard = &self.shards[self.place[name]];
        let info = shard.metadata.info(name).expect("the name came from this metadata");
        // The product of all sizes was checked when the file was opened; that of some of them may overflow where one is 0.
        let width = match info.shape.first() {
            Some(0) => 0,
            Some(rows) => info.shape.iter().product::<usize>() / rows,
            None => 1,
        };
        let size = match info.dtype {
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::BF16 => 2,
            other => {
                let what = format!("tensor `{name}` is {other:?}; supported are F32, F16 and BF16");
                return Err(Error::file(&shard.path, what));
            }
        };
        let start = shard.data + info.data_offsets.0 + rows.start * width * size;
        let bytes = &shard.map[start..start + rows.len() * width * size];
        assert_eq!(out.len() * size, bytes.len(), "room for these rows of `{name}`");
        match info.dtype {
            Dtype::F32 => convert(bytes, out, f32::from_le_bytes),
            Dtype::F16 => convert(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
            _ => convert(bytes, out, |b| bf16::from_le_bytes(b).to_f32()),
        }
        Ok(())
    }

    /// A whole tensor in f32.
    pub fn read(&self, name: &str) -> Result<Vec<f32>> {
        let shape = self.shards[self.place[name]].shape(name);
        let mut out = vec![0.0; shape.iter().product()];
        self.rows(name, 0..shape.first().copied().unwrap_or(1), &mut out)?;
        Ok(out)
    }
}

impl Shard {
    fn open(path: &Path) -> Result<Self> {
        let map = super::map::open(path)?;
        let (header, metadata) = safetensors::SafeTensors::read_metadata(&map)
            .map_err(|e| Error::file(path, format!("not a valid safetensors file: {e}")))?;
        Ok(Self {
            path: path.to_path_buf(),
            data: header + size_of::<u64>(),
            map,
            metadata,
        })
    }

    fn shape(&self, name: &str) -> Vec<usize> {
        self.metadata
            .info(name)
            .expect("the name came from this metadata")
            .shape
            .clone()
    }
}

fn convert<const N: usize>(bytes: &[u8], out: &mut [f32], widen: impl Fn([u8; N]) -> f32) {
    let (chunks, _) = bytes.as_chunks::<N>();
    for (out, chunk) in out.iter_mut().zip(chunks) {
        *out = widen(*chunk);
    }
}
