// The browser's store for the client: its key, which WebCrypto does not export, and its files, which the
// client has encrypted. A file is stored in parts, so that a change writes little. A copy of a file that
// the user has chosen is stored, unencrypted, until the file is sent, so that its upload continues after
// the page was closed.

const NAME = 'pychat profile';
const [PROFILE, FILES, CHOSEN] = ['profile', 'files', 'chosen'];
const VERSION = 2;
const PART_BYTES = 65536;

const asked = (request) => new Promise((resolve, reject) => {
	request.onsuccess = () => resolve(request.result);
	request.onerror = () => reject(request.error);
});
const settled = (transaction) => new Promise((resolve, reject) => {
	transaction.oncomplete = () => resolve();
	transaction.onabort = () => reject(transaction.error ?? new Error('the browser stores nothing'));
});

/** Another client has taken over these files. */
export class Taken extends Error {}

class Vault {
	constructor(database) { this.database = database; }

	close() { this.database.close(); }

	/** The user's key, name and server; nothing before the first contact. */
	profile() { return asked(this.database.transaction(PROFILE).objectStore(PROFILE).get('own')); }

	/** Stores the profile. Returns false, and replaces nothing, if there is one. */
	async keep(profile) {
		const transaction = this.#profiles();
		transaction.objectStore(PROFILE).add(profile, 'own');
		try {
			await settled(transaction);
			return true;
		} catch (error) {
			if (error.name !== 'ConstraintError') throw error;
			return false;
		}
	}

	/** Removes the profile alone. */
	async drop() {
		const transaction = this.#profiles();
		transaction.objectStore(PROFILE).delete('own');
		await settled(transaction);
	}

	/** Makes the client with this id the only one that may store files. */
	async own(id) {
		const transaction = this.#profiles();
		transaction.objectStore(PROFILE).put(id, 'owner');
		await settled(transaction);
	}

	#profiles() { return this.database.transaction(PROFILE, 'readwrite', { durability: 'strict' }); }

	files() { return this.database.transaction(FILES).objectStore(FILES); }

	/**
	 * Stores changes of files of the client `id`: `bytes` from one byte on, or that the file is gone.
	 * Removes the copies of chosen files under the paths `gone`. All of this is done, or nothing.
	 */
	async store(changes, id, gone = []) {
		// Without CHOSEN, the transaction does not wait for a large copy that is being stored.
		const names = gone.length ? [PROFILE, FILES, CHOSEN] : [PROFILE, FILES];
		const transaction = this.database.transaction(names, 'readwrite', { durability: 'strict' });
		const owner = transaction.objectStore(PROFILE).get('owner');
		let isTaken = false;
		owner.onsuccess = () => {
			isTaken = owner.result !== id;
			if (isTaken) return transaction.abort();
			putAll(transaction.objectStore(FILES), changes);
			gone.forEach((path) => transaction.objectStore(CHOSEN).delete(path));
			return undefined;
		};
		try {
			await settled(transaction);
		} catch (error) {
			throw isTaken ? new Taken('another client has the files') : error;
		}
	}

	/** Stores a copy of a file that the user has chosen, under the path that the client has given to it. */
	async choose(path, file) {
		const transaction = this.database.transaction(CHOSEN, 'readwrite');
		transaction.objectStore(CHOSEN).put({ file }, path);
		await settled(transaction);
	}

	/** The copies of chosen files: path and file of each. */
	async chosen() {
		const store = this.database.transaction(CHOSEN).objectStore(CHOSEN);
		const [paths, values] = await Promise.all([asked(store.getAllKeys()), asked(store.getAll())]);
		return paths.map((path, at) => ({ path, file: values[at].file }));
	}

	/** Removes everything, for good. */
	async forget() {
		this.database.close();
		await asked(indexedDB.deleteDatabase(NAME));
	}
}

function putAll(files, changes) {
	for (const { path, from = 0, bytes } of changes) {
		const first = Math.floor(from / PART_BYTES);
		files.delete(parts(path, first));
		for (let at = 0; bytes && (at < bytes.length || at === 0); at += PART_BYTES) {
			files.put(bytes.slice(at, at + PART_BYTES), [path, first + at / PART_BYTES]);
		}
	}
}

/** Adds a change. It replaces earlier ones of the same file that begin where it begins, or later. */
export function addChange(changes, change) {
	const { path, from = 0 } = change;
	const isKept = (one) => one.path !== path || (one.from ?? 0) < from;
	return [...changes.filter(isKept), change];
}

const parts = (path, from) => IDBKeyRange.bound([path, from], [path, []], false, true);

/** Opens what is stored. Another tab may forget it: then `gone` is called. */
export async function whole(gone = () => {}) {
	const request = indexedDB.open(NAME, VERSION);
	request.onupgradeneeded = () => {
		const { result } = request;
		for (const name of [PROFILE, FILES, CHOSEN]) if (!result.objectStoreNames.contains(name)) result.createObjectStore(name);
	};
	const database = await asked(request);
	database.onversionchange = () => {
		database.close();
		gone();
	};
	return new Vault(database);
}

/** Calls `does(path, bytes)` for each file. */
export async function each(vault, does) {
	const files = vault.files();
	const [keys, values] = await Promise.all([asked(files.getAllKeys()), asked(files.getAll())]);
	for (let first = 0, end; first < keys.length; first = end) {
		const [path] = keys[first];
		for (end = first + 1; end < keys.length && keys[end][0] === path;) end += 1;
		const own = values.slice(first, end);
		const bytes = new Uint8Array(own.reduce((sum, part) => sum + part.length, 0));
		let at = 0;
		for (const part of own) {
			bytes.set(part, at);
			at += part.length;
		}
		does(path, bytes);
	}
}
