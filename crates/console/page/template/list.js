// Lists that several views have: requests, logs, changes.

import { html } from '../vendor/lit-html/lit-html.js';
import * as format from '../format.js';
import { levelMark, outcomeMark, statusMark } from './mark.js';
import { prose } from './text.js';

/** @import {App} from '../app.js' */
/** @import {Change, ListedTrace, Log} from '../types.js' */

/**
 * Draws requests as a table.
 * @param {App} app
 * @param {ListedTrace[]} traces
 */
export function traceTable(app, traces) {
  const slowest = Math.max(...traces.map((trace) => trace.duration_seconds), 1e-9);
  return html`<div class="table-frame"><table class="traces">
    <thead><tr><th>Time</th><th>Outcome</th><th>Request</th><th class="number">Status</th><th class="number">Duration</th><th>Detail</th></tr></thead>
    <tbody>${traces.map(
      (trace) => html`<tr>
        <td data-label="Time" class="nowrap">${format.precise(trace.start)}</td>
        <td data-label="Outcome">${outcomeMark(trace.outcome, trace.reason)}</td>
        <td data-label="Request" class="wide"><a href=${app.href('traces', trace.trace_id)}>${trace.name}</a>
          <span class="sub">${trace.component}${trace.tenant ? ` · ${trace.tenant}` : ''}</span></td>
        <td data-label="Status" class="number">${statusMark(trace.status)}</td>
        <td data-label="Duration" class="number meter-cell">${format.duration(trace.duration_seconds)}
          <progress class="meter ${trace.outcome}" max=${slowest} value=${trace.duration_seconds} aria-hidden="true"></progress></td>
        <td data-label="Detail" class="wide detail">${
          trace.error
            ? html`<span class="clamped">${trace.error}</span>`
            : html`<span class="sub">${trace.spans} ${trace.spans === 1 ? 'span' : 'spans'}, ${trace.logs} ${trace.logs === 1 ? 'log' : 'logs'}${
                trace.services.length > 1 ? `, ${trace.services.length} services` : ''
              }</span>`
        }</td>
      </tr>`,
    )}</tbody>
  </table></div>`;
}

/**
 * Draws logs as lines, each of which opens its record.
 * @param {App} app
 * @param {Log[]} logs
 */
export function logLines(app, logs) {
  return html`<ul class="log-lines">${logs.map((log) => html`<li>${logLine(app, log)}</li>`)}</ul>`;
}

/**
 * @param {App} app
 * @param {Log} log
 * @param {string} [open] The address, if it is not the record's.
 */
export function logLine(app, log, open) {
  return html`<a class="log-line" href=${open ?? app.href('logs', app.recordId(log.id))}>
    <time>${format.precise(log.time)}</time>${levelMark(log)}<span class="who">${log.component}</span>
    <span class="message">${log.message}${log.fields.map(
      ([key, value]) =>
        html` <span class="field"><span class="key">${key}=</span>${value === null ? 'null' : String(value)}</span>`,
    )}</span>
  </a>`;
}

/**
 * Draws what changed lately.
 * @param {Change[]} changes
 * @param {number} now
 */
export function changeList(changes, now) {
  if (changes.length === 0) return html`<p class="sub">Nothing has changed.</p>`;
  return html`<ul class="changes">${changes.map(
    (change) => html`<li><time title=${format.date(change.time)}>${format.ago(change.time, now)}</time>
      <span class="badge plain">${change.kind}</span><span>${prose(change.text)}</span></li>`,
  )}</ul>`;
}
