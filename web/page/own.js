// The client in this page: the same objects as `link.js` has from the client on this computer. Here a Worker runs the
// client, and the page is served by the chat's server.

import { button, field, h, $, scriptUrl, warning } from './dom.js';
import { base64, FILE_BYTES_MAX, makeKey, readKey, saveFile, works } from './keyfile.js';
import { smallPicture } from './preview.js';
import { whole } from './vault.js';
import { nameProblem } from './words.js';

const LOCK = 'pychat client';
const SERVER = 'pychat server';
/** Words of the shared memory, and bytes for a label, what is opened or signed, and the result. */
const SHARED_BYTES = 32 + 8192;
const NAME_CHARS_MAX = 32;
/** The shortest time between two checks for a newer page when the page becomes visible, in milliseconds. */
const NEWER_MS = 600000;

/** Returns the server of this page; null for the client on this computer, undefined if it is not known. */
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

/** Asks for the server of this page: returns null or a server, and undefined if there is no answer now. */
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

/** Whether this is Safari on a phone or an iPad, and no app of the home screen. Each has its own storage, and Safari's does not last. */
function isSafariTab() {
	// An iPad reports that it is a Mac. Macs have no touch screen.
	const isPad = /Macintosh/.test(navigator.userAgent) && navigator.maxTouchPoints > 1;
	return (isPad || /iPhone|iPad/.test(navigator.userAgent)) && !navigator.standalone;
}

/** A fingerprint as in an invite. */
const ofInvite = (print) => print.replace(/^SHA256:/, '').replaceAll('+', '-').replaceAll('/', '_');

export class OwnLink {
	/** The small picture of each file: the page hands a file over again while the client is busy. */
	#previews = new WeakMap();

	constructor(server, heard, told) {
		Object.assign(this, { server, heard, told, attached: false, isOwn: true, checkedMs: 0, asked: new Map() });
		addEventListener('online', () => this.retry());
		document.addEventListener('visibilitychange', () => {
			if (document.hidden) return;
			this.retry();
			if (Date.now() - this.checkedMs > NEWER_MS) this.#checkPage();
		});
	}

