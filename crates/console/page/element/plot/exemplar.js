// The links of single requests on a plot.

/** @import uPlot from '../../vendor/uplot/uPlot.js' */
/** @import {Drawn} from './option.js' */

/** The least distance in pixels between two links of a kind: the pointer can reach both. */
const DISTANCE = 10;

/**
 * Puts the links onto a plot. One that has the focus keeps it.
 * @param {uPlot} plot
 * @param {Drawn} drawn
 */
export function putLinks(plot, { spec, rows }) {
  const old = plot.over.querySelector('.exemplars');
  const focused = old?.contains(document.activeElement)
    ? /** @type {HTMLAnchorElement} */ (document.activeElement).hash
    : '';
  const layer = document.createElement('div');
  layer.className = 'exemplars';
  const { width, height } = plot.over.getBoundingClientRect();
  /** @type {{ kind: string, left: number, top: number }[]} */
  const put = [];
  for (const point of spec.points ?? []) {
    const place = rows ? rows.place(point.value) : point.value;
    const left = plot.valToPos(point.time, 'x');
    const top = place === null ? NaN : plot.valToPos(place, 'y');
    if (!(left >= 0 && left <= width)) continue;
    const isCovered = put.some(
      ({ kind, ...other }) => kind === point.kind && Math.hypot(other.left - left, other.top - top) < DISTANCE,
    );
    if (isCovered) continue;
    put.push({ kind: point.kind, left, top });
    const link = document.createElement('a');
    link.href = point.href;
    link.setAttribute('aria-label', point.label);
    link.title = point.label;
    link.className = point.kind;
    link.tabIndex = layer.childElementCount === 0 ? 0 : -1;
    link.style.left = `${left}px`;
    link.style.top = `${Math.max(0, Math.min(height, top))}px`;
    layer.append(link);
  }
  if (old) old.replaceWith(layer);
  else plot.over.append(layer);
  if (focused) [...layer.querySelectorAll('a')].find((link) => link.hash === focused)?.focus();
}

/**
 * Moves the focus between the links of a plot.
 * @param {KeyboardEvent} event
 * @param {HTMLAnchorElement} link
 */
export function walkLinks(event, link) {
  const next =
    event.key === 'ArrowRight'
      ? link.nextElementSibling
      : event.key === 'ArrowLeft'
        ? link.previousElementSibling
        : null;
  if (next instanceof HTMLAnchorElement) {
    event.preventDefault();
    next.focus();
  }
}
