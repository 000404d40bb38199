//! Writes GGUF files for tests, as plainly as the format allows, and wrong ones where a test asks for them.

/// A GGUF file in the making.
#[derive(Default)]
pub struct GgufWriter {
    key_count: u64,
    keys: Vec<u8>,
    tensor_count: u64,
    table: Vec<u8>,
    data: Vec<u8>,
}

impl GgufWriter {
    /// A key with a value of type number `kind`, given as its bytes.
    pub fn raw(&mut self, key: &str, kind: u32, value: &[u8]) -> &mut Self {
        self.key_count += 1;
        self.keys.extend(text(key));
        self.keys.extend(kind.to_le_bytes());
        self.keys.extend(value);
        self
    }

    pub fn u32(&mut self, key: &str, value: u32) -> &mut Self {
        self.raw(key, 4, &value.to_le_bytes())
    }

    pub fn bool(&mut self, key: &str, value: bool) -> &mut Self {
        self.raw(key, 7, &[u8::from(value)])
    }

    pub fn string(&mut self, key: &str, value: &str) -> &mut Self {
        self.raw(key, 8, &text(value))
    }

    pub fn strings<S: AsRef<str>>(&mut self, key: &str, values: &[S]) -> &mut Self {
        let elements: Vec<u8> = values.iter().flat_map(|value| text(value.as_ref())).collect();
        self.array(key, 8, values.len(), &elements)
    }

    pub fn i32s(&mut self, key: &str, values: &[i32]) -> &mut Self {
        let elements: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.array(key, 5, values.len(), &elements)
    }

    pub fn array(&mut self, key: &str, element: u32, count: usize, elements: &[u8]) -> &mut Self {
        let mut value = element.to_le_bytes().to_vec();
        value.extend((count as u64).to_le_bytes());
        value.extend(elements);
        self.raw(key, 9, &value)
    }

    /// A tensor of row-major `shape`, of type number `kind`, at the next offset that is a multiple of 32.
    pub fn tensor(&mut self, name: &str, shape: &[u64], kind: u32, bytes: &[u8]) -> &mut Self {
        self.data.resize(self.data.len().next_multiple_of(32), 0);
        let offset = self.data.len() as u64;
        self.data.extend(bytes);
        self.entry(name, shape, kind, offset)
    }

    /// A line of the tensor table alone.
    pub fn entry(&mut self, name: &str, shape: &[u64], kind: u32, offset: u64) -> &mut Self {
        self.tensor_count += 1;
        self.table.extend(text(name));
        self.table.extend((shape.len() as u32).to_le_bytes());
        self.table
            .extend(shape.iter().rev().flat_map(|size| size.to_le_bytes()));
        self.table.extend(kind.to_le_bytes());
        self.table.extend(offset.to_le_bytes());
        self
    }

    /// The file.
    pub fn finish(&self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(3_u32.to_le_bytes());
        file.extend(self.tensor_count.to_le_bytes());
        file.extend(self.key_count.to_le_bytes());
        file.extend(&self.keys);
        file.extend(&self.table);
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend(&self.data);
        file
    }
}

fn text(value: &str) -> Vec<u8> {
    [&(value.len() as u64).to_le_bytes(), value.as_bytes()].concat()
}
