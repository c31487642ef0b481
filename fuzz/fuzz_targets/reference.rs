//! Names of images: whatever is read prints as something that reads back, and is safe as a path.
#![no_main]
#![allow(dead_code)]

#[path = "../../src/error.rs"]
mod error;
mod oci;
#[path = "../../src/image/reference.rs"]
mod reference;

use reference::Reference;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(reference) = text.parse::<Reference>() else { return };
    for form in [reference.to_string(), reference.familiar()] {
        assert_eq!(form.parse::<Reference>().expect("it was printed"), reference);
    }
    for part in reference.repository().split('/').chain([reference.registry()]).chain(reference.tag()) {
        assert!(!part.is_empty() && !part.starts_with('.') && !part.contains(['/', '\0']) && part.len() <= 255);
    }
});
