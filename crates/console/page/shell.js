// The frame around every view: views, time, filters, the state of the connection, and what the
// console has dropped.

import { html, nothing } from './vendor/lit-html/lit-html.js';
import { RANGES } from './app.js';
import * as format from './format.js';
import { prevent } from './template/form.js';

/** @import {App} from './app.js' */
/** @import {Overview} from './types.js' */

/** The views in the order of the navigation. */
const VIEWS = [
  ['overview', 'Overview'],
  ['metrics', 'Metrics'],
  ['logs', 'Logs'],
  ['traces', 'Traces'],
  ['traps', 'Traps'],
];

/** The time after which names of components are requested again, in steps of the stream. */
const NAMES_SECONDS = 60;

/**
 * @param {App} app
 * @param {unknown} content
 */
export function shell(app, content) {
  return html`
    <a class="skip" href="#main" @click=${skip}>Skip to the view</a>
    <header class="bar">
      <a class="brand" href=${app.href('overview')}><img src="page/icon.svg" alt="" width="20" height="20">wasmetry</a>
      <nav class="views" aria-label="Views">
        ${VIEWS.map(
          ([view = '', name]) =>
            html`<a href=${app.href(view)} aria-current=${app.address.view === view ? 'page' : 'false'}>${name}</a>`,
        )}
      </nav>
      <div class="time">
        ${live(app)}
        <nav class="segments" aria-label="Time range">
          ${RANGES.map(
            ([
              seconds,
              name,
              title,
            ]) => html`<a href=${app.with({ range: seconds, since: null, from: null, to: null, min: null, max: null })}
              title=${title} aria-current=${String(app.range) === seconds ? 'true' : 'false'}>${name}</a>`,
          )}
        </nav>
        <button type="button" class="pause" aria-pressed=${app.end === null ? 'false' : 'true'}
          @click=${() => app.go(app.with({ end: app.end === null ? Math.round(app.now) : null }))}>
          ${app.end === null ? 'Pause' : 'Resume'}
        </button>
      </div>
    </header>
    ${banner(app)}
    ${filters(app)}
    <main id="main" tabindex="-1">${content}</main>
    ${footer(app)}
  `;
}

/** @param {Event} event */
function skip(event) {
  event.preventDefault();
  document.getElementById('main')?.focus();
}

/** @param {App} app */
function live(app) {
  if (app.end !== null) return html`<span class="connection paused">Paused at ${format.clock(app.end)}</span>`;
  const { state } = app.connection;
  const text = { connecting: 'Connecting', live: 'Live', polling: 'Every 5 s', lost: 'Offline', refused: 'Locked' }[
    state
  ];
  return html`<span class="connection ${state}"><i></i>${text}</span>`;
}

/** @param {App} app */
function banner(app) {
  const { state, attempts } = app.connection;
  return html`<div class="banners" role="status">
    ${
      state === 'lost'
        ? html`<p class="banner error">
          <span>Connection lost: retrying${attempts > 1 ? ` (attempt ${attempts})` : ''}. The page recovers by itself; check that
          <code>wasmetry serve</code> runs at ${location.host}.</span>
          <button type="button" @click=${() => app.connection.retry()}>Retry now</button>
        </p>`
        : state === 'polling'
          ? html`<p class="banner warning">This browser or the host has as many event streams open as it allows: this page reads every 5 s.
            Close other pages of this address for live logs.</p>`
          : nothing
    }
  </div>`;
}

