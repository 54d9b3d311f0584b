// The client in this page: the same objects as `link.js` has from the client on this computer. Here a Worker runs the
// client, and the page is served by the chat's server.

import { button, h, $, scriptUrl } from './dom.js';
import { whole } from './vault.js';
import { nameProblem } from './words.js';

const LOCK = 'pychat client';
const SERVER = 'pychat server';
/** Words of the shared memory, and bytes for a label, what is opened or signed, and the result. */
const SHARED_BYTES = 32 + 8192;
const NAME_CHARS_MAX = 32;

/** What serves this page: a server, null for the client on this computer, undefined if it is not known. */
export async function servedBy() {
	const server = await answer();
	if (server !== undefined) {
		// A full disk does not matter here.
		try { localStorage.setItem(SERVER, JSON.stringify(server)); } catch { /* It is asked again next time. */ }
		return server;
	}
	const last = localStorage.getItem(SERVER);
	if (last === 'null') return null;
	return (await hasProfile()) ? JSON.parse(last) ?? {} : undefined;
}

/** Asks what serves the page: returns null or a server, and undefined if there is no answer now. */
async function answer() {
	try {
		const response = await fetch('server.json');
		const server = response.ok ? await response.json() : undefined;
		return server === null || server?.fingerprint ? server : undefined;
	} catch {
		return undefined;
	}
}

async function hasProfile() {
	try {
		const vault = await whole();
		const profile = await vault.profile();
		vault.close();
		return !!profile;
	} catch {
		return false;
	}
}

/** Makes an RSA-3072 key that nobody can export, as two handles of one key. */
async function makeKey() {
	const oaep = { name: 'RSA-OAEP', hash: 'SHA-256' };
	const making = { ...oaep, modulusLength: 3072, publicExponent: new Uint8Array([1, 0, 1]) };
	const pair = await crypto.subtle.generateKey(making, true, ['encrypt', 'decrypt']);
	const exported = await crypto.subtle.exportKey('pkcs8', pair.privateKey);
	const spki = await crypto.subtle.exportKey('spki', pair.publicKey);
	const opens = await crypto.subtle.importKey('pkcs8', exported, oaep, false, ['decrypt']);
	const signs = await crypto.subtle.importKey('pkcs8', exported, { name: 'RSA-PSS', hash: 'SHA-256' }, false, ['sign']);
	new Uint8Array(exported).fill(0);
	return { opens, signs, spki };
}

/** Returns whether the stored key still works: some browsers store keys that they cannot read back. */
async function isWhole({ keys }) {
	try {
		const oaep = { name: 'RSA-OAEP', hash: 'SHA-256' };
		const own = await crypto.subtle.importKey('spki', keys.spki, oaep, false, ['encrypt']);
		const sealed = await crypto.subtle.encrypt({ name: 'RSA-OAEP' }, own, new Uint8Array([7]));
		const [seven] = new Uint8Array(await crypto.subtle.decrypt({ name: 'RSA-OAEP' }, keys.opens, sealed));
		return seven === 7;
	} catch {
		return false;
	}
}

/** A fingerprint as in an invite. */
const ofInvite = (print) => print.replace(/^SHA256:/, '').replaceAll('+', '-').replaceAll('/', '_');

const base64 = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)));

export class OwnLink {
	constructor(server, heard, told) {
		Object.assign(this, { server, heard, told, attached: false, isOwn: true });
		addEventListener('online', () => this.retry());
		document.addEventListener('visibilitychange', () => document.hidden || this.retry());
	}

