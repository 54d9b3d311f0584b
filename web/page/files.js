// Files: dropped, pasted or chosen, sent to a room that a sheet names; pictures that are looked at.

import { $, check, field, formSheet, h, sheet } from './dom.js';
import { plural, size, title } from './words.js';

const OFFERED_MAX = 20;

/** Formats that the browser may decode, by their first bytes. Never SVG, HTML or PDF. */
function pictureType(bytes) {
	const head = String.fromCharCode(...bytes.subarray(0, 12));
	if (head.startsWith('\xff\xd8\xff')) return 'image/jpeg';
	if (head.startsWith('\x89PNG\r\n\x1a\n')) return 'image/png';
	if (head.startsWith('GIF87a') || head.startsWith('GIF89a')) return 'image/gif';
	return head.startsWith('RIFF') && head.slice(8) === 'WEBP' ? 'image/webp' : undefined;
}

export class Files {
	constructor(app) {
		// Pictures that are only looked at: the files go with the client.
		Object.assign(this, { app, views: new Map(), lent: new Set() });
		this.input = h('input', { type: 'file', multiple: true, hidden: true, 'aria-hidden': 'true', tabindex: '-1' });
		this.input.addEventListener('change', () => {
			this.offer([...this.input.files]);
			this.input.value = '';
		});
		document.body.append(this.input);
		this.#drops();
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
			this.offer([...event.dataTransfer.files]);
		});
	}

	/** Asks before anything is sent, and names the room. */
	offer(files) {
		const { app } = this;
		const { room } = app;
		if (!files.length) return;
		if (app.link.isOwn) return app.fail('Files are not sent from this page yet. Nothing was sent.');
		const most = app.store.limits?.file_bytes;
		if (most === null) return app.fail('This server keeps no files. Nothing was sent.');
		if (files.length > OFFERED_MAX) return app.fail(`At most ${OFFERED_MAX} files at once. Nothing was sent.`);
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

	/** Hands the bytes to the client, which encrypts and sends them. */
	async #send(room, file, caption, keeps) {
		const { app } = this;
		const name = file.name || `picture.${file.type.split('/')[1] ?? 'bin'}`;
		const stop = new AbortController();
		const transfer = { name, to: room.to, state: 'uploading', direction: 'up', bytes: 0, of: file.size, stop };
		const item = room.addTransfer(transfer);
		app.list.sync();
		app.list.toEnd();
		const fails = (hint) => {
			Object.assign(transfer, { state: stop.signal.aborted ? 'cancelled' : 'failed', hint });
			if (stop.signal.aborted) room.drop(item);
			app.list.sync();
		};
		try {
			const headers = { Authorization: `Bearer ${app.link.token}`, 'X-Name': encodeURIComponent(name) };
			const answer = await fetch('files', { method: 'POST', headers, body: file, signal: stop.signal });
			if (!answer.ok) return fails((await answer.text()).slice(0, 300) || `the client refused the file (${answer.status})`);
			const { path } = await answer.json();
			room.drop(item);
			const object = { type: 'send_file', path, to: app.exact(room), keep_metadata: keeps, ...(caption ? { text: caption } : {}) };
			const done = (end) => end.type === 'refused' && !end.retry_ms && app.fail(end.hint, room);
			const each = Object.assign(() => {}, { keeps: true });
			if (!app.ask(object, done, each)) return app.fail(`${name} was not sent: the client does not run.`, room);
			return app.list.sync();
		} catch (error) {
			return fails(error.name === 'AbortError' ? 'cancelled' : 'the client does not answer');
		}
	}

	cancel(transfer) {
		if (transfer.stop) transfer.stop.abort();
		else this.app.send({ type: 'cancel_file', transfer: transfer.transfer });
	}

	#transferOf(room, item) { return this.app.store.ofMessage.get(`${room.key} ${item.seq}`); }

	/** Saves the file of a message where the client saves files. */
	get(room, item, keep = true) {
		const { app } = this;
		const known = this.#transferOf(room, item);
		if (known && !['saved', 'failed', 'cancelled'].includes(known.state)) return;
		const done = (end) => end.type === 'refused' && !end.retry_ms && app.fail(end.hint, room);
		const ref = app.ask({ type: 'get_file', to: app.exact(room), seq: item.seq, keep }, done, Object.assign(() => {}, { keeps: true }));
		if (!ref) app.fail('The client does not run.');
		else if (!keep) this.lent.add(ref);
	}

	/** Looks at a picture: it is fetched first, if it is not here. */
	view(room, item) {
		const known = this.#transferOf(room, item);
		if (known?.state === 'saved') return this.#show(known, item);
		this.views.set(`${room.key} ${item.seq}`, item);
		return this.get(room, item, false);
	}

	/** A transfer has moved: the row of its message follows. */
	moved(room, transfer) {
		if (transfer.direction === 'down' && transfer.seq) {
			const item = room.bySeq.get(transfer.seq);
			if (item) item.get = Object.assign(transfer, { isLent: this.lent.has(transfer.ref) });
			const key = `${room.key} ${transfer.seq}`;
			const viewed = this.views.get(key);
			if (viewed && transfer.state === 'saved') this.#show(transfer, viewed);
			if (viewed && ['saved', 'failed', 'cancelled'].includes(transfer.state)) this.views.delete(key);
		}
		if (room === this.app.room) this.app.draw(this.app.flags.add('items'));
	}

	async #show(transfer, item) {
		const { app } = this;
		try {
			const answer = await fetch(`files/${encodeURIComponent(transfer.transfer)}`, { headers: { Authorization: `Bearer ${app.link.token}` } });
			if (!answer.ok) throw new Error(`the client has no such file any more (${answer.status})`);
			const bytes = new Uint8Array(await answer.arrayBuffer());
			const type = pictureType(bytes);
			if (!type) throw new Error(`${item.file.name} is no JPEG, PNG, WebP or GIF: it is saved at ${transfer.path}`);
			const url = URL.createObjectURL(new Blob([bytes], { type }));
			const picture = h('img', { src: url, alt: item.file.name });
			picture.addEventListener('error', () => {
				opened.close();
				app.fail(`${item.file.name} cannot be shown: it is saved at ${transfer.path}`);
			});
			const opened = sheet(item.file.name, picture, { kind: 'viewer', done: () => URL.revokeObjectURL(url) });
		} catch (error) {
			app.fail(error.message);
		}
	}
}

