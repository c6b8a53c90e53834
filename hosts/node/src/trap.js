/**
 * Why guests end before their time, in the words of `wasm_traps_total{reason}`, which are those of the Wasmtime adapter.
 */

/**
 * What V8 says of each trap, and what jco's output makes of that.
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
 * The reason of a call that threw; nothing where that is no trap: the error of a `result`, or the end of a command.
 *
 * A guest that `node:vm` has ended, because it ran for longer than its `timeout`, ended for the reason `deadline`.
 *
 * An error that is none of WebAssembly's is `host_error`: an import threw it, and the guest did not survive that.
 *
 * @param {any} error
 * @returns {string | undefined}
 */
export function trapReason(error) {
  if (error instanceof WebAssembly.RuntimeError) {
    return REASONS.find(([said]) => said.test(error.message))?.[1] ?? 'other';
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
