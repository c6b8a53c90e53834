// The requests that are kept: the failed ones first, then the slow ones.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import * as format from '../format.js';
import { NO_FILTERS, answered, isFiltered, isWithoutTraffic, noMatch, noTraffic } from '../template/answer.js';
import { prevent } from '../template/form.js';
import { traceTable } from '../template/list.js';
import { readSelection, selectionBar, wantedDurations, writeSelection } from '../template/selection.js';
import { failedTraces, OVER_HEAT, quantileLines, requestPoints, stepTimes } from '../template/series.js';

/** @import {App} from '../app.js' */
/** @import {Resource} from '../resource.js' */
/** @import {Series, Traces} from '../types.js' */

const OUTCOMES = [
  ['', 'All'],
  ['failed', 'Failed'],
  ['slow', 'Slow'],
  ['normal', 'Normal'],
];

const ORDERS = [
  ['', 'problems first'],
  ['newest', 'newest first'],
  ['slowest', 'slowest first'],
];

/** The durations that are offered, in seconds. */
const DURATIONS = ['0.001', '0.01', '0.1', '0.5', '1', '5'];

/** The parameters of the address that filter requests, as those of an address without them. */
const ALL_REQUESTS = {
  ...NO_FILTERS,
  outcome: null,
  status: null,
  reason: null,
  least: null,
  min: null,
  max: null,
  from: null,
  to: null,
};

/** @param {App} app */
export function traces(app) {
  const { outcome, status, reason, least, order, cursor } = app.address.parameters;
  // Without a selection the list is of the range, whose beginning moves in steps so that the answer
  // stays the same.
  const from = app.address.parameters.from ?? Math.floor(app.window.from / 5) * 5;
  const to = app.address.parameters.to ?? app.end ?? undefined;
  /** @type {Resource<Traces>} */
  const answer = app.use('traces', 'traces', {
    ...app.filters,
    outcome,
    status,
    reason,
    ...wantedDurations(app),
    order,
    cursor,
    from,
    to,
    limit: 60,
  });
  /** @type {Resource<Series>} */
  const latency = app.use('traces-latency', 'series', {
    metric: 'wasm_http_request_duration_seconds',
    ...app.filters,
    range: app.range,
    end: app.end,
  });
  const pick = (/** @type {string} */ key) => (/** @type {Event} */ event) => {
    const { value } = /** @type {HTMLSelectElement} */ (event.target);
    app.go(app.with({ [key]: value || null }));
  };
  const failed = failedTraces(app, 'traces-failed');
  const { from: start, to: end } = app.window;
  return html`
    <div class="head"><h1>Traces</h1>
      <form class="filters inline" aria-label="Filters of traces" @submit=${prevent}>
        <span class="segments" role="group" aria-label="Outcome">${OUTCOMES.map(
          ([value = '', name]) =>
            html`<a href=${app.with({ outcome: value || null })} aria-current=${(outcome ?? '') === value ? 'true' : 'false'}>${name}</a>`,
        )}</span>
        ${select(
          'Status',
          status,
          [
            ['', 'all'],
            ['5xx', '5xx'],
            ['4xx', '4xx'],
            ['2xx', '2xx'],
          ],
          pick('status'),
        )}
        ${select('At least', least, [['', 'any duration'], ...DURATIONS.map((value) => [value, format.duration(Number(value))])], pick('least'))}
        ${select('Order', order, ORDERS, pick('order'))}
      </form>
      ${
        least !== undefined && readSelection(app) === null
          ? html`<a class="button" href=${app.href('explain', '', { from: Math.floor(start), to: Math.ceil(end), min: least })}>Compare with normal</a>`
          : nothing
      }
    </div>
    ${reason ? html`<p class="chip"><span class="sub">trap</span> ${reason} <a class="clear" href=${app.with({ reason: null })}>Remove<span class="hidden"> the filter by trap</span></a></p>` : nothing}
    ${selectionBar(app)}
    <section class="panel"><h2>Latency <span class="sub">select an area to compare it with normal requests</span></h2>
      ${answered(latency, (series) =>
        series.histogram
          ? html`<wm-plot id="heatmap" .spec=${{
              source: series,
              key: 'traces-heat',
              title: 'Latency, heatmap',
              times: stepTimes(series),
              lines: quantileLines(series, OVER_HEAT),
              format: format.duration,
              window: [start, end],
              points: requestPoints(app, series, failed),
              selection: readSelection(app),
              select: writeSelection(app),
              selectsValues: true,
              height: 190,
              heat: { bounds: series.histogram.bounds, cells: series.histogram.buckets },
            }}></wm-plot>`
          : nothing,
      )}
    </section>
    ${answered(answer, (value) =>
      value.traces.length === 0
        ? none(app)
        : html`${traceTable(app, value.traces)}
            ${value.next === null ? nothing : html`<p class="more"><a href=${app.with({ cursor: value.next })}>More requests</a></p>`}
            ${cursor === undefined ? nothing : html`<p class="more"><a href=${app.with({})}>From the beginning</a></p>`}`,
    )}
  `;
}

/** @param {App} app */
function none(app) {
  if (isWithoutTraffic(app)) return noTraffic(app, undefined, 'Requests appear here as they end.');
  if (isFiltered(app, ALL_REQUESTS))
    return noMatch(app, 'No request', ALL_REQUESTS, 'Requests appear here as they end. Choose a longer range.');
  return html`<section class="empty small"><h2>No request in this range</h2>
    <p>Requests appear here as they end. Choose a longer range, or send one.</p></section>`;
}

/**
 * @param {string} label
 * @param {string | undefined} chosen
 * @param {string[][]} options
 * @param {(event: Event) => void} change
 */
function select(label, chosen = '', options, change) {
  const all = options.some(([value]) => value === chosen)
    ? options
    : [...options, [chosen, label === 'At least' ? format.duration(Number(chosen)) : chosen]];
  return html`<label class="choice"><span>${label}</span><select @change=${change} class=${chosen ? 'is-set' : ''}>
    ${all.map(([value = '', name]) => html`<option value=${value} .selected=${value === chosen}>${name}</option>`)}
  </select></label>`;
}
