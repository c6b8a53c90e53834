// Marks: a state, an outcome, a status, a level.

import { html } from '../vendor/lit-html/lit-html.js';
import * as format from '../format.js';

/** @import {Log, Outcome, State} from '../types.js' */

/** @param {State} state */
export function stateMark(state) {
  return html`<span class="state ${state}"><i></i><span class="hidden">${state}</span></span>`;
}

/**
 * @param {Outcome} outcome
 * @param {string | null} reason
 */
export function outcomeMark(outcome, reason) {
  return html`<span class="badge ${outcome}">${reason ?? outcome}</span>`;
}

/** @param {number | null} status */
export function statusMark(status) {
  const kind = status === null || status >= 500 ? 'failed' : status >= 400 ? 'slow' : 'normal';
  return html`<span class="status ${kind}">${status ?? format.NONE}</span>`;
}

/**
 * Marks a log by its level, and a printed line by its stream.
 * @param {Log} log
 */
export function levelMark({ level, stream }) {
  return stream ? html`<span class="level printed">${stream}</span>` : html`<span class="level ${level}">${level}</span>`;
}
