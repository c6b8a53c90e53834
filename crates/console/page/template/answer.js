// An answer of the API, or the state of its request, and what to do about an empty one.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { prose } from './text.js';

/** @import {App} from '../app.js' */
/** @import {Resource} from '../resource.js' */

/**
 * Draws an answer, or what is known of its absence.
 * @template T
 * @param {Resource<T>} resource
 * @param {(value: T) => unknown} content
 */
export function answered(resource, content) {
  if (resource.value === null) {
    if (resource.error !== null) return html`<p class="notice error">${prose(resource.error)}</p>`;
    return html`<p class="notice loading">Loading…</p>`;
  }
  return html`
    ${resource.error !== null && resource.status !== 0 ? html`<p class="notice error">${prose(resource.error)}</p>` : nothing}
    <div class=${resource.isStale ? 'stale' : 'fresh'}>${content(resource.value)}</div>
  `;
}

/** The filters that all views share, as parameters of an address without them. */
export const NO_FILTERS = { component: null, tenant: null, route: null };

/**
 * Returns `true` if the address has one of these parameters.
 * @param {App} app
 * @param {Record<string, null>} filters
 */
export function isFiltered(app, filters) {
  return Object.keys(filters).some((key) => app.address.parameters[key] !== undefined);
}

/**
 * Draws that nothing matches the filters, with the link that clears them.
 * @param {App} app
 * @param {string} subject The subject of the sentence, such as "No log".
 * @param {Record<string, null>} filters
 * @param {unknown} [text]
 */
export function noMatch(app, subject, filters, text = nothing) {
  return html`<section class="empty"><h2>${subject} matches the filters</h2>
    <p>${text} <a href=${app.with(filters)}>Clear the filters</a>.</p></section>`;
}

/**
 * Returns `true` if the host has received no request since its start.
 * @param {App} app
 */
export function isWithoutTraffic(app) {
  return app.connection.status?.traces.received === 0;
}

/**
 * Draws a request to try.
 * @param {App} app
 * @param {string} reason
 * @param {unknown} [text]
 */
export function noTraffic(app, reason = 'The host has received no request.', text = nothing) {
  const url = app.connection.status?.services?.[0] ?? 'http://127.0.0.1:8080';
  return html`<section class="empty small"><h2>No traffic yet</h2>
    <p>${reason} Try one:</p>
    <pre><code>curl ${url}/</code></pre>
    ${text === nothing ? nothing : html`<p>${text}</p>`}</section>`;
}
