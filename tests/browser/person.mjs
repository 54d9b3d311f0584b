// A person at a page: what they do and see, and what no page may ever do.

import fs from 'node:fs';
import { createRequire } from 'node:module';
import { IS_FIREFOX } from './browsers.mjs';
import { until } from './world.mjs';

const AXE = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
export const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, ...(IS_FIREFOX ? {} : { isMobile: true }) };
/** What browsers tell on the console of a connection that fails. */
export const NO_CONNECTION = /WebSocket|ERR_CONNECTION|can.t establish a connection/;
export const DESKTOP = { viewport: { width: 1280, height: 800 } };

/** While the page is written: its files as they are, instead of those in the program. */
const WEB = process.env.PYCHAT_WEB;
async function fromFolder(context) {
  await context.route(/\/page\/[a-z]+\.(js|css)$/, async (route) => {
    const name = new URL(route.request().url()).pathname.slice(1) || 'index.html';
    const { 'content-length': _, etag: __, ...headers } = (await route.fetch()).headers();
    return route.fulfill({ headers, body: fs.readFileSync(`${WEB}/${name}`) });
  });
}

export class Person {
  /** Opens a page of a client. `look`: size, colours, touch. */
  static async open(browser, name, client, look = DESKTOP) {
    const context = await browser.newContext({ locale: 'en-GB', timezoneId: 'UTC', serviceWorkers: WEB ? 'block' : 'allow', ...look });
    if (WEB) await fromFolder(context);
    const person = Object.assign(new Person(), { name, client, context, faults: [], allowed: WEB ? [/Service ?Worker/i] : [] });
    await person.watch(new URL(client.url).origin);
    await person.page.goto(client.url);
    await person.page.waitForSelector('#app:not([hidden])');
    await person.state('connected');
    return person;
  }

  /** Opens a page without a client, for states by script. */
  static async look(browser, name, look, origin) {
    const context = await browser.newContext({ locale: 'en-GB', timezoneId: 'UTC', serviceWorkers: 'block', ...look });
    const person = Object.assign(new Person(), { name, context, faults: [], allowed: [/ServiceWorker|Service Worker/] });
    await person.watch(origin);
    return person;
  }

