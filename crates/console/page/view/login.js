// The form for the token, after which the host knows this browser by a cookie that the page cannot
// read.

import { html, nothing } from '../vendor/lit-html/lit-html.js';

/** @import {App} from '../app.js' */

let error = '';
let isSending = false;

/** @param {App} app */
export function login(app) {
  const submit = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    const token = String(new FormData(form).get('token') ?? '');
    isSending = true;
    error = '';
    app.changed();
    try {
      const response = await fetch('login', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ token }),
      });
      if (response.ok) {
        form.reset();
        app.connection.retry();
        app.refresh();
      } else {
        error =
          response.status === 429
            ? 'There were too many wrong tokens. Wait a minute, then try again.'
            : 'This is not the token. It is the one that the host was started with.';
      }
    } catch {
      error = 'The host does not answer. Check that it runs, then try again.';
    }
    isSending = false;
    app.changed();
  };
  return html`<main class="login" id="main">
    <form @submit=${submit}>
      <h1><img src="page/icon.svg" alt="" width="24" height="24">wasmetry</h1>
      <p>This address needs the bearer token of the telemetry endpoint.</p>
      <label for="token">Token</label>
      <input id="token" name="token" type="password" required autocomplete="current-password" spellcheck="false"
        aria-describedby="login-error" aria-invalid=${error ? 'true' : 'false'}>
      <p class="error" id="login-error" role="alert">${error || nothing}</p>
      <button type="submit" class="primary" ?disabled=${isSending}>Log in</button>
    </form>
  </main>`;
}
