// Files that are dropped, pasted or chosen and sent after a confirmation, and pictures that are viewed.

import { $, button, check, field, formSheet, h, sheet } from './dom.js';
import { pictureType } from './preview.js';
import { plural, size, title } from './words.js';

/** Files at once, if the client names no number. */
const FILES_MAX = 16;
/** The time until another try while the client has the maximum number of files. */
const BUSY_MS = 500;
/** The time within which the browser begins to save a file, in milliseconds. */
const SAVING_MS = 60000;

const pause = (ms, signal) => new Promise((done) => {
	const timer = setTimeout(done, ms);
	signal.addEventListener('abort', () => {
		clearTimeout(timer);
		done();
	}, { once: true });
});

/** A request for a transfer stays open while the transfer moves. */
const transferEach = () => Object.assign(() => {}, { keeps: true });

export class Files {
	constructor(app) {
		// `views`: pictures that open when they have been fetched. `queue` ends when the client has all files.
		Object.assign(this, { app, views: new Map(), queue: Promise.resolve(), saved: new Set() });
		this.input = h('input', { type: 'file', multiple: true, hidden: true, 'aria-hidden': 'true', tabindex: '-1' });
		this.input.addEventListener('change', () => {
			this.offer([...this.input.files]);
			this.input.value = '';
		});
		document.body.append(this.input);
		this.#drops();
		// The client in a page ends with it: uploads pause, and downloads begin again, when the page is
		// opened again.
		addEventListener('beforeunload', (event) => {
			const isMoving = ({ state }) => !['sent', 'saved', 'failed', 'cancelled'].includes(state);
			if (app.link.isOwn && [...app.store.transfers.values()].some(isMoving)) event.preventDefault();
		});
	}

	choose() { this.input.click(); }

