// Data that this browser stores: drafts, messages that the client has not taken yet, settings.
// Never a PIN, a password, the tag of a PIN, or a message that the client has.

import { mayBeSecret } from './words.js';

const SAVE_MS = 250;
const DRAFTS_MAX = 200;

function read(key, otherwise) {
	try { return JSON.parse(localStorage.getItem(key)) ?? otherwise; } catch { return otherwise; }
}

function write(key, value) {
	try {
		if (value === undefined || (typeof value === 'object' && !Object.keys(value).length)) localStorage.removeItem(key);
		else localStorage.setItem(key, JSON.stringify(value));
		return true;
	} catch { return false; }
}

const DEFAULTS = { theme: 'system', times: true, colours: true, notifications: 'off', enter: 'auto', rooms: true, people: true };

/** Settings of the page in this browser. */
export class Settings {
	constructor() { this.values = { ...DEFAULTS, ...read('pychat settings', {}) }; }
	get(key) { return this.values[key]; }
	set(key, value) {
		this.values[key] = value;
		write('pychat settings', this.values);
	}
}

/** Texts by key. All are in memory, and those without a secret also on disk. */
class Texts {
	constructor(kind) { Object.assign(this, { kind, values: {}, memoryOnly: new Set(), changed: new Set() }); }

	open(name) { this.values = { ...read(`pychat ${this.kind} ${name}`, {}), ...this.values }; }

	/** Sets or removes a text. A secret one is removed from the disk. */
	set(key, value, isSecret) {
		delete this.values[key];
		if (value) this.values[key] = value;
		if (value && isSecret) this.memoryOnly.add(key); else this.memoryOnly.delete(key);
		this.changed.add(key);
	}

	/** Whether a text would be lost with this page: it is secret, or the browser has not stored it. */
	get hasUnstored() { return this.memoryOnly.size > 0 || [...this.changed].some((key) => this.values[key]); }

	/** Writes the changes of this tab. Texts of other tabs stay. Returns false if the browser stores nothing. */
	save(name) {
		if (!name || !this.changed.size) return true;
		const all = read(`pychat ${this.kind} ${name}`, {});
		for (const key of this.changed) {
			delete all[key];
			if (this.values[key] && !this.memoryOnly.has(key)) all[key] = this.values[key];
		}
		if (!write(`pychat ${this.kind} ${name}`, Object.fromEntries(Object.entries(all).slice(-DRAFTS_MAX)))) return false;
		this.changed.clear();
		return true;
	}
}

/** Drafts and messages in transit of one person on one server. */
export class Disk {
	/** `full` is called once, when the browser stores no more. */
	constructor(full) { Object.assign(this, { full, drafts: new Texts('drafts'), sent: new Texts('transit'), name: null }); }

	/** Loads the texts of this person and server. Texts that were typed before stay. */
	open(name) {
		if (this.name === name) return;
		this.name = name;
		this.drafts.open(name);
		this.sent.open(name);
	}

	/** Saves the texts. Texts for another person or server are not accepted afterwards. */
	close() {
		this.flush();
		this.name = null;
	}

	get transit() { return this.sent.values; }

	draft(room) { return this.drafts.values[room.key] ?? ''; }

	/** Stores a draft: in memory at once, on disk a little later. */
	keep(room, text, before) {
		this.drafts.set(room.key, text, room.hasPin || mayBeSecret(text, before));
		this.timer ??= setTimeout(() => this.flush(), SAVE_MS);
	}

	/** Whether a draft, or a message that the client has not accepted yet, is only in the memory of this page. */
	get hasUnstored() { return [this.drafts, this.sent].some((texts) => texts.hasUnstored); }

	flush() {
		clearTimeout(this.timer);
		this.timer = null;
		this.#save(this.drafts);
		this.#save(this.sent);
	}

	#save(texts) {
		if (texts.save(this.name)) return;
		this.full?.();
		this.full = null;
	}

	/** A message goes to the client; it stays here until the client has it. */
	sends(id, message, before) {
		const { to, line, sure } = message;
		this.sent.set(id, { to, line, sure }, sure || to.includes('~') || mayBeSecret(line, before));
		this.#save(this.sent);
	}

	settled(id) {
		if (!this.transit[id]) return;
		this.sent.set(id, undefined);
		this.#save(this.sent);
	}
}
