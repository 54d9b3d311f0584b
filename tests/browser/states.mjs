// A picture of each state, at two sizes, light and dark. Pixels are not compared: the facts of the
// layout are (person.mjs), contrast and names by axe.

import fs from 'node:fs';
import path from 'node:path';
import { BUSY, core, LOGIN, message, READY } from './core.mjs';
import { DESKTOP, Person, PHONE } from './person.mjs';

const PREVIEW = '1QcSHQRnh493V4dIh4eXh1h4kJUI';
const to = '#lobby';
const picture = message(to, 'bob', 61, 'the sea', { kind: 'file', file: { name: 'holiday.jpg', bytes: 2100000, media: 'image/jpeg', size: [1600, 1200], preview: PREVIEW } });
const own = (number, text) => ({ type: 'outgoing', id: String(number).padStart(32, 'f'), to, kind: 'say', text });
const about = (number, more) => ({ id: String(number).padStart(32, 'f'), to, ...more });
const drawer = (at) => async ({ page, isPhone }) => { if (await isPhone()) await page.locator('#bar button').nth(at).click(); };

const SHOWN = [
  { ...BUSY[0], last: '6', read: '6', topic: 'tea at five, in the garden' },
  ...[['bob', 'morning'], ['alice', 'coffee?'], ['carol', 'yes please, two sugars'], ['bob', 'I bring the good one: https://example.org/beans'], ['carol', '@alice do you have the key of the garden?'], ['alice', 'it is under the pot']]
    .map(([from, text], i) => message(to, from, i + 1, text, { time: `2026-11-30T08:0${i}:00.000Z` })),
  { ...picture, seq: '7', from: 'carol', text: 'look, the sea', time: '2026-11-30T08:07:00.000Z' },
  message(to, 'bob', 8, 'beautiful!', { time: '2026-11-30T08:08:00.000Z' }),
  { type: 'unread', to, messages: 0, read: '8' },
  ...BUSY.slice(BUSY.findIndex((one) => one.channel === '#work')),
];

