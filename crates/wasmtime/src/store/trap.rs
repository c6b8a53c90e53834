//! The reasons for which guests end early.

use std::fmt;

use wasmtime::Trap;
use wasmtime::component::ResourceTableError;

/// The error of a guest that ran past its deadline; see
/// [`ObservedStore::set_deadline`](crate::ObservedStore::set_deadline).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadlineExceeded;

impl fmt::Display for DeadlineExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the guest was ended at its deadline")
    }
}

impl std::error::Error for DeadlineExceeded {}

/// The error of a guest that the host ended because the process shuts down. Pass it to
/// [`ObservedStore::finish`](crate::ObservedStore::finish).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Killed;

impl fmt::Display for Killed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the guest was ended because the process is shutting down")
    }
}

impl std::error::Error for Killed {}

/// The error of a guest that ended itself with an exit code other than 0; pass it to
/// [`ObservedStore::finish`](crate::ObservedStore::finish) in place of WASI's own error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exited(
    /// The exit code.
    pub i32,
);

impl fmt::Display for Exited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the guest exited with code {}", self.0)
    }
}

impl std::error::Error for Exited {}

/// The usual reasons of services. Their series exist before the first trap, so that `rate` includes
/// it.
pub(crate) const EXPECTED_REASONS: [&str; 6] =
    ["deadline", "host_error", "memory_out_of_bounds", "out_of_memory", "stack_overflow", "unreachable"];

/// Returns the reason why a call failed, for the label of `wasm_traps_total{reason}`.
///
/// `was_denied_memory` is that of [`StoreState`](crate::StoreState::was_denied_memory): a trap
/// after that is `out_of_memory`, since an allocator without memory ends in one.
///
/// Rust's other failures show as the trap that they end in: a panic is `unreachable`; infinite
/// recursion is `memory_out_of_bounds`, since Rust's stack lies in linear memory. An error that is
/// no trap, such as one that a host function returned, is `host_error`. A guest that keeps more of
/// WASI's resources than its store may have is `out_of_resources`.
pub fn trap_reason(error: &wasmtime::Error, was_denied_memory: bool) -> &'static str {
    if error.is::<DeadlineExceeded>() {
        return "deadline";
    }
    if error.is::<Killed>() {
        return "killed";
    }
    if error.is::<Exited>() {
        return "exit";
    }
    if matches!(error.downcast_ref(), Some(ResourceTableError::Full)) {
        return "out_of_resources";
    }
    let Some(trap) = error.downcast_ref::<Trap>() else { return "host_error" };
    match trap {
        _ if was_denied_memory => "out_of_memory",
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
