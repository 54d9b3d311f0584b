// What a page does with a core by script: broken connections, other identities, hostile texts.

import assert from 'node:assert/strict';
import { BUSY, core, LOGIN, message, READY } from './core.mjs';
import { DESKTOP, Person } from './person.mjs';
import { until } from './world.mjs';

const BOB = [{ type: 'state', state: 'connected', name: 'bob' }, { ...LOGIN[1], name: 'bob' }, { type: 'conversation', to: '@carol', last: '1', read: '0' }, { ...READY, name: 'bob' }];
const STATES = { alice: [...LOGIN, ...BUSY, READY], bob: BOB };
const typed = (script) => script.heard.filter((one) => one.type === 'input').map((one) => one.line);
const field = (page) => page.inputValue('#text');
/** The page of the next connection attaches with this token. */
const reaches = (page, state) => page.evaluate((token) => sessionStorage.setItem('pychat token', token), `${state}--${'x'.repeat(16)}`);

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
    await page.evaluate((hash) => { location.hash = hash; }, `bob--${'y'.repeat(16)}`);
    await until('the page attaches with it', () => script.heard.some((one) => one.token === `bob--${'y'.repeat(16)}`));
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
    person.allowed.push(/WebSocket|ERR_CONNECTION/);
    try {
      const { page } = person;
      await page.goto(script.url('alice'));
      await page.waitForSelector('#app:not([hidden])');
      await CHECKS[name]({ page, script, says: (text) => person.says(text), sees: (text) => until(`${name}: ${text}`, () => page.evaluate((part) => document.querySelector('#list').textContent.includes(part), text)), reads: (pattern) => person.reads(pattern) });
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
