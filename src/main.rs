//! Bucardo.
fn main() {}
