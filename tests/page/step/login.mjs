// The login: a host that requires a token.

import { checkLooks, ensure, isAccessible, settled, until } from '../check.mjs';
import { guarded, pictures } from '../host.mjs';

/** Sends a token by the form that is shown. */
async function enter(page, token) {
  await page.getByLabel(/Token/).fill(token);
  await page.getByRole('button', { name: 'Log in' }).click();
}

export const steps = {
  async 'a token opens the page and is in no address'(_, browser) {
    const { origin, token } = guarded;
    const page = await browser.open(origin);
    const urls = [];
    page.on('request', (request) => urls.push(request.url()));
    // The browser logs each 401.
    browser.expectsErrors = true;
    await page.goto(`${origin}/#/traces?range=900`);
    await until('the form', () => page.getByLabel(/Token/).count());
    ensure((await page.locator('script').count()) === 0, 'the page is shown without a token');
    const look = await page.locator('form').evaluate((form) => getComputedStyle(form).display);
    ensure(look === 'grid', 'the policy of the form refuses its style');
    await checkLooks(page, pictures, 'form');
    await enter(page, 'a-token-that-is-wrong');
    await until('the refusal', () => page.getByText('The token is wrong').count());
    await isAccessible(page, 'the form after a wrong token');
    await enter(page, token);
    await until('the page', () => page.locator('.connection.live').count());
    browser.expectsErrors = false;
    await settled(page);
    ensure(page.url() === `${origin}/#/traces?range=900`, `the form has led to ${page.url()}, not to what the link named`);
    ensure(await page.getByRole('heading', { name: 'Traces' }).count(), 'the view of the link is not shown');

    // A session that ends shows the page's own form, and goes on where it was.
    browser.expectsErrors = true;
    await page.context().clearCookies();
    await until('the page’s form', () => page.locator('form #token').count());
    await checkLooks(page, pictures, 'login');
    await enter(page, 'another-token-that-is-wrong');
    await until('the error', () => page.getByRole('alert').filter({ hasText: 'not the token' }).count());
    await isAccessible(page, 'the login after a wrong token');
    await enter(page, token);
    await until('the page again', () => page.locator('.connection.live').count());
    browser.expectsErrors = false;
    await settled(page);
    ensure(page.url().endsWith('#/traces?range=900'), `the login has left the view for ${page.url()}`);
    ensure(await page.getByRole('heading', { name: 'Traces' }).count(), 'the view is not shown after the login');
    const leaks = [...urls, page.url()].filter((url) => url.includes(token) || url.includes('wrong'));
    ensure(leaks.length === 0, `a token is in the address ${leaks[0]}`);
    const kept = await page.evaluate(() => [document.cookie, ...Object.values({ ...localStorage, ...sessionStorage })]);
    ensure(kept.join('') === '', `scripts can read ${kept}`);
    await page.context().close();
  },
};
