// A scripted core: it serves web/ as the client does, and sends each page the state that its token
// names. For pictures of states that a real server reaches rarely.

import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const WEB = process.env.PYCHAT_WEB ?? fileURLToPath(new URL('../../web', import.meta.url));
const TYPES = { html: 'text/html; charset=utf-8', js: 'text/javascript; charset=utf-8', css: 'text/css; charset=utf-8', svg: 'image/svg+xml', png: 'image/png', webmanifest: 'application/manifest+json', json: 'application/json' };
const HEADERS = {
  'Content-Security-Policy': "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; " +
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
  'X-Content-Type-Options': 'nosniff', 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp', 'Cross-Origin-Resource-Policy': 'same-origin',
};
const DAY_MS = 86400000;

let ids = 0;
const id = () => (ids += 1).toString(16).padStart(32, '0');
export const message = (to, from, seq, text, more = {}) => ({
  type: 'message', to, from, device: 'main', seq: String(seq), id: id(), kind: 'say', confidentiality: to.startsWith('@') ? 'sealed' : 'open',
  time: new Date(Date.UTC(2026, 10, 29) + (seq * DAY_MS) / 40).toISOString(), replay: true, origin: 'server', text, ...more,
});
export const entered = (channel, last, read, topic) => ({
  type: 'entered', channel, epoch: '1', last: String(last), read: String(read), retention: 'forever', people: ['alice', 'bob', 'carol'], topic, origin: 'server',
});
const COMMANDS = [['/join', 'CHANNEL[,CHANNEL] or CHANNEL PIN', 'enter a channel; it is created if it does not exist'], ['/kick', 'WHOM [REASON]', 'end the sessions of a user'],
  ['/send', '[keep] PATH [#CHANNEL or @NAME] [-- CAPTION]', 'send a file; the metadata of pictures is removed, unless you keep it']]
  .map(([name, operands, help]) => ({ name, usage: `${name} ${operands}`, help }));
export const READY = { type: 'ready', commands: COMMANDS, server: 'chat.example:5000', fingerprint: 'SHA256:q2bq2bq2bq2bq2bq2bq2bq2bq2bq2bq2bq2bq2bq2b', name: 'alice', limits: { text_bytes: 8192, file_bytes: 104857600 } };
export const LOGIN = [{ type: 'state', state: 'connected', name: 'alice' }, { type: 'hello', v: 1, name: 'alice', device: 'main', server: READY.fingerprint, origin: 'server' }];
const TALK = ['morning', 'coffee?', 'yes please, two sugars; the good one from the shop at the corner, not the other one', 'look at https://example.org/tea?kind=green',
  'see you at five', 'one\ntwo\nthree', 'a-word-that-is-so-long-that-it-has-to-be-broken-somewhere-because-no-phone-is-as-wide-as-this-word-is-long'];
const PEOPLE = ['bob', 'carol', 'alice', 'carol', 'bob', 'alice', 'bob-with-a-name-of-32-characters'];
export const BUSY = [
  entered('#lobby', 60, 56, 'green tea at five, and bring your own cup because there are never enough of them'),
  ...Array.from({ length: 60 }, (_, i) => message('#lobby', PEOPLE[i % 7], i + 1, i === 57 ? '@alice look' : TALK[i % 7])),
  { type: 'unread', to: '#lobby', messages: 4, read: '56' },
  entered('#work', 3, 1, ''), ...[1, 2, 3].map((seq) => message('#work', 'carol', seq, `plan ${seq}`)), { type: 'unread', to: '#work', messages: 2, read: '1' },
  entered('#tea~0123456789abcdefghjkmnpqr0', 1, 1, ''), message('#tea~0123456789abcdefghjkmnpqr0', 'bob', 1, 'sealed', { confidentiality: 'pin' }),
  { type: 'conversation', to: '@bob', last: '2', read: '0' }, message('@alice', 'bob', 1, 'psst'), message('@bob', 'alice', 2, 'yes?'), { type: 'unread', to: '@bob', messages: 1, read: '0' },
];

function frame(text) {
  const body = Buffer.from(text);
  const { length } = body;
  const head = length < 126 ? [length] : length < 65536 ? [126, length >> 8, length & 255] : [127, 0, 0, 0, 0, length >>> 24, (length >> 16) & 255, (length >> 8) & 255, length & 255];
  return Buffer.concat([Buffer.from([0x81, ...head]), body]);
}

