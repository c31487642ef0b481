//! Has the linker put side by side what a container's start executes (benches/order).

fn main() {
    println!("cargo:rerun-if-changed=benches/start.order");
    // The one target whose linker is LLD unless somebody has chosen another; only LLD knows the option.
    if std::env::var("TARGET").as_deref() == Ok("x86_64-unknown-linux-gnu") {
        println!("cargo:rustc-link-arg-bins=-Wl,--symbol-ordering-file={}/benches/start.order", env!("CARGO_MANIFEST_DIR"));
        println!("cargo:rustc-link-arg-bins=-Wl,--no-warn-symbol-ordering");
    }
}
