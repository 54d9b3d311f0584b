// What people do together. Each story ends with the checks of every page (person.mjs).

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { NO_CONNECTION } from './person.mjs';
import { until } from './world.mjs';
import { picture } from './picture.mjs';

const count = (list, fits) => list.filter(fits).length;

/** alice sits at a desk, bob has a phone, carol a terminal. */
export const STORIES = {
  async 'chat in the lobby'({ alice, bob, carol }) {
    for (let i = 0; i < 3; i += 1) {
      await alice.says(`from alice ${i}`);
      await bob.says(`from bob ${i}`);
      carol.tell({ type: 'say', to: '#lobby', text: `from carol ${i}` });
    }
    for (const person of [alice, bob]) {
      for (const name of ['alice', 'bob', 'carol']) for (let i = 0; i < 3; i += 1) await person.sees(`from ${name} ${i}`);
    }
    // Everybody has the same order.
    const order = (texts) => texts.filter((text) => text.startsWith('from ')).map((text) => text.trim());
    await until('both have one order', async () => String(order(await alice.texts())) === String(order(await bob.texts())));
    assert.equal(order(await alice.texts()).length, 9);
    await carol.hears('all nine', () => count(carol.objects, (one) => one.type === 'message' && /^from /.test(one.text)) >= 9);
    await alice.says('/me waves');
    await bob.sees('alice waves');
    await alice.says('//etc is a text');
    await bob.sees('/etc is a text');
    await alice.says('/topic tea at five');
    await until('bob has the topic', async () => (await bob.page.textContent('#bar p')) === 'tea at five');
    carol.tell({ type: 'say', to: '#lobby', text: '<b>bold</b> <img src=x onerror=alert(1)> https://example.org/a?b=c.' });
    await alice.sees('<b>bold</b>');
    assert.equal(await alice.page.locator('#list img, #list b').count(), 0);
    const link = alice.page.locator('#list a').last();
    assert.deepEqual([await link.getAttribute('href'), await link.getAttribute('rel')], ['https://example.org/a?b=c', 'noopener noreferrer']);
  },

  async 'edit and delete'({ alice, bob, carol }) {
    await alice.says('a misteak');
    await bob.sees('a misteak');
    await alice.chooses('a misteak', 'Edit');
    await alice.page.fill('#text', 'a mistake');
    await alice.page.keyboard.press('Enter');
    for (const person of [alice, bob]) await person.sees('a mistake (edited)');
    await bob.sees('a misteak', 0);
    await alice.chooses('a mistake', 'Delete');
    await alice.page.click('dialog button.primary');
    for (const person of [alice, bob]) {
      await person.sees('a mistake', 0);
      await person.sees('(deleted)');
    }
    await carol.hears('the deletion', (one) => one.kind === 'delete');
    await bob.chooses('from alice 0', 'Reply').catch(() => bob.chooses('(deleted)', 'Reply'));
    assert.match(await bob.page.inputValue('#text'), /^alice: $/);
    await bob.page.fill('#text', '');
  },

  async 'a private conversation'({ alice, bob, carol }) {
    await alice.page.keyboard.press('Control+k');
    await alice.page.keyboard.type('bob');
    await alice.page.keyboard.press('Enter');
    await until('alice is with bob', async () => (await alice.page.textContent('#bar h1')) === 'bob');
    assert.match(await alice.page.textContent('.lock'), /Private/);
    await alice.says('only for you');
    await until('bob has one unread', async () => (await bob.unread('alice')) === '1!');
    assert.match(await bob.page.title(), /^\(1\)/);
    await bob.opens('alice');
    await bob.sees('only for you');
    await until('bob has read it', async () => (await bob.unread('alice')) === '');
    await bob.says('and back');
    await alice.sees('and back');
    await alice.opens('#lobby');
    await bob.opens('#lobby');
    assert.equal(count(carol.objects, (one) => one.text === 'only for you'), 0);
  },

  async 'a channel with a PIN'({ alice, bob, carol }) {
    const pin = '47114711';
    await alice.joins('#tea', pin);
    assert.match(await alice.page.textContent('.lock'), /PIN/);
    // Typed as a command, the PIN goes to a field that hides it.
    await bob.page.locator('#text').pressSequentially(`/join #tea ${pin}`);
    assert.equal(await bob.page.inputValue('#text'), '');
    const field = bob.page.locator('dialog [name=pin]');
    assert.deepEqual([await field.inputValue(), await field.getAttribute('type')], [pin, 'password']);
    await bob.page.keyboard.press('Enter');
    await until('bob is in #tea', async () => (await bob.page.textContent('#bar h1')) === '#tea');
    await alice.says('sealed tea');
    await bob.sees('sealed tea');
    await bob.says('sealed milk');
    await alice.sees('sealed milk');
    // A mistyped command is not sent, and not stored.
    await alice.page.fill('#text', ` /jion #tea ${pin}`);
    await alice.page.waitForTimeout(600);
    assert.equal((await alice.stored()).includes(pin), false, 'a PIN in the field is stored');
    await alice.page.locator('#send').click();
    await alice.reads(/not sent|looks like/);
    await alice.page.fill('#text', '');
    for (const person of [alice, bob]) assert.equal((await person.stored()).includes(pin), false, 'a PIN is stored');
    for (const person of [alice, bob]) await person.opens('#lobby');
    assert.equal(count(carol.objects, (one) => /sealed (tea|milk)|4711/.test(one.text ?? '')), 0);
  },

  async 'a channel with a made PIN'({ alice }) {
    await alice.says('/create #plan');
    await until('alice is in #plan', async () => (await alice.page.textContent('#bar h1')) === '#plan');
    await alice.reads(/\/join #plan \S+/);
    const pin = (await alice.page.textContent('#list')).match(/\/join #plan ([\w-]+)/)[1];
    assert.equal((await alice.stored()).includes(pin), false, 'a made PIN is stored');
    await alice.page.click('.lock');
    await alice.page.locator('dialog .entry', { hasText: 'Leave' }).click();
    await alice.page.click('dialog button.primary');
    await until('#plan is left', async () => (await alice.unread('#plan')) === null);
    assert.equal(await alice.page.textContent('#bar h1'), '#lobby');
  },

  async 'people, keys and settings'({ alice, carol }) {
    const about = async (entry) => {
      await alice.page.locator('#people .label', { hasText: 'carol' }).click();
      await alice.page.waitForSelector('dialog dl');
      await alice.page.locator('dialog .entry', { hasText: entry }).click();
    };
    await about('Compare keys');
    await until('the safety number is there', async () => /\d{4,5} \d{4,5}|\d{20}|(\w+ ){5}/.test(await alice.page.textContent('dialog pre')));
    await alice.page.click('dialog button.primary');
    await until('the keys are confirmed', async () => /confirmed/.test(await alice.page.textContent('dialog pre')));
    await alice.page.keyboard.press('Escape');
    await about('Hide messages');
    carol.tell({ type: 'say', to: '#lobby', text: 'nobody hears this' });
    await carol.hears('its message', (one) => one.type === 'message' && one.text === 'nobody hears this');
    await about('Hide messages');
    carol.tell({ type: 'say', to: '#lobby', text: 'this is heard' });
    await alice.sees('this is heard');
    await alice.sees('nobody hears this', 0);
    await alice.page.locator('#rooms .entry', { hasText: 'Settings' }).click();
    await alice.page.selectOption('#set-theme', 'dark');
    assert.equal(await alice.page.evaluate(() => getComputedStyle(document.body).backgroundColor), 'rgb(18, 18, 18)');
    await alice.page.selectOption('#set-theme', 'system');
    await alice.page.keyboard.press('Escape');
    await alice.page.click('.lock');
    await alice.page.selectOption('#notify', 'all');
    // A sheet that opens while the one before it leaves the history stays.
    await alice.page.evaluate(() => {
      const back = history.back.bind(history);
      history.back = () => {
        delete history.back;
        back();
        document.dispatchEvent(new KeyboardEvent('keydown', { key: 'F1' }));
      };
      document.querySelector('dialog [aria-label=Close]').click();
    });
    await alice.page.waitForTimeout(400);
    await alice.page.fill('dialog [type=search]', 'fingerprint');
    assert.match(await alice.page.textContent('dialog tbody'), /\/fingerprint NAME/);
    await alice.page.click('dialog [aria-label=Close]');
  },

  async 'files and pictures'({ world, alice, bob, carol }) {
    const file = path.join(world.folder, 'holiday.png');
    fs.writeFileSync(file, picture(120, 80));
    await alice.page.setInputFiles('input[type=file]', file);
    assert.match(await alice.page.textContent('dialog h2'), /Send 1 file to #lobby\?/);
    await alice.page.fill('dialog [name=caption]', 'the sea');
    await alice.page.click('dialog button.primary');
    await bob.sees('holiday.png');
    await bob.sees('the sea');
    await until('bob has a preview', () => bob.page.locator('#list .file canvas').count());
    await bob.page.locator('#list .file button', { hasText: 'View' }).last().click();
    await until('bob sees the picture', () => bob.page.evaluate(() => document.querySelector('dialog img')?.naturalWidth === 120));
    assert.match(await bob.page.getAttribute('dialog img', 'src'), /^blob:/);
    await bob.check();
    await bob.page.keyboard.press('Escape');
    await bob.page.locator('#list .file button', { hasText: 'Save' }).last().click();
    await bob.reads(/saved: .*holiday\.png/);
    // A paste and the way out of it.
    await alice.page.evaluate(() => {
      const data = new DataTransfer();
      data.items.add(new File(['x'], 'pasted.png', { type: 'image/png' }));
      // Firefox leaves out what an event is made with.
      const paste = Object.defineProperty(new ClipboardEvent('paste', { bubbles: true, cancelable: true }), 'clipboardData', { value: data });
      document.querySelector('#text').dispatchEvent(paste);
    });
    assert.match(await alice.page.textContent('dialog'), /pasted\.png/);
    await alice.page.goBack();
    await until('the way back closes the sheet', async () => !(await alice.page.locator('dialog').count()));
    // A drop asks, and names the room; what is not sent is not sent.
    await alice.page.evaluate(() => {
      const data = new DataTransfer();
      data.items.add(new File(['x'.repeat(300)], 'notes.txt', { type: 'text/plain' }));
      document.querySelector('#list').dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
    });
    assert.match(await alice.page.textContent('dialog'), /notes\.txt/);
    await alice.page.keyboard.press('Escape');
    carol.tell({ type: 'say', to: '#lobby', text: 'after the drop' });
    await alice.sees('after the drop');
    assert.equal(count(carol.objects, (one) => one.file?.name === 'notes.txt'), 0);
    assert.equal(count(carol.objects, (one) => one.file?.name === 'holiday.png'), 1);
  },

  async 'history and search'({ alice, bob, carol }) {
    for (let i = 0; i < 400; i += 1) carol.tell({ type: 'say', to: '#lobby', text: `line ${i} of many` });
    await carol.hears('the last acknowledgement', (one) => one.text === 'line 399 of many');
    await alice.sees('line 399 of many');
    // Older messages come at the top, and the view stays where it is.
    await bob.page.reload();
    await bob.page.waitForSelector('#app:not([hidden])');
    await bob.sees('line 399 of many');
    const place = () => bob.page.evaluate(() => {
      const edge = document.querySelector('#scroller').getBoundingClientRect().top;
      const row = [...document.querySelectorAll('#list .row')].find((one) => one.getBoundingClientRect().top >= edge);
      return [row.textContent, Math.round(row.getBoundingClientRect().top)];
    });
    for (let round = 0; round < 60; round += 1) {
      await bob.page.evaluate(() => { document.querySelector('#scroller').scrollTop = 300; });
      const before = await place();
      await bob.page.waitForTimeout(120);
      const after = await place();
      assert.equal(before[0], after[0], 'the view has moved');
      assert.ok(Math.abs(before[1] - after[1]) <= 1, `the view has moved by ${after[1] - before[1]}`);
      if ((await bob.texts()).some((text) => text.startsWith('from alice 0'))) break;
    }
    await bob.sees('from alice 0');
    const rows = await bob.page.locator('#list .row').count();
    assert.ok(rows <= 261, `${rows} rows are in the document`);
    // A message that arrives in the meantime does not scroll the list, and is announced.
    const before = await place();
    carol.tell({ type: 'say', to: '#lobby', text: 'news below' });
    await until('bob sees the count', async () => /\d+ new/.test(await bob.page.textContent('#pill')));
    assert.deepEqual(await place(), before);
    await bob.page.locator('#pill').click();
    await bob.sees('news below');
    await bob.page.locator('#bar [aria-label=Search]').click();
    await bob.page.fill('dialog [name=text]', 'misteak sealed');
    await bob.page.keyboard.press('Enter');
    await bob.reads(/Nothing found/);
    await bob.page.fill('dialog [name=text]', '"line 17"'.replaceAll('"', ''));
    await bob.page.keyboard.press('Enter');
    await bob.page.locator('dialog .result', { hasText: 'line 17 of many' }).first().click();
    await bob.reads(/line 17 of many/);
    await bob.page.keyboard.press('Escape');
    await bob.page.keyboard.press('Escape');
    await bob.page.keyboard.press('Alt+End');
    await bob.sees('news below');
  },

  async 'a reload keeps the draft'({ alice }) {
    await alice.page.fill('#text', 'half a thou');
    await alice.page.waitForTimeout(500);
    await alice.page.reload();
    await alice.page.waitForSelector('#app:not([hidden])');
    await until('the draft is back', async () => (await alice.page.inputValue('#text')) === 'half a thou');
    assert.equal(new URL(alice.page.url()).hash, '', 'the token is in the address bar');
    await alice.page.fill('#text', '');
  },

  async 'the server restarts'({ world, alice, bob, carol }) {
    await world.server.stop();
    await Promise.all([alice, bob].map((person) => person.state('offline')));
    await alice.says('typed offline');
    await alice.page.waitForSelector('.row.pending');
    await alice.page.reload();
    await alice.page.waitForSelector('#app:not([hidden])');
    await alice.sees('typed offline');
    await world.serve(world.address);
    await Promise.all([alice, bob].map((person) => person.state('connected')));
    await bob.sees('typed offline');
    await until('it is stored', async () => !(await alice.page.locator('.row.pending').count()));
    await alice.sees('typed offline');
    await carol.hears('it too', (one) => one.text === 'typed offline');
    assert.equal(count(carol.objects, (one) => one.type === 'message' && one.text === 'typed offline'), 1);
  },

  async 'the connection is cut'({ wire, alice, bob }) {
    wire.cut();
    await bob.state('offline');
    assert.match(await bob.page.textContent('#bar p'), /offline, retry in \d+ s/);
    await alice.says('said meanwhile');
    await bob.says('typed meanwhile');
    wire.mend();
    await bob.state('connected');
    for (const person of [alice, bob]) {
      await person.sees('typed meanwhile');
      await person.sees('said meanwhile');
    }
  },

  async 'a password'({ world, alice, bob }) {
    await world.call('server', 'users', 'passwd', 'bob', '--home', world.home, { input: 'tall tree\n' });
    await bob.page.waitForSelector('dialog [name=password]');
    await bob.page.fill('dialog [name=password]', 'small tree');
    await bob.page.keyboard.press('Enter');
    await bob.reads(/That is not your password/);
    await bob.page.fill('dialog [name=password]', 'tall tree');
    await bob.page.keyboard.press('Enter');
    await bob.state('connected');
    assert.equal((await bob.stored()).includes('tree'), false, 'a password is stored');
    await bob.says('with a password');
    await alice.sees('with a password');
  },

  async 'a second page of one client'({ browser, Person, alice, bob }) {
    const second = await Person.open(browser, 'alice', alice.client);
    await alice.says('on both');
    for (const person of [alice, second, bob]) await person.sees('on both');
    await second.check();
    await second.close();
  },

  async 'the client ends and comes back'({ world, alice, bob }) {
    const port = new URL(alice.client.url).port;
    alice.allowed.push(NO_CONNECTION, /Failed to load|fetch/);
    await alice.client.program.stop();
    await alice.reads(/does not answer, retry in \d+ s|has ended/);
    await alice.page.fill('#text', 'kept in the page');
    await alice.page.keyboard.press('Enter');
    await alice.reads(/Your text stays here/);
    // The page opens without its client too, and says what to do.
    const address = alice.page.url();
    await alice.page.waitForTimeout(400);
    if (!process.env.PYCHAT_WEB) {
      await alice.page.reload();
      await alice.reads(/The client does not answer/);
      assert.deepEqual(await alice.axe(), []);
    }
    alice.client = await world.web('alice', { listen: `127.0.0.1:${port}` });
    await alice.reads(/started again|address that the client prints/);
    await alice.page.locator('#token').pressSequentially(alice.client.url);
    await alice.page.waitForSelector('#app:not([hidden])');
    await alice.state('connected');
    assert.equal(alice.page.url(), address);
    await until('the draft is there', async () => (await alice.page.inputValue('#text')) === 'kept in the page');
    await alice.page.keyboard.press('Enter');
    await bob.sees('kept in the page');
  },

  async 'an operator kicks'({ alice, bob, carol }) {
    await alice.says('/kick carol noise');
    await carol.ended;
    for (const person of [alice, bob]) await person.reads(/carol left: .*noise/);
    // Then bob's client ends, and his page says so.
    bob.allowed.push(NO_CONNECTION);
    await alice.says('/kick bob late');
    await bob.reads(/kicked|refused/);
  },
};
