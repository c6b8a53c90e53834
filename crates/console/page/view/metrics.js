// Every metric of the registry, and one metric in full.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import * as format from '../format.js';
import { NO_FILTERS, answered, isFiltered, noMatch } from '../template/answer.js';
import { prevent, searchField } from '../template/form.js';
import { readSelection, selectionBar, writeSelection } from '../template/selection.js';
import { groupLines, OVER_HEAT, quantileLines, requestPoints, stepTimes } from '../template/series.js';
import { sparkline } from '../sparkline.js';

/** @import {App} from '../app.js' */
/** @import {Group, Metric, Metrics, Points, Series} from '../types.js' */
/** @import {Resource} from '../resource.js' */

/** The metrics of one page of the list, each of which is drawn while it is visible. */
const PAGE = 60;

/** The parameters of the address that filter the list, as those of an address without them. */
const ALL_METRICS = { component: null, tenant: null, text: null };

/** The names of kinds. */
const KINDS = {
  counter: 'counter',
  gauge: 'gauge',
  up_down_counter: 'up/down counter',
  histogram: 'histogram',
  exponential_histogram: 'exponential histogram',
  info: 'info',
};

/** The cards that are visible, by the name of their metric. @type {Set<string>} */
const visible = new Set();

/** @type {App | null} */
let owner = null;

const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      const name = /** @type {HTMLElement} */ (target).dataset.metric ?? '';
      if (isIntersecting) visible.add(name);
      else visible.delete(name);
    }
    owner?.changed();
  },
  { rootMargin: '120px' },
);

/** A card, which is drawn once it is visible. */
class Card extends HTMLElement {
  connectedCallback() {
    observer.observe(this);
  }

  disconnectedCallback() {
    observer.unobserve(this);
    visible.delete(this.dataset.metric ?? '');
  }
}

customElements.define('wm-card', Card);

/** @param {App} app */
export function metrics(app) {
  owner = app;
  const { component, tenant } = app.filters;
  const { text, cursor } = app.address.parameters;
  /** @type {Resource<Metrics>} */
  const answer = app.use('metrics', 'metrics', { component, tenant, text: text || undefined, limit: PAGE, cursor });
  return html`
    <div class="head"><h1>Metrics</h1>
      ${searchField(app, 'Search names and help texts', 'Search names and help')}
    </div>
    ${answered(answer, (value) =>
      value.metrics.length === 0
        ? isFiltered(app, ALL_METRICS)
          ? noMatch(app, 'No metric', ALL_METRICS, text ? `No name or help text contains “${text}”.` : nothing)
          : html`<section class="empty"><h2>No metrics yet</h2><p>No component has declared a metric yet.</p></section>`
        : html`<ul class="cards">${repeat(
            value.metrics,
            (metric) => metric.name,
            (metric) => html`<li><wm-card data-metric=${metric.name}>${card(app, metric)}</wm-card></li>`,
          )}</ul>
          ${value.next === null ? nothing : html`<p class="more"><a href=${app.with({ cursor: value.next })}>More metrics</a></p>`}
          ${cursor === undefined ? nothing : html`<p class="more"><a href=${app.with({})}>From the beginning</a></p>`}`,
    )}
  `;
}

/**
 * @param {App} app
 * @param {Metric} metric
 */
function card(app, metric) {
  return html`<a class="card" href=${app.href('metrics', metric.name)}>
    <span class="metric-name">${breakable(metric.name)}</span>
    <span class="sub">${KINDS[metric.kind]}${metric.unit ? ` · ${metric.unit}` : ''} · ${metric.series === 1 ? '1 series' : `${format.count(metric.series)} series`}</span>
    <span class="help">${metric.help}</span>
    <span class="now">${visible.has(metric.name) && metric.is_kept && metric.kind !== 'info' ? miniature(app, metric) : nothing}
      ${metric.is_kept ? nothing : html`<span class="sub warn">no room in the console</span>`}</span>
  </a>`;
}

/**
 * @param {App} app
 * @param {Metric} metric
 */