/** @param {App} app */
function filters(app) {
  const { component, tenant, route } = app.filters;
  // One request a minute, whatever is filtered and however long the range is.
  const period = Math.floor(app.now / NAMES_SECONDS);
  const known = app.use('names', 'overview', { limit: 100 }, false);
  const names = /** @type {Overview | null} */ (known.value);
  if (app.connection.state === 'live' && names && period > Math.floor(names.now / NAMES_SECONDS) && app.end === null)
    app.renew('names');
  const components = names?.components ?? [];
  const leftOut = names?.components_left_out ?? 0;
  const ofTenant = components.filter((entry) => tenant === undefined || entry.tenant === tenant);
  const selected = ofTenant.filter((entry) => component === undefined || entry.component === component);
  const routes = selected.reduce((sum, entry) => sum + entry.routes_left_out, 0);
  // Not all that are left out are of the tenant.
  const more = leftOut > 0 ? `and ${tenant === undefined ? '' : 'up to '}${leftOut} more` : '';
  const ofLeftOut = leftOut > 0 ? `and those of ${leftOut} more components` : '';
  const ofSelected = routes > 0 ? `and ${routes} more` : '';
  const set = (/** @type {string} */ key) => (/** @type {Event} */ event) => {
    const { value } = /** @type {HTMLSelectElement} */ (event.target);
    /** @type {Record<string, string | null>} */
    const changes = { [key]: value === '' ? null : value.slice(1) };
    if (key !== 'route' && route !== undefined) changes.route = null;
    app.go(app.with(changes));
  };
  const isFiltered = component !== undefined || tenant !== undefined || route !== undefined;
  return html`<form class="filters" aria-label="Filters" @submit=${prevent} @focusin=${() => app.renew('names')}>
    ${choice('Component', component, unique(ofTenant.map((entry) => entry.component)), more, set('component'))}
    ${
      tenant || components.some((entry) => entry.tenant !== '')
        ? choice('Tenant', tenant, unique(components.map((entry) => entry.tenant)), ofLeftOut, set('tenant'))
        : nothing
    }
    ${choice(
      'Route',
      route,
      unique(selected.flatMap((entry) => entry.routes.map((entry) => entry.route))),
      (component === undefined || selected.length === 0) && leftOut > 0 ? ofLeftOut : ofSelected,
      set('route'),
    )}
    ${
      isFiltered
        ? html`<a class="clear" href=${app.with({ component: null, tenant: null, route: null })}>Clear filters</a>`
        : nothing
    }
  </form>`;
}

/**
 * A list of names from which one or all are chosen. The values have a mark before them, since a
 * name may be empty.
 * @param {string} label
 * @param {string | undefined} chosen
 * @param {string[]} names
 * @param {string} rest The names that are not listed, in words.
 * @param {(event: Event) => void} change
 */
function choice(label, chosen, names, rest, change) {
  const all = chosen !== undefined && !names.includes(chosen) ? [chosen, ...names] : names;
  return html`<label class="choice"><span>${label}</span>
    <select @change=${change} class=${chosen === undefined ? '' : 'is-set'}>
      <option value="" .selected=${chosen === undefined}>All</option>
      ${all.map((name) => html`<option value=${'=' + name} .selected=${name === chosen}>${name === '' ? '(none)' : name}</option>`)}
      ${rest ? html`<option value="rest" disabled>${rest}</option>` : nothing}
    </select>
  </label>`;
}

/** @param {string[]} names */
const unique = (names) => [...new Set(names)].sort();

/** @param {App} app */
function footer(app) {
  const { status } = app.connection;
  if (!status) return html`<footer class="foot"></footer>`;
  const { memory, sampling, series, logs, traces, dropped } = status;
  return html`<footer class="foot">
    <span>wasmetry ${status.version}</span>
    <span title="Memory of the console: --console-memory">Console ${format.bytes(memory.used_bytes)} of ${format.bytes(memory.limit_bytes)}</span>
    <span>${format.count(series.kept)} series, ${format.count(logs.kept)} logs, ${format.count(traces.kept)} traces kept</span>
    <span>${sampling.share >= 1 ? 'Now every request is kept' : `Now ${format.percent(sampling.share)} of the normal requests are kept`}</span>
    ${series.refused > 0 ? html`<span class="warn">${format.count(series.refused)} series found no room</span>` : nothing}
    ${dropped.map(({ what, reason, count }) =>
      // What the sampler left out is no loss.
      reason === 'sampled_out'
        ? html`<span>${format.count(count)} ${what} were sampled out</span>`
        : html`<span class="warn">Dropped ${format.count(count)} ${what} (${reason})</span>`,
    )}
  </footer>`;
}
