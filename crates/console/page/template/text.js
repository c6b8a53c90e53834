// Texts of the host and of guests, which may be long.

import { html, nothing } from '../vendor/lit-html/lit-html.js';

/** @import {Pairs} from '../types.js' */

/**
 * Draws a sentence of the host, in which names are between backticks.
 * @param {string} text
 */
export function prose(text) {
  return text.split('`').map((piece, index) => (index % 2 === 1 ? html`<code>${piece}</code>` : piece));
}

/**
 * The length from which a text may be scrolled in its place, for which it can have the focus.
 */
const LONG = 200;

/** The length from which a value takes a row of its own. */
const WIDE = 60;

/**
 * Draws a text that may be long, as it is.
 * @param {string} text
 */
export function longText(text) {
  return html`<p class="message whole" tabindex=${text.length > LONG ? '0' : nothing}>${text}</p>`;
}

/**
 * Draws fields or attributes as a list.
 * @param {Pairs} pairs
 */
export function fieldList(pairs) {
  if (pairs.length === 0) return nothing;
  return html`<dl class="fields">
    ${pairs.map(([key, value]) => {
      const text = String(value);
      return html`<div class=${text.length > WIDE ? 'long' : ''}><dt>${key}</dt><dd tabindex=${text.length > LONG ? '0' : nothing}>${text}</dd></div>`;
    })}
  </dl>`;
}
