//! The commonest mistakes in declarations are compile errors that say what to write.

#[test]
fn mistakes_are_readable_compile_errors() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
