// The answer of a series as lines and points of a plot.

import * as format from '../format.js';

/** @import {App} from '../app.js' */
/** @import {Point, Spec} from '../element/plot/spec.js' */
/** @import {Resource} from '../resource.js' */
/** @import {ListedTrace, Series, Traces} from '../types.js' */

/**
 * Returns the times of an answer's steps.
 * @param {Series} series
 */
export function stepTimes(series) {
  const { start, step_seconds } = series;
  const length = series.groups[0]?.points.length ?? series.others.points.length;
  return Array.from({ length }, (_, index) => start + index * step_seconds);
}

/** The failed requests that a plot shows as points. */
const FAILED = 60;

/** The other requests that a plot shows as points: the API lists the slowest ones of 60 slices. */
const SLOWEST = 120;

/**
 * Returns the requests of a plot of latency that can be opened: the slowest ones of the whole
 * range, in the order of the API, then the failed ones.
 * @param {App} app
 * @param {Series} series
 * @param {ListedTrace[]} [failed]
 * @returns {Point[]}
 */
export function requestPoints(app, series, failed = []) {
  const seen = new Set(failed.map((trace) => trace.trace_id));
  // A trace has one point, though several of its spans may have a value.
  const points = (series.histogram?.exemplars ?? [])
    .filter(({ is_kept, trace_id }) => is_kept && !seen.has(trace_id) && seen.add(trace_id))
    .slice(0, SLOWEST)
    .map(({ time, value, trace_id }) => ({
      time,
      value,
      href: app.href('traces', trace_id),
      kind: 'plain',
      label: `Trace of ${format.of(series.unit)(value)} at ${format.clock(time)}`,
    }));
  const failures = failed.slice(0, FAILED).map(({ trace_id, start, duration_seconds: value, reason, status }) => ({
    time: start + value,
    value,
    href: app.href('traces', trace_id),
    kind: 'failed',
    label: `Failed, ${reason ?? status}: trace of ${format.duration(value)} at ${format.clock(start + value)}`,
  }));
  return [...points, ...failures];
}

/**
 * Requests the failed requests of the range, which plots of latency show.
 * @param {App} app
 * @param {string} slot
 * @returns {ListedTrace[]}
 */
export function failedTraces(app, slot) {
  // The beginning moves in steps, so that it is not another request with each drawing.
  const from = Math.floor(app.window.from / 5) * 5;
  /** @type {Resource<Traces>} */
  const answer = app.use(slot, 'traces', {
    ...app.filters,
    outcome: 'failed',
    order: 'newest',
    from,
    to: app.end,
    limit: FAILED,
  });
  return answer.value?.traces ?? [];
}

/** The colours of the series of a plot, in their order. */
const COLORS = ['--s1', '--s2', '--s3', '--s4', '--s5', '--s6', '--s7', '--s8'];

/** The colours of quantiles that are drawn over a heatmap. */
export const OVER_HEAT = ['--h50', '--h95', '--q99'];

/** @param {number} index */
export const seriesColor = (index) => COLORS[index % COLORS.length] ?? '--s1';

/**
 * Returns the lines of an answer's groups.
 * @param {Series} series
 * @param {(group: { labels: Record<string, string> }, index: number) => string} [color]
 * @returns {Spec['lines']}
 */
export function groupLines(series, color = (_, index) => seriesColor(index)) {
  const lines = series.groups.map((group, index) => ({
    label: series.by === null ? series.metric : (group.labels[series.by] ?? '') || '(empty)',
    color: color(group, index),
    values: group.points,
  }));
  if (series.others.groups > 0)
    lines.push({ label: `${series.others.groups} others`, color: '--muted', values: series.others.points });
  return lines;
}

/**
 * Returns the lines of a histogram's quantiles.
 * @param {Series} series
 * @param {string[]} [colors]
 * @returns {Spec['lines']}
 */
export function quantileLines(series, colors = ['--q50', '--q95', '--q99']) {
  const quantiles = series.groups[0]?.quantiles;
  if (!quantiles) return [];
  const [p50 = '', p95 = '', p99 = ''] = colors;
  return [
    { label: 'P50', color: p50, values: quantiles.p50 },
    { label: 'P95', color: p95, values: quantiles.p95 },
    { label: 'P99', color: p99, values: quantiles.p99 },
  ];
}
