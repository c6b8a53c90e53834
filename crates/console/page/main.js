// The page: which view is drawn, and the events that it needs.

import { html, render } from './vendor/lit-html/lit-html.js';
import './element/plot.js';
import { App } from './app.js';
import { STEPS } from './resource.js';
import { shell } from './shell.js';
import { login } from './view/login.js';
import { overview } from './view/overview.js';
import { metric, metrics } from './view/metrics.js';
import { LogTail, logs } from './view/logs.js';
import { traces } from './view/traces.js';
import { trace } from './view/trace.js';
import { traps } from './view/traps.js';
import { explain } from './view/explain.js';

const root = /** @type {HTMLElement} */ (document.getElementById('page'));
root.replaceChildren();

const app = new App(draw);
const tail = new LogTail(app);
let shown = '';

/** @returns {{ title: string, content: unknown }} */
function view() {
  const { view, id } = app.address;
  switch (view) {
    case 'metrics':
      return id ? { title: id, content: metric(app, id) } : { title: 'Metrics', content: metrics(app) };
    case 'logs':
      return { title: 'Logs', content: logs(app, tail, id) };
    case 'traces':
      return id ? { title: 'Trace', content: trace(app, id) } : { title: 'Traces', content: traces(app) };
    case 'traps':
      return { title: 'Traps', content: traps(app) };
    case 'explain':
      return { title: 'Compare', content: explain(app) };
    case 'overview':
      return { title: 'Overview', content: overview(app) };
    default:
      return {
        title: 'Not found',
        content: html`<section class="empty"><h1>No such view</h1>
          <p>The address names none. <a href=${app.href('overview')}>Open the overview</a>.</p></section>`,
      };
  }
}

function draw() {
  const { connection, address } = app;
  if (connection.state === 'refused') {
    document.title = 'Log in · wasmetry';
    render(login(app), root);
    return;
  }
  const wanted = address.view === 'logs' && app.end === null ? tail.parameters() : STEPS;
  // Until the filters of logs are known to be accepted, the stream before goes on.
  if (wanted !== null || !connection.isWatching) connection.watch(wanted ?? STEPS);
  const { title, content } = view();
  document.title = `${connection.state === 'lost' ? '(offline) ' : ''}${title} · wasmetry`;
  render(shell(app, content), root);
  const now = `${address.view}/${address.id}`;
  if (shown && now !== shown && address.view !== 'logs') {
    // A new view begins at its top; the logs keep their place when a record opens.
    document.getElementById('main')?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  shown = now;
}

draw();
