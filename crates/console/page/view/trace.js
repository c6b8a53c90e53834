// One request: its place among the others, its spans with logs and events in place, the trap, and
// where its time went.

import { html, nothing, svg } from '../vendor/lit-html/lit-html.js';
import * as format from '../format.js';
import { answered } from '../template/answer.js';
import { levelMark, outcomeMark, statusMark } from '../template/mark.js';
import { fieldList, longText } from '../template/text.js';
import { styled } from '../style.js';

/** @import {App} from '../app.js' */
/** @import {Resource} from '../resource.js' */
/** @import {Distribution, Log, Span, Trace} from '../types.js' */

/**
 * @typedef {object} Node
 * @property {number} offset
 * @property {number} depth
 * @property {Span} [span]
 * @property {Log} [log]
 * @property {Span['events'][number]} [event]
 * @property {Trace['trap']} [trap]
 */

/** The parts of the critical path that are listed. */
const PARTS = 6;

/**
 * @param {App} app
 * @param {string} id
 */
export function trace(app, id) {
  /** @type {Resource<Trace>} */
  const answer = app.use(`trace-${id}`, `traces/${encodeURIComponent(id)}`, {}, false);
  return html`<p class="crumbs"><a href=${app.href('traces')}>Traces</a></p>
    ${
      answer.status === 404
        ? html`<section class="empty"><h1>This trace is not kept any more</h1>
          <p>Failed and slow requests of each route are kept longest. <a href=${app.href('traces')}>Show those that are kept</a>.</p></section>`
        : answered(answer, (value) => whole(app, value))
    }`;
}

/**
 * @param {App} app
 * @param {Trace} trace
 */
function whole(app, trace) {
  const filters = { component: trace.component, tenant: trace.tenant, route: trace.route };
  const total = Math.max(
    trace.duration_seconds,
    ...trace.spans.map((span) => span.offset_seconds + span.duration_seconds),
    1e-9,
  );
  return html`
    <div class="head"><h1 title=${trace.name}>${trace.name}</h1> ${outcomeMark(trace.outcome, trace.reason)} ${statusMark(trace.status)}
      <strong class="duration">${format.duration(trace.duration_seconds)}</strong></div>
    <p class="sub facts"><time title=${format.date(trace.start)}>${format.precise(trace.start)}</time>
      <span>${trace.component} <span class="version">${trace.version}</span></span>
      ${trace.tenant ? html`<span>tenant ${trace.tenant}</span>` : nothing}
      <span>trace <code>${trace.trace_id}</code></span></p>
    ${
      trace.trap
        ? html`<section class="trap-box" aria-label="Trap"><p><span class="badge failed">${trace.trap.reason}</span>
          after ${format.duration(trace.trap.offset_seconds)}</p>${longText(trace.trap.text)}</section>`
        : trace.error
          ? html`<section class="trap-box" aria-label="Error">${longText(trace.error)}</section>`
          : nothing
    }
    <p class="actions">
      <a class="button primary" href=${app.href('explain', '', { ...filters, outcome: trace.outcome === 'normal' ? null : trace.outcome })}>Compare with normal</a>
      <a class="button" href=${app.href('logs', '', { trace: trace.trace_id })}>Its logs</a>
      <a class="button" href=${app.href('traces', '', filters)}>Other requests of <code>${trace.route}</code></a>
    </p>
    <section class="panel" aria-labelledby="spans"><h2 id="spans">Spans <span class="sub">the critical path is marked</span></h2>
      ${waterfall(app, trace, total)}
      ${
        trace.cut.spans + trace.cut.logs > 0
          ? html`<p class="sub warn">${format.count(trace.cut.spans)} spans and ${format.count(trace.cut.logs)} logs are left out: the trace is too long.</p>`
          : nothing
      }
    </section>
    <div class="columns">
      <section class="panel"><h2>Among the requests of <code>${trace.route}</code></h2>${distribution(trace.distribution)}</section>
      <section class="panel"><h2>Where the time went <span class="sub">on the critical path</span></h2>${path(trace)}</section>
    </div>
    ${trace.services.length > 0 ? html`<section class="panel"><h2>Calls between services</h2>${services(trace)}</section>` : nothing}
  `;
}

/**
 * Returns the rows of the waterfall: logs, events and the trap stand where they happened.
 * @param {Trace} trace
 * @returns {Node[]}
 */
