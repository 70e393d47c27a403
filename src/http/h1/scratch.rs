//! Buffers that the connections of one worker share, so that an exchange allocates little.

use super::{MAX_READ_BYTES, READ_BYTES};
use bytes::BytesMut;
use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::rc::Rc;

/// The maximum capacity of a small buffer that is kept. Larger ones are freed.
const MAX_SMALL_BYTES: usize = 16 * 1024;

/// State shared by the connections of one worker. Cloning is cheap and returns the same state.
#[derive(Clone, Debug, Default)]
pub struct Scratch(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    small: RefCell<VecDeque<BytesMut>>,
    large: RefCell<VecDeque<BytesMut>>,
}

/// The purpose of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// Heads and small bodies.
    Small,
    /// Large bodies.
    Large,
}

impl Size {
    /// The room in a new buffer.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Small => READ_BYTES,
            Self::Large => MAX_READ_BYTES,
        }
    }

    /// The number of spare buffers that a worker keeps. A large one is in use only while its connection is being read.
    fn spare(self) -> usize {
        match self {
            Self::Small => 64,
            Self::Large => 8,
        }
    }
}

impl Inner {
    fn spare(&self, size: Size) -> RefMut<'_, VecDeque<BytesMut>> {
        match size {
            Size::Small => self.small.borrow_mut(),
            Size::Large => self.large.borrow_mut(),
        }
    }
}

impl Scratch {
    /// Returns an empty buffer.
    pub(super) fn buffer(&self, size: Size) -> BytesMut {
        let (mut buffers, bytes) = (self.0.spare(size), size.bytes());
        // The buffer used last is still in the processor's cache. The oldest one is the most likely to have no
        // slices in use.
        let last = buffers.pop_back_if(|buffer| buffer.try_reclaim(bytes));
        if let Some(buffer) = last {
            return buffer;
        }
        match buffers.pop_front() {
            Some(mut buffer) => {
                // This reuses the memory if all slices of it are gone, and allocates otherwise.
                buffer.reserve(bytes);
                buffer
            }
            None => BytesMut::with_capacity(bytes),
        }
    }

    /// Takes a buffer back. Slices of it may still be in use.
    pub(super) fn keep(&self, mut buffer: BytesMut, size: Size) {
        let mut buffers = self.0.spare(size);
        // A large one may have no capacity until its slices are gone.
        let is_good = size == Size::Large || (1..=MAX_SMALL_BYTES).contains(&buffer.capacity());
        if is_good && buffers.len() < size.spare() {
            buffer.clear();
            buffers.push_back(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_when_nothing_uses_them() {
        let scratch = Scratch::default();
        let mut buffer = scratch.buffer(Size::Small);
        buffer.extend_from_slice(b"head and body");
        let memory = buffer.as_ptr();
        let slice = buffer.split_to(4).freeze();
        scratch.keep(buffer, Size::Small);

        let other = scratch.buffer(Size::Small);
        assert_eq!(&slice[..], b"head");
        assert!(other.is_empty() && other.capacity() >= 8192 && other.as_ptr() != memory);
        scratch.keep(other, Size::Small);

        let mut buffer = scratch.buffer(Size::Small);
        let memory = buffer.as_ptr();
        buffer.extend_from_slice(b"head");
        drop(buffer.split().freeze());
        scratch.keep(buffer, Size::Small);
        assert_eq!(scratch.buffer(Size::Small).as_ptr(), memory);
    }

    #[test]
    fn spare_memory_is_bounded() {
        let scratch = Scratch::default();
        for _ in 0..100 {
            for size in [Size::Small, Size::Large] {
                scratch.keep(BytesMut::with_capacity(size.bytes()), size);
            }
            scratch.keep(BytesMut::new(), Size::Small);
            scratch.keep(BytesMut::with_capacity(64 * 1024), Size::Small);
        }
        assert!(scratch.0.small.borrow().iter().all(|buffer| buffer.capacity() <= MAX_SMALL_BYTES));
        assert_eq!(scratch.0.small.borrow().len(), Size::Small.spare());
        assert_eq!(scratch.0.large.borrow().len(), Size::Large.spare());
    }
}
