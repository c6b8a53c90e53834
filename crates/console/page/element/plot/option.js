// The options of a plot: its scales, axes and lines.

import { clock } from '../../format.js';

/** @import uPlot from '../../vendor/uplot/uPlot.js' */
/** @import {Rows} from './heat.js' */
/** @import {Spec} from './spec.js' */

/**
 * The content of a plot, which changes while the plot stays.
 * @typedef {{ spec: Spec, rows: Rows | null }} Drawn
 */

/** The width in pixels below which times stand closer. */
const NARROW = 400;

const AXIS_FONT = '11px system-ui, sans-serif';

/**
 * Returns the options of a plot within an element.
 * @param {HTMLElement} element
 * @param {Drawn} drawn
 * @param {uPlot.Hooks.Arrays} hooks
 * @returns {uPlot.Options}
 */
export function options(element, drawn, hooks) {
  const { spec, rows } = drawn;
  const style = getComputedStyle(element);
  const color = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  const muted = color('--muted');
  const grid = { stroke: color('--grid'), width: 1 };
  const isLog = spec.scale === 'log';
  /** @type {uPlot.Axis} */
  const values = rows
    ? {
        splits: () => drawn.rows?.splits() ?? [],
        values: (_, splits) =>
          splits.map((row) => (row >= 1 ? drawn.spec.format(drawn.rows?.bounds[row - 1]) : '')),
      }
    : {
        values: (_, splits) => splits.map((value) => (value === null ? '' : spec.format(value))),
        ...(isLog ? { filter: decades } : {}),
      };
  return {
    width: Math.max(element.clientWidth, 120),
    height: spec.height ?? 180,
    legend: { show: false },
    padding: [8, 22, 0, 0],
    cursor: {
      drag: { x: Boolean(spec.select), y: Boolean(spec.select && spec.selectsValues), setScale: false, uni: 12 },
      points: { size: 6 },
      // The other plots show the cursor. A selection reaches them by the address: one of their own
      // would have no values.
      sync: { key: 'time', setSeries: false, filters: { pub: (kind) => kind === 'mousemove', sub: () => true } },
    },
    scales: {
      x: { time: true, range: () => drawn.spec.window },
      y: rows
        ? { range: () => [drawn.rows?.first ?? 0, (drawn.rows?.last ?? 0) + 1] }
        : isLog
          ? { distr: 3, range: logRange }
          : { range: linearRange },
    },
    axes: [
      {
        stroke: muted,
        font: AXIS_FONT,
        grid: { show: false },
        ticks: { ...grid, size: 4 },
        size: 24,
        space: (_, __, ___, ____, width) => (width < NARROW ? 40 : 70),
        values: (_, splits, __, ___, step) =>
          splits.map((time) => (step >= 60 ? clock(time).slice(0, 5) : clock(time))),
      },
      {
        stroke: muted,
        font: AXIS_FONT,
        grid: isLog && !rows ? { ...grid, filter: decades } : grid,
        ticks: { show: false },
        gap: 4,
        size: 58,
        space: 26,
        ...values,
      },
    ],
    series: [
      {},
      ...spec.lines.map((line) => ({
        label: line.label,
        stroke: color(line.color),
        width: 1.5,
        dash: line.dash,
        points: { show: true, size: 4, width: 0, fill: color(line.color), filter: isolated },
      })),
    ],
    hooks: {
      drawClear: rows ? [(plot) => drawHeat(plot, drawn, color('--heat'))] : [],
      ...hooks,
    },
  };
}

/**
 * @param {uPlot} plot
 * @param {Drawn} drawn
 * @param {string} color
 */
function drawHeat(plot, { spec, rows }, color) {
  if (spec.heat) rows?.draw(plot, spec.heat, spec.times, color);
}

/**
 * The range of a linear axis: from zero, or from the least value below it.
 * @param {uPlot} _
 * @param {number | null} min
 * @param {number | null} max
 * @returns {[number, number]}
 */
function linearRange(_, min, max) {
  const low = min !== null && min < 0 ? min * 1.08 : 0;
  const high = max !== null && max > 0 ? max * 1.08 : 0;
  return [low, high > low ? high : 1];
}

/**
 * The range of a logarithmic axis: whole decades around the values.
 * @param {uPlot} _
 * @param {number | null} min
 * @param {number | null} max
 * @returns {[number, number]}
 */
function logRange(_, min, max) {
  if (min === null || max === null || !(max > 0)) return [0.001, 1];
  const low = 10 ** Math.floor(Math.log10(min > 0 ? min : max));
  const high = 10 ** Math.ceil(Math.log10(max));
  return [low, high > low ? high : low * 10];
}

/**
 * Labels only decades.
 * @param {uPlot} _
 * @param {(number | null)[]} splits
 */
function decades(_, splits) {
  return splits.map((value) =>
    value !== null && Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-6 ? value : null,
  );
}

/**
 * Returns the indexes of values without neighbours, which a line does not show.
 * @param {uPlot} plot
 * @param {number} series
 * @returns {number[]}
 */
function isolated(plot, series) {
  const values = plot.data[series] ?? [];
  const found = [];
  for (let index = 0; index < values.length; index += 1) {
    if (values[index] != null && values[index - 1] == null && values[index + 1] == null) found.push(index);
  }
  return found;
}
