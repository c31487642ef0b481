//! The words of the Open Container Initiative: digests, image-spec and runtime-spec types. Parse and print only.

pub mod digest;
pub mod image;
pub mod runtime;
pub mod time;
