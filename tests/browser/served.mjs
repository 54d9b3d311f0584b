// The client in the page: WebAssembly in a Worker, a key that the browser has made, and the real server.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { saved } from './browsers.mjs';
import { house } from './house.mjs';
import { DESKTOP, Person, PHONE } from './person.mjs';
import { until } from './world.mjs';

/** Opens the page of the server, without a key. */
export async function visit(browser, name, url, look = DESKTOP) {
  const context = await browser.newContext({ locale: 'en-GB', timezoneId: 'UTC', ...look });
  const person = Object.assign(new Person(), { name, context, faults: [], allowed: [] });
  await person.watch(new URL(url).origin);
  await person.page.goto(url);
  return person;
}

/** Makes a key, and returns the line for the operator. */
export async function begins(person, passphrase) {
  const { page, name } = person;
  await page.fill('#name', name);
  if (passphrase) await page.fill('#start [name=passphrase]', passphrase);
  await page.click('#start button[type=submit]');
  await page.waitForSelector('#app:not([hidden])');
  await person.reads(new RegExp(`pychat-key1\\.${name}\\.`));
  await person.reads(/[0-9A-Z]{5}-[0-9A-Z]{5}-[0-9A-Z]{5}-[0-9A-Z]{5}/);
  return page.evaluate((own) => document.body.innerText.match(new RegExp(`pychat-key1\\.${own}\\.\\S+`))[0], name);
}

