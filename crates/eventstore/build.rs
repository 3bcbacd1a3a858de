//! Builds anew when a migration is added: they are embedded into the library.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
