// The Worker that runs the client: WebAssembly, its connection to the server, and its files in IndexedDB.
// Events are handled one after another. What the client has changed in its files is stored before anything is sent.

import { Blobs } from './blobs.js';
import { addChange, each, Taken, whole } from './vault.js';

const [OBJECT, OPENED, RECORD, CLOSED, ATTACH, END, DERIVED] = [1, 2, 3, 4, 5, 6, 7];
const OUTPUTS = { 1: 'write', 2: 'remove', 3: 'open', 4: 'record', 5: 'close', 6: 'object', 7: 'end', 8: 'due', 9: 'error', 13: 'derive' };
/** Words of the memory that this Worker shares with `keyholder.js`, and where its bytes begin. */
const [STATE, OPERATION, LABEL, INPUT, RESULT] = [0, 1, 2, 3, 4];
const BYTES = 32;
const OAEP_BYTES = 384;
/** Longest time that the key needs for an operation. */
const KEY_MS = 30000;
/** Time limit of the derivation of a PIN's key, which takes seconds on a phone. */
const DERIVE_MS = 60000;
/** A copy of a chosen file may take this part of the free space, so that messages can still be stored. */
const COPY_SHARE = 4;

let wasm;
let module;
let vault;
let shared;
let keyholder;
let socket;
let timer;
/** The time at which the timer ends, as `performance.now()`. */
let dueAt = Infinity;
let ended = false;
/** The random id of this client, as the owner of the files. */
const own = crypto.randomUUID();
let events = Promise.resolve();
/** Keys of PINs are derived one after another: each needs 64 MiB. */
let derivations = Promise.resolve();
/** Copies are stored one after another, so that each is counted before the next one. */
let copies = Promise.resolve();
const text = new TextDecoder();

const policy = self.trustedTypes?.createPolicy('pychat', { createScriptURL: (url) => url });
const memory = (at, length) => new Uint8Array(wasm.memory.buffer, at, length);
const blobs = new Blobs();

/** The functions of the browser that the client calls synchronously. */
const page = {
	random(at, length) {
		for (let from = 0; from < length; from += 65536) crypto.getRandomValues(memory(at + from, Math.min(65536, length - from)));
	},
	rsa(operation, label, labelBytes, input, inputBytes, result) {
		const words = new Int32Array(shared);
		const bytes = new Uint8Array(shared, BYTES);
		if (labelBytes + inputBytes > bytes.length) return -1;
		bytes.set(memory(label, labelBytes));
		bytes.set(memory(input, inputBytes), labelBytes);
		[words[OPERATION], words[LABEL], words[INPUT]] = [operation, labelBytes, inputBytes];
		Atomics.store(words, STATE, 1);
		keyholder.postMessage(0);
		if (Atomics.wait(words, STATE, 1, KEY_MS) === 'timed-out') throw new Error('the Worker with the key does not answer');
		const length = words[RESULT];
		if (length >= 0 && length <= OAEP_BYTES) memory(result, length).set(bytes.subarray(0, length));
		bytes.fill(0);
		return length;
	},
	file_read(number, from, at, length) {
		const bytes = blobs.read(number, from, length);
		if (bytes) memory(at, length).set(bytes);
		return bytes ? 0 : -1;
	},
	file_append: (number, at, length) => (blobs.append(number, memory(at, length).slice()) ? 0 : -1),
	file_forget: (number) => blobs.forget(number),
	panicked(at, length) { postMessage({ crashed: text.decode(memory(at, length)) }); },
};

function hand(...parts) {
	const bytes = parts.reduce((sum, part) => sum + part.length, 0);
	let at = wasm.space(bytes);
	for (const part of parts) {
		memory(at, part.length).set(part);
		at += part.length;
	}
}

/** Lets the client handle an event, and carries out its outputs. */
async function handle(event, bytes = new Uint8Array()) {
	if (ended) return;
	hand(bytes);
	wasm.input(event, Date.now(), performance.now());
	await perform();
}

