// Traps, by reason and place.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import * as format from '../format.js';
import { NO_FILTERS, answered, isFiltered, isWithoutTraffic, noMatch, noTraffic } from '../template/answer.js';
import { longText } from '../template/text.js';

/** @import {App} from '../app.js' */
/** @import {Resource} from '../resource.js' */
/** @import {Traps} from '../types.js' */

/** @param {App} app */
export function traps(app) {
  const { cursor } = app.address.parameters;
  /** @type {Resource<Traps>} */
  const answer = app.use('traps', 'traps', { ...app.filters, cursor });
  return html`<div class="head"><h1>Traps</h1></div>
    ${answered(answer, (value) =>
      value.traps.length === 0
        ? none(app)
        : html`<ul class="trap-list">${value.traps.map(
            (trap) => html`<li class="panel trap">
              <div class="trap-count"><b>${format.count(trap.count)}</b><span class="sub">${trap.count === 1 ? 'time' : 'times'}</span></div>
              <div class="trap-text">
                <p><span class="badge failed">${trap.reason}</span> <code class="place">${trap.place}</code></p>
                ${longText(trap.message)}
                <p class="sub">${trap.component} <span class="version">${trap.version}</span>${trap.tenant ? ` · ${trap.tenant}` : ''}
                  · <code title=${trap.route}>${trap.route}</code> · last <time title=${format.date(trap.last_seen)}>${format.ago(trap.last_seen, app.now)}</time>,
                  first <time title=${format.date(trap.first_seen)}>${format.ago(trap.first_seen, app.now)}</time></p>
              </div>
              <div class="actions">
                ${trap.example_trace_id ? html`<a class="button primary" href=${app.href('traces', trap.example_trace_id)}>Open an example</a>` : nothing}
                <a class="button" href=${app.href('traces', '', { component: trap.component, tenant: trap.tenant, route: trap.route, reason: trap.reason })}>All traces</a>
                <a class="button" href=${app.href('explain', '', { component: trap.component, tenant: trap.tenant, route: trap.route, outcome: 'failed' })}>Why?</a>
              </div>
            </li>`,
          )}</ul>
          ${value.next === null ? nothing : html`<p class="more"><a href=${app.with({ cursor: value.next })}>More traps</a></p>`}
          ${cursor === undefined ? nothing : html`<p class="more"><a href=${app.with({})}>From the beginning</a></p>`}`,
    )}`;
}

/** @param {App} app */
function none(app) {
  const text =
    'A guest that panics, runs out of memory, or is stopped at its deadline appears here with the reason, the place in its source, and an example.';
  if (isWithoutTraffic(app)) return noTraffic(app, undefined, text);
  if (isFiltered(app, NO_FILTERS)) return noMatch(app, 'No trap', NO_FILTERS, text);
  return html`<section class="empty"><h2>No guest has trapped</h2><p>${text}</p></section>`;
}