/** The objects of the client, and the user's actions afterwards. */
export const STATES = {
  shown: { tells: [...LOGIN, ...SHOWN, READY] },
  empty: { tells: [...LOGIN, READY] },
  busy: { tells: [...LOGIN, ...BUSY, READY] },
  reading: { tells: [...LOGIN, ...BUSY, READY], does: ({ page }) => page.evaluate(() => { document.querySelector('#scroller').scrollTop = 200; }) },
  rooms: { tells: [...LOGIN, ...BUSY, READY], does: drawer(0) },
  people: { tells: [...LOGIN, ...BUSY, READY], does: drawer(3) },
  waiting: { tells: [...LOGIN, ...BUSY, own(1, 'typed offline'), { type: 'pending', ...about(1, { stored: true }) }, own(2, 'too fast'),
    { type: 'refused', ...about(2, { code: 'rate', hint: 'too fast: wait 1 s', origin: 'server' }) }, READY] },
  file: { tells: [...LOGIN, ...BUSY, picture, message(to, 'carol', 62, '', { kind: 'file', file: { name: 'a plan for the garden with a long name.pdf', bytes: 81234, media: 'application/pdf' } }),
    { type: 'transfer', transfer: 'f1', direction: 'up', state: 'going', name: 'tea.jpg', to, bytes: 650000, of: 2100000, rate: 118000 }, READY] },
  warned: { tells: [...LOGIN, ...BUSY, READY, { type: 'violation', to, from: 'bob', seq: '61', code: 'forged', hint: 'a message of bob is forged: no key of his has signed it', origin: 'client' },
    { type: 'key_changed', name: 'bob', hint: 'bob has a new key that you have not confirmed', origin: 'client' }, { type: 'notice', text: 'the server restarts at six\nplease be patient', origin: 'server' },
    message(to, 'carol', 62, 'who says so?', { unsealed: true, replay: false })] },
  connecting: { tells: [{ type: 'state', state: 'connecting' }, ...BUSY, READY] },
  offline: { tells: [...LOGIN, ...BUSY, READY, { type: 'state', state: 'offline', retry_ms: 30000 }] },
  silent: { tells: [...LOGIN, ...BUSY, READY, { type: 'state', state: 'silent', since: new Date().toISOString() }] },
  admission: { tells: [{ type: 'state', state: 'not_admitted', retry_ms: 6000 }, { ...READY, admission: ['pychat-key1.alice.MIIBojANBgkqhkiG9w0BAQEFAAOCAY8AMIIBigKCAYEA', 'read them this over the phone: M4T9A-Q2B7C-K3D8E-P4F9G'] }] },
  banned: { tells: [...LOGIN, ...BUSY, READY, { type: 'error', code: 'banned', hint: 'banned by carol until tomorrow: noise', origin: 'server' }, { type: 'state', state: 'refused', code: 'banned' }] },
  gone: { tells: [...LOGIN, ...BUSY, READY, { type: 'gone', channel: '#work' }], does: async (person) => {
    await drawer(0)(person);
    await person.page.locator('#rooms .label', { hasText: '#work' }).click();
  } },
  password: { tells: [{ type: 'state', state: 'connecting' }, { type: 'password', wrong: true, retry_ms: 2000, origin: 'server' }, READY] },
  removed: { tells: [...LOGIN, ...BUSY, READY, { type: 'error', code: 'removed', hint: 'your key was removed from this server', origin: 'server' }, { type: 'state', state: 'refused', code: 'removed' }, { type: 'bye', reason: 'see the last error' }] },
  wrong: { tells: [...LOGIN, ...BUSY, READY, { type: 'error', code: 'wrong_server', hint: 'chat.example:5000 has another key than the pinned one: somebody may be between you and the server', origin: 'client' }, { type: 'bye', reason: 'see the last error' }] },
  full: { tells: [...LOGIN, ...BUSY, READY, { type: 'error', code: 'busy', hint: 'the server is full: the client tries again', origin: 'client' }, { type: 'state', state: 'offline', retry_ms: 60000 }] },
  back: { tells: [...LOGIN, ...BUSY, READY, { type: 'state', state: 'offline', retry_ms: 1000 }, { type: 'state', state: 'connected', name: 'alice' }] },
  deriving: { tells: [...LOGIN, ...BUSY, READY, { type: 'notice', text: 'deriving the key of #tea ...', origin: 'client' }, { type: 'deriving', channels: ['#tea'], origin: 'client' }],
    does: ({ page }) => page.waitForSelector('#deriving progress') },
  newer: { tells: [...LOGIN, ...BUSY, { ...READY, page: 'one' }, { ...READY, page: 'two' }], does: ({ page }) => page.waitForSelector('#newer button') },
  settings: { tells: [...LOGIN, ...BUSY, READY], does: async (person) => {
    await drawer(0)(person);
    await person.page.locator('#rooms .pane-foot button').first().click();
  } },
  help: { tells: [...LOGIN, ...BUSY, READY], does: ({ page }) => page.keyboard.press('F1') },
  join: { tells: [...LOGIN, ...BUSY, READY], does: ({ page }) => page.locator('#text').pressSequentially('/join #tea 4') },
  search: { tells: [...LOGIN, ...BUSY, READY], does: async ({ page }) => {
    await page.locator('#bar [aria-label=Search]').click();
    await page.fill('dialog [name=text]', 'coffee');
    await page.keyboard.press('Enter');
    await page.waitForSelector('.result');
  } },
  menu: { tells: [...LOGIN, ...BUSY, READY], does: async ({ page }) => {
    await page.locator('#list .row.message').last().focus();
    await page.keyboard.press('Enter');
  } },
  person: { tells: [...LOGIN, ...BUSY, READY], does: async (person) => {
    await drawer(3)(person);
    await person.page.locator('#people .label', { hasText: 'bob' }).click();
    await person.page.waitForSelector('dialog dl');
  } },
  room: { tells: [...LOGIN, ...BUSY, READY], does: ({ page }) => page.locator('.lock').click() },
  sending: { tells: [...LOGIN, ...BUSY, READY], does: ({ page }) => page.setInputFiles('input[type=file]', { name: 'holiday.jpg', mimeType: 'image/jpeg', buffer: Buffer.from('x') }) },
  completing: { tells: [...LOGIN, ...BUSY, READY], does: async ({ page }) => {
    await page.locator('#text').pressSequentially('/');
    await page.waitForSelector('#choices button');
  } },
  stranger: { tells: [...LOGIN, READY], does: async ({ page }) => {
    await page.evaluate(() => sessionStorage.clear());
    await page.reload();
    await page.waitForSelector('#token');
  } },
};

const ABOUT = { fingerprint: READY.fingerprint, founding: READY.fingerprint, name: 'chat.example.org', version: '0.1.0', page: 'one' };
const OTHER = 'A'.repeat(43);
/** Stores a profile with an invalid key before the page opens it. */
const brokenKey = () => indexedDB.deleteDatabase && new Promise((done) => {
  const request = indexedDB.open('pychat profile', 2);
  request.onupgradeneeded = () => {
    request.result.createObjectStore('profile').put({ keys: {}, name: 'alice', fingerprint: '' }, 'own');
    request.result.createObjectStore('files');
    request.result.createObjectStore('chosen');
  };
  request.onsuccess = () => { request.result.close(); done(); };
});

