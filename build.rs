//! Writes libtorch's folder into everything that is linked here, so that the binary, the tests, the examples and the
//! benches find it by themselves and nobody has to export `LD_LIBRARY_PATH`.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for name in ["LIBTORCH", "LIBTORCH_LIB"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let Some(root) = env::var_os("LIBTORCH_LIB").or_else(|| env::var_os("LIBTORCH")) else {
        panic!(
            "LIBTORCH is not set, so there is no libtorch to link with; run `make setup`, which fetches one and remembers it for cargo"
        );
    };
    let lib = PathBuf::from(root).join("lib");
    assert!(
        lib.join("libtorch_cpu.so").exists(),
        "LIBTORCH points to a folder without lib/libtorch_cpu.so (looked in {}); run `make setup`, which checks it or fetches another",
        lib.display()
    );

    println!("cargo:rustc-link-search=native={}", lib.display());
    // An old-style RPATH also serves the libraries that libtorch itself asks for, which a RUNPATH would not. The folder is an
    // argument of its own: -Wl would take it apart at a comma.
    println!("cargo:rustc-link-arg=-Wl,--disable-new-dtags,-rpath");
    println!("cargo:rustc-link-arg=-Xlinker");
    println!("cargo:rustc-link-arg={}", lib.display());
    if lib.join("libtorch_cuda.so").exists() {
        // Nothing here names a symbol of it, so the linker would drop it, and CUDA would be missing without a word.
        println!("cargo:rustc-link-arg=-Wl,--no-as-needed,-ltorch_cuda,--as-needed");
    }
}
