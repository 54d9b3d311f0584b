// A house whose connections can be cut: it serves the files of web/ as the server does, and passes the records on to the
// real server's web port.

import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const WEB = process.env.PYCHAT_WEB ?? fileURLToPath(new URL('../../web', import.meta.url));
const TYPES = {
  html: 'text/html; charset=utf-8', js: 'text/javascript; charset=utf-8', css: 'text/css; charset=utf-8', svg: 'image/svg+xml', png: 'image/png',
  webmanifest: 'application/manifest+json', json: 'application/json', wasm: 'application/wasm',
};
const HEADERS = {
  'Content-Security-Policy': "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; img-src 'self' blob:; " +
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
  'X-Content-Type-Options': 'nosniff', 'Referrer-Policy': 'no-referrer', 'Cache-Control': 'no-cache',
  'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Resource-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp',
};

function answer(request, response, { about, cutBy }) {
  if (cutBy === true) return request.socket.destroy();
  if (cutBy) return response.writeHead(cutBy, HEADERS).end();
  const asked = new URL(request.url, 'http://house').pathname;
  const name = asked === '/' ? 'index.html' : asked.slice(1);
  const send = (body, type, more = {}) => {
    response.writeHead(200, { ...HEADERS, 'Content-Type': TYPES[type], ...more });
    response.end(body);
  };
  if (name === 'server.json') return send(JSON.stringify(about), 'json');
  if (name === 'core.wasm') return send(fs.readFileSync(path.join(WEB, 'core.wasm.gz')), 'wasm', { 'Content-Encoding': 'gzip' });
  const file = path.join(WEB, name);
  if (!fs.existsSync(file)) return response.writeHead(404, HEADERS).end();
  return send(fs.readFileSync(file), path.extname(name).slice(1));
}

/** Serves the page of a world's server. */
export async function house(world) {
  const [host, port] = world.webAddress.split(':');
  const sockets = new Set();
  const house = {
    about: { fingerprint: world.print, founding: world.print, name: 'the house' },
    cutBy: false,
    /** Pause after each part of a browser's records, in milliseconds. */
    pauseMs: 0,
    /** Cuts everything, as a stopped server does. With a status: as a proxy in front of it does. */
    cut: (status = true) => { house.cutBy = status; sockets.forEach((socket) => socket.destroy()); },
    mend: () => Object.assign(house, { cutBy: false, pauseMs: 0 }),
  };
  const server = http.createServer((request, response) => answer(request, response, house));
  server.on('upgrade', (request, from, head) => {
    if (house.cutBy) return from.destroy();
    const to = net.connect(Number(port), host);
    const lines = [`GET /hop HTTP/1.1`, `Host: ${world.webAddress}`, `Origin: http://${world.webAddress}`];
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      if (!/^(host|origin)$/i.test(request.rawHeaders[i])) lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`);
    }
    to.write(`${lines.join('\r\n')}\r\n\r\n`);
    to.write(head);
    from.on('data', () => {
      if (!house.pauseMs) return;
      from.pause();
      setTimeout(() => from.resume(), house.pauseMs);
    });
    for (const [one, other] of [[from, to], [to, from]]) {
      sockets.add(one);
      one.on('error', () => {}).on('close', () => { sockets.delete(one); other.destroy(); });
      one.pipe(other);
    }
    return undefined;
  });
  await new Promise((done) => { server.listen(0, '127.0.0.1', done); });
  return Object.assign(house, { url: `http://127.0.0.1:${server.address().port}/`, close: () => { house.cut(); server.close(); } });
}