  /** A page whose faults are noted. */
  async watch(origin) {
    this.origin = origin;
    this.page = await this.context.newPage();
    const fault = (text) => { if (!this.allowed.some((one) => one.test(text))) this.faults.push(text); };
    this.page.setDefaultTimeout(15000);
    this.page.on('console', (message) => ['error', 'warning'].includes(message.type()) && fault(`console: ${message.text()}`));
    this.page.on('pageerror', (error) => fault(`error: ${error.stack}`));
    this.page.on('request', (request) => {
      const { origin, protocol } = new URL(request.url());
      if (origin !== this.origin && !['blob:', 'about:'].includes(protocol)) fault(`foreign request: ${request.url()}`);
    });
    // Chromium gives each page the focus; Firefox one at a time.
    if (IS_FIREFOX) await this.page.addInitScript(() => { Document.prototype.hasFocus = () => true; });
    await this.page.addInitScript(() => addEventListener('securitypolicyviolation', (event) => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`)));
  }

  /** Waits for a state of the connection. */
  async state(word) {
    await until(`${this.name} is ${word}`, () => this.page.evaluate((wanted) => document.querySelector('#rooms .who span').textContent.includes(wanted), word));
  }

  async says(text) {
    await this.page.fill('#text', text);
    await this.page.locator('#send').click();
  }

  /** The texts of the rows on the screen, in their order. */
  texts() {
    return this.page.evaluate(() => [...document.querySelectorAll('#list .row.message .text')].map((one) => one.textContent.replace(/ \u2026 \(not stored yet\)$/, '')));
  }

  async sees(text, times = 1) {
    await until(`${this.name} sees ${JSON.stringify(text)} ${times} time(s)`, async () => (await this.texts()).filter((one) => one.includes(text)).length === times);
  }

  /** What is on the screen, notices too. */
  async reads(pattern) {
    await until(`${this.name} reads ${pattern}`, () => this.page.evaluate((source) => new RegExp(source).test(document.body.innerText), pattern.source));
  }

  isPhone = async () => this.page.viewportSize().width < 600;

  async drawer(which) {
    if (await this.isPhone()) await this.page.locator('#bar button').nth(which === 'rooms' ? 0 : 3).click();
  }

  /** Goes to a conversation in the list. */
  async opens(name) {
    await this.drawer('rooms');
    await this.page.locator('#rooms .entry .label', { hasText: new RegExp(`^${name}$`) }).click();
    await until(`${this.name} is in ${name}`, async () => (await this.page.textContent('#bar h1')) === name);
  }

  async joins(channel, pin) {
    await this.drawer('rooms');
    await this.page.click('#rooms [aria-label^="Join a channel"]');
    await this.page.fill('dialog [name=name]', channel);
    if (pin) await this.page.fill('dialog [name=pin]', pin);
    await this.page.click('dialog button.primary');
    await until(`${this.name} is in ${channel}`, async () => (await this.page.textContent('#bar h1')) === channel);
  }

  /** Opens the menu of the newest row with this text, and chooses from it. */
  async chooses(text, entry) {
    const row = this.page.locator('#list .row.message', { hasText: text }).last();
    await row.focus();
    await this.page.keyboard.press('Enter');
    await this.page.locator('dialog .entry', { hasText: entry }).click();
  }

  /** The number beside a conversation in the list. */
  async unread(name) {
    return this.page.evaluate((wanted) => {
      const entry = [...document.querySelectorAll('#rooms .entry')].find((one) => one.querySelector('.label').textContent === wanted);
      const count = entry?.querySelector('.count');
      return entry ? (count && !count.hidden ? count.textContent : '') : null;
    }, name);
  }

  /** Everything that this page has stored in the browser. */
  stored() {
    return this.page.evaluate(async () => {
      const caches_ = [];
      for (const name of await caches.keys()) {
        const cache = await caches.open(name);
        for (const request of await cache.keys()) caches_.push(request.url, await (await cache.match(request)).text());
      }
      return JSON.stringify([{ ...localStorage }, { ...sessionStorage }]) + caches_.join('\n');
    });
  }

  /** Accessibility faults, found in a world of its own beside the page's, which only chromium has. */
  async axe() {
    if (IS_FIREFOX) return [];
    const session = await this.context.newCDPSession(this.page);
    const { frameTree } = await session.send('Page.getFrameTree');
    const { executionContextId } = await session.send('Page.createIsolatedWorld', { frameId: frameTree.frame.id, worldName: 'axe' });
    const evaluate = async (expression) => {
      const { result, exceptionDetails } = await session.send('Runtime.evaluate', { expression, contextId: executionContextId, awaitPromise: true, returnByValue: true });
      if (exceptionDetails) throw new Error(`axe: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
      return result.value;
    };
    await evaluate(`if (!globalThis.axe) { ${AXE} }; 0`);
    const isModal = await this.page.locator('dialog[open], #main[inert]').count() > 0;
    // Behind a sheet or a drawer the rest of the page is inert, its landmarks and headings too.
    const found = await evaluate(`axe.run(document, {
      rules: { 'landmark-one-main': { enabled: ${!isModal} }, 'page-has-heading-one': { enabled: ${!isModal} } }, runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })
      .then(({ violations }) => violations.map((one) => one.id + ': ' + one.nodes.slice(0, 3).map((node) => node.html.slice(0, 160) + ' ' + node.failureSummary.slice(0, 200)).join(' ; ')))`);
    await session.detach();
    return found;
  }

  /** Facts of the layout that hold in each state. */
  layout(least) {
    return this.page.evaluate((side) => {
      const faults = [];
      const root = document.documentElement;
      if (root.scrollWidth > innerWidth || document.body.scrollWidth > innerWidth) faults.push(`sideways scroll: ${root.scrollWidth} > ${innerWidth}`);
      const start = document.querySelector('#start');
      if (start.scrollWidth > start.clientWidth) faults.push(`the card is wider than the page: ${start.scrollWidth} > ${start.clientWidth}`);
      const text = document.querySelector('#text').getBoundingClientRect();
      const app = document.querySelector('#app');
      if (!app.hidden && (text.bottom > innerHeight || text.top < 0 || text.height < side)) faults.push(`the composer is not visible: ${text.top} to ${text.bottom} of ${innerHeight}`);
      const bar = document.querySelector('#bar').getBoundingClientRect();
      if (!app.hidden && bar.top !== 0) faults.push(`the bar is at ${bar.top}`);
      const open = document.querySelector('dialog[open]');
      for (const one of document.querySelectorAll('button, input:not([type=checkbox]), select, textarea')) {
        const box = one.getBoundingClientRect();
        if (!box.width || getComputedStyle(one).visibility === 'hidden' || (open && !open.contains(one))) continue;
        if (box.height < side - 0.5 || box.width < side - 0.5) faults.push(`a target of ${box.width} x ${box.height}: ${one.outerHTML.slice(0, 100)}`);
      }
      for (const row of document.querySelectorAll('#list .text, #bar h1, dialog[open] .sheet-body')) {
        const box = row.getBoundingClientRect();
        if (box.width && box.right > innerWidth + 1) faults.push(`text beyond the edge: ${row.textContent.slice(0, 60)}`);
      }
      return faults;
    }, least);
  }

  /** What holds at the end of every story. */
  async check() {
    const faults = [...this.faults, ...(await this.axe()), ...(await this.layout(44))];
    if (faults.length) throw new Error(`${this.name}: ${faults.join('\n')}`);
  }

  async close() { await this.context.close(); }
}
