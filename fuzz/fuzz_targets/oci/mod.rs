//! The documents of images, as the targets need them.

#[path = "../../../src/oci/digest.rs"]
pub mod digest;
#[path = "../../../src/oci/image.rs"]
pub mod image;
