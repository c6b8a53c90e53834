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

/** @type {{ view: string, text: string, timer: number } | null} The text that is being written. */
let pending = null;

/**
 * Draws the field of the parameter `text`. Each text is searched for once, when its author pauses.
 * @param {App} app
 * @param {string} label
 * @param {string} placeholder
 */
export function searchField(app, label, placeholder) {
  const { view, parameters } = app.address;
  if (pending && pending.view !== view) forget();
  const search = () => {
    const text = pending?.text ?? '';
    forget();
    app.go(app.with({ text: text || null }), false);
  };
  const write = (/** @type {Event} */ event) => {
    forget();
    const { value } = /** @type {HTMLInputElement} */ (event.target);
    pending = { view, text: value, timer: window.setTimeout(search, PAUSE_MS) };
  };
  return html`<label class="search"><span class="hidden">${label}</span>
    <input type="search" placeholder=${placeholder} .value=${live(pending?.text ?? parameters.text ?? '')}
      @input=${write} @change=${() => pending && search()}></label>`;
}

function forget() {
  clearTimeout(pending?.timer);
  pending = null;
}