function miniature(app, metric) {
  /** @type {Resource<Series>} */
  const answer = app.use(`card-${metric.name}`, 'series', {
    metric: metric.name,
    ...app.filters,
    range: app.range,
    end: app.end,
    limit: 1,
  });
  const group = answer.value?.groups[0];
  if (!answer.value || !group) return nothing;
  const points = group.quantiles ? group.quantiles.p99 : group.points;
  const isRate = answer.value.values === 'rate' && !group.quantiles;
  const value = group.quantiles || isRate ? last(points) : valueNow(app, group);
  return html`<b>${format.of(metric.unit, isRate, metric.name)(value)}</b>
    <span class="sub">${group.quantiles ? 'P99' : isRate ? '' : 'now'}</span>${sparkline(points)}`;
}

/** @param {Points} points */
function last(points) {
  for (let index = points.length - 1; index >= 0; index -= 1) if (points[index] != null) return points[index];
  return null;
}

/**
 * Returns the value of a gauge: the exact one, unless the page is paused. Those of a plot are
 * rounded.
 * @param {App} app
 * @param {Group} group
 */
function valueNow(app, group) {
  return app.end === null && typeof group.last === 'number' ? group.last : last(group.points);
}

/**
 * Lets a long name break after its underscores.
 * @param {string} name
 */
function breakable(name) {
  return name.split(/(?<=_)/).map((piece) => html`${piece}<wbr>`);
}

/**
 * @param {App} app
 * @param {string} name
 */
export function metric(app, name) {
  const { by, aggregate } = app.address.parameters;
  /** @type {Resource<Series>} */
  const answer = app.use(`metric-${name}`, 'series', {
    metric: name,
    ...app.filters,
    by,
    aggregate,
    range: app.range,
    end: app.end,
    limit: 12,
  });
  /** @type {Resource<Metrics>} */
  const declared = app.use(`declared-${name}`, 'metrics', { text: name, limit: 50 }, false);
  const labels = declared.value?.metrics.find((metric) => metric.name === name)?.labels ?? [];
  const pick = (/** @type {string} */ key) => (/** @type {Event} */ event) =>
    app.go(app.with({ [key]: /** @type {HTMLSelectElement} */ (event.target).value || null }));
  return html`
    <p class="crumbs"><a href=${app.href('metrics')}>Metrics</a></p>
    <div class="head"><h1 class="metric-name">${breakable(name)}</h1></div>
    ${answered(answer, (series) => {
      const isGauge = series.values === 'value';
      return html`
        <p class="lead" tabindex=${series.help.length > 200 ? '0' : nothing}>${series.help} <span class="sub">${KINDS[series.kind]}${series.unit ? ` in ${series.unit}` : ''}</span></p>
        <form class="filters inline" aria-label="Split" @submit=${prevent}>
          <label class="choice"><span>Split by</span><select @change=${pick('by')} class=${by ? 'is-set' : ''}>
            <option value="" .selected=${!by}>nothing</option>
            ${(by && !labels.includes(by) ? [by, ...labels] : labels).map((label) => html`<option value=${label} .selected=${label === by}>${label}</option>`)}
          </select></label>
          ${
            isGauge
              ? html`<label class="choice"><span>Aggregate</span><select @change=${pick('aggregate')}>
                ${['', 'sum', 'max', 'min', 'avg'].map((value) => html`<option value=${value} .selected=${value === (aggregate ?? '')}>${value || 'default'}</option>`)}
              </select></label>`
              : nothing
          }
        </form>
        ${selectionBar(app)}
        ${
          series.groups.length === 0 && isFiltered(app, NO_FILTERS)
            ? noMatch(app, 'No series', NO_FILTERS)
            : series.kind === 'info'
              ? info(app, series)
              : drawing(app, series)
        }
      `;
    })}
  `;
}

/**
 * @param {App} app
 * @param {Series} series
 */
function info(app, series) {
  return html`<section class="panel"><h2>Values</h2><p class="sub">An info metric is always 1; its labels are what it says. Split it by a label.</p>
    ${groupTable(app, series)}</section>`;
}

/**
 * @param {App} app
 * @param {Series} series
 */
