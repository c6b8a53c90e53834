// An answer of the API, or the state of its request.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { prose } from './text.js';

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
