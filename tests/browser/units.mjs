// Parts of the page that need no browser: node tests/browser/units.mjs

import assert from 'node:assert/strict';
import { pathToFileURL } from 'node:url';

process.env.TZ = 'UTC';
const WEB = process.env.PYCHAT_WEB ? pathToFileURL(`${process.env.PYCHAT_WEB}/`) : new URL('../../web/', import.meta.url);
const { dayStarts } = await import(new URL('page/room.js', WEB));
const { Disk } = await import(new URL('page/disk.js', WEB));
const { Blobs } = await import(new URL('page/blobs.js', WEB));
const { actionOf, brief, isBlank, nameProblem } = await import(new URL('page/words.js', WEB));
const { OFFLINE, Store } = await import(new URL('page/store.js', WEB));
const { addChange } = await import(new URL('page/vault.js', WEB));

const at = (text) => Date.parse(`2026-11-${text}Z`);
const stored = (text, seq) => ({ kind: 'message', seq: String(seq), time: at(text) });
const local = (text, kind = 'note') => ({ kind, time: at(text) });
const starts = (items, first = 0) => [...dayStarts(items, first, items.length)];

/** A store, the changes that it has reported, and a request with a reference. */
function made() {
  const told = [];
  const store = new Store((...change) => told.push(change), () => false);
  const asks = (each, isLocal) => {
    const asked = { ends: [] };
    asked.ref = store.ref((end, messages) => asked.ends.push([end, messages]), each, isLocal);
    return asked;
  };
  store.apply({ type: 'state', state: 'connected', name: 'alice' });
  store.apply({ type: 'ready', name: 'alice', limits: {} });
  return { store, told, asks };
}

/** Runs a function with parts of a browser as globals. */
async function within(parts, does) {
  const define = ([name, value]) => Object.defineProperty(globalThis, name, { value, configurable: true });
  Object.entries(parts).forEach(define);
  try { await does(); } finally { Object.keys(parts).forEach((name) => delete globalThis[name]); }
}