async function perform() {
	const rest = [];
	const objects = [];
	let changes = [];
	for (let kind = wasm.next(); kind; kind = wasm.next()) {
		const bytes = memory(wasm.output(), wasm.output_bytes()).slice();
		const name = OUTPUTS[kind];
		if (name === 'write') changes = addChange(changes, written(bytes));
		else if (name === 'remove') changes = addChange(changes, { path: text.decode(bytes) });
		else if (name === 'object') objects.push(text.decode(bytes));
		else rest.push([name, bytes]);
	}
	const gone = blobs.gone.splice(0);
	try {
		if (changes.length || gone.length) await store(changes, gone);
	} catch (error) {
		// Nothing is sent or shown unless its changes are stored for a later start of the client.
		return stop(error instanceof Taken ? { taken: true } : { unstored: String(error.message ?? error) });
	}
	if (objects.length) postMessage({ objects });
	for (const [name, bytes] of rest) act(name, bytes);
	return undefined;
}

function written(bytes) {
	const head = new DataView(bytes.buffer);
	const path = 8 + head.getUint32(4, true);
	return { path: text.decode(bytes.subarray(8, path)), from: head.getUint32(0, true), bytes: bytes.subarray(path) };
}

/**
 * Stores changes, and removes the copies of chosen files that are `gone`. If that fails, it opens the
 * database again, removes all copies and tries once more.
 */
async function store(changes, gone) {
	try {
		await vault.store(changes, own, gone);
	} catch (error) {
		if (error instanceof Taken) throw error;
		vault.close();
		vault = await whole();
		// Messages have priority over the copies, which may have filled the browser's store.
		await vault.store([], own, (await vault.chosen()).map(({ path }) => path));
		await vault.store(changes, own);
	}
}

/** Ends the client. The browser still sends the records that it was given. */
function stop(why) {
	ended = true;
	clearTimeout(timer);
	close();
	postMessage(why);
}

function act(name, bytes) {
	switch (name) {
		case 'open': return open();
		case 'record': return socket?.readyState === 1 && socket.send(bytes);
		case 'close': return close();
		case 'due': return wake(Number(text.decode(bytes)));
		case 'derive': return derive(bytes);
		case 'end': return stop({ ended: bytes[0] });
		default: return postMessage({ failed: text.decode(bytes) });
	}
}

/**
 * Wakes the client at that time at the latest, in milliseconds from now. An earlier timer stays, so
 * that frequent events cannot delay it.
 */
function wake(ms) {
	const wait = Math.min(Math.max(ms, 1), 60000);
	const at = performance.now() + wait;
	if (at >= dueAt) return;
	clearTimeout(timer);
	dueAt = at;
	timer = setTimeout(() => {
		dueAt = Infinity;
		queue(() => handle(0));
	}, wait);
}

/** Derives the key of a PIN. Without a result, the client derives the key itself. */
function derive(wanted) {
	const number = wanted.slice(0, 4);
	derivations = derivations.then(async () => {
		const root = await derived(wanted.slice(4));
		wanted.fill(0);
		queue(async () => {
			const bytes = Uint8Array.of(...number, ...root);
			root.fill(0);
			await handle(DERIVED, bytes);
			bytes.fill(0);
		});
	});
}

/** Resolves to the secret that a Worker has derived; to no bytes if it could not do so in time. */
function derived(wanted) {
	return new Promise((resolve) => {
		try {
			const url = new URL('page/locker.js', start.base).href;
			const worker = new Worker(policy ? policy.createScriptURL(url) : url, { type: 'module' });
			const ends = (root = new Uint8Array()) => {
				clearTimeout(limit);
				worker.terminate();
				resolve(root);
			};
			const limit = setTimeout(ends, DERIVE_MS);
			worker.onmessage = ({ data }) => ends(data.root);
			worker.onerror = () => ends();
			worker.postMessage({ module, wanted }, [wanted.buffer]);
		} catch {
			resolve(new Uint8Array());
		}
	});
}

/** Runs something after all earlier events. */
function queue(does) {
	events = events.then(does).catch((error) => stop({ crashed: String(error.stack ?? error) }));
}

function close() {
	const old = socket;
	socket = null;
	old?.close();
}

