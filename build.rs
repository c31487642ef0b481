//! Has the linker strip the release, and put side by side what a container's start executes (benches/order). Tells whether the program may
//! have a start of its own.

fn main() {
    println!("cargo:rerun-if-changed=benches/start.order");
    println!("cargo:rerun-if-env-changed=RL_SYMBOLS");
    // What is optimised for size is the release, and not what the tests drive.
    if std::env::var("OPT_LEVEL").as_deref() == Ok("s") && std::env::var_os("RL_SYMBOLS").is_none() {
        println!("cargo:rustc-link-arg-bins=-Wl,--strip-all");
    }
    println!("cargo:rustc-check-cfg=cfg(own_start)");
    if std::env::var("TARGET").as_deref() != Ok("x86_64-unknown-linux-gnu") {
        return;
    }
    // The one target whose linker is LLD unless somebody has chosen another; only LLD knows the option.
    println!("cargo:rustc-link-arg-bins=-Wl,--symbol-ordering-file={}/benches/start.order", env!("CARGO_MANIFEST_DIR"));
    println!("cargo:rustc-link-arg-bins=-Wl,--no-warn-symbol-ordering");
    if own_start() {
        println!("cargo:rustc-cfg=own_start");
    }
}

/// src/sys/start.rs takes the place of a part of glibc, and is made for one version of it, in a static program: that version has to be the
/// one that is here, and linked as .cargo/config.toml says.
fn own_start() -> bool {
    let set = |name| std::env::var(name).unwrap_or_default();
    let version = std::process::Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    version.is_ok_and(|version| version.stdout.trim_ascii() == b"glibc 2.36")
        && set("HOST") == set("TARGET")
        && set("CARGO_CFG_TARGET_FEATURE").contains("crt-static")
        && set("CARGO_ENCODED_RUSTFLAGS").contains("relocation-model=static")
}