/** Calls `take` with each text that a page sends. */
function read(socket, take) {
  let bytes = Buffer.alloc(0);
  socket.on('data', (part) => {
    bytes = Buffer.concat([bytes, part]);
    for (;;) {
      const short = bytes[1] & 127;
      const at = short === 126 ? 4 : 2;
      if (bytes.length < at + 4) return;
      const length = short === 126 ? bytes.readUInt16BE(2) : short;
      if (bytes.length < at + 4 + length) return;
      const text = bytes.subarray(at + 4, at + 4 + length).map((byte, i) => byte ^ bytes[at + (i & 3)]);
      if ((bytes[0] & 15) === 1) take(JSON.parse(Buffer.from(text).toString()));
      bytes = bytes.subarray(at + 4 + length);
    }
  });
}

const WHOIS = { type: 'whois', name: 'bob', fingerprints: [READY.fingerprint], devices: ['main', 'phone'], idle_ms: 61000, away: 'lunch', channels: ['#lobby', '#work'] };
const ANSWERS = {
  whois: (ref) => [{ ...WHOIS, ref }],
  channels: (ref) => [{ type: 'channels', ref, channels: [{ channel: '#garden', here: 2, member: false }, { channel: '#work', here: 3, member: true }] }],
  search: (ref) => [...[2, 9].map((seq) => message('#lobby', 'carol', seq, 'coffee?', { ref })), { type: 'history', ref, messages: 2, more: false }],
  history: (ref) => [{ type: 'history', ref, messages: 0, more: false }],
  // The status and the body for a file that is handed over.
  takes: (name, files) => {
    files.push(name);
    return [200, JSON.stringify({ path: `/spool/${name}` })];
  },
  // The bytes of a fetched file.
  fetches: () => undefined,
  complete: (ref, { text }) => [{ type: 'completions', ref, from: 0, candidates: text.startsWith('/') ? ['/join ', '/kick ', '/send '] : ['bob: '] }],
};

export async function core(states) {
  const sockets = new Set();
  const heard = [];
  const answers = { ...ANSWERS };
  const files = [];
  const server = http.createServer((request, answer) => {
    const name = new URL(request.url, 'http://localhost').pathname;
    if (request.method === 'POST' && name === '/files') {
      request.resume().on('end', () => {
        const [status, text] = answers.takes(decodeURIComponent(request.headers['x-name']), files);
        answer.writeHead(status).end(text);
      });
      return undefined;
    }
    if (name.startsWith('/files/')) {
      const bytes = answers.fetches(name.slice(7));
      return answer.writeHead(bytes ? 200 : 404, { 'Content-Type': 'application/octet-stream' }).end(bytes);
    }
    const file = path.join(WEB, name === '/' ? 'index.html' : name);
    if (!file.startsWith(WEB) || !fs.existsSync(file)) return answer.writeHead(404).end();
    answer.writeHead(200, { ...HEADERS, 'Content-Type': TYPES[file.split('.').pop()] });
    return answer.end(fs.readFileSync(file));
  });
  server.on('upgrade', (request, socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    const accept = crypto.createHash('sha1').update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
    const send = (objects) => objects.forEach((object) => socket.write(frame(JSON.stringify(object))));
    read(socket, (object) => {
      heard.push(object);
      if (object.type === 'attach') send(states[object.token.split('--')[0]] ?? []);
      else send(answers[object.type]?.(object.ref, object) ?? []);
    });
  });
  await new Promise((done) => { server.listen(0, '127.0.0.1', done); });
  return {
    url: (state) => `http://127.0.0.1:${server.address().port}/#${state}--${'x'.repeat(22)}`,
    origin: `http://127.0.0.1:${server.address().port}`,
    /** What the pages have sent, and the names of files that they have handed over. */
    heard,
    files,
    /** How objects and files are answered. */
    answers,
    cut: () => sockets.forEach((socket) => socket.destroy()),
    push: (objects) => sockets.forEach((socket) => objects.forEach((object) => socket.write(frame(JSON.stringify(object))))),
    close: () => { sockets.forEach((socket) => socket.destroy()); server.close(); },
  };
}
