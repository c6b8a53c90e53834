//! Why guests end before their time.

use std::fmt;

use wasmtime::Trap;

/// The error of a guest that ran past its deadline; see [`ObservedStore::set_deadline`](crate::ObservedStore::set_deadline).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadlineExceeded;

impl fmt::Display for DeadlineExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the guest was ended at its deadline")
    }
}

impl std::error::Error for DeadlineExceeded {}

/// The error of a guest that the host ended because the process is shutting down; give it to
/// [`ObservedStore::finish`](crate::ObservedStore::finish).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Killed;

impl fmt::Display for Killed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the guest was ended because the process is shutting down")
    }
}

impl std::error::Error for Killed {}

/// The reasons that services meet, whose series are there before the first trap, so that `rate` does not miss it.
pub(crate) const EXPECTED_REASONS: [&str; 6] =
    ["deadline", "host_error", "memory_out_of_bounds", "out_of_memory", "stack_overflow", "unreachable"];

/// The reason of a failed call, as `wasm_traps_total{reason}` shows it.
///
/// Rust's own failures show as the trap they end in: a panic or an allocator's abort is `unreachable`, infinite
/// recursion is `memory_out_of_bounds`, since Rust's stack lies in linear memory. An error that is no trap, such as one
/// that a host function returned, is `host_error`.
pub fn trap_reason(error: &wasmtime::Error) -> &'static str {
    if error.is::<DeadlineExceeded>() {
        return "deadline";
    }
    if error.is::<Killed>() {
        return "killed";
    }
    let Some(trap) = error.downcast_ref::<Trap>() else { return "host_error" };
    match trap {
        Trap::UnreachableCodeReached => "unreachable",
        Trap::StackOverflow => "stack_overflow",
        Trap::MemoryOutOfBounds => "memory_out_of_bounds",
        Trap::HeapMisaligned => "misaligned_atomic",
        Trap::TableOutOfBounds => "table_out_of_bounds",
        Trap::IndirectCallToNull => "indirect_call_to_null",
        Trap::BadSignature => "indirect_call_type_mismatch",
        Trap::IntegerOverflow => "integer_overflow",
        Trap::IntegerDivisionByZero => "integer_division_by_zero",
        Trap::BadConversionToInteger => "invalid_conversion_to_integer",
        Trap::Interrupt => "interrupted",
        Trap::OutOfFuel => "out_of_fuel",
        Trap::AllocationTooLarge => "out_of_memory",
        Trap::CannotEnterComponent => "cannot_enter_component",
        Trap::CannotLeaveComponent => "cannot_leave_component",
        _ => "other",
    }
}
