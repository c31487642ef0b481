//! --network, with the options of pasta and slirp4netns: whatever is read prints as something that reads back, and what a driver would be
//! started with takes neither the process nor the namespace out of our hands.
#![no_main]
#![allow(dead_code)]

#[path = "../../src/network/mode.rs"]
mod mode;

use mode::NetworkMode;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(mode) = text.parse::<NetworkMode>() else { return };
    assert_eq!(mode.to_string().parse::<NetworkMode>().expect("it was printed"), mode);
    match &mode {
        NetworkMode::Pasta(pasta) => {
            let is_ours = |argument: &String| argument == "--netns" || argument.starts_with("--netns=");
            assert!(!pasta.arguments.iter().any(is_ours));
        }
        NetworkMode::Slirp(slirp) => assert!(u32::from(slirp.container()) > u32::from(slirp.network)),
        _ => {}
    }
});