export const SERVED = {
  async 'served: a key is made, admitted, and used'({ world, browser, carol }) {
    const url = `http://${world.webAddress}/`;
    const dave = await visit(browser, 'dave', url, PHONE);
    await dave.page.fill('#name', '-dave');
    await dave.page.click('#start button[type=submit]');
    await dave.reads(/start with a letter or a digit\./);
    const line = await begins(dave);
    await dave.check();
    await world.call('server', 'users', 'add', line, '--yes', '--home', world.home);
    await dave.state('connected');
    await dave.says('from a phone');
    await carol.hears('dave', (one) => one.type === 'message' && one.from === 'dave' && one.text === 'from a phone');
    carol.tell({ type: 'say', to: '@dave', text: 'only for dave' });
    await until('dave has one unread', async () => (await dave.unread('carol')) === '1!');
    await dave.opens('carol');
    await dave.sees('only for dave');
    await dave.says('and only for carol');
    const sealed = await carol.hears('the answer', (one) => one.type === 'message' && one.text === 'and only for carol');
    assert.equal(sealed.confidentiality, 'sealed');
    await dave.joins('#cake', '47114711');
    carol.tell({ type: 'join', channel: '#cake', pin: '47114711' });
    await carol.hears('its channel', (one) => one.type === 'entered' && one.channel.startsWith('#cake'));
    await dave.says('with cream');
    await carol.hears('the cake', (one) => one.type === 'message' && one.text === 'with cream');
    // The key works, and cannot be exported.
    const exported = await dave.page.evaluate(async () => {
      const { whole } = await import(new URL('page/vault.js', document.baseURI).href);
      const { keys } = await (await whole()).profile();
      return Promise.all(['opens', 'signs'].flatMap((one) => ['pkcs8', 'jwk'].map((format) => crypto.subtle.exportKey(format, keys[one]).then(() => 'exported', (error) => error.name))));
    });
    assert.deepEqual(exported, Array(4).fill('InvalidAccessError'));
    await dave.check();
    await dave.page.reload();
    await dave.page.waitForSelector('#app:not([hidden])');
    await dave.state('connected');
    await dave.opens('#lobby');
    await dave.says('after a reload');
    await carol.hears('dave again', (one) => one.type === 'message' && one.text === 'after a reload');
    // The files in the browser contain no text of a message.
    const stored = await dave.page.evaluate(async () => {
      const { each, whole } = await import(new URL('page/vault.js', document.baseURI).href);
      const files = [];
      await each(await whole(), (path, bytes) => files.push(path, new TextDecoder('latin1').decode(bytes)));
      return files;
    });
    assert.ok(stored.length > 10, 'there are files');
    for (const text of ['only for dave', 'from a phone', 'with cream', '47114711', 'after a reload']) assert.ok(!stored.join('\n').includes(text), text);
    await dave.check();
    // A second tab takes over, and the first says so.
    const second = await dave.context.newPage();
    await second.goto(url);
    await second.click('text=Use it here');
    await second.waitForFunction(() => document.querySelector('#rooms .who span')?.textContent.includes('connected'));
    await dave.reads(/open in another tab/);
    // Nothing replaces the key, and no other client stores files.
    const fence = await second.evaluate(async () => {
      const { whole } = await import(new URL('page/vault.js', document.baseURI).href);
      const vault = await whole();
      const file = { path: 'other', bytes: new Uint8Array(1) };
      const stored = await vault.store([file], 'another').then(() => 'stored', (error) => error.message);
      return [await vault.keep({ name: 'eve' }), (await vault.profile()).name, stored];
    });
    assert.deepEqual(fence, [false, 'dave', 'another client has the files']);
    // The browser forgets on request.
    dave.page = second;
    await second.setViewportSize({ width: 1280, height: 800 });
    await second.locator('button', { hasText: 'Settings' }).first().click();
    await second.click('text=Forget this browser');
    await second.click('dialog button.primary');
    await second.waitForSelector('#name');
    const left = await second.evaluate(async () => {
      const { each, whole } = await import(new URL('page/vault.js', document.baseURI).href);
      const vault = await whole();
      const files = [];
      await each(vault, (path) => files.push(path));
      return [await vault.profile(), files.length, Object.keys(localStorage).filter((key) => key !== 'pychat server')];
    });
    assert.deepEqual(left, [undefined, 0, []]);
    await dave.context.close();
  },

  async 'served: a message that was written offline is sent once'({ world, browser, carol }) {
    const home = await house(world);
    const erin = await visit(browser, 'erin', home.url);
    // The client is stored for later only if the service worker is there when it is loaded.
    await until('the page is stored', () => erin.page.evaluate(() => !!navigator.serviceWorker.controller));
    const line = await begins(erin);
    await world.call('server', 'users', 'add', line, '--yes', '--home', world.home);
    await erin.state('connected');
    home.cut();
    await erin.state('offline');
    await erin.says('written offline');
    await until('it waits', () => erin.page.evaluate(() => document.body.innerText.includes('written offline')));
    for (const status of [true, 502]) {
      home.cut(status);
      await erin.page.reload();
      await erin.page.waitForSelector('#app:not([hidden])');
    }
    home.mend();
    await carol.hears('the message', (one) => one.type === 'message' && one.text === 'written offline');
    await erin.sees('written offline');
    // A duplicate would arrive before this message.
    await erin.says('written later');
    await carol.hears('a later message', (one) => one.type === 'message' && one.text === 'written later');
    assert.equal(carol.objects.filter((one) => one.type === 'message' && one.text === 'written offline').length, 1);
    await erin.context.close();
    home.close();
  },

  'served: a newer page is loaded on request, and loses no text'({ world, browser }) {
    return newer(world, browser);
  },

  async 'served: a key is saved in a file and moved'({ world, browser, carol }) {
    const url = `http://${world.webAddress}/`;
    const heidi = await visit(browser, 'heidi', url, PHONE);
    const passphrase = 'a rather long passphrase';
    const line = await begins(heidi, passphrase);
    await world.call('server', 'users', 'add', line, '--yes', '--home', world.home);
    await heidi.state('connected');
    await heidi.drawer('rooms');
    await heidi.page.locator('button', { hasText: 'Settings' }).first().click();
    const { bytes } = await saved(heidi.page, () => heidi.page.click('text=Save the key in a file'));
    const file = path.join(world.folder, 'heidi.pem');
    fs.writeFileSync(file, bytes);
    const pem = bytes.toString();
    assert.match(pem, /^-----BEGIN ENCRYPTED PRIVATE KEY-----/);
    await heidi.check();
    await heidi.context.close();
    // The passphrase opens the file. The terminal client gets it without one, because it asks for a passphrase only on a terminal.
    const open = crypto.createPrivateKey({ key: pem, passphrase }).export({ type: 'pkcs8', format: 'pem' });
    assert.throws(() => crypto.createPrivateKey({ key: pem, passphrase: 'another one' }));
    const folder = path.join(world.env('heidi').XDG_DATA_HOME, 'pychat');
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
    fs.writeFileSync(path.join(folder, 'id.pem'), open, { mode: 0o600 });
    assert.equal((await world.call('heidi', 'key', 'show', '--name', 'heidi')).trim(), line);
    // Another browser accepts the file, too. Its user is registered already.
    const again = await visit(browser, 'heidi', url);
    const { page } = again;
    await page.click('text=Use a key file');
    await page.fill('#name', 'heidi');
    const tries = async (what, secret, told) => {
      await page.setInputFiles('#start input[type=file]', what);
      await page.fill('#start [name=passphrase]', secret);
      await page.click('#start button[type=submit]');
      await again.reads(told);
    };
    const junk = path.join(world.folder, 'junk.pem');
    fs.writeFileSync(junk, 'no key');
    await tries(junk, '', /the file is not a pychat key/);
    await tries(file, '', /the key has a passphrase/);
    await tries(file, 'another one', /the passphrase is wrong/);
    await again.check();
    await page.fill('#start [name=passphrase]', passphrase);
    await page.click('#start button[type=submit]');
    await page.waitForSelector('#app:not([hidden])');
    await again.state('connected');
    await again.says('from another browser');
    await carol.hears('heidi', (one) => one.type === 'message' && one.from === 'heidi' && one.text === 'from another browser');
    // The browser stores no passphrase. Its copies of the key are encrypted or cannot be exported.
    const stored = await page.evaluate(async () => {
      const { whole } = await import(new URL('page/vault.js', document.baseURI).href);
      const { keys, ...rest } = await (await whole()).profile();
      return [JSON.stringify([rest, { ...localStorage }, { ...sessionStorage }]), keys.opens.extractable, keys.signs.extractable];
    });
    assert.ok(!stored[0].includes(passphrase) && stored[0].includes('BEGIN ENCRYPTED PRIVATE KEY'));
    assert.deepEqual(stored.slice(1), [false, false]);
    await again.check();
    await again.context.close();
  },
};

