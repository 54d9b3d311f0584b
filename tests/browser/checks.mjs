// What a page does with a core by script: broken connections, other identities, hostile texts.

import assert from 'node:assert/strict';
import { BUSY, core, entered, LOGIN, message, READY } from './core.mjs';
import { DESKTOP, NO_CONNECTION, Person } from './person.mjs';
import { picture } from './picture.mjs';
import { until } from './world.mjs';

const BOB = [{ type: 'state', state: 'connected', name: 'bob' }, { ...LOGIN[1], name: 'bob' }, { type: 'conversation', to: '@carol', last: '1', read: '0' }, { ...READY, name: 'bob' }];
const STATES = { alice: [...LOGIN, ...BUSY, READY], bob: BOB };
const typed = (script) => script.heard.filter((one) => one.type === 'input').map((one) => one.line);
const field = (page) => page.inputValue('#text');
/** The page of the next connection attaches with this token. */
const reaches = (page, state) => page.evaluate((token) => sessionStorage.setItem('pychat token', token), `${state}--${'x'.repeat(22)}`);

/** A page of alice for each check. */
export const CHECKS = {
  async 'check: a client of another person'({ page, script, sees }) {
    await sees('see you at five');
    await page.fill('#text', 'a draft of alice');
    await page.locator('#rooms .entry .label', { hasText: 'bob' }).click();
    await page.fill('#text', 'only for bob');
    await page.locator('#send').click();
    await until('the core has the message', () => typed(script).includes('only for bob'));
    await reaches(page, 'bob');
    script.heard.length = 0;
    script.cut();
    await until('bob is attached', () => script.heard.some((one) => one.token?.startsWith('bob')));
    await page.waitForFunction(() => document.querySelector('#rooms .who')?.textContent.includes('bob'));
    await page.waitForTimeout(800);
    assert.deepEqual(typed(script), [], 'a message of alice is sent as bob');
    assert.equal(await field(page), '', 'a draft of alice is shown to bob');
    assert.equal(await page.locator('#list .row.message').count(), 0, 'messages of alice are shown to bob');
    assert.deepEqual(script.heard.filter((one) => one.type === 'read'), []);
    await reaches(page, 'alice');
    script.cut();
    await until('alice has her message', () => typed(script).includes('only for bob'));
    await until('the draft is back', async () => (await field(page)) === 'a draft of alice');
  },

  async 'check: messages that look like commands'({ page, script, says }) {
    const lines = ['/me waves', 'join us at five', '//x', 'w/o sugar'];
    for (const line of lines) await says(line);
    await until('the core has them', () => lines.every((line) => typed(script).includes(line)));
    assert.equal(await page.evaluate(() => JSON.stringify({ ...localStorage }).includes('five')), false, 'it is stored');
    script.heard.length = 0;
    script.cut();
    await until('they are sent again', () => lines.every((line) => typed(script).includes(line)));
  },

  async 'check: texts that cost time'({ page, script, sees }) {
    const spent = await page.evaluate(async () => {
      const { mentions, pieces } = await import(`${location.origin}/page/words.js`);
      const begun = performance.now();
      pieces(`http://${'.'.repeat(260000)}a`);
      pieces(`http://${')'.repeat(260000)}a`);
      mentions('a'.repeat(60000), 'a');
      return performance.now() - begun;
    });
    assert.ok(spent < 500, `${spent} ms`);
    const [links, named] = await page.evaluate(async () => {
      const { mentions, pieces } = await import(`${location.origin}/page/words.js`);
      const link = (text) => pieces(text).find((one) => one.link).text;
      return [['(see https://example.org/a).', 'https://example.org/a_(b).', 'https://example.org/a?b=c!'].map(link),
        [mentions('𝒜bob', 'bob'), mentions('@bob!', 'BOB'), mentions('bobby bob', 'bob')]];
    });
    assert.deepEqual(links, ['https://example.org/a', 'https://example.org/a_(b)', 'https://example.org/a?b=c']);
    assert.deepEqual(named, [false, true, true]);
    const file = { name: 'thin.jpg', bytes: 10, media: 'image/jpeg', size: [1, 4294967295], preview: '1QcSHQRnh493V4dIh4eXh1h4kJUI' };
    script.push([message('#lobby', 'bob', 61, 'thin', { kind: 'file', file })]);
    await sees('thin.jpg');
    const height = await page.locator('#list canvas').last().evaluate((one) => one.getBoundingClientRect().height);
    assert.ok(height <= 220, `a preview is ${height} pixels high`);
  },

  async 'check: another address'({ page, script }) {
    await page.evaluate((hash) => { location.hash = hash; }, `bob--${'y'.repeat(22)}`);
    await until('the page attaches with it', () => script.heard.some((one) => one.token === `bob--${'y'.repeat(22)}`));
    await until('the token is taken', () => new URL(page.url()).hash === '');
    await page.waitForFunction(() => document.querySelector('#rooms .who')?.textContent.includes('bob'));
    await page.goto(`${new URL(page.url()).origin}/?again#%`);
    await page.waitForSelector('#app:not([hidden])');
  },

  async 'check: drafts with a command'({ page, script }) {
    const lobby = page.locator('#rooms .entry .label', { hasText: '#lobby' });
    const work = page.locator('#rooms .entry .label', { hasText: '#work' });
    await page.fill('#text', 'join us at the gate');
    await work.click();
    await lobby.click();
    assert.equal(await field(page), 'join us at the gate');
    await page.locator('#rooms .entry .label', { hasText: '#tea' }).click();
    await page.fill('#text', 'green or black');
    await page.waitForTimeout(600);
    const stored = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]));
    assert.doesNotMatch(stored, /gate|green|0123456789abc/);
    await lobby.click();
    await page.fill('#text', '/pm bob a long text');
    await page.locator('#send').click();
    await until('bob is open', async () => (await page.textContent('#bar h1')) === 'bob');
    await lobby.click();
    assert.equal(await field(page), '', 'a sent command comes back as a draft');
    await reaches(page, 'nobody');
    script.cut();
    await page.fill('#text', '/pm carol a long text');
    await page.locator('#send').click();
    assert.equal(await field(page), '/pm carol a long text');
  },

  async 'check: texts that are not stored'({ page }) {
    const wrong = await page.evaluate(async (lines) => {
      const { mayBeSecret } = await import(`${location.origin}/page/words.js`);
      return lines.filter(([line, before, wanted]) => mayBeSecret(line, before) !== wanted).map(([line, before]) => `${before} | ${line}`);
    }, LINES);
    assert.deepEqual(wrong, []);
  },

  async 'check: a room that another page leaves'({ page, script, reads }) {
    await page.locator('#rooms .entry .label', { hasText: '#work' }).click();
    await page.locator('#text').pressSequentially('the plan is');
    script.push([{ type: 'parted', channel: '#work', origin: 'server' }]);
    await until('the lobby is open', async () => (await page.textContent('#bar h1')) === '#lobby');
    await page.keyboard.type(' secret');
    await page.keyboard.press('Enter');
    await reads(/#work .*another page/);
    assert.equal(await field(page), '');
    assert.deepEqual(typed(script), []);
  },

  async 'check: a drop that concerns more'({ page, script, says, reads }) {
    await says('too fast');
    await until('the core has it', () => typed(script).includes('too fast'));
    const { id } = script.heard.findLast((one) => one.line === 'too fast');
    script.push([{ type: 'refused', id, to: '#lobby', code: 'rate', hint: 'wait 1 s', origin: 'server' },
      { type: 'outgoing', id: 'e'.repeat(32), to: '#lobby', kind: 'edit', text: 'x', of: '60' }]);
    await reads(/Not sent: wait 1 s/);
    await page.locator('.refusal button', { hasText: 'Drop' }).click();
    await reads(/Drop 2 messages and changes/);
    assert.equal(typed(script).includes('/cancel'), false);
  },

  async 'check: lines that the client holds'({ page, script, says, reads }) {
    const held = async (line, more) => {
      await says(line);
      await until('the core has it', () => typed(script).includes(line));
      const { id } = script.heard.findLast((one) => one.line === line);
      script.push([{ type: 'held', ref: id, id, to: '#lobby', line, hint: 'not sent, it looks like a path: Enter sends it', ...more }]);
    };
    for (const line of ['/home/u/a.jpg', '//pm carol a text', ' /jion #work 4711x']) {
      await held(line);
      await until(`${line} is back`, async () => (await field(page)) === line);
      await page.fill('#text', '');
    }
    await says('/home/u/b.jpg');
    const { id } = script.heard.findLast((one) => one.line === '/home/u/b.jpg') ?? { id: 'b' };
    await page.locator('#rooms .entry .label', { hasText: '#work' }).click();
    script.push([{ type: 'held', ref: id, id, to: '#lobby', line: '/home/u/b.jpg', hint: 'not sent, it is a path' }]);
    await page.waitForTimeout(200);
    await page.locator('#rooms .entry .label', { hasText: '#lobby' }).click();
    await reads(/it is a path/);
    assert.equal(await field(page), '/home/u/b.jpg');
  },

  async 'check: files in any number'({ page, script, reads, allows }) {
    allows(/status of 503/);
    const some = (count) => Array.from({ length: count }, (_, i) => ({ name: `${i}.txt`, mimeType: 'text/plain', buffer: Buffer.from('x') }));
    await page.setInputFiles('input[type=file]', some(17));
    await reads(/17 files, and 16 can be sent at once\. Nothing was sent/);
    assert.equal(await page.locator('dialog').count(), 0);
    // The client has as many files as it takes, for a while.
    let busy = 3;
    script.answers.takes = (name, files) => {
      if (files.length === 5 && busy > 0) {
        busy -= 1;
        return [503, 'too many files'];
      }
      files.push(name);
      return [200, JSON.stringify({ path: `/spool/${name}` })];
    };
    await page.setInputFiles('input[type=file]', some(16));
    await page.click('dialog button.primary');
    const sent = () => script.heard.filter((one) => one.type === 'send_file').map((one) => one.path);
    await until('all files are sent', () => sent().length === 16);
    assert.deepEqual(sent(), some(16).map(({ name }) => `/spool/${name}`));
    await until('no row waits', async () => (await page.locator('#list .row.transfer').count()) === 0);
    assert.equal(busy, 0);
  },

  async 'check: a picture that is only viewed'({ page, script, sees, allows }) {
    allows(/status of 404/);
    const asked = (keep) => script.heard.filter((one) => one.type === 'get_file' && one.keep === keep).length;
    let number = 0;
    script.answers.get_file = (ref, { to, seq, keep }) => [{ type: 'transfer', transfer: `f${(number += 1)}`, direction: 'down', name: 'sea.png', to, seq, ref, bytes: 10, of: 10,
      state: 'saved', path: keep ? '/home/alice/Downloads/sea.png' : '/spool/viewed/sea.png', ...(keep ? {} : { viewed: true }) }];
    script.answers.fetches = () => picture(30, 20);
    script.push([message('#lobby', 'bob', 61, 'the sea', { kind: 'file', file: { name: 'sea.png', bytes: 10, media: 'image/png' } })]);
    await sees('sea.png');
    const card = page.locator('#list .file').last();
    await card.locator('button', { hasText: 'View' }).click();
    await page.waitForSelector('dialog img');
    assert.match(await card.textContent(), /viewed, not saved/);
    assert.doesNotMatch(await page.textContent('#list'), /spool/);
    await page.locator('dialog button', { hasText: 'Save' }).click();
    await until('it is saved', async () => /saved: \/home\/alice\/Downloads/.test(await card.textContent()));
    assert.deepEqual([asked(false), asked(true), await page.locator('dialog').count()], [1, 1, 0]);
    // Another page views a file: this one does not call it saved.
    script.push([{ type: 'transfer', transfer: 'f9', direction: 'down', name: 'sea.png', to: '#lobby', seq: '61', ref: 'pother-1', state: 'saved', path: '/spool/viewed/sea.png', viewed: true }]);
    await until('it is viewed', async () => /viewed, not saved/.test(await card.textContent()));
    // The client has removed it: it is fetched again.
    script.answers.fetches = (id) => (id === 'f9' ? undefined : picture(30, 20));
    await card.locator('button', { hasText: 'View' }).click();
    await page.waitForSelector('dialog img');
    assert.equal(asked(false), 2);
  },

  async 'check: a channel that the user is no longer in'({ page, script, reads }) {
    const entry = page.locator('#rooms .entry', { hasText: '#work' });
    await entry.click();
    await page.locator('#text').pressSequentially('the plan');
    script.push([{ type: 'gone', channel: '#work', origin: 'client' }]);
    await reads(/You are no longer in #work\. Text is not sent from here/);
    assert.match(await page.textContent('#bar p'), /^! you are no longer in this channel/);
    assert.match(await entry.textContent(), /left/);
    await page.locator('#text').pressSequentially(' is old');
    await reads(/You are no longer in #work/);
    for (const line of ['the plan is old', '/me waves', '//etc']) {
      await page.fill('#text', line);
      await page.locator('#send').click();
      await reads(/Nothing was sent: your text stays here/);
      assert.equal(await field(page), line);
    }
    assert.deepEqual(typed(script), []);
    await page.setInputFiles('input[type=file]', { name: 'a.txt', mimeType: 'text/plain', buffer: Buffer.from('x') });
    await reads(/no longer in #work\. Nothing was sent/);
    await page.locator('#hint button', { hasText: 'Join again' }).click();
    await until('the client is asked', () => script.heard.some((one) => one.type === 'join' && one.channel === '#work~open'));
    await page.fill('#text', 'the plan is old');
    script.push([entered('#work', 3, 3, '')]);
    await until('the hint is gone', async () => (await page.textContent('#hint')) === '');
    assert.equal(await field(page), 'the plan is old');
    await page.locator('#send').click();
    await until('the text is sent', () => typed(script).includes('the plan is old'));
    // The client refuses it: the user is not in the channel at this moment.
    script.push([{ type: 'gone', channel: '#work', origin: 'client' }]);
    await reads(/Not sent: you are no longer in #work/);
    script.push([entered('#work', 3, 3, '')]);
    script.heard.length = 0;
    await page.locator('.refusal button', { hasText: 'Retry' }).click();
    await until('it is sent again', () => typed(script).includes('the plan is old'));
    await until('the refusal is gone', async () => (await page.locator('.refusal').count()) === 0);
    assert.equal(typed(script).length, 1);
  },

  async 'check: actions and blanks that say nothing'({ page, script, reads }) {
    for (const line of ['/me', '/me   ', '/ME\u{85}', '/me \n']) {
      await page.fill('#text', line);
      await page.locator('#send').click();
      await reads(/\/me needs a text/);
      await page.fill('#text', '');
    }
    await page.fill('#text', ' \u{85} ');
    await page.locator('#send').click();
    // A command with a line break behind it is a command for the client.
    await page.fill('#text', '/topic tea\n');
    await page.locator('#send').click();
    await until('the command is sent', () => typed(script).includes('/topic tea'));
    assert.deepEqual(typed(script), ['/topic tea']);
    assert.equal(await page.locator('#list .row.pending').count(), 0);
    assert.equal(await field(page), '');
  },

  async 'check: answers that do not come'({ page, script, reads }) {
    script.answers.whois = () => [];
    const bob = page.locator('#people .label', { hasText: 'bob' }).first();
    await bob.click();
    await until('the client is asked', () => script.heard.some((one) => one.type === 'whois'));
    script.push([{ type: 'state', state: 'offline', retry_ms: 30000 }]);
    await reads(/There is no connection to the server\. Try again/);
    assert.doesNotMatch(await page.textContent('dialog'), /Loading/);
    await page.keyboard.press('Escape');
    // Offline, it is not asked at all.
    script.heard.length = 0;
    await bob.click();
    await until('the sheet says so', async () => /no connection to the server/.test(await page.textContent('dialog')));
    assert.deepEqual(script.heard.filter((one) => one.type === 'whois'), []);
    await page.keyboard.press('Escape');
    script.push([LOGIN[0]]);
    await until('it is back', async () => !/offline/.test(await page.textContent('#bar p')));
    await bob.click();
    await until('the client is asked again', () => script.heard.some((one) => one.type === 'whois'));
    script.push([{ type: 'error', code: 'bad_request', hint: 'not an object of docs/json.md', ref: script.heard.findLast((one) => one.type === 'whois').ref }]);
    await until('the error is shown', async () => /not an object/.test(await page.textContent('dialog')));
    await page.keyboard.press('Escape');
  },

  async 'check: the day line above older messages'({ page, script, sees }) {
    const asked = () => script.heard.find((one) => one.type === 'history' && one.to === '#old~open');
    const old = (seq, more) => message('#old', 'bob', seq, `old ${seq}`, { time: new Date(Date.UTC(2026, 10, 20, 9) + seq * 60000).toISOString(), ...more });
    script.answers.history = () => [];
    script.push([entered('#old', 60, 60, ''), ...Array.from({ length: 30 }, (_, i) => old(31 + i))]);
    await page.locator('#rooms .entry .label', { hasText: '#old' }).click();
    await sees('old 60');
    await until('older messages are asked for', asked);
    await page.evaluate(() => { document.querySelector('#scroller').scrollTop = 0; });
    const first = () => page.evaluate(() => {
      const row = [...document.querySelectorAll('#list .row')].find((one) => one.querySelector('.text').textContent.trim() === 'old 31');
      return [Math.round(row.querySelector('.text').getBoundingClientRect().top), row.querySelector('.day')?.textContent ?? null];
    });
    await page.waitForTimeout(100);
    const [top, day] = await first();
    assert.match(day, /20 Nov 2026/);
    const { ref } = asked();
    script.push([...Array.from({ length: 30 }, (_, i) => old(1 + i, { ref })), { type: 'history', ref, messages: 30, more: false }]);
    await until('the day line has moved up', async () => (await first())[1] === null);
    await page.waitForTimeout(100);
    assert.ok(Math.abs((await first())[0] - top) <= 1, `the text has moved by ${(await first())[0] - top}`);
    assert.equal(await page.locator('#list .day').count(), 1);
  },

  async 'check: a conversation of which nothing is read'({ page, script, sees }) {
    script.push([entered('#news', 40, 0, ''), ...Array.from({ length: 40 }, (_, i) => message('#news', 'bob', i + 1, `news ${i + 1}`)), { type: 'unread', to: '#news', messages: 40, read: '0' }]);
    await page.locator('#rooms .entry .label', { hasText: '#news' }).click();
    await sees('news 1');
    await until('the first message is on the screen', () => page.evaluate(() => {
      const box = document.querySelector('#list .new')?.getBoundingClientRect();
      return box && box.top >= 0 && box.bottom < innerHeight;
    }));
    await page.waitForTimeout(300);
    assert.deepEqual(script.heard.filter((one) => one.type === 'read' && one.conversations[0].to.startsWith('#news')), [], 'it is marked as read');
  },

  async 'check: text of the server is marked'({ page, script, sees }) {
    // A text of the client, sent by the server.
    const compare = 'compare this with bob, over the phone or face to face';
    const rows = (kind, part) => page.evaluate(([wanted, inner]) => [...document.querySelectorAll(`#list .row.${wanted}`)]
      .map((row) => [row.querySelector(inner)?.textContent ?? null, row.querySelector('.text').textContent]), [kind, part]);
    script.push([{ type: 'notice', text: `${compare}: one`, origin: 'server' }, { type: 'error', code: 'rate', hint: `Notice: ${compare}: two`, origin: 'server' },
      { type: 'notice', text: `${compare}: three`, origin: 'client' }, { type: 'error', code: 'bad_request', hint: `${compare}: four`, origin: 'client' },
      message('#lobby', 'alice', 61, 'it is five', { unsealed: true }), message('#lobby', 'alice', 62, 'it is six')]);
    await sees('it is six');
    const notes = (await rows('note', '.mark')).filter(([, text]) => text.includes(compare));
    // The first part is for screen readers, the second one is visible.
    assert.deepEqual(notes, [['From the server: server', `${compare}: one`], ['From the server: server', `Notice: ${compare}: two`],
      ['Notice: –', `${compare}: three`], ['Error: !', `${compare}: four`]]);
    const said = (await rows('message', '.warning')).slice(-2);
    const unsealed = '! not sealed, the server’s word alone';
    assert.deepEqual(said, [[unsealed, `${unsealed}it is five`], [null, 'it is six']]);
  },

  async 'check: a password that another page has given'({ page, script, reads }) {
    script.push([{ type: 'state', state: 'connecting' }, { type: 'password', wrong: false, origin: 'server' }]);
    await page.waitForSelector('dialog [name=password]');
    await page.keyboard.press('Escape');
    await reads(/The server asks for your password/);
    await page.locator('#hint button', { hasText: 'Enter it' }).click();
    await page.waitForSelector('dialog [name=password]');
    script.push([LOGIN[0]]);
    await until('the sheet is closed', async () => (await page.locator('dialog').count()) === 0);
    await until('the hint is gone', async () => (await page.textContent('#hint')) === '');
  },
};

/** Texts, the line before each, and whether they stay off the disk. */
const LINES = [
  ...[' /join #tea 4711', '   /join #tea 4711', '\t/join tea 4711', '\u{a0}/join #tea 4711', '\u{3000}／join #tea 4711', '／ｊｏｉｎ ＃tea ４７１１', '\u{200b}/join #tea 4711',
    '//join #tea 4711', '// join #tea 4711', '.join #tea 4711', '\\join #tea 4711', '7join #tea 4711', '-msg bob secret', 'x/pm bob secret', 'ok /pm bob secret', './dm bob secret',
    ' /reply secret', ' /jion tea 4711', ' /CREATE #tea 4711', '> /join #tea 4711', 'alice> /join #tea 4711', '[12:30:01] You: /join #tea 4711', '-- /join #tea 4711',
    'server| /join #tea 4711', 'join #tea 4711', 'pm @bob secret', 'one\n/join #tea 4711', '/join #tea 4711\ntwo', ' /join#tea 4711', '/join#tea 4711\n', ' / join #tea 4711',
    ' /jion #tea 4711', ' /jion#tea 4711', '/.join #tea 4711\n', ' /pm@bob secret', 'x /jion#tea 4711', '.jion #tea 4711', '.join#tea 4711', '. join #tea 4711',
    '\\ join #tea 4711', '\\\\join #tea 4711', '..join #tea 4711', '\\jion#tea 47-11', '- join #tea 4711', 'jion #tea 4711', 'join#tea 4711', 'JOIN #tea 4711',
    'create#tea k7f2x-9xqdm', '.pm@bob secret', 'pm@bob secret', '. dm @bob secret', '/join #tea\n4711', '/join #tea\r\n4711\n', '/join #tea\n\n  hunter', '/join\n#tea\n4711',
    '/join\n#tea 4711', '   /join #tea\n   4711', 'one\n.join #tea\n4711\ntwo', '/pm bob\nsecret', '/reply\nsecret words', 'alice> /create #tea\n4711', 'alice> /create #tea 4711',
    ' /j #tea 4711', ' /w bob the secret', '  /query bob the secret', ' /tell bob the secret', ' /r the secret', ' /password hunter2', '\t/login hunter2', ' /identify bob hunter2',
    ' /join, #tea 4711', ' /pm: bob the secret', '/join; #tea 4711\n', 'join: #tea 4711', 'pm: @bob the secret', '(join #tea 4711', '*join #tea 4711', '+join #tea 4711',
    '@join #tea 4711', '#join #tea 4711', '*pm @bob the secret', 'join tea 4711', ' join tea 4711', 'JOIN tea 4711', 'JOIN #tea hunter', 'PM @bob the secret',
    'see\u{2028}/join #tea 4711', 'see \u{2215}join #tea 4711', 'jo\u{200b}in #tea 4711'].map((line) => [line, '', true]),
  ...[['/join #tea', '4711'], ['/join #tea', '   47 '], ['/join tea', 'k7f2x-9xqdm'], ['/JOIN #tea', 'hunter2'], [' /join #tea', '4711'], ['/join#tea', '4711'], ['/jion #tea', '4711'],
    ['join #tea', '4711'], ['/create #tea', '4711'], ['/join', '#tea 4711'], ['/pm bob', 'secret words'], ['/pm', 'bob secret'], ['/reply', 'secret'], ['/join #tea', '4711\nhello']]
    .map(([before, line]) => [line, before, true]),
  ...['good morning', 'half a thou', 'tea at five, and bring a cup', 'https://example.org/a/b', 'see https://example.org/tea', 'and/or whatever else', '...', '', '漢字', '4711', 'bob: yes',
    'one\ntwo\nthree'].map((line) => [line, '', false]),
  ['the whole secret text', '/pm bob', true], ['half a thou', '/create #plan', false], ['4711', 'hello', false],
];

export async function checks({ browser, names, say }) {
  if (!names.length) return;
  for (const name of names) {
    const script = await core(STATES);
    const person = await Person.look(browser, 'alice', DESKTOP, script.origin);
    person.allowed.push(NO_CONNECTION);
    try {
      const { page } = person;
      await page.goto(script.url('alice'));
      await page.waitForSelector('#app:not([hidden])');
      await CHECKS[name]({ page, script, allows: (pattern) => person.allowed.push(pattern), says: (text) => person.says(text), sees: (text) => until(`${name}: ${text}`, () => page.evaluate((part) => document.querySelector('#list').textContent.includes(part), text)), reads: (pattern) => person.reads(pattern) });
      await person.check();
      say(name);
    } catch (error) {
      if (!process.env.PYCHAT_ALL) throw new Error(`${name}: ${error.message}`, { cause: error });
      say(`${name} FAILED: ${error.message.slice(0, 300)}`);
    } finally {
      await person.close();
      script.close();
    }
  }
}
