// The selection of a plot, which is in the address.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import * as format from '../format.js';

/** @import {App} from '../app.js' */
/** @import {Selection} from '../element/plot/spec.js' */

/**
 * Reads a selection from the address.
 * @param {App} app
 * @returns {Selection | null}
 */
export function readSelection(app) {
  const { from, to, min, max } = app.address.parameters;
  if (from === undefined || to === undefined) return null;
  const values = min !== undefined && max !== undefined ? { min: Number(min), max: Number(max) } : {};
  return { from: Number(from), to: Number(to), ...values };
}

/**
 * Returns the durations that are wanted: those of the selection, those of the filter "At least", or
 * those of both.
 * @param {App} app
 * @returns {{ min?: string | number, max?: number }}
 */
export function wantedDurations(app) {
  const { least } = app.address.parameters;
  const { min, max } = readSelection(app) ?? {};
  return { min: min === undefined ? least : Math.max(min, Number(least ?? 0)), max };
}

/**
 * Returns the function that puts a selection into the address.
 * @param {App} app
 */
export function writeSelection(app) {
  return (/** @type {Selection | null} */ selected) => {
    const { from = null, to = null, min = null, max = null } = selected ?? {};
    app.go(app.with({ from, to, min, max }), false);
  };
}

/**
 * Draws what can be done with a selection.
 * @param {App} app
 */
export function selectionBar(app) {
  const chosen = readSelection(app);
  if (!chosen) return nothing;
  const { from, to, min, max } = chosen;
  const { least, outcome = '' } = app.address.parameters;
  const durations = wantedDurations(app);
  // Durations select requests whatever their outcome.
  const hasOutcome = durations.min === undefined && ['failed', 'slow'].includes(outcome);
  return html`<div class="selection" role="region" aria-label="Selection">
    <strong>${format.clock(from)}–${format.clock(to)}</strong>
    ${min !== undefined ? html`<span>${format.duration(min)} to ${format.duration(max)}</span>` : nothing}
    <a class="button primary" href=${app.href('explain', '', { ...chosen, ...durations, outcome: hasOutcome ? outcome : null })}>Compare with normal</a>
    <a class="button" href=${app.href('traces', '', { ...chosen, least })}>Traces</a>
    <a class="button" href=${app.href('logs', '', { from, to })}>Logs</a>
    <button type="button" @click=${() => writeSelection(app)(null)}>Clear selection</button>
  </div>`;
}