	/** Checks whether the server has a newer page: after each connection, and when the page becomes visible again. */
	async #checkPage() {
		this.checkedMs = Date.now();
		const now = await answer();
		if (this.server.page && now?.page && now.page !== this.server.page) this.told('newer');
	}

	async open() {
		try {
			if (!(await this.#isAble())) return;
			this.vault = await whole(() => location.reload());
			// Some browsers ask the user first.
			navigator.storage?.persist?.()?.catch(() => {});
			const profile = await this.vault.profile();
			if (profile && !(await works(profile.keys))) return this.#unreadable();
			if (profile) return this.#takes(profile);
			return this.#greets();
		} catch (error) {
			return this.#card('This browser stores nothing for this page', h('p', {}, `Allow storage for this address, leave private mode, and load the page again. (${error.message})`), again());
		}
	}

	/** Shows the missing features of the browser. */
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
		return this.#form(false);
	}

	/** The first form: a new key, or one from a key file. */
	#form(reads) {
		const problem = h('p', { class: 'error', role: 'alert' });
		const name = h('input', { id: 'name', name: 'name', autocomplete: 'username', autocapitalize: 'off', spellcheck: 'false', required: true, maxlength: NAME_CHARS_MAX, 'aria-describedby': 'name-hint' });
		const hint = h('p', { class: 'hint', id: 'name-hint' }, 'Letters, digits, - and _; a letter or a digit first.');
		const file = reads && field('Key file', { name: 'file', type: 'file', accept: '.pem', required: true }, 'A backup of this page, or id.pem of the terminal client.');
		const about = reads ? 'Leave it empty if the file has none.' : 'With a passphrase you can save the key in a file at any time. Without one, the key exists in this browser only.';
		const pass = field(reads ? 'Passphrase of the file' : 'Passphrase for a backup (optional)', { name: 'passphrase', type: 'password', autocomplete: reads ? 'off' : 'new-password', maxlength: 200 }, about);
		const verb = reads ? 'Use this key' : 'Make my key';
		const make = h('button', { type: 'submit', class: 'primary' }, verb);
		const form = h('form', {}, h('div', { class: 'field' }, h('label', { for: 'name' }, 'Your name in the chat'), name, hint), file, pass, problem, make);
		form.addEventListener('submit', async (event) => {
			event.preventDefault();
			const own = name.value.trim().normalize('NFC');
			problem.textContent = nameProblem(own) ?? '';
			if (problem.textContent) return;
			make.disabled = true;
			make.textContent = reads ? 'Opening the key ...' : 'Making your key ...';
			try {
				const given = pass.querySelector('input').value;
				const profile = await this.#keep(own, () => (reads ? opened(file.querySelector('input').files[0], given) : makeKey(given)));
				if (await works(profile.keys)) await this.#takes(profile); else this.#unreadable();
			} catch (error) {
				problem.textContent = `${reads ? 'The key cannot be used' : 'No key was made'}: ${error.message}`;
				make.disabled = false;
				make.textContent = verb;
			}
		});
		this.#card(`Chat on ${this.server.name || location.host}`,
			h('p', {}, reads ? 'This moves your key to this browser. Do not use it on the other device any more: two devices need two keys.'
				: 'This browser makes a key for you, and stores it. Without this key nobody can read your private messages, not even you. Use this browser again next time.'),
			isSafariTab() && warning('Safari deletes the data of a site that is not visited for seven days. Choose Share, Add to Home Screen, and open the chat there: the app has its own storage, which stays.'),
			h('p', {}, `Key of the server: ${this.server.fingerprint}`), form,
			button(reads ? 'Make a new key instead' : 'Use a key file', () => this.#form(!reads)));
		return name.focus();
	}

	/** Returns the profile that another tab has stored meanwhile, or one with the key that `makes` returns. */
	async #keep(name, makes) {
		const other = await this.vault.profile();
		if (other) return other;
		const { keys, file } = await makes();
		const isKept = await this.vault.keep({ keys, name, fingerprint: ofInvite(this.server.fingerprint), file });
		const stored = await this.vault.profile();
		if (!isKept || (await works(stored.keys))) return stored;
		await this.vault.drop();
		throw new Error('this browser does not store keys');
	}

	/** Whether the key can be saved in a file. */
	get hasBackup() { return Boolean(this.profile?.file); }

	/** Saves the key file. It has the passphrase that the user chose when the key was made. */
	backup() { saveFile(this.profile.file, `pychat-${this.profile.name}.pem`); }

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
			if (object.type === 'state') {
				if (object.state === 'connected' && this.state !== 'connected') this.#checkPage();
				this.state = object.state;
			}
			this.heard(object);
		}
		if (data.answer) {
			this.asked.get(data.answer)?.resolve(data);
			this.asked.delete(data.answer);
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
		this.asked.forEach(({ reject }) => reject(new TypeError('the client is not running')));
		this.asked.clear();
	}

	/** Connects now instead of later. */
	retry() {
		const isThere = ['connecting', 'connected', 'silent'].includes(this.state);
		if (this.attached && !isThere && navigator.onLine) this.send({ type: 'slash', line: '/reconnect' });
	}

	/** Hands a file to the client. Returns its path; `busy` while the client has the maximum number of files; or why it is `refused`. */
	async hand(file, name) {
		if (!this.#previews.has(file)) this.#previews.set(file, smallPicture(file));
		const { path, refused } = await this.#ask({ file: { file, name, picture: await this.#previews.get(file) } });
		return refused === '' ? { busy: true } : { path, refused };
	}

	/** The bytes of a fetched file, if the client has it. With `saves`, the client forgets it. */
	async fetched({ transfer }, saves = false) {
		const { blob } = await this.#ask({ fetched: { transfer: Number(transfer.slice(1)), saves } });
		return blob;
	}

	/** Sends a request to the Worker, and returns its answer. */
	#ask(question) {
		if (!this.worker) return Promise.reject(new TypeError('the client is not running'));
		const id = crypto.randomUUID();
		const [kind] = Object.keys(question);
		question[kind].id = id;
		return new Promise((resolve, reject) => {
			this.asked.set(id, { resolve, reject });
			this.worker.postMessage(question);
		});
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

/** Returns the key in the user's file. */
async function opened(file, passphrase) {
	if (file.size > FILE_BYTES_MAX) throw new Error('the file is not a pychat key');
	return readKey(await file.text(), passphrase);
}

const again = (text = 'Load the page again') => button(text, () => location.reload());