function rows(trace) {
  const known = new Set(trace.spans.map((span) => span.span_id));
  const first = trace.spans[0]?.span_id ?? '';
  /** @type {Map<string, Node[]>} */
  const children = new Map();
  const add = (/** @type {string | null} */ parent, /** @type {Node} */ node) => {
    const key = parent !== null && known.has(parent) ? parent : first;
    const list = children.get(key) ?? [];
    list.push(node);
    children.set(key, list);
  };
  /** @type {Node[]} */
  const roots = [];
  for (const span of trace.spans) {
    const node = { offset: span.offset_seconds, depth: 0, span };
    if (span.parent_id !== null && known.has(span.parent_id) && span.parent_id !== span.span_id)
      add(span.parent_id, node);
    else roots.push(node);
    for (const event of span.events) add(span.span_id, { offset: event.offset_seconds, depth: 0, event });
  }
  for (const log of trace.logs) add(log.span_id, { offset: log.offset_seconds ?? 0, depth: 0, log });
  if (trace.trap) add(trace.trap.span_id, { offset: trace.trap.offset_seconds, depth: 0, trap: trace.trap });
  /** @type {Node[]} */
  const found = [];
  const walk = (/** @type {Node[]} */ nodes, /** @type {number} */ depth) => {
    // The trap is the last that happened, whatever has the same time.
    for (const node of nodes.sort(
      (left, right) => left.offset - right.offset || Number(!!left.trap) - Number(!!right.trap),
    )) {
      found.push({ ...node, depth });
      if (node.span) {
        const below = children.get(node.span.span_id) ?? [];
        children.delete(node.span.span_id);
        walk(below, depth + 1);
      }
    }
  };
  walk(roots, 0);
  return found;
}

/**
 * @param {App} app
 * @param {Trace} trace
 * @param {number} total
 */
function waterfall(app, trace, total) {
  if (trace.spans.length === 0) return html`<p class="sub">No span of this trace is kept.</p>`;
  const at = (/** @type {number} */ offset) => {
    const share = Math.max(0, Math.min(total, offset)) / total;
    return `${(share * 100).toFixed(3)}%`;
  };
  const open = app.address.parameters.span;
  return html`<div class="waterfall" @keydown=${walkRows}>
    <div class="w-row w-head" aria-hidden="true"><span></span><span class="track axis">${[0, 0.25, 0.5, 0.75, 1].map(
      (share) => html`<span ${styled({ '--at': `${share * 100}%` })}>${format.duration(share * total)}</span>`,
    )}</span></div>
    ${rows(trace).map(({ span, log, event, trap, offset, depth }) => {
      const indent = styled({ '--depth': String(Math.min(depth, 12)) });
      const point = (/** @type {string} */ kind) =>
        html`<span class="track"><i class="dot ${kind}" ${styled({ '--at': at(offset) })}></i></span>`;
      if (span) {
        const isOpen = span.span_id === open;
        const pieces = trace.critical_path.filter((piece) => piece.span_id === span.span_id);
        return html`<a class="w-row w-span ${span.status} ${span.is_critical ? 'critical' : ''}" href=${app.with({ span: isOpen ? null : span.span_id })}
            aria-expanded=${isOpen ? 'true' : 'false'}>
            <span class="w-name" ${indent}><span class="w-title">${span.name}</span>
              <span class="sub">${span.component === trace.component ? span.kind : span.component} · ${format.duration(span.duration_seconds)}${
                span.is_critical ? html`<span class="hidden">, on the critical path</span>` : nothing
              }</span></span>
            <span class="track"><i class="span-bar" ${styled({ '--at': at(span.offset_seconds), '--length': at(span.duration_seconds) })}></i>${pieces.map(
              (piece) =>
                html`<i class="critical-bar" ${styled({ '--at': at(piece.offset_seconds), '--length': at(piece.duration_seconds) })}></i>`,
            )}</span>
          </a>
          ${isOpen ? detail(app, span) : nothing}`;
      }
      if (log) {
        return html`<a class="w-row w-log" href=${app.href('logs', app.recordId(log.id), { trace: trace.trace_id })}>
          <span class="w-name" ${indent}>${levelMark(log)} <span class="message">${log.message}</span></span>${point(log.level)}</a>`;
      }
      if (event) {
        return html`<div class="w-row w-event"><span class="w-name" ${indent}><span class="badge plain">event</span>
          <span class="message">${event.name}${event.attributes.map(([key, value]) => html` <span class="field"><span class="key">${key}=</span>${String(value)}</span>`)}</span></span>${point('event')}</div>`;
      }
      if (trap) {
        return html`<div class="w-row w-trap"><span class="w-name" ${indent}><span class="badge failed">${trap.reason}</span>
          <span class="message">${trap.text}</span></span>${point('trap')}</div>`;
      }
      return nothing;
    })}
  </div>`;
}

/**
 * Moves the focus between the rows.
 * @param {KeyboardEvent} event
 */
function walkRows(event) {
  if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return;
  const links = [.../** @type {HTMLElement} */ (event.currentTarget).querySelectorAll('a.w-row')];
  const index = links.indexOf(/** @type {Element} */ (document.activeElement));
  const next = links[index + (event.key === 'ArrowDown' ? 1 : -1)];
  if (index >= 0 && next instanceof HTMLElement) {
    event.preventDefault();
    next.focus();
  }
}

/**
 * @param {App} app
 * @param {Span} span
 */
