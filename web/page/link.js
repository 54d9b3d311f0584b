// The connection to the client on this computer: one WebSocket with a JSON object in each frame.

const WAITS_MS = [500, 1000, 2000, 4000, 8000, 15000];
export const WRONG_TOKEN = 4401;
/** Too many pages are attached, or this one was too far behind. */
const TRY_LATER = 1013;
const TOKEN = 'pychat token';
/** A token, at the end of an address or alone. The beginning of a typed one is shorter than any. */
const WHOLE = /(?:^|#)([\w-]{22,64})$/;
/** The status of an answer while the client has the maximum number of files. */
const BUSY = 503;

/** Stores the token of the address bar for this tab, and removes it from the address bar. Returns whether there was one. */
function takeToken() {
	if (!storeToken(location.hash)) return false;
	history.replaceState(history.state, '', location.pathname + location.search);
	return true;
}

/** Stores the token at the end of an address, or alone. Returns whether there was one. */
export function storeToken(text) {
	const token = text.trim().match(WHOLE)?.[1];
	if (token) sessionStorage.setItem(TOKEN, token);
	return !!token;
}

export class Link {
	/** `heard(object)` gets what arrives; `told(state, detail)`: `attaching`, `lost` (next try at), `denied` (code), `given` (a new address). */
	constructor(heard, told) {
		Object.assign(this, { heard, told, tries: 0, attached: false });
		takeToken();
		addEventListener('hashchange', () => takeToken() && this.#again());
		addEventListener('online', () => this.retry());
		document.addEventListener('visibilitychange', () => document.hidden || this.retry());
	}

	open() {
		clearTimeout(this.timer);
		this.timer = null;
		this.token = sessionStorage.getItem(TOKEN);
		if (!this.token) return this.told('denied', 0);
		this.told('attaching');
		const url = new URL('core', document.baseURI);
		url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
		const socket = (this.socket = new WebSocket(url));
		socket.onopen = () => socket.send(JSON.stringify({ type: 'attach', token: this.token }));
		socket.onmessage = ({ data }) => socket === this.socket && this.#hears(data);
		socket.onclose = ({ code }) => socket === this.socket && this.#lost(code);
		return undefined;
	}

	#hears(data) {
		let object;
		try { object = JSON.parse(data); } catch { return; }
		if (object.type === 'ready') [this.attached, this.tries] = [true, 0];
		this.heard(object);
	}

	/** Another address in the same tab: the connection to the client of the old one ends. */
	#again() {
		this.close();
		this.tries = 0;
		this.told('given');
		this.open();
	}

	/** Ends the connection. */
	close() {
		const { socket } = this;
		clearTimeout(this.timer);
		Object.assign(this, { socket: null, attached: false, timer: null });
		socket?.close();
	}

	#lost(code) {
		this.attached = false;
		this.socket = null;
		this.isCrowded = code === TRY_LATER;
		if (code === WRONG_TOKEN) {
			sessionStorage.removeItem(TOKEN);
			return this.told('denied', code);
		}
		const most = WAITS_MS[Math.min(this.tries, WAITS_MS.length - 1)];
		this.tries += 1;
		const wait = most / 2 + Math.random() * (most / 2);
		this.timer = setTimeout(() => this.open(), wait);
		return this.told('lost', Date.now() + wait);
	}

	/** Connects now instead of later. */
	retry() {
		if (this.timer) this.open();
	}

	/** Hands a file to the client. Returns its path; `busy` while the client has the maximum number of files; or why it is `refused`. */
	async hand(file, name, signal) {
		const headers = { Authorization: `Bearer ${this.token}`, 'X-Name': encodeURIComponent(name) };
		const answer = await fetch('files', { method: 'POST', headers, body: file, signal });
		if (answer.status === BUSY) return { busy: true };
		if (!answer.ok) return { refused: (await answer.text()).slice(0, 300) || `the client refused the file (${answer.status})` };
		return answer.json();
	}

	/** The bytes of a fetched file, if the client has it. */
	async fetched({ transfer }) {
		const answer = await fetch(`files/${encodeURIComponent(transfer)}`, { headers: { Authorization: `Bearer ${this.token}` } });
		return answer.ok ? answer.blob() : undefined;
	}

	/** Sends an object if the client is there. */
	send(object) {
		if (!this.attached || this.socket?.readyState !== 1) return false;
		this.socket.send(JSON.stringify(object));
		return true;
	}
}
