// Parts of forms.

import { html } from '../vendor/lit-html/lit-html.js';
import { live } from '../vendor/lit-html/directives/live.js';

/** @import {App} from '../app.js' */

/**
 * Keeps a form, whose fields act at once, from being sent.
 * @param {Event} event
 */
export const prevent = (event) => event.preventDefault();

/** The pause after a letter until a text is searched for. */
const PAUSE_MS = 250;

/**
 * The text that is being written into the field of a parameter.
 * @type {{ view: string, key: string, text: string, timer: number } | null}
 */
let pending = null;

/**
 * Draws the field of the parameter `text`. Each text is searched for once, when its author pauses.
 * @param {App} app
 * @param {string} label
 * @param {string} placeholder
 */
export function searchField(app, label, placeholder) {
  return field(app, 'text', label, placeholder, () => true);
}

/**
 * Draws the field of the parameter `trace`. An id is searched for when it is complete; one that the
 * host refuses, when its author leaves the field.
 * @param {App} app
 */
export function traceField(app) {
  return field(app, 'trace', 'Trace id', 'Trace id', (text) => text === '' || /^[0-9a-f]{32}$/i.test(text));
}

/**
 * @param {App} app
 * @param {string} key
 * @param {string} label
 * @param {string} placeholder
 * @param {(text: string) => boolean} isComplete
 */
function field(app, key, label, placeholder, isComplete) {
  const { view, parameters } = app.address;
  if (pending && pending.view !== view) forget();
  const search = () => {
    const text = pending?.text ?? '';
    forget();
    app.go(app.with({ [key]: text || null }), false);
  };
  const write = (/** @type {Event} */ event) => {
    forget();
    const { value } = /** @type {HTMLInputElement} */ (event.target);
    const text = key === 'text' ? value : value.trim();
    pending = { view, key, text, timer: isComplete(text) ? window.setTimeout(search, PAUSE_MS) : 0 };
  };
  const written = pending?.key === key ? pending.text : undefined;
  return html`<label class="search ${key}"><span class="hidden">${label}</span>
    <input type="search" placeholder=${placeholder} .value=${live(written ?? parameters[key] ?? '')} spellcheck="false"
      @input=${write} @change=${() => pending?.key === key && search()}></label>`;
}

function forget() {
  clearTimeout(pending?.timer);
  pending = null;
}