	async open() {
		try {
			if (!(await this.#isAble())) return;
			this.vault = await whole(() => location.reload());
			// Some browsers ask the user first.
			navigator.storage?.persist?.()?.catch(() => {});
			const profile = await this.vault.profile();
			if (profile && !(await isWhole(profile))) return this.#unreadable();
			if (profile) return this.#takes(profile);
			return this.#greets();
		} catch (error) {
			return this.#card('This browser stores nothing for this page', h('p', {}, `Allow storage for this address, leave private mode, and load the page again. (${error.message})`), again());
		}
	}

	/** Shows what the browser lacks. */
	async #isAble() {
		const missing = (!isSecureContext && 'an address with https') || (!window.WebAssembly && 'WebAssembly')
			|| (!window.crossOriginIsolated && 'memory that Workers share') || (!navigator.locks && 'locks');
		if (!missing) return true;
		await this.#card('This browser cannot run the client', h('p', {}, `It lacks ${missing}. On this computer, `, h('code', {}, 'pychat client --web'), ' does not need it.'));
		return false;
	}

	// The first contact.

	#greets() {
		const { fingerprint, founding } = this.server;
		const [invited] = location.hash.match(/[\w-]{43}(?![\w-])/) ?? [];
		if (invited && ![fingerprint, founding].map(ofInvite).includes(invited)) {
			return this.#card('This is another server than the one of your invite', h('p', {}, `Your invite names the key ${invited}, and this server has ${ofInvite(fingerprint)}. Nothing was made. Ask the person who sent it.`));
		}
		const problem = h('p', { class: 'error', role: 'alert' });
		const name = h('input', { id: 'name', name: 'name', autocomplete: 'username', autocapitalize: 'off', spellcheck: 'false', required: true, maxlength: NAME_CHARS_MAX, 'aria-describedby': 'name-hint' });
		const hint = h('p', { class: 'hint', id: 'name-hint' }, 'Letters, digits, - and _; a letter or a digit first.');
		const make = h('button', { type: 'submit', class: 'primary' }, 'Make my key');
		const form = h('form', {}, h('div', { class: 'field' }, h('label', { for: 'name' }, 'Your name in the chat'), name, hint, problem), make);
		form.addEventListener('submit', async (event) => {
			event.preventDefault();
			const own = name.value.trim().normalize('NFC');
			problem.textContent = nameProblem(own) ?? '';
			if (problem.textContent) return;
			make.disabled = true;
			make.textContent = 'Making your key ...';
			try {
				const profile = await this.#make(own);
				if (await isWhole(profile)) await this.#takes(profile); else this.#unreadable();
			} catch (error) {
				problem.textContent = `No key was made: ${error.message}`;
				make.disabled = false;
				make.textContent = 'Make my key';
			}
		});
		this.#card(`Chat on ${this.server.name || location.host}`,
			h('p', {}, 'This browser makes a key for you. It stays here: nobody can copy it, and without it nobody can read your private messages. Use this browser again next time.'),
			h('p', {}, `Key of the server: ${this.server.fingerprint}`), form);
		return name.focus();
	}

	/** Returns the profile that another tab has stored meanwhile, or a new one. */
	async #make(name) {
		const other = await this.vault.profile();
		if (other) return other;
		const keys = await makeKey();
		const isKept = await this.vault.keep({ keys, name, fingerprint: ofInvite(this.server.fingerprint) });
		const stored = await this.vault.profile();
		if (!isKept || (await isWhole(stored))) return stored;
		await this.vault.drop();
		throw new Error('this browser does not store keys');
	}

	#unreadable() {
		this.#card('Your key cannot be read now',
			h('p', {}, 'The browser may read it at the next try. If it never does, the browser has lost a part of what it stored.'),
			again('Try again'), this.#restart());
	}

	/** A button that forgets everything, after a question. */
	#restart() {
		return button('Forget it and start again', () => this.#card('Forget your key?',
			h('p', {}, 'Your key and everything that is stored here are removed, for good. A new key needs the person who runs the server, and cannot read old private messages.'),
			again('Keep it'), button('Forget it', () => this.forget())));
	}

	/** Removes the key and all files from this browser. */
	async forget() {
		this.close();
		await this.vault.forget();
		localStorage.clear();
		sessionStorage.clear();
		for (const name of await caches.keys()) await caches.delete(name);
		const workers = await navigator.serviceWorker?.getRegistrations() ?? [];
		for (const worker of workers) await worker.unregister();
		location.replace(location.pathname);
	}

	// Only one client runs in each browser.

	async #takes(profile, steals = false) {
		this.profile = profile;
		const options = steals ? { steal: true } : { ifAvailable: true };
		let isOurs = false;
		const held = navigator.locks.request(LOCK, options, (lock) => {
			if (!lock) return undefined;
			isOurs = true;
			this.#begin(profile);
			return new Promise((release) => { this.release = release; });
		});
		held.then(() => isOurs || this.#elsewhere(), () => this.#elsewhere());
	}

	#elsewhere() {
		this.close();
		this.told('lost', Date.now());
		this.#card('The chat is open in another tab or window', h('p', {}, 'One of them at a time is the client.'),
			button('Use it here', () => {
				$('start').replaceChildren();
				this.#takes(this.profile, true);
			}));
	}

	#begin({ keys, name, fingerprint }) {
		this.told('attaching');
		const shared = new SharedArrayBuffer(SHARED_BYTES);
		const { port1, port2 } = new MessageChannel();
		this.keyholder = new Worker(scriptUrl('page/keyholder.js'), { type: 'module' });
		this.keyholder.postMessage({ keys: { opens: keys.opens, signs: keys.signs }, shared, port: port1 }, [port1]);
		this.keyholder.onerror = (event) => this.#crashed(event.message);
		this.worker = new Worker(scriptUrl('page/core.js'), { type: 'module' });
		this.worker.onmessage = ({ data }) => this.#hears(data);
		this.worker.onerror = (event) => this.#crashed(event.message);
		const port = Number(location.port) || (location.protocol === 'https:' ? 443 : 80);
		const config = { name, host: location.hostname, port, fingerprint, public: base64(keys.spki) };
		this.worker.postMessage({ begin: { base: document.baseURI, config, shared, keyholder: port2 } }, [port2]);
	}

	#hears(data) {
		for (const text of data.objects ?? []) {
			const object = JSON.parse(text);
			if (object.type === 'ready') this.attached = true;
			if (object.type === 'state') this.state = object.state;
			this.heard(object);
		}
		if (data.crashed) this.#crashed(data.crashed);
		if (data.failed) this.#failed(data.failed);
		if (data.unstored) this.#unstored(data.unstored);
		if (data.taken) this.#elsewhere();
		if (data.ended !== undefined) this.#ended();
	}

	#ended() {
		this.close();
		this.#card('The client has ended', again('Start it again'));
	}

	/** The client cannot start from the stored files. */
	#failed(text) {
		this.close();
		this.#card('The client does not start', h('p', { class: 'why' }, text), again(), this.#restart());
	}

	#unstored(text) {
		this.close();
		this.#card('This browser stores nothing more', h('p', { class: 'why' }, text),
			h('p', {}, 'The client has stopped, and has sent nothing that is not stored. Free space on this device, allow storage for this address, and load the page again.'), again());
	}

	#crashed(text) {
		this.close();
		this.#card('The client has stopped, because of a bug in pychat', h('p', { class: 'why' }, text), h('p', {}, 'What is stored is safe.'), again());
	}

	/** Ends the client of this page. */
	close() {
		this.worker?.terminate();
		this.keyholder?.terminate();
		this.release?.();
		Object.assign(this, { worker: null, keyholder: null, release: null, attached: false });
	}

	/** Connects now instead of later. */
	retry() {
		const isThere = ['connecting', 'connected', 'silent'].includes(this.state);
		if (this.attached && !isThere && navigator.onLine) this.send({ type: 'slash', line: '/reconnect' });
	}

	send(object) {
		if (!this.attached) return false;
		this.worker.postMessage({ object: JSON.stringify(object) });
		return true;
	}

	#card(title, ...children) {
		$('app').hidden = true;
		$('start').replaceChildren(h('main', { class: 'card' }, h('h1', {}, title), children));
	}
}

const again = (text = 'Load the page again') => button(text, () => location.reload());