function open() {
	close();
	const url = new URL('hop', start.base);
	url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
	const opened = (socket = new WebSocket(url));
	opened.binaryType = 'arraybuffer';
	const later = (event, bytes) => queue(() => (opened === socket ? handle(event, bytes) : undefined));
	opened.onopen = () => later(OPENED);
	opened.onmessage = ({ data }) => typeof data !== 'string' && later(RECORD, new Uint8Array(data));
	opened.onclose = () => later(CLOSED);
}

/** Accepts a file from the page. Answers with its path, or with the reason of a refusal. `picture` is the result of `smallPicture`. */
async function takeFile({ id, file, name, picture }) {
	if (ended || !wasm) return postMessage({ answer: id, refused: 'the client is not running' });
	const { original, small, pixels = new Uint8Array() } = picture ?? {};
	const description = new TextEncoder().encode(JSON.stringify({ name, bytes: file.size, original, small }));
	hand(description, pixels);
	const number = wasm.hand(description.length);
	wasm.next();
	const told = text.decode(memory(wasm.output(), wasm.output_bytes()).slice());
	if (number) {
		blobs.put(number, file, told);
		copies = copies.then(() => copy(number, told, file)).catch(() => {});
	}
	await perform();
	return postMessage({ answer: id, ...(number ? { path: told } : { refused: told }) });
}

/** Stores a copy of a chosen file, if there is room. Without the copy, the upload ends with the page. */
async function copy(number, path, file) {
	const { quota = 0, usage = 0 } = await navigator.storage.estimate();
	const hasRoom = file.size <= (quota - usage) / COPY_SHARE;
	// The client may have sent the file meanwhile.
	if (hasRoom && blobs.has(number)) await vault.choose(path, file);
}

/** Answers with the bytes of a fetched file, and removes the file if the page saves it. */
async function giveFile({ id, transfer, saves }) {
	const number = ended || !wasm ? 0 : wasm.fetched(transfer);
	const blob = number && blobs.whole(number);
	postMessage({ answer: id, blob: blob || undefined });
	if (!number || !saves) return undefined;
	wasm.saved(transfer);
	return perform();
}

let start;
/** Starts the client: `base` is the page's address, `config` what it is started with, `port` leads to the key. */
async function begin(given) {
	start = given;
	({ shared, keyholder } = given);
	vault = await whole();
	// Before the files are read, because later changes of another client would be lost.
	await vault.own(own);
	const response = await fetch(new URL('core.wasm', start.base));
	if (!response.ok) throw new Error(`core.wasm: ${response.status}`);
	({ module, instance: { exports: wasm } } = await WebAssembly.instantiateStreaming(response, { page }));
	const utf8 = new TextEncoder();
	await each(vault, (path, bytes) => {
		const name = utf8.encode(path);
		hand(name, bytes);
		wasm.load(name.length);
	});
	const chosen = await vault.chosen();
	for (const one of chosen) {
		hand(utf8.encode(one.path));
		one.number = wasm.chosen(one.file.size);
		blobs.put(one.number, one.file, one.path);
	}
	hand(utf8.encode(JSON.stringify(start.config)));
	wasm.start(Date.now(), performance.now());
	const unread = chosen.filter(({ number }) => !blobs.has(number));
	await perform();
	// The client has started, and does not know these files.
	if (unread.length) postMessage({ objects: unread.map(({ path }) => JSON.stringify(unsent(path))) });
}

/** Reports a file that was chosen before the page was closed, and of which no transfer is stored. */
const unsent = (path) => {
	// Control characters and invisible ones could disguise the name.
	const name = path.split('/').at(-1).replace(/\p{C}/gu, '\ufffd');
	const hint = `${name} may not have been sent, because the page was closed. Look for it in the conversation before you send it again`;
	return { type: 'error', code: 'client', hint, origin: 'client' };
};

onmessage = ({ data }) => {
	if (data.begin) return queue(() => begin(data.begin));
	if (data.object) return queue(() => handle(OBJECT, new TextEncoder().encode(data.object)));
	if (data.file) return queue(() => takeFile(data.file));
	if (data.fetched) return queue(() => giveFile(data.fetched));
	if (data.attach) return queue(() => handle(ATTACH));
	if (data.end) return queue(() => handle(END));
	if (data.retry) return queue(() => handle(0));
	return undefined;
};