function detail(app, span) {
  return html`<div class="record">
    ${span.status_text ? html`${longText(span.status_text)}` : nothing}
    <dl class="fields">
      <div><dt>Begins</dt><dd>${format.duration(span.offset_seconds)}</dd></div>
      <div><dt>Takes</dt><dd>${format.duration(span.duration_seconds)}, of which ${format.duration(span.self_seconds)} on the critical path</dd></div>
      <div><dt>Status</dt><dd>${span.status}</dd></div>
      <div><dt>Component</dt><dd>${span.component} <span class="sub">${span.version}</span></dd></div>
      ${span.target ? html`<div><dt>Target</dt><dd><code>${span.target}</code></dd></div>` : nothing}
      <div><dt>Span</dt><dd><code>${span.span_id}</code>${span.is_parent_remote ? html` <span class="sub">its parent is in another process</span>` : nothing}</dd></div>
    </dl>
    ${span.attributes.length > 0 ? html`<h3>Attributes</h3>${fieldList(span.attributes)}` : nothing}
    ${span.events.map((event) => html`<h3>Event ${event.name} <span class="sub">after ${format.duration(event.offset_seconds)}</span></h3>${fieldList(event.attributes)}`)}
    ${span.links.length > 0 ? html`<h3>Links</h3><ul>${span.links.map((link) => html`<li><a href=${app.href('traces', link.trace_id)}><code>${link.trace_id}</code></a></li>`)}</ul>` : nothing}
    ${span.dropped > 0 ? html`<p class="sub warn">${format.count(span.dropped)} attributes, events or links were dropped.</p>` : nothing}
  </div>`;
}

/** @param {Distribution | null} distribution */
function distribution(distribution) {
  if (!distribution || distribution.requests === 0)
    return html`<p class="sub">No other request of the route is known.</p>`;
  const { bounds, counts, bucket, percentile, requests } = distribution;
  const used = counts.map((count, index) => (count > 0 || index === bucket ? index : -1)).filter((index) => index >= 0);
  const first = Math.max(0, (used[0] ?? 0) - 1);
  const last = Math.min(counts.length - 1, (used.at(-1) ?? 0) + 1);
  const shown = counts.slice(first, last + 1);
  const greatest = Math.max(...shown, 1);
  const width = 320 / shown.length;
  const low = bounds[bucket - 1] ?? 0;
  const high = bounds[bucket];
  return html`
    <p><strong>${format.percent(percentile)}</strong> of ${format.count(requests)} requests of the last hour were not slower.</p>
    <svg class="distribution" viewBox="0 0 320 84" role="img" aria-label="Durations of the route; this request took between ${format.duration(low)} and ${high === undefined ? 'more' : format.duration(high)}">
      ${shown.map((count, index) => {
        // The root shows single requests beside thousands.
        const height = count === 0 ? 0 : Math.max(2, 64 * Math.sqrt(count / greatest));
        const isThis = index + first === bucket;
        return svg`<rect class=${isThis ? 'this' : ''} x=${(index * width + 1).toFixed(1)} y=${(66 - height).toFixed(1)} width=${(width - 2).toFixed(1)} height=${height.toFixed(1)}></rect>
          ${isThis ? svg`<path class="mark" d=${`M${(index * width + width / 2).toFixed(1)} 69l5 7h-10z`}></path>` : nothing}`;
      })}
      <line x1="0" x2="320" y1="66.5" y2="66.5"></line>
    </svg>
    <p class="sub ends"><span>${format.duration(bounds[first - 1] ?? 0)}</span><span>P50 ${format.duration(distribution.p50)}, P95 ${format.duration(distribution.p95)}, P99 ${format.duration(distribution.p99)}</span>
      <span>${bounds[last] === undefined ? `> ${format.duration(bounds.at(-1))}` : format.duration(bounds[last])}</span></p>
  `;
}

/** @param {Trace} trace */
function path(trace) {
  const parts = trace.spans
    .filter((span) => span.is_critical && span.self_seconds > 0)
    .sort((left, right) => right.self_seconds - left.self_seconds);
  const total = parts.reduce((sum, span) => sum + span.self_seconds, 0);
  if (total === 0) return html`<p class="sub">The request took no measurable time.</p>`;
  return html`<div class="table-frame"><table><thead><tr><th>Span</th><th class="number">Time</th><th class="number">Share</th></tr></thead>
    <tbody>${parts.slice(0, PARTS).map(
      (span) => html`<tr><th scope="row">${span.name} <span class="sub">${span.component}</span></th>
        <td class="number" data-label="Time">${format.duration(span.self_seconds)}</td>
        <td class="number meter-cell" data-label="Share">${format.percent(span.self_seconds / total)}
          <progress class="meter normal" max="1" value=${span.self_seconds / total} aria-hidden="true"></progress></td></tr>`,
    )}</tbody></table></div>`;
}

/** @param {Trace} trace */
function services(trace) {
  return html`<div class="table-frame"><table><thead><tr><th>From</th><th>To</th><th class="number">Calls</th><th class="number">Errors</th><th class="number">Time</th></tr></thead>
    <tbody>${trace.services.map(
      (
        call,
      ) => html`<tr><td data-label="From">${call.from}</td><td data-label="To">${call.to}</td><td class="number" data-label="Calls">${format.count(call.calls)}</td>
        <td class="number ${call.errors > 0 ? 'bad' : ''}" data-label="Errors">${format.count(call.errors)}</td>
        <td class="number" data-label="Time">${format.duration(call.seconds)}</td></tr>`,
    )}</tbody></table></div>`;
}