const UNITS = {
  'a day begins once, whatever the clocks of the server and of this computer say'() {
    assert.deepEqual(starts([stored('29T23:59:00', 1), stored('30T00:01:00', 2), stored('30T10:00:00', 3)]), [0, 1]);
    // A notice of a clock that is 10 s ahead of the server's.
    assert.deepEqual(starts([stored('29T23:50:00', 1), local('30T00:00:05'), stored('29T23:59:58', 2), stored('30T00:00:10', 3)]), [0, 1]);
    // A clock that is behind.
    assert.deepEqual(starts([stored('30T00:00:05', 1), local('29T23:59:58'), stored('30T00:00:10', 2)]), [0]);
    // A message that waits since yesterday is below those of today.
    assert.deepEqual(starts([stored('29T12:00:00', 1), stored('30T00:01:00', 2), { kind: 'message', state: 'pending', time: at('29T23:59:00') }]), [0, 1]);
    // Rows without a time, and those of transfers, begin no day and end none.
    assert.deepEqual(starts([stored('29T12:00:00', 1), { kind: 'gap' }, stored('29T12:01:00', 2), local('30T09:00:00', 'transfer'), stored('29T12:02:00', 3)]), [0]);
    // A server whose clock is set back by days.
    assert.deepEqual(starts([stored('30T12:00:00', 1), stored('20T12:00:00', 2)]), [0, 1]);
  },

  'a row loses its day line when older messages of the day are above it'() {
    const items = Array.from({ length: 600 }, (_, i) => stored('29T12:00:00', i + 1));
    assert.deepEqual(starts(items, 0), [0]);
    assert.deepEqual(starts(items, 100), []);
    assert.deepEqual(starts(items, 500), []);
    assert.deepEqual(starts([...items, stored('30T12:00:00', 601)], 550), [600]);
  },

  'actions and blanks are read as the client reads them'() {
    assert.deepEqual(['/me waves', '/ME\twaves', '/me', '/me  ', '/me \u0085', '/men', '//me x', '/me a\nb', 'me x', '/me\ufeffx'].map(actionOf),
      ['waves', 'waves', '', '', '', undefined, undefined, undefined, undefined, undefined]);
    assert.deepEqual(['', ' \t\n', '\u0085', '\ufeff', 'x', '\u200b'].map(isBlank), [true, true, true, true, false, false]);
  },

  'names that the client refuses are refused before a key is made'() {
    for (const name of ['dave', 'a', '7', 'x'.repeat(32), 'Zo\u00eb', 'zo_e-1', '\u0431\u043e\u0431', '\u65e5\u672c\u306e\u30c6', '\ud55c\u6f22', '\u0928\u093f']) {
      assert.equal(nameProblem(name), undefined, name);
    }
    for (const name of ['', 'x'.repeat(33), '-a', '_a', 'a b', 'a@b', 'a.b', '\u0301a', 'a\u200bb', 'b\u043eb', 'a\u03b1']) assert.ok(nameProblem(name), name);
  },

  'a change of a file replaces earlier ones that it covers'() {
    const all = [['a', 0], ['b', 0], ['a', 65536], ['a', 131072], ['a', 65536], ['b'], ['b', 0]].map(([path, from], at) => ({ path, from, at }));
    assert.deepEqual(all.reduce(addChange, []).map(({ at }) => at), [0, 4, 6]);
  },

  'a request ends with its answer, with an error, or without one'() {
    const { store, asks } = made();
    const [one, two, three, sealed] = [asks(), asks(), asks(), asks(undefined, true)];
    store.apply({ type: 'history', ref: one.ref, messages: 0, more: false });
    store.apply({ type: 'error', code: 'bad_request', ref: two.ref, hint: 'not an object' });
    assert.deepEqual([one, two].map(({ ends }) => ends.map(([end]) => end.type)), [['history'], ['refused']]);
    store.apply({ type: 'state', state: 'offline', retry_ms: 1000 });
    assert.deepEqual(three.ends.map(([end]) => end.hint), [OFFLINE]);
    assert.deepEqual([sealed.ends.length, [...store.asked.keys()]], [0, [sealed.ref]], 'the client answers it without the server');
    store.asked.get(sealed.ref).at -= 3600000;
    store.tick();
    assert.equal(sealed.ends[0][0].code, 'unanswered');
    assert.equal(store.asked.size, 0);
  },

  'a request for a transfer lasts until the transfer ends'() {
    const { store, asks } = made();
    const moves = (ref, state, more) => store.apply({ type: 'transfer', transfer: 'f1', direction: 'up', name: 'a', to: '#lobby', state, ref, ...more });
    const keeps = () => Object.assign(() => {}, { keeps: true });
    const [sent, refused] = [asks(keeps()), asks(keeps())];
    store.apply({ type: 'refused', ref: sent.ref, code: 'busy', hint: 'wait', retry_ms: 1000 });
    store.apply({ type: 'state', state: 'offline', retry_ms: 1000 });
    moves(sent.ref, 'waiting');
    assert.equal(store.asked.size, 2);
    moves(sent.ref, 'sent');
    store.apply({ type: 'refused', ref: refused.ref, code: 'forbidden', hint: 'no' });
    assert.equal(store.asked.size, 0);
    assert.deepEqual(refused.ends.map(([end]) => end.hint), ['no']);
  },

  'references of two pages differ, and what concerns both reaches both'() {
    const { store } = made();
    const other = made().store;
    assert.notEqual(store.prefix, other.prefix);
    assert.match(store.ref(), /^p[0-9a-f]{16}-\d+$/);
    store.apply({ type: 'topic', to: '#lobby', text: 'tea', ref: other.ref() });
    assert.equal(store.lobby.topic, 'tea');
    store.apply({ type: 'whois', name: 'bob', devices: [], fingerprints: [], ref: other.ref() });
    assert.equal(store.lobby.items.length, 0, 'the answer to another page is shown');
  },

  'a channel that the user is not in any more refuses what the client has not taken'() {
    const { store, told } = made();
    const room = store.room('#work');
    const [taken, open] = ['a'.repeat(32), 'b'.repeat(32)].map((id) => room.addPending({ id, text: id }));
    store.apply({ type: 'outgoing', id: taken.id, to: '#work', kind: 'say', text: taken.text });
    store.apply({ type: 'gone', channel: '#work' });
    assert.deepEqual([room.gone, taken.state, open.state, open.isHere], [true, 'pending', 'refused', true]);
    assert.match(open.hint, /no longer in #work/);
    assert.ok(told.some(([what, , id]) => what === 'settled' && id === open.id), 'it is sent again after a reload');
  },

  'a file that is only viewed is not one that is saved'() {
    const { store } = made();
    const got = { type: 'transfer', transfer: 'f1', direction: 'down', name: 'sea.jpg', to: '#lobby', seq: '7', state: 'saved', path: '/x/viewed/sea.jpg', viewed: true };
    store.apply(got);
    // The message is loaded after the transfer.
    const file = { name: 'sea.jpg', bytes: 1, media: 'image/jpeg' };
    store.apply({ type: 'message', to: '#lobby', from: 'bob', seq: '7', id: 'c'.repeat(32), kind: 'file', text: '', file, time: new Date(at('29T12:00:00')).toISOString() });
    const item = store.lobby.bySeq.get('7');
    assert.deepEqual([item.get.state, item.get.viewed], ['saved', true]);
    store.apply({ ...got, transfer: 'f2', path: '/x/Downloads/sea.jpg', viewed: undefined });
    assert.deepEqual([item.get.path, item.get.viewed], ['/x/Downloads/sea.jpg', undefined]);
  },

  'the message of the day is below the messages of the snapshot'() {
    const store = new Store(() => {}, () => false);
    store.apply({ type: 'hello', name: 'alice', motd: 'be kind' });
    store.lobby.addMessage({ seq: '1', id: 'd'.repeat(32), from: 'bob', text: 'hi', kind: 'say', time: new Date(at('29T12:00:00')).toISOString() }, 'alice');
    store.apply({ type: 'ready', name: 'alice' });
    assert.deepEqual(store.lobby.items.map((item) => item.text), ['hi', 'be kind']);
  },

  'a conversation that is closed elsewhere opens no other'() {
    const { store, told } = made();
    store.room('#work');
    store.apply({ type: 'parted', channel: '#work' });
    assert.equal(told.some(([what]) => what === 'current'), false);
  },

  'a secret message that the client has not accepted is only in memory'() {
    const disk = new Disk();
    assert.equal(disk.hasUnstored, false);
    disk.sends('e', { to: '#tea~x', line: 'hi' });
    assert.equal(disk.hasUnstored, true);
    disk.settled('e');
    assert.equal(disk.hasUnstored, false);
  },

  async 'files that are sent at the same time are each read once'() {
    let reads = 0;
    class FileReaderSync {
      readAsArrayBuffer(bytes) { reads += 1; return bytes.slice().buffer; }
    }
    await within({ FileReaderSync }, () => {
      const blobs = new Blobs();
      const of = (number) => new Uint8Array(100).map((_, at) => number + at);
      [1, 2].forEach((number) => blobs.put(number, of(number)));
      for (let from = 0; from < 100; from += 10) {
        for (const number of [1, 2]) assert.deepEqual(blobs.read(number, from, 10), of(number).slice(from, from + 10));
      }
      assert.equal(reads, 2);
      assert.equal(blobs.read(1, 95, 10), undefined, 'the end');
      assert.equal(blobs.read(3, 0, 10), undefined, 'no such file');
      blobs.forget(1);
      assert.equal(blobs.read(1, 0, 10), undefined, 'forgotten');
      assert.deepEqual(blobs.gone, [], 'the browser has no copy of it');
      blobs.put(4, of(4), '/outside/a.bin');
      blobs.forget(4);
      blobs.forget(4);
      assert.deepEqual(blobs.gone, ['/outside/a.bin'], 'its copy is removed once');
    });
  },

  'a size that moves has three digits'() {
    const sizes = [[0, '0 B'], [999, '999 B'], [65536, '65.5 kB'], [650000, '650 kB'], [2100000, '2.10 MB'], [104857600, '105 MB']];
    for (const [bytes, text] of sizes) assert.equal(brief(bytes), text);
  },

  async 'a picture is decoded once while the client is busy'() {
    let decoded = 0;
    const context = { drawImage() {}, getImageData: (x, y, width, height) => ({ data: new Uint8ClampedArray(4 * width * height) }) };
    const parts = {
      window: {},
      addEventListener() {},
      document: { addEventListener() {}, createElement: () => ({ getContext: () => context }) },
      createImageBitmap() { decoded += 1; return { width: 10, height: 5, close() {} }; },
    };
    await within(parts, async () => {
      const { OwnLink } = await import(new URL('page/own.js', WEB));
      const link = new OwnLink(null, () => {}, () => {});
      link.worker = { postMessage({ file: { id, picture } }, moved = []) {
        const { pixels } = structuredClone(picture, { transfer: moved });
        link.asked.get(id).resolve(pixels.length === 200 ? { refused: '' } : { refused: 'no pixels' });
      } };
      const file = new Blob([Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10)]);
      for (let i = 0; i < 3; i += 1) assert.deepEqual(await link.hand(file, 'a.png'), { busy: true });
      assert.equal(decoded, 1);
      await link.hand(file.slice(), 'b.png');
      assert.equal(decoded, 2, 'the control');
    });
  },
};

/** Runs them all. The first one that fails ends the run. */
export async function units() {
  for (const [name, unit] of Object.entries(UNITS)) {
    try { await unit(); } catch (error) { throw new Error(`${name}: ${error.message}`, { cause: error }); }
  }
  console.log(`${Object.keys(UNITS).length} units`);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) await units();
