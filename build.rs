//! Has the linker strip the release, and put side by side what a container's start executes (benches/order).

fn main() {
    println!("cargo:rerun-if-changed=benches/start.order");
    println!("cargo:rerun-if-env-changed=RL_SYMBOLS");
    // What is optimised for size is the release, and not what the tests drive.
    if std::env::var("OPT_LEVEL").as_deref() == Ok("s") && std::env::var_os("RL_SYMBOLS").is_none() {
        println!("cargo:rustc-link-arg-bins=-Wl,--strip-all");
    }
    // The one target whose linker is LLD unless somebody has chosen another; only LLD knows the option.
    if std::env::var("TARGET").as_deref() == Ok("x86_64-unknown-linux-gnu") {
        println!("cargo:rustc-link-arg-bins=-Wl,--symbol-ordering-file={}/benches/start.order", env!("CARGO_MANIFEST_DIR"));
        println!("cargo:rustc-link-arg-bins=-Wl,--no-warn-symbol-ordering");
    }
}