	#drops() {
		const shade = $('drop');
		const has = (event) => event.dataTransfer?.types.includes('Files');
		addEventListener('dragover', (event) => {
			if (!has(event)) return;
			event.preventDefault();
			shade.hidden = false;
			shade.textContent = `Send to ${title(this.app.room.to)}`;
		});
		addEventListener('dragleave', (event) => { if (!event.relatedTarget) shade.hidden = true; });
		addEventListener('drop', (event) => {
			shade.hidden = true;
			if (!has(event)) return;
			event.preventDefault();
			const isFolder = (item) => item.webkitGetAsEntry?.()?.isDirectory;
			if ([...event.dataTransfer.items].some(isFolder)) this.app.fail('Only files can be sent, not folders. Nothing was sent.');
			else this.offer([...event.dataTransfer.files]);
		});
	}

	/** Opens the sheet that names the room and asks before anything is sent. */
	offer(files) {
		const { app } = this;
		const { room } = app;
		if (!files.length) return app.fail('The browser has handed over no file. Nothing was sent.');
		if (room.gone) return app.fail(`You are no longer in ${title(room.to)}. Nothing was sent.`);
		const [most, count] = [app.store.limits?.file_bytes, app.store.limits?.files ?? FILES_MAX];
		if (most === null) return app.fail('This server keeps no files. Nothing was sent.');
		if (files.length > count) return app.fail(`These are ${files.length} files, and ${count} can be sent at once. Nothing was sent.`);
		const large = most && files.find((file) => file.size > most);
		if (large) return app.fail(`${large.name} has ${size(large.size)}, and the server takes ${size(most)}. Nothing was sent.`);
		const where = room.isPrivate ? `${title(room.to)} (private)` : title(room.to);
		const list = h('ul', { class: 'results' }, files.map((file) => h('li', { dir: 'auto' }, `${file.name || 'picture'}, ${size(file.size)}`)));
		const caption = field('Caption', { name: 'caption', maxlength: 500, autocapitalize: 'sentences' });
		const keeps = check('Keep place, time and device', 'keeps', false, 'Otherwise the client removes them from pictures, and refuses videos and other formats.');
		const submit = (data) => {
			files.forEach((file, i) => this.#send(room, file, i ? '' : data.get('caption').trim(), Boolean(data.get('keeps'))));
		};
		return formSheet(`Send ${plural(files.length, 'file')} to ${where}?`, [list, caption, keeps], submit, { verb: 'Send' });
	}

	/** Adds a row, and hands the file to the client after those before it. */
	#send(room, file, caption, keeps) {
		const { app } = this;
		const name = file.name || `picture.${file.type.split('/')[1] ?? 'bin'}`;
		const stop = new AbortController();
		const transfer = { name, to: room.to, state: 'queued', direction: 'up', bytes: 0, of: file.size, stop };
		const item = room.addTransfer(transfer);
		const ends = () => {
			room.drop(item);
			app.list.sync();
		};
		stop.signal.addEventListener('abort', ends);
		app.list.sync();
		app.list.toEnd();
		this.queue = this.queue.then(async () => {
			const hint = await this.#hand(room, file, transfer, { caption, keeps });
			if (stop.signal.aborted) return;
			if (hint) Object.assign(transfer, { state: 'failed', hint }); else ends();
			app.list.sync();
		});
	}

	/** Hands the bytes to the client, which encrypts and sends them. Returns the reason of a failure. */
	async #hand(room, file, transfer, { caption, keeps }) {
		const { app } = this;
		const { name, stop: { signal } } = transfer;
		const moves = (state) => {
			transfer.state = state;
			app.list.sync();
		};
		let answer;
		try {
			do {
				if (answer) await pause(BUSY_MS, signal);
				if (signal.aborted) return undefined;
				moves('uploading');
				answer = await app.link.hand(file, name, signal);
				// The client accepts another file once one of these is sent.
				if (answer.busy) moves('queued');
			} while (answer.busy);
			if (answer.refused) return answer.refused;
		} catch {
			return app.link.attached ? 'this browser cannot read the file, or the client has not taken it' : 'the client is not running';
		}
		if (signal.aborted) return undefined;
		const object = { type: 'send_file', path: answer.path, to: app.exact(room), keep_metadata: keeps, ...(caption ? { text: caption } : {}) };
		const done = (end) => end.type === 'refused' && !end.retry_ms && app.fail(`${name}: ${end.hint}`, room);
		return app.ask(object, done, transferEach()) ? undefined : 'the client is not running';
	}

	cancel(transfer) {
		if (transfer.stop) transfer.stop.abort();
		else this.app.send({ type: 'cancel_file', transfer: transfer.transfer });
	}

	#transferOf(room, item) { return this.app.store.ofMessage.get(`${room.key} ${item.seq}`); }

	/** Saves the file of a message to the folder for downloads. */
	get(room, item, keep = true) {
		const { app } = this;
		const known = this.#transferOf(room, item);
		if (known && !['saved', 'failed', 'cancelled'].includes(known.state)) return;
		const done = (end) => end.type === 'refused' && !end.retry_ms && app.fail(end.hint, room);
		if (!app.ask({ type: 'get_file', to: app.exact(room), seq: item.seq, keep }, done, transferEach())) app.fail('The client is not running.');
	}

	/** Shows a picture. Fetches it first if the client does not have it. */
	view(room, item) {
		const known = this.#transferOf(room, item);
		if (known?.state === 'saved') return this.#show(room, known, item, true);
		return this.#fetch(room, item);
	}

	#fetch(room, item) {
		this.views.set(`${room.key} ${item.seq}`, item);
		return this.get(room, item, false);
	}

	/** Handles the progress of a transfer. */
	moved(room, transfer) {
		if (transfer.direction === 'down' && transfer.seq) {
			const key = `${room.key} ${transfer.seq}`;
			const viewed = this.views.get(key);
			if (viewed && transfer.state === 'saved') this.#show(room, transfer, viewed);
			if (viewed && ['saved', 'failed', 'cancelled'].includes(transfer.state)) this.views.delete(key);
			if (this.app.link.isOwn && transfer.state === 'saved' && !transfer.viewed) this.#download(room, transfer);
		}
		if (room === this.app.room) this.app.draw(this.app.flags.add('items'));
	}

	/** Lets the browser save a file that the client in this page has fetched. */
	async #download(room, transfer) {
		if (this.saved.has(transfer.transfer)) return;
		this.saved.add(transfer.transfer);
		try {
			const blob = await this.app.link.fetched(transfer, true);
			if (!blob) throw new TypeError('the client no longer has it');
			// Browsers do not open a file of this type in a page.
			const url = URL.createObjectURL(blob.slice(0, blob.size, 'application/octet-stream'));
			const link = h('a', { href: url, download: transfer.name, hidden: true });
			document.body.append(link);
			link.click();
			link.remove();
			setTimeout(() => URL.revokeObjectURL(url), SAVING_MS);
		} catch (error) {
			this.app.fail(`${transfer.name} was not saved: ${error.message}. Fetch it again.`, room);
		}
	}

	/** Shows a fetched file. Of files that are only viewed, the client removes the oldest: `again` fetches such a file once more. */
	async #show(room, transfer, item, again = false) {
		const { app } = this;
		const { name } = item.file;
		const where = transfer.viewed ? 'Save it to open it with another program.' : `It is saved${app.link.isOwn ? '' : ` at ${transfer.path}`}.`;
		try {
			const blob = await app.link.fetched(transfer);
			if (!blob && again) {
				transfer.state = 'cancelled';
				return this.#fetch(room, item);
			}
			if (!blob) throw new Error('The client no longer has this file.');
			const bytes = new Uint8Array(await blob.arrayBuffer());
			const type = pictureType(bytes);
			if (!type) throw new Error(`${name} is no JPEG, PNG, WebP or GIF. ${where}`);
			const url = URL.createObjectURL(new Blob([bytes], { type }));
			const picture = h('img', { src: url, alt: name });
			picture.addEventListener('error', () => {
				opened.close();
				app.fail(`${name} cannot be shown. ${where}`);
			});
			const save = () => {
				opened.close();
				this.get(room, item);
			};
			const actions = transfer.viewed && h('div', { class: 'actions' }, button('Save', save, { class: 'primary' }));
			const opened = sheet(name, [picture, actions], { kind: 'viewer', done: () => URL.revokeObjectURL(url) });
			return undefined;
		} catch (error) {
			return app.fail(error instanceof TypeError ? 'The client does not answer.' : error.message);
		}
	}
}
