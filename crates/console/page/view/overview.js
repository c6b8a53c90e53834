// What is wrong first; then requests and latency; then every component and route.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import * as format from '../format.js';
import { NO_FILTERS, answered, isFiltered, noMatch, noTraffic } from '../template/answer.js';
import { changeList } from '../template/list.js';
import { stateMark } from '../template/mark.js';
import { readSelection, selectionBar, writeSelection } from '../template/selection.js';
import { failedTraces, groupLines, quantileLines, requestPoints, seriesColor, stepTimes } from '../template/series.js';
import { prose } from '../template/text.js';
import { sparkline } from '../sparkline.js';

/** @import {App} from '../app.js' */
/** @import {Component, Measured, Overview, Series} from '../types.js' */

/** The metrics of the host that the plots show. */
const REQUESTS = 'wasm_http_requests_total';
const DURATION = 'wasm_http_request_duration_seconds';

/** The problems that are listed before the others are only counted. */
const PROBLEMS = 8;

/** @param {App} app */
export function overview(app) {
  const cursor = app.address.parameters.cursor;
  const common = { ...app.filters, range: app.range, end: app.end };
  /** @type {import('../resource.js').Resource<Overview>} */
  const answer = app.use('overview', 'overview', { ...common, cursor });
  // The components with problems are on the first page, whichever is shown.
  /** @type {import('../resource.js').Resource<Overview>} */
  const first = cursor === undefined ? answer : app.use('overview-first', 'overview', common);
  return html`<h1 class="hidden">Overview</h1>
    ${answered(answer, (value) =>
      value.components.length === 0
        ? nothingServed(app)
        : html`
            ${answered(first, (worst) => wrong(app, worst))}
            ${selectionBar(app)}
            ${plots(app)}
            ${table(app, value)}
            ${changes(app)}
          `,
    )}`;
}

/** @param {App} app */
function nothingServed(app) {
  if (isFiltered(app, NO_FILTERS))
    return noMatch(app, 'Nothing', NO_FILTERS, 'No component has this name, tenant and route.');
  return html`<section class="empty"><h2>Nothing is served yet</h2>
    <p>Serve a component of <code>wasi:http</code>, and it appears here:</p>
    <pre><code>wasmetry serve app.wasm</code></pre></section>`;
}

/**
 * @param {App} app
 * @param {Overview} value The first page: the components with problems, the worst first.
 */
function wrong(app, value) {
  const { components, next } = value;
  const found = components
    .flatMap((component) => {
      const filters = { component: component.component, tenant: component.tenant };
      // What a route has too is listed with the route.
      const ofRoutes = component.routes.flatMap((route) => route.problems.map((problem) => problem.text));
      const problems = component.problems.filter((problem) => !ofRoutes.includes(problem.text));
      const own = problems.map((problem) => ({
        ...problem,
        component,
        route: /** @type {string | null} */ (null),
        filters,
      }));
      const routes = component.routes.flatMap((route) =>
        route.problems.map((problem) => ({
          ...problem,
          component,
          route: route.route,
          filters: { ...filters, route: route.route },
        })),
      );
      return [...own, ...routes];
    })
    .sort((left, right) => Number(right.severity === 'error') - Number(left.severity === 'error'));
  const requests = components.reduce((sum, component) => sum + component.requests.total, 0);
  if (requests === 0) return noTraffic(app, 'The components below wait for requests.');
  if (found.length === 0) {
    const rate = components.reduce((sum, component) => sum + (component.rate ?? 0), 0);
    return html`<section class="wrong calm" aria-label="What is wrong">
      <p>${stateMark('ok')} Nothing is wrong: ${format.rate(rate)} in ${components.length === 1 ? 'one component' : `${next === null ? '' : 'the busiest '}${components.length} components`}.</p></section>`;
  }
  const hasMore = next !== null && ['failing', 'degraded'].includes(components.at(-1)?.state ?? '');
  return html`<section class="wrong" aria-labelledby="wrong">
    <h2 id="wrong">What is wrong</h2>
    <ul>
      ${found.slice(0, PROBLEMS).map(
        ({ severity, text, component, route, filters }) => html`<li class=${severity}>
          <span class="who">${component.component}${route === null ? nothing : html` <code>${route}</code>`}</span>
          <span class="what">${prose(text)}</span>
          <span class="actions">
            <a href=${app.href('explain', '', filters)}>Why?</a>
            <a href=${app.href('traces', '', filters)}>Traces</a>
            <a href=${app.href('logs', '', { ...filters, level: 'warn' })}>Logs</a>
          </span>
        </li>`,
      )}
    </ul>
    ${found.length > PROBLEMS ? html`<p class="sub">and ${hasMore ? 'at least ' : ''}${found.length - PROBLEMS} more, marked in the table below</p>` : nothing}
  </section>`;
}