async function newer(world, browser) {
  const home = await house(world);
  home.about.page = 'one';
  const ivan = await visit(browser, 'ivan', home.url);
  await world.call('server', 'users', 'add', await begins(ivan), '--yes', '--home', world.home);
  await ivan.state('connected');
  const reconnects = async () => {
    home.cut();
    await ivan.state('offline');
    home.mend();
    await ivan.state('connected');
  };
  await reconnects();
  assert.ok(await ivan.page.isHidden('#newer'), 'the page is the same');
  home.about.page = 'two';
  await reconnects();
  await ivan.reads(/There is a newer version of this page/);
  await ivan.check();
  // Text that is only in memory is not lost: this text could contain a PIN.
  await ivan.page.fill('#text', '/password 47114711');
  await ivan.page.click('#newer button');
  await ivan.reads(/loading the page would lose it/);
  await ivan.page.fill('#text', 'half a sentence');
  const loads = ivan.page.waitForNavigation();
  await ivan.page.click('#newer button');
  await loads;
  await ivan.page.waitForSelector('#app:not([hidden])');
  await ivan.state('connected');
  await until('the draft is there', async () => (await ivan.page.inputValue('#text')) === 'half a sentence');
  assert.ok(await ivan.page.isHidden('#newer'), 'the page is the newest');
  await ivan.check();
  await ivan.context.close();
  home.close();
}
