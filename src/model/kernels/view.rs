//! A tensor's memory as a slice, so that plain loops and libtorch's products work on the same numbers without a copy.

use half::bf16;
use std::marker::PhantomData;
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// A number type that a tensor can hold and a loop can read.
pub trait View: Copy + Send + Sync + 'static {
    /// libtorch's name for it.
    const KIND: Kind;
}

impl View for f32 {
    const KIND: Kind = Kind::Float;
}
impl View for bf16 {
    const KIND: Kind = Kind::BFloat16;
}
impl View for i8 {
    const KIND: Kind = Kind::Int8;
}
impl View for i32 {
    const KIND: Kind = Kind::Int;
}

/// The numbers of a contiguous CPU tensor.
///
/// # Panics
/// When the tensor is of another type, on another device, or not contiguous: a bug of the caller.
pub fn slice<T: View>(tensor: &Tensor) -> &[T] {
    check::<T>(tensor);
    // SAFETY: `check` made sure that the tensor is a contiguous CPU tensor of this type, so its data is `numel`
    // initialised numbers; the borrow of the tensor keeps the storage alive, and nobody in this crate writes to a
    // tensor's storage other than through `slice_mut`, which borrows it mutably.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast::<T>(), tensor.numel()) }
}

/// The numbers of a contiguous CPU tensor, to write to.
///
/// # Panics
/// As [`slice()`].
pub fn slice_mut<T: View>(tensor: &mut Tensor) -> &mut [T] {
    check::<T>(tensor);
    // SAFETY: as in `slice`; the mutable borrow makes this the only view through this handle, and handles that share
    // storage (`shallow_clone`, views) are not made of tensors that the kernels write to.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast::<T>(), tensor.numel()) }
}

/// A new CPU tensor of this shape whose numbers are not yet set; the caller writes all of them.
pub fn empty<T: View>(shape: &[usize]) -> Tensor {
    let shape: Vec<i64> = shape.iter().map(|&size| size as i64).collect();
    Tensor::empty(shape, (T::KIND, Device::Cpu))
}

/// A tensor `[rows, width]` over numbers that somebody else owns, without a copy.
pub fn borrowed<'a>(numbers: &'a [f32], width: usize) -> Borrowed<'a> {
    let shape = [(numbers.len() / width) as i64, width as i64];
    let strides = [width as i64, 1];
    // SAFETY: the numbers are initialised, lie in rows of `width`, and outlive the tensor, which `Borrowed` ties to them and
    // only lends out for reading.
    let tensor = unsafe { Tensor::from_blob(numbers.as_ptr().cast(), &shape, &strides, Kind::Float, Device::Cpu) };
    Borrowed {
        tensor,
        numbers: PhantomData,
    }
}

/// See [`borrowed`].
#[derive(Debug)]
pub struct Borrowed<'a> {
    tensor: Tensor,
    numbers: PhantomData<&'a [f32]>,
}

impl Borrowed<'_> {
    /// The tensor, to read.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }
}

/// A tensor that is only read from now on, and so by any thread: weights.
#[derive(Debug)]
pub struct Frozen(Tensor);

// SAFETY: a handle is not `Sync` because it can be written through; this one only lends itself out for reading, and libtorch
// lets any number of threads read one tensor at once.
unsafe impl Sync for Frozen {}

impl Frozen {
    /// Nobody may hold another handle to write through.
    pub fn new(tensor: Tensor) -> Self {
        Self(tensor)
    }
}

impl std::ops::Deref for Frozen {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        &self.0
    }
}

/// Numbers that several threads write at once, each its own part.
pub struct Shared<'a, T> {
    data: *mut T,
    len: usize,
    numbers: PhantomData<&'a mut [T]>,
}

// SAFETY: the only way to the numbers is `part`, whose callers promise that no two parts overlap in time and place.
unsafe impl<T: Send> Sync for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Shared<'_, T> {}

impl<'a, T: Copy> Shared<'a, T> {
    /// Takes the numbers for as long as it lives.
    pub fn new(numbers: &'a mut [T]) -> Self {
        Self {
            data: numbers.as_mut_ptr(),
            len: numbers.len(),
            numbers: PhantomData,
        }
    }

    /// Writes one number.
    ///
    /// # Safety
    /// No part that holds this number may be alive, and nobody else may write it at the same time.
    #[inline(always)]
    pub unsafe fn set(&self, index: usize, value: T) {
        assert!(index < self.len, "one of the numbers");
        // SAFETY: within the numbers, as just asserted, and nobody else's, as the caller promises; `T: Copy` needs no drop.
        unsafe { self.data.add(index).write(value) };
    }

    /// A part of the numbers.
    ///
    /// # Safety
    /// No other part that overlaps with this one may be alive.
    ///
    /// # Panics
    /// When the range does not lie within the numbers.
    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    pub unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "a part of the numbers"
        );
        // SAFETY: within the numbers, as just asserted, and nobody else's, as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(range.start), range.len()) }
    }
}

fn check<T: View>(tensor: &Tensor) {
    assert!(
        tensor.kind() == T::KIND && tensor.device() == Device::Cpu && tensor.is_contiguous(),
        "a kernel wants a contiguous CPU tensor of {:?}, got {tensor:?}",
        T::KIND
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_the_tensors_memory() {
        let mut tensor = Tensor::from_slice(&[1.0_f32, 2.0, 3.0]);
        slice_mut::<f32>(&mut tensor)[1] = 5.0;
        assert_eq!(slice::<f32>(&tensor), [1.0, 5.0, 3.0]);
        assert_eq!(
            Vec::<f32>::try_from(&tensor).expect("a vector of three"),
            [1.0, 5.0, 3.0]
        );
    }

    #[test]
    #[should_panic(expected = "contiguous CPU tensor of Float")]
    fn another_type_is_refused() {
        slice::<f32>(&Tensor::from_slice(&[1_i32]));
    }
}
