// A server, its people, a terminal client and browsers, each in folders of its own.

import { spawn, execFile } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
export const DEADLINE_MS = 30000;

/** Waits until something holds; `what` names it in the error. */
export async function until(what, holds, ms = DEADLINE_MS) {
  const end = Date.now() + ms;
  for (;;) {
    const value = await holds();
    if (value) return value;
    if (Date.now() > end) throw new Error(`never happened: ${what}`);
    await new Promise((done) => { setTimeout(done, 40); });
  }
}

/** A program, and the lines that it has printed. */
export class Program {
  constructor(binary, args, env) {
    Object.assign(this, { name: `pychat ${args[0]}`, lines: [], exited: null });
    // A pipe of the system: what node calls a pipe is a socket, to which no secret is printed.
    this.child = spawn('bash', ['-c', 'exec "$0" "$@" > >(exec cat)', binary, ...args], { env, cwd: env.HOME, stdio: ['pipe', 'pipe', 'pipe'] });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      let rest = '';
      stream.setEncoding('utf8').on('data', (text) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop();
        this.lines.push(...lines);
      });
    }
    this.child.stdin.on('error', () => {});
    this.ended = new Promise((done) => { this.child.on('exit', (code) => done((this.exited = code ?? -1))); });
  }

  line(what, fits, from = 0) {
    const found = () => {
      if (this.exited !== null && !this.lines.some((line, i) => i >= from && fits(line))) {
        throw new Error(`${this.name} has ended (${this.exited}): ${this.lines.slice(-5).join(' | ')}`);
      }
      return this.lines.find((line, i) => i >= from && fits(line));
    };
    return until(`${this.name} prints ${what}`, found).catch((error) => { throw new Error(`${error.message}; it has printed: ${this.lines.slice(-8).join(' | ')}`); });
  }

  async stop(signal = 'SIGTERM') {
    if (this.exited === null) this.child.kill(signal);
    await this.ended;
  }
}

/** A client with `--json`, as a terminal user has it. */
class Json extends Program {
  tell(object) { this.child.stdin.write(`${JSON.stringify(object)}\n`); }

  get objects() { return this.lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line)); }

  hears(what, fits) { return until(`${this.name} hears ${what}`, () => this.objects.find(fits)); }
}

/** Forwards connections to the server until it is cut. */
export class Wire {
  static async open(port) {
    const wire = Object.assign(new Wire(), { sockets: new Set(), isCut: false });
    wire.listener = net.createServer((from) => {
      if (wire.isCut) return from.destroy();
      const to = net.connect(port, '127.0.0.1');
      for (const [one, other] of [[from, to], [to, from]]) {
        wire.sockets.add(one);
        one.on('error', () => {}).on('close', () => { wire.sockets.delete(one); other.destroy(); });
        one.pipe(other);
      }
      return undefined;
    });
    await new Promise((done) => { wire.listener.listen(0, '127.0.0.1', done); });
    wire.port = wire.listener.address().port;
    return wire;
  }

  cut() {
    this.isCut = true;
    this.sockets.forEach((socket) => socket.destroy());
  }

  mend() { this.isCut = false; }
}

export class World {
  static async open(binary) {
    const world = Object.assign(new World(), { binary, folder: fs.mkdtempSync(path.join(os.tmpdir(), 'pychat-browser-')), programs: [], wires: [], files: 0 });
    world.home = path.join(world.folder, 'home');
    fs.mkdirSync(world.home);
    world.configure({ messages_burst: 2000, messages_per_s: 1000, bytes_per_s: 1e9, requests_per_s: 100000, histories_per_s: 1000, answer_bytes_per_s: 1e9, logins_per_s: 1000, file_reserve_bytes: 0 });
    await world.serve('127.0.0.1:0');
    return world;
  }

  configure(limits) {
    fs.writeFileSync(path.join(this.home, 'config.json'), JSON.stringify({ server_ip: '127.0.0.1', limits }));
  }

  async serve(listen) {
    this.server = this.start(['server', '--no-owner', '--listen', listen, '--web', '127.0.0.1:0', '--home', this.home], 'server');
    const ready = await this.server.line('ready', (line) => line.includes('ready addr='));
    const words = Object.fromEntries(ready.split(/\s+/).filter((word) => word.includes('=')).map((word) => word.split(/=(.*)/)));
    this.address = words.addr;
    const web = await this.server.line('its web port', (line) => line.includes('web at ws://'));
    this.webAddress = web.match(/ws:\/\/([^/]+)\//)[1];
    this.print = words.fingerprint.replace('SHA256:', '').replaceAll('+', '-').replaceAll('/', '_');
  }

  env(name) {
    const home = path.join(this.folder, name);
    fs.mkdirSync(path.join(home, 'Downloads'), { recursive: true });
    return { PATH: process.env.PATH, HOME: home, XDG_DATA_HOME: path.join(home, 'data'), XDG_CONFIG_HOME: path.join(home, 'config'), NO_COLOR: '1', LANG: 'C.UTF-8' };
  }

  start(args, name, Kind = Program) {
    const program = new Kind(this.binary, args, this.env(name));
    this.programs.push(program);
    return program;
  }

  /** Runs a command. A last argument `{ input }` is its standard input. */
  async call(name, ...args) {
    const { input = '' } = typeof args.at(-1) === 'object' ? args.pop() : {};
    const called = run(this.binary, args, { env: this.env(name), timeout: DEADLINE_MS });
    // A program that reads nothing may have ended.
    called.child.stdin.on('error', () => {}).end(input);
    return (await called).stdout;
  }

  /** Registers somebody's key. */
  async admit(name, role) {
    const line = (await this.call(name, 'key', 'show', '--name', name)).trim();
    await this.call('server', 'users', 'add', line, '--yes', '--home', this.home);
    if (role) await this.call('server', 'users', 'role', name, role, '--home', this.home);
  }

  invite(port) { return `pychat://127.0.0.1:${port ?? this.address.split(':')[1]}/${this.print}`; }

  terminal(name) { return this.start(['client', this.invite(), '--name', name, '--json'], name, Json); }

  /** Starts `client --web`, and returns the program and its address. */
  async web(name, { port, listen = '127.0.0.1:0' } = {}) {
    const program = this.start(['client', this.invite(port), '--name', name, '--web', listen], name);
    const line = await program.line('its address', (one) => /http:\/\/\S+#\S+/.test(one));
    return { program, url: line.match(/http:\/\/\S+#\S+/)[0] };
  }

  async wire() {
    const wire = await Wire.open(Number(this.address.split(':')[1]));
    this.wires.push(wire);
    return wire;
  }

  async close() {
    this.wires.forEach((wire) => { wire.cut(); wire.listener.close(); });
    await Promise.all(this.programs.map((program) => program.stop('SIGKILL')));
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}
