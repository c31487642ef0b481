//! --egress-allow: whatever is read prints as something that reads back, and decides in bounded time.
#![no_main]
#![allow(dead_code)]

#[path = "../../src/network/egress.rs"]
mod egress;
#[path = "../../src/error.rs"]
mod error;
#[path = "../../src/network/subnet.rs"]
mod subnet;

use egress::{Egress, Rule};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(rule) = text.parse::<Rule>() else { return };
    assert_eq!(rule.to_string().parse::<Rule>().expect("it was printed"), rule);
    let egress = Egress::new(Some(true), &[rule], false, &[]).expect("no contradiction").expect("a rule");
    assert!(!egress.admits([127, 0, 0, 1].into(), Some(1), ["?"].into_iter()) || !egress.admits_name("?"));
});