/** @param {App} app */
function plots(app) {
  const filters = app.filters;
  const common = { ...filters, range: app.range, end: app.end };
  /** @type {import('../resource.js').Resource<Series>} */
  const requests = app.use('overview-requests', 'series', { metric: REQUESTS, by: 'status', ...common });
  /** @type {import('../resource.js').Resource<Series>} */
  const latency = app.use('overview-latency', 'series', { metric: DURATION, ...common });
  const failed = failedTraces(app, 'overview-failed');
  const { from, to } = app.window;
  const selection = readSelection(app);
  return html`<div class="plots">
    <section class="panel"><h2>Requests <span class="sub">a second, by status</span></h2>
      ${answered(
        requests,
        (series) =>
          html`<wm-plot .spec=${{
            source: series,
            key: 'requests',
            title: 'Requests a second by status',
            times: stepTimes(series),
            lines: groupLines(series, ({ labels }, index) => statusColor(labels.status ?? '', index)),
            format: format.rate,
            window: [from, to],
            selection,
            select: writeSelection(app),
          }}></wm-plot>`,
      )}
    </section>
    <section class="panel"><h2>Latency <span class="sub">a point is a request, red if it failed: open its trace</span></h2>
      ${answered(
        latency,
        (series) =>
          html`<wm-plot id="latency" .spec=${{
            source: series,
            key: 'latency',
            title: 'Latency',
            times: stepTimes(series),
            lines: quantileLines(series),
            format: format.duration,
            scale: 'log',
            window: [from, to],
            points: requestPoints(app, series, failed),
            selection,
            select: writeSelection(app),
            selectsValues: true,
          }}></wm-plot>`,
      )}
    </section>
  </div>`;
}

/**
 * @param {string} status
 * @param {number} index
 */
function statusColor(status, index) {
  if (status.startsWith('5') || !/^\d/.test(status)) return ['--e1', '--e2', '--e3'][index % 3] ?? '--e1';
  if (status.startsWith('4')) return ['--w1', '--w2'][index % 2] ?? '--w1';
  return seriesColor(index);
}

/**
 * @param {App} app
 * @param {Overview} value
 */
function table(app, value) {
  return html`<section class="panel" aria-labelledby="components"><h2 id="components">Components and routes</h2>
    <div class="table-frame"><table class="components">
      <thead><tr>
        <th>Name</th><th class="number">Rate</th><th class="number">Errors</th><th class="number">P50</th><th class="number">P95</th>
        <th class="number">P99</th><th class="number">In flight</th><th class="number">Memory</th><th class="number">Instances</th>
        <th class="number">Busy</th><th>Traps</th>
      </tr></thead>
      ${value.components.map(
        (component) => html`<tbody>
          ${componentRow(app, component)}
          ${component.routes.map((route) => {
            const filters = { component: component.component, tenant: component.tenant, route: route.route };
            return html`<tr class="route">
              <th scope="row"><span class="name">${stateMark(route.state)}
                <a href=${app.href('traces', '', filters)}><code>${route.route}</code></a></span></th>
              ${measured(app, route, filters)}
              <td class="blank"></td><td class="blank"></td><td class="blank"></td>${trapCell(app, route, filters)}
            </tr>`;
          })}
          ${
            component.routes_left_out > 0
              ? html`<tr class="route"><td colspan="11" class="sub">${component.routes_left_out} more routes</td></tr>`
              : nothing
          }
        </tbody>`,
      )}
    </table></div>
    ${value.next === null ? nothing : html`<p class="more"><a href=${app.with({ cursor: value.next })}>More components</a></p>`}
    ${app.address.parameters.cursor === undefined ? nothing : html`<p class="more"><a href=${app.with({})}>From the beginning</a></p>`}
  </section>`;
}

