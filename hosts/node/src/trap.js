/**
 * The reasons of traps, `wasm_traps_total{reason}`, which are the Wasmtime adapter's.
 */

/**
 * V8's message of each trap, as jco's output passes it on, and the reason for it.
 *
 * Source: V8, `src/common/message-template.h`, `kTrap…`; jco 1.35, the table in its output.
 *
 * @type {[RegExp, string][]}
 */
const REASONS = [
  [/\bunreachable\b/, 'unreachable'],
  [/memory access out of bounds|out of bounds memory access|(data|element) segment out of bounds/, 'memory_out_of_bounds'],
  [/unaligned access/, 'misaligned_atomic'],
  [/table (index is|access) out of bounds|out of bounds table access/, 'table_out_of_bounds'],
  [/null function|function signature mismatch|indirect call type mismatch/, 'indirect_call_type_mismatch'],
  [/(divide|remainder) by zero/, 'integer_division_by_zero'],
  [/divide result unrepresentable|integer overflow/, 'integer_overflow'],
  [/float unrepresentable|invalid conversion to integer/, 'invalid_conversion_to_integer'],
  [/call stack exhausted/, 'stack_overflow'],
  [/cannot enter component/, 'cannot_enter_component'],
  [/cannot leave component/, 'cannot_leave_component'],
];

/**
 * Returns the reason of a trap, or `undefined` for an error that is no trap: the error of a
 * `result`, or the exit of a command.
 *
 * The reason is `deadline` for a guest that `node:vm` has ended after its `timeout`. It is
 * `host_error` for an error that is not WebAssembly's: an import threw it, which ended the guest.
 *
 * @param {any} error
 * @returns {string | undefined}
 */
export function trapReason(error) {
  if (error instanceof WebAssembly.RuntimeError) {
    return REASONS.find(([message]) => message.test(error.message))?.[1] ?? 'other';
  }
  if (error instanceof RangeError && error.message.startsWith('Maximum call stack size')) {
    return 'stack_overflow';
  }
  if (error?.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') {
    return 'deadline';
  }
  // jco's `ComponentError`, and the `ComponentExit` of its WASI.
  const isValue = error instanceof Error && ('payload' in error || 'exitError' in error);
  return isValue ? undefined : 'host_error';
}
