//! --network, with the options of pasta and slirp4netns: whatever is read prints as something that reads back, and what a driver would be
//! started with takes neither the process nor the namespace out of our hands.
#![no_main]
#![allow(dead_code)]

#[path = "../../src/network/mode.rs"]
mod mode;

/// As src/network has it, whose networks need the system: the names that a network can have, without the reserved words.
mod bridge {
    pub mod store {
        pub fn check_name(name: &str) -> anyhow::Result<()> {
            let is_char = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            anyhow::ensure!(
                name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(is_char) && name.len() <= 128
            );
            Ok(())
        }
    }
}

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