/**
 * @param {App} app
 * @param {Component} component
 */
function componentRow(app, component) {
  const filters = { component: component.component, tenant: component.tenant };
  const { memory_bytes, memory_limit_bytes, memory_peak_ratio } = component;
  return html`<tr class="component">
    <th scope="row"><span class="name">${stateMark(component.state)}
      <a href=${app.href('overview', '', { ...filters, route: null })}>${component.component}</a>
      ${component.tenant ? html`<span class="badge plain">${component.tenant}</span>` : nothing}</span>
      <span class="sub version" title="version ${component.version}">${component.version}</span></th>
    ${measured(app, component, filters)}
    <td data-label="Memory" class="number">${format.bytes(memory_bytes)}
      ${
        memory_limit_bytes
          ? html`<span class="sub">peak ${format.percent(memory_peak_ratio)} of ${format.bytes(memory_limit_bytes)}</span>
        <progress class="meter ${(memory_peak_ratio ?? 0) > 0.8 ? 'failed' : 'normal'}" max="1" value=${memory_peak_ratio ?? 0} aria-hidden="true"></progress>`
          : nothing
      }</td>
    <td data-label="Instances" class="number">${format.number(component.instances)}<span class="sub">of ${format.number(component.instances_limit)}</span></td>
    <td data-label="Busy" class="number" title="Seconds of guests' time a second">${cores(component.busy)}<span class="sub">${
      (component.waiting ?? 0) > 0 || (component.refused_rate ?? 0) > 0
        ? html`${format.number(component.waiting)} waiting, ${format.rate(component.refused_rate)} refused`
        : 'cores'
    }</span></td>
    ${trapCell(app, component, filters)}
  </tr>`;
}

/** @param {number | null} busy */
const cores = (busy) => (busy !== null && busy > 0 && busy < 0.001 ? '<0.001' : format.number(busy));

/**
 * @param {App} app
 * @param {Measured} entry
 * @param {Record<string, string | undefined>} filters
 */
function measured(app, entry, filters) {
  const { sparklines } = entry;
  const hasErrors = (entry.error_ratio ?? 0) > 0;
  return html`
    <td data-label="Rate" class="number with-spark"><span>${sparkline(sparklines.rate)}${format.rate(entry.rate)}</span></td>
    <td data-label="Errors" class="number with-spark"><span>${
      hasErrors
        ? html`${sparkline(sparklines.error_rate, 'bad')}<a class="bad" href=${app.href('traces', '', { ...filters, outcome: 'failed' })}>${format.percent(entry.error_ratio)}</a>`
        : format.percent(entry.error_ratio)
    }</span></td>
    <td data-label="P50" class="number">${format.duration(entry.p50)}</td>
    <td data-label="P95" class="number">${format.duration(entry.p95)}</td>
    <td data-label="P99" class="number with-spark"><span>${sparkline(sparklines.p99)}${format.duration(entry.p99)}</span></td>
    <td data-label="In flight" class="number">${format.number(entry.in_flight)}</td>
  `;
}

/**
 * @param {App} app
 * @param {Measured} entry
 * @param {Record<string, string | undefined>} filters
 */
function trapCell(app, entry, filters) {
  const traps = entry.traps.filter((trap) => trap.count > 0);
  return html`<td data-label="Traps" class=${traps.length === 0 ? 'traps none' : 'traps'}>${traps.map(
    (trap) =>
      html`<a class="badge failed" href=${app.href('traps', '', filters)}>${trap.reason} ${format.count(trap.count)}</a> `,
  )}</td>`;
}

/** @param {App} app */
function changes(app) {
  const { status } = app.connection;
  if (!status || status.changes.length === 0) return nothing;
  return html`<section class="panel"><h2>What changed lately</h2>${changeList(status.changes.slice(0, 8), app.now)}</section>`;
}
