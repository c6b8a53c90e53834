// A line of a few pixels in a table.

import { nothing, svg } from './vendor/lit-html/lit-html.js';
import { html } from './vendor/lit-html/lit-html.js';

/** @import {Points} from './types.js' */

const WIDTH = 88;
const HEIGHT = 22;

/** The fewest steps that are drawn: of a young process, those before its start are left out. */
const STEPS = 12;

/**
 * Draws a sparkline. It repeats what the number beside it has, so it has no text.
 * @param {Points} all
 * @param {string} [kind]
 */
export function sparkline(all, kind = 'plain') {
  const first = all.findIndex((value) => value !== null);
  const points = all.slice(Math.max(0, Math.min(first, all.length - STEPS)));
  const known = points.filter((value) => value !== null);
  if (known.length === 0) return nothing;
  const least = Math.min(0, ...known);
  const greatest = Math.max(0, ...known);
  const scale = greatest > least ? (HEIGHT - 4) / (greatest - least) : 0;
  const step = points.length > 1 ? (WIDTH - 2) / (points.length - 1) : 0;
  let line = '';
  let area = '';
  let start = -1;
  const x = (/** @type {number} */ index) => (1 + index * step).toFixed(1);
  const close = (/** @type {number} */ end) => {
    if (start >= 0) area += `V${HEIGHT - 1}H${x(start)}Z`;
    // A value without neighbours would be a line of no length.
    if (start >= 0 && start === end) line += 'h1.5';
    start = -1;
  };
  points.forEach((value, index) => {
    if (value === null) {
      close(index - 1);
      return;
    }
    const y = (HEIGHT - 2 - (value - least) * scale).toFixed(1);
    line += `${start < 0 ? 'M' : 'L'}${x(index)} ${y}`;
    area += start < 0 ? `M${x(index)} ${HEIGHT - 1}V${y}` : `L${x(index)} ${y}`;
    if (start < 0) start = index;
  });
  close(points.length - 1);
  return html`<svg class="spark ${kind}" viewBox="0 0 ${WIDTH} ${HEIGHT}" width=${WIDTH} height=${HEIGHT} aria-hidden="true">
    ${svg`<path class="area" d=${area}></path><path class="line" d=${line}></path>`}
  </svg>`;
}