function drawing(app, series) {
  const { from, to } = app.window;
  const times = stepTimes(series);
  const isDuration = series.metric === 'wasm_http_request_duration_seconds';
  const common = {
    times,
    window: /** @type {[number, number]} */ ([from, to]),
    selection: readSelection(app),
    select: writeSelection(app),
    height: 260,
  };
  if (!series.histogram) {
    return html`<section class="panel"><h2>${series.values === 'rate' ? 'Rate' : 'Value'}
        <span class="sub">${series.values === 'rate' ? 'a second' : ''}</span></h2>
      <wm-plot .spec=${{
        ...common,
        source: series,
        key: `lines-${series.metric}`,
        title: series.metric,
        lines: groupLines(series),
        format: format.of(series.unit, series.values === 'rate', series.metric),
      }}></wm-plot></section>
      <section class="panel"><h2>Series</h2>${groupTable(app, series)}</section>`;
  }
  const unit = format.of(series.unit);
  const isSplit = series.by !== null;
  return html`
    <section class="panel"><h2>Distribution <span class="sub">observations by bucket${isSplit ? ' of all groups' : ', with quantiles; a point is a request: open its trace'}</span></h2>
      <wm-plot id="heatmap" .spec=${{
        ...common,
        source: series,
        key: `heat-${series.metric}`,
        title: `${series.metric}, heatmap`,
        lines: isSplit ? [] : quantileLines(series, OVER_HEAT),
        format: unit,
        points: requestPoints(app, series),
        selectsValues: isDuration,
        heat: { bounds: series.histogram.bounds, cells: series.histogram.buckets },
      }}></wm-plot></section>
    ${
      isSplit
        ? html`<section class="panel"><h2>P99 <span class="sub">by ${series.by}</span></h2>
          <wm-plot .spec=${{
            ...common,
            height: 200,
            source: series,
            key: `p99-${series.metric}`,
            title: `P99 of ${series.metric} by ${series.by}`,
            lines: groupLines({
              ...series,
              groups: series.groups.map((group) => ({ ...group, points: group.quantiles?.p99 ?? group.points })),
              others: { groups: 0, points: [] },
            }),
            format: unit,
            scale: series.unit === 'seconds' ? 'log' : 'linear',
          }}></wm-plot></section>`
        : nothing
    }
    <section class="panel"><h2>Observations <span class="sub">a second</span></h2>
      <wm-plot .spec=${{
        ...common,
        height: 140,
        source: series,
        key: `rate-${series.metric}`,
        title: `Observations of ${series.metric} a second`,
        lines: groupLines(series),
        format: format.rate,
      }}></wm-plot></section>
    <section class="panel"><h2>Series</h2>${groupTable(app, series)}</section>
  `;
}

/**
 * @param {App} app
 * @param {Series} series
 */
function groupTable(app, series) {
  const isRate = series.values === 'rate';
  const hasQuantiles = series.groups.some((group) => group.quantiles);
  const unit = format.of(series.unit);
  const name = (/** @type {Group} */ group) =>
    series.by === null ? 'all series' : (group.labels[series.by] ?? '') || '(empty)';
  return html`<div class="table-frame"><table class="groups">
    <thead><tr><th>${series.by ?? 'Series'}</th><th class="number">${isRate ? 'Rate' : 'Now'}</th>
      ${hasQuantiles ? html`<th class="number">P50</th><th class="number">P95</th><th class="number">P99</th>` : nothing}
      ${isRate ? html`<th class="number">Total</th>` : nothing}</tr></thead>
    <tbody>${series.groups.map(
      (group, index) => html`<tr>
        <th scope="row"><span class="name"><i class="swatch c${(index % 8) + 1}"></i><span class="clamped" title=${name(group)}>${name(group)}</span></span></th>
        <td class="number" data-label=${isRate ? 'Rate' : 'Now'}>${format.of(hasQuantiles ? '' : series.unit, isRate, series.metric)(isRate ? last(group.points) : valueNow(app, group))}</td>
        ${
          hasQuantiles
            ? html`<td class="number" data-label="P50">${unit(last(group.quantiles?.p50 ?? []))}</td>
              <td class="number" data-label="P95">${unit(last(group.quantiles?.p95 ?? []))}</td>
              <td class="number" data-label="P99">${unit(last(group.quantiles?.p99 ?? []))}</td>`
            : nothing
        }
        ${isRate ? html`<td class="number total" data-label="Total">${format.count(group.last)}</td>` : nothing}
      </tr>`,
    )}</tbody>
  </table></div>
  ${series.others.groups > 0 ? html`<p class="sub">and ${format.count(series.others.groups)} more, drawn as one line</p>` : nothing}`;
}
