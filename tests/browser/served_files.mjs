// Files and pictures of the client in the page: sent by button, drop and paste, fetched, cancelled and refused.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { saved } from './browsers.mjs';
import { house } from './house.mjs';
import { picture } from './picture.mjs';
import { begins, visit } from './served.mjs';
import { until } from './world.mjs';

/** Confirms the sheet that asks before it sends files. */
async function sends(person, caption) {
  if (caption) await person.page.fill('dialog [name=caption]', caption);
  await person.page.click('dialog button.primary');
}

/** Drops or pastes a file with these bytes. */
const hands = (person, how, name, bytes) => person.page.evaluate(([way, called, text]) => {
  const data = new DataTransfer();
  data.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], called));
  const options = { bubbles: true, cancelable: true };
  const event = way === 'drop' ? new DragEvent('drop', { dataTransfer: data, ...options }) : new ClipboardEvent('paste', options);
  // Firefox makes a paste without what it is made with.
  if (way === 'paste') Object.defineProperty(event, 'clipboardData', { value: data });
  document.querySelector(way === 'drop' ? '#list' : '#text').dispatchEvent(event);
}, [how, name, bytes.toString('base64')]);

export const SERVED_FILES = {
  async 'served: files and pictures are sent and fetched'({ world, browser, carol }) {
    const frank = await visit(browser, 'frank', `http://${world.webAddress}/`);
    await world.call('server', 'users', 'add', await begins(frank), '--yes', '--home', world.home);
    await frank.state('connected');
    const announced = (name) => carol.hears(name, (one) => one.type === 'message' && one.file?.name === name);
    /** The bytes that carol fetches. */
    const fetched = async (message) => {
      const to = path.join(world.folder, `fetched-${message.seq}`);
      carol.tell({ type: 'get_file', to: '#lobby', seq: message.seq, path: to });
      await carol.hears('the file', (one) => one.type === 'transfer' && one.seq === message.seq && one.state === 'saved');
      return fs.readFileSync(to);
    };
    // A photo with a place in its metadata. The place is not sent.
    const taken = picture(240, 160, 'SECRET-PLACE');
    const file = path.join(world.folder, 'beach.png');
    fs.writeFileSync(file, taken);
    await frank.page.setInputFiles('input[type=file]', file);
    assert.match(await frank.page.textContent('dialog h2'), /Send 1 file to #lobby\?/);
    await sends(frank, 'the beach');
    const beach = await announced('beach.png');
    assert.deepEqual([beach.file.size, beach.file.media, beach.text], [[240, 160], 'image/png', 'the beach']);
    assert.ok(beach.file.preview.length > 6, 'the message has a preview');
    const arrived = await fetched(beach);
    assert.ok(taken.includes('SECRET-PLACE') && arrived.equals(picture(240, 160, '')), 'the place is removed');
    // The sender's row shows the preview, too.
    await frank.sees('beach.png');
    await until('frank sees the preview', () => frank.page.locator('#list .file canvas').count());
    // A dropped file of many chunks and a pasted file arrive byte for byte.
    const noise = crypto.randomBytes(1_500_001);
    await hands(frank, 'drop', 'noise.bin', noise);
    assert.match(await frank.page.textContent('dialog'), /noise\.bin/);
    await sends(frank);
    assert.ok((await fetched(await announced('noise.bin'))).equals(noise), 'as it was dropped');
    await hands(frank, 'paste', 'empty.txt', Buffer.alloc(0));
    await sends(frank);
    assert.equal((await fetched(await announced('empty.txt'))).length, 0);
    // A picture of carol is shown, and saved.
    const own = path.join(world.folder, 'hills.png');
    fs.writeFileSync(own, picture(130, 70));
    carol.tell({ type: 'send_file', to: '#lobby', path: own, text: 'the hills' });
    await frank.sees('hills.png');
    await frank.page.locator('#list .row', { hasText: 'the hills' }).locator('button', { hasText: 'View' }).click();
    await until('frank sees the picture', () => frank.page.evaluate(() => document.querySelector('dialog img')?.naturalWidth === 130));
    await frank.check();
    const { name, bytes } = await saved(frank.page, () => frank.page.click('dialog button.primary'));
    assert.equal(name, 'hills.png');
    assert.ok(bytes.equals(picture(130, 70, '')), 'as carol has sent it');
    await until('the row shows that it is saved', () => frank.page.evaluate(() => [...document.querySelectorAll('#list .file .notes')].some((one) => one.textContent === 'saved')));
    // The picture is fetched once more, because the client has removed the saved file.
    await frank.page.locator('#list .row', { hasText: 'the hills' }).locator('button', { hasText: 'View' }).click();
    await until('frank sees it again', () => frank.page.evaluate(() => document.querySelector('dialog img')?.naturalWidth === 130));
    await frank.page.keyboard.press('Escape');
    // Sending and fetching leave no contents of files in the browser's storage.
    const stored = await frank.page.evaluate(async () => {
      const { each, whole } = await import(new URL('page/vault.js', document.baseURI).href);
      const paths = [];
      await each(await whole(), (name) => paths.push(name));
      return paths;
    });
    assert.deepEqual(stored.filter((name) => name.startsWith('/outside')), []);
    await frank.check();
    await frank.context.close();
  },

  async 'served: a transfer is cancelled, refused, and continued'({ world, browser, carol }) {
    const home = await house(world);
    const grace = await visit(browser, 'grace', home.url);
    await world.call('server', 'users', 'add', await begins(grace), '--yes', '--home', world.home);
    await grace.state('connected');
    const row = (name) => grace.page.locator('#list .row', { hasText: name });
    const announced = (name) => carol.objects.filter((one) => one.file?.name === name);
    // On a slow network the row shows the progress, and the transfer can be cancelled.
    const large = crypto.randomBytes(2_000_000);
    home.pauseMs = 200;
    await hands(grace, 'drop', 'unwanted.bin', large);
    await sends(grace);
    await until('a part is sent', async () => /[1-9]\d* kB of 2/i.test((await row('unwanted.bin').first().textContent()).replaceAll('\u00a0', ' ')));
    await grace.check();
    await row('unwanted.bin').locator('button', { hasText: 'Cancel' }).click();
    await until('its row is removed', async () => !(await row('unwanted.bin').count()));
    // The next file is sent to its end over another connection.
    home.pauseMs = 50;
    await hands(grace, 'drop', 'wanted.bin', large);
    await sends(grace);
    await until('a part of it is sent', async () => /[1-9]\d* kB of 2/.test((await row('wanted.bin').first().textContent()).replaceAll('\u00a0', ' ')));
    home.cut();
    await grace.state('offline');
    home.mend();
    const [wanted] = await until('it arrives', () => announced('wanted.bin').length && announced('wanted.bin'));
    const to = path.join(world.folder, 'wanted');
    carol.tell({ type: 'get_file', to: '#lobby', seq: wanted.seq, path: to });
    await carol.hears('the file', (one) => one.type === 'transfer' && one.seq === wanted.seq && one.state === 'saved');
    assert.ok(fs.readFileSync(to).equals(large), 'as it was dropped');
    // The client cannot remove the place from a film.
    await hands(grace, 'drop', 'film.mp4', Buffer.concat([Buffer.from('\0\0\0\x18ftypmp42'), Buffer.alloc(64)]));
    await sends(grace);
    await until('it is refused', async () => /metadata/.test(await row('film.mp4').first().textContent()));
    await row('film.mp4').locator('button', { hasText: 'Drop' }).click();
    // The client in a page cannot read paths of the computer.
    await grace.says('/send /etc/hostname');
    await grace.reads(/the page cannot read a path/);
    await grace.says('a last word');
    await carol.hears('the last word', (one) => one.type === 'message' && one.text === 'a last word');
    assert.equal(announced('film.mp4').length + announced('unwanted.bin').length + announced('hostname').length, 0);
    await grace.check();
    await grace.context.close();
    home.close();
  },

  async 'served: an upload continues after the page was closed, and its copy is removed'({ world, browser, carol }) {
    const home = await house(world);
    const judy = await visit(browser, 'judy', home.url);
    await world.call('server', 'users', 'add', await begins(judy), '--yes', '--home', world.home);
    await judy.state('connected');
    const asks = [];
    judy.page.on('dialog', (dialog) => {
      asks.push(dialog.type());
      dialog.accept();
    });
    const announced = (name) => carol.objects.find((one) => one.file?.name === name);
    const row = (name) => judy.page.locator('#list .row', { hasText: name });
    const kept = () => judy.page.evaluate(async () => {
      const { whole } = await import(new URL('page/vault.js', document.baseURI).href);
      return (await (await whole()).chosen()).map(({ path: at, file }) => `${at.split('/').at(-1)} ${file.size}`);
    });
    const large = crypto.randomBytes(2_000_000);
    const photo = picture(120, 90, 'SECRET-PLACE');
    const sent = { 'later.bin': large, 'shore.png': photo };
    home.pauseMs = 150;
    for (const [name, bytes] of Object.entries(sent)) {
      await hands(judy, 'drop', name, bytes);
      await sends(judy);
      await until(`the browser keeps ${name}`, async () => (await kept()).includes(`${name} ${bytes.length}`));
      await until(`${name} was read`, async () => {
        const told = await row(name).last().textContent();
        return !/reading/.test(told) && /of|waiting|stor|sent/.test(told);
      });
    }
    await until('a part is sent', async () => /[1-9]\d* kB of 2/.test((await row('later.bin').first().textContent()).replaceAll('\u00a0', ' ')));
    // The page asks before it is closed with a transfer.
    const closed = judy.page.waitForEvent('close');
    await judy.page.close({ runBeforeUnload: true });
    await closed;
    assert.deepEqual(asks, ['beforeunload']);
    assert.equal(announced('later.bin'), undefined, 'it is not sent yet');
    home.pauseMs = 0;
    await judy.watch(new URL(home.url).origin);
    await judy.page.goto(home.url);
    await judy.page.waitForSelector('#app:not([hidden])');
    for (const [name, bytes] of Object.entries(sent)) {
      const message = await until(`${name} arrives`, () => announced(name));
      const to = path.join(world.folder, `continued-${name}`);
      carol.tell({ type: 'get_file', to: '#lobby', seq: message.seq, path: to });
      await carol.hears('the file', (one) => one.type === 'transfer' && one.seq === message.seq && one.state === 'saved');
      assert.ok(fs.readFileSync(to).equals(name === 'shore.png' ? picture(120, 90, '') : bytes), `${name} as it was dropped`);
    }
    assert.equal(carol.objects.filter((one) => sent[one.file?.name]).length, 2, 'each is announced once');
    await until('the browser keeps no file', async () => !(await kept()).length);
    await judy.check();
    await judy.context.close();
    home.close();
  },

  async 'served: the quota is explained'({ world, browser, carol }) {
    const home = await house(world);
    const kim = await visit(browser, 'kim', home.url);
    await world.call('server', 'users', 'add', await begins(kim), '--yes', '--home', world.home);
    await kim.state('connected');
    const row = (name) => kim.page.locator('#list .row', { hasText: name });
    await hands(kim, 'drop', 'first.bin', crypto.randomBytes(700_000));
    await sends(kim);
    await carol.hears('the first file', (one) => one.file?.name === 'first.bin');
    const limits = JSON.parse(fs.readFileSync(path.join(world.home, 'config.json'), 'utf8'));
    world.configure({ ...limits.limits, files_per_user_bytes_max: 1_000_000 });
    await world.call('server', 'ctl', 'reload', '--home', world.home);
    await hands(kim, 'drop', 'second.bin', crypto.randomBytes(500_000));
    await sends(kim);
    const reason = /your files here take .+ of 1\.00 MB, and this one takes .+: delete an older one/;
    await until('the second is refused', async () => reason.test((await row('second.bin').first().textContent()).replaceAll('\u00a0', ' ')));
    await kim.check();
    // The reason stays until the user removes the row. The chat continues.
    await row('second.bin').locator('button', { hasText: 'Drop' }).click();
    await until('its row is removed', async () => !(await row('second.bin').count()));
    await kim.says('a word afterwards');
    await carol.hears('the word', (one) => one.type === 'message' && one.text === 'a word afterwards');
    world.configure(limits.limits);
    await world.call('server', 'ctl', 'reload', '--home', world.home);
    await kim.check();
    await kim.context.close();
    home.close();
  },

  async 'served: messages arrive while a key is derived'({ world, browser, carol }) {
    const home = await house(world);
    const lena = await visit(browser, 'lena', home.url);
    await world.call('server', 'users', 'add', await begins(lena), '--yes', '--home', world.home);
    await lena.state('connected');
    // A key is derived in a Worker of its own, and the page shows that.
    await lena.page.click('#rooms [aria-label^="Join a channel"]');
    await lena.page.fill('dialog [name=name]', '#pie');
    await lena.page.fill('dialog [name=pin]', '47114711');
    const shown = lena.page.waitForSelector('#deriving:not([hidden])');
    await lena.page.click('dialog button.primary');
    await shown;
    carol.tell({ type: 'say', to: '#lobby', text: 'while a key is derived' });
    const arrives = await lena.page.evaluate(async () => {
      while (!document.querySelector('#deriving').hidden) {
        if (document.querySelector('#list').textContent.includes('while a key is derived')) return true;
        await new Promise(requestAnimationFrame);
      }
      return false;
    });
    assert.ok(arrives, 'the message is shown while the key is derived');
    await until('lena is in #pie', async () => (await lena.page.textContent('#bar h1')) === '#pie');
    await until('the bar is gone', () => lena.page.locator('#deriving').isHidden());
    assert.equal(lena.page.workers().length, 2, 'the Worker that has derived the key is ended');
    await lena.check();
    await lena.context.close();
    home.close();
  },
};