/** The cards that a server's page shows before the chat. `begins` runs before the page's scripts. `does` runs the user's actions. */
const CARDS = {
  'first contact': { says: /Chat on chat\.example\.org/ },
  'first contact in Safari': { says: /Add to Home Screen/, begins: () => { Object.defineProperty(navigator, 'userAgent', { value: 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)' }); } },
  'first contact on an iPad': { says: /Add to Home Screen/, begins: () => {
    Object.defineProperty(navigator, 'userAgent', { value: 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)' });
    Object.defineProperty(navigator, 'maxTouchPoints', { value: 5 });
  } },
  'key file': { says: /This moves your key to this browser/, does: ({ page }) => page.click('text=Use a key file') },
  'wrong name': { says: /start with a letter or a digit/, does: async ({ page }) => {
    await page.fill('#name', '-alice');
    await page.click('#start button[type=submit]');
  } },
  'another server': { says: /another server than the one of your invite/, at: `#${OTHER}` },
  'no WebAssembly': { says: /It lacks WebAssembly/, begins: () => { delete window.WebAssembly; } },
  'no encryption': { says: /It lacks an address with https/, begins: () => { Object.defineProperty(window, 'isSecureContext', { value: false }); } },
  'no storage': { says: /stores nothing for this page/, begins: () => { IDBFactory.prototype.open = () => { throw new DOMException('blocked', 'SecurityError'); }; } },
  'no answer': { says: /The server does not answer/, about: null },
  'other tab': { says: /open in another tab/, begins: () => navigator.locks.request('pychat client', () => new Promise(() => {})), does: async ({ page }) => {
    await page.fill('#name', 'alice');
    await page.click('#start button[type=submit]');
  } },
  'unreadable key': { says: /Your key cannot be read now/, profile: brokenKey },
  'forget the key': { says: /Forget your key\?/, profile: brokenKey, does: ({ page }) => page.click('text=Forget it and start again') },
};

async function cards(browser, script, look, options, shots) {
  for (const [name, { says, at = '', about = ABOUT, begins, profile, does }] of Object.entries(CARDS)) {
    const person = await Person.look(browser, `${name}, ${look}`, options, script.origin);
    const { page } = person;
    await page.route('**/server.json', (route) => (about ? route.fulfill({ json: about }) : route.abort()));
    if (!about) person.allowed.push(/ERR_FAILED/);
    if (profile) {
      await page.goto(`${script.origin}/icons/icon.svg`);
      await page.evaluate(profile);
    }
    if (begins) await page.addInitScript(begins);
    await page.goto(`${script.origin}/${at}`);
    await page.waitForSelector('#start main');
    await does?.(person);
    await person.reads(says);
    const image = await page.screenshot(shots ? { path: path.join(shots, `${name.replaceAll(' ', '-')}-${look}.png`) } : {});
    if (image.length < 2000) throw new Error(`${name}, ${look}: the picture is empty`);
    await person.check().catch((error) => { throw new Error(`${name}, ${look}: ${error.message}`); });
    await person.close();
  }
}

const LOOKS = [['phone', PHONE], ['desktop', DESKTOP]].flatMap(([size, look]) => ['light', 'dark'].map((colorScheme) => [`${size}-${colorScheme}`, { ...look, colorScheme }]));

export async function states({ browser, say }) {
  const shots = process.env.PYCHAT_SHOTS;
  if (shots) fs.mkdirSync(shots, { recursive: true });
  const script = await core(Object.fromEntries(Object.entries(STATES).map(([name, { tells }]) => [name, tells])));
  try {
    await Promise.all(LOOKS.map(async ([look, options]) => {
      const person = await Person.look(browser, look, options, script.origin);
      for (const [name, { does }] of Object.entries(STATES)) {
        await person.page.goto('about:blank');
        await person.page.goto(script.url(name));
        await person.page.waitForSelector('#app:not([hidden])');
        await does?.(person);
        await person.page.waitForTimeout(60);
        const image = await person.page.screenshot(shots ? { path: path.join(shots, `${name}-${look}.png`) } : {});
        if (image.length < 2000) throw new Error(`${name}, ${look}: the picture is empty`);
        await person.check().catch((error) => { throw new Error(`${name}, ${look}: ${error.message}`); });
      }
      await person.close();
      await cards(browser, script, look, options, shots);
      say(`${Object.keys(STATES).length + Object.keys(CARDS).length} states, ${look}`);
    }));
  } finally {
    script.close();
  }
}
