// "Why are these requests slow or failing?": what the selected requests have and normal ones have
// not.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import * as format from '../format.js';
import { NO_FILTERS, answered, isFiltered, isWithoutTraffic, noTraffic } from '../template/answer.js';
import { changeList, logLines, traceTable } from '../template/list.js';
import { prose } from '../template/text.js';

/** @import {App} from '../app.js' */
/** @import {Resource} from '../resource.js' */
/** @import {Attribute, Cause, Explanation} from '../types.js' */

/** The choices of requests; of a time that was selected, also all of them. */
const OUTCOMES = [
  ['failed,slow', 'Failed and slow'],
  ['failed', 'Failed'],
  ['slow', 'Slow'],
];
const OUTCOMES_OF_TIME = [['all', 'All'], ...OUTCOMES];

/** The kinds of attributes whose text is code. */
const CODE = ['attribute', 'label', 'metric'];

/** @param {App} app */
export function explain(app) {
  const { from, to, min, max, outcome, alert, since } = app.address.parameters;
  const isSelection = from !== undefined && to !== undefined;
  // Durations select requests whatever their outcome.
  const hasDurations = min !== undefined || max !== undefined;
  const usual = isSelection ? 'all' : 'failed,slow';
  const parameters =
    alert !== undefined
      ? { ...app.filters, alert, min, since }
      : isSelection
        ? { ...app.filters, from, to, min, max, outcome: hasDurations ? undefined : outcome }
        : app.end === null
          ? { ...app.filters, since: since ?? app.range, outcome }
          : { ...app.filters, from: app.end - Number(since ?? app.range), to: app.end, outcome: outcome ?? 'failed,slow' };
  /** @type {Resource<Explanation>} */
  const answer = app.use('explain', 'explain', parameters, !isSelection);
  return html`
    <div class="head"><h1>Compare with normal</h1>
      ${
        (isSelection && hasDurations) || alert !== undefined
          ? nothing
          : html`<span class="segments" role="group" aria-label="Requests">${(isSelection ? OUTCOMES_OF_TIME : OUTCOMES).map(
              ([value = '', name]) =>
                html`<a href=${app.with({ outcome: value === usual ? null : value })} aria-current=${(outcome ?? usual) === value ? 'true' : 'false'}>${name}</a>`,
            )}</span>`
      }
    </div>
    ${answered(
      answer,
      (value) => html`
      <p class="lead">${prose(value.selection.text)}</p>
      <section class="panel verdict ${value.verdict}" aria-live="polite">
        <p class="answer">${prose(value.text)}</p>
        <p class="sub">${format.count(value.selected.requests)} of ${format.count(value.selected.of)} selected requests, compared with
          ${format.count(value.normal.requests)} of ${format.count(value.normal.of)} normal ones; family-wise error ${format.percent(value.error_level)}</p>
        ${isTooFew(value) && !isWithoutTraffic(app) ? remedy(app) : nothing}
      </section>
      ${isTooFew(value) && isWithoutTraffic(app) ? noTraffic(app) : nothing}
      ${
        value.causes.length > 0
          ? html`<section aria-labelledby="causes"><h2 id="causes">Causes, the strongest first</h2>
        <ol class="causes">${value.causes.map((cause) => html`<li class="panel cause">${one(cause, 'cause')}</li>`)}</ol></section>`
          : nothing
      }
      ${
        value.signs.length > 0
          ? html`<section aria-labelledby="signs"><h2 id="signs">Signs of the failure <span class="sub">they report it and are no causes</span></h2>
        <ul class="signs">${value.signs.map((sign) => html`<li class="panel cause">${one(sign, 'sign')}</li>`)}</ul></section>`
          : nothing
      }
      ${value.examples.length > 0 ? html`<section aria-labelledby="examples"><h2 id="examples">Examples</h2>${traceTable(app, value.examples)}</section>` : nothing}
      ${value.logs.length > 0 ? html`<section class="panel" aria-labelledby="explain-logs"><h2 id="explain-logs">Logs of the selected requests</h2>${logLines(app, value.logs)}</section>` : nothing}
      <section class="panel"><h2>What changed lately</h2>${changeList(value.changes, app.now)}</section>
    `,
    )}
  `;
}

/** @param {Explanation} value */
const isTooFew = ({ verdict }) => verdict === 'too_few' || verdict === 'no_requests';

/** The parameters of the address that filter requests, as those of an address without them. */
const ALL_REQUESTS = { ...NO_FILTERS, outcome: null };

/** @param {App} app */
function remedy(app) {
  return isFiltered(app, ALL_REQUESTS)
    ? html`<p>Choose a longer range, or <a href=${app.with(ALL_REQUESTS)}>clear the filters</a>.</p>`
    : html`<p>Choose a longer range, or send requests.</p>`;
}

/**
 * @param {Cause} cause
 * @param {'cause' | 'sign'} word
 */
function one(cause, word) {
  const { selected, normal, attributes, together_with: others, follows } = cause;
  return html`
    <div class="cause-text">
      ${listed(attributes, cause.is_absence)}
      ${sameRequests(attributes, word)}
      ${others.length > 0 ? html`<p class="sub">Together with</p>${listed(others)}${sameRequests(others, word)}` : nothing}
      ${follows.length > 0 ? html`<p class="sub">Follows from it</p>${listed(follows)}` : nothing}
    </div>
    <div>
      <dl class="shares">${share('Selected', 'failed', selected)}${share('Normal', 'normal', normal)}</dl>
      <p class="sub">${ratio(cause)}p ${cause.p_value < 1e-12 ? '< 1e−12' : `= ${cause.p_value.toPrecision(2)}`}</p>
    </div>
  `;
}

/**
 * @param {string} name
 * @param {string} kind
 * @param {Cause['selected']} group
 */
function share(name, kind, group) {
  return html`<div><dt>${name}</dt><dd><progress class="meter ${kind}" max="1" value=${group.share} aria-hidden="true"></progress>
    <b>${format.percent(group.share)}</b> <span class="sub">${format.count(group.with)}</span></dd></div>`;
}

/**
 * Returns how much more frequent a cause is among the selected requests.
 * @param {Cause} cause
 */
function ratio({ normal, ratio }) {
  // The estimate for a group without it says more about the size of that group.
  if (normal.with === 0) return 'in no normal request, ';
  return typeof ratio === 'number' ? `${format.number(ratio)} times as often, ` : '';
}

/**
 * @param {Attribute[]} attributes
 * @param {boolean} [isAbsence] `true` if the requests lack them.
 */
function listed(attributes, isAbsence = false) {
  return html`<ul class="attributes">${attributes.map(
    (attribute) =>
      html`<li><span class="badge plain">${attribute.kind.replace('_', ' ')}</span> <span class="clamped">${
        isAbsence ? html`<b>without</b> ` : nothing
      }${CODE.includes(attribute.kind) ? html`<code>${attribute.text}</code>` : prose(attribute.text)}</span></li>`,
  )}</ul>`;
}

/**
 * @param {Attribute[]} attributes
 * @param {'cause' | 'sign'} word
 */
function sameRequests(attributes, word) {
  if (attributes.length < 2) return nothing;
  return html`<p class="sub">These occur in the same requests, or nearly, so they count as one ${word}.</p>`;
}
