// The rows of a conversation. A row is created once and changed in place.

import { button, h, icon, sign, warning } from './dom.js';
import { presenceText } from './room.js';
import { canvas } from './thumb.js';
import { brief, colour, day, fullTime, PROTECTION, pieces, plural, size, span, time } from './words.js';

const PICTURE_SIDE = 220;
const MINUTE_MS = 60000;
/** The client's folder for files in a page. Its paths mean nothing to the user, because the browser saves the files. */
const OUTSIDE = '/outside/';

/** The children of a text: texts and links, which are never fetched. */
export function linked(text) {
	return pieces(text).map((piece) => (piece.link
		? h('a', { href: piece.text, target: '_blank', rel: 'noopener noreferrer' }, piece.text)
		: document.createTextNode(piece.text)));
}

/** Whether a row goes on with what the row before it has begun. */
function continues(item, previous) {
	return previous?.kind === 'message' && item.kind === 'message' && previous.from === item.from && item.says !== 'me' &&
		previous.says !== 'me' && !item.unsealed && !previous.unsealed && Math.abs(item.time - previous.time) < 5 * MINUTE_MS;
}

/** What a row shows, as a text: a row is touched only if this has changed. */
function signature(item, previous, divider, newDay) {
	const shown = [item.seq, item.text, item.state, item.stored, item.hint, item.edited, item.deleted, item.retired, item.from, item.to, item.stage,
		item.changing, newDay, divider, continues(item, previous) && !newDay && !divider];
	if (item.kind === 'presence') shown.push(presenceText(item));
	const get = item.get;
	if (get) shown.push(get.state, get.path, get.hint, get.viewed);
	return JSON.stringify(shown);
}

export class Rows {
	/** `acts`: `retry edit drop get view cancel fill compare` for the buttons in rows. */
	constructor(acts) { Object.assign(this, { acts, rows: new WeakMap() }); }

	row(item) {
		let row = this.rows.get(item);
		if (!row) {
			row = h('li', { class: `row ${item.kind}`, tabindex: '-1' });
			row.item = item;
			this.rows.set(item, row);
		}
		return row;
	}

	known(item) { return this.rows.get(item); }

	/** Brings a row up to date. `previous` is the item above it; `divider` and `newDay` are lines that the row begins with. */
	patch(item, previous, divider, newDay) {
		const row = this.row(item);
		if (item.kind === 'transfer') return this.#transfer(row, item.transfer);
		const shown = signature(item, previous, divider, newDay);
		if (row.shown === shown) return this.#progress(row, item);
		row.shown = shown;
		const focused = row.contains(document.activeElement) && document.activeElement !== row;
		const goesOn = !newDay && !divider && continues(item, previous);
		row.className = `row ${item.kind}${goesOn ? ' goes-on' : ''}${item.own ? ' own' : ''}${item.state ? ` ${item.state}` : ''}` +
			`${item.mention ? ' mention' : ''}${item.unsealed || item.error ? ' warned' : ''}${item.says === 'me' ? ' action' : ''}`;
		row.replaceChildren(...[
			newDay && h('div', { class: 'day' }, day(item.time)),
			divider && h('div', { class: 'new' }, 'new'),
			...this.#content(item),
		].filter(Boolean));
		if (focused) row.focus({ preventScroll: true });
		return this.#progress(row, item);
	}

	#content(item) {
		switch (item.kind) {
			case 'message': return this.#message(item);
			case 'presence': return [h('div', { class: 'text' }, presenceText(item)), stamp(item.time)];
			case 'gap': return [this.#gap(item)];
			default: return this.#note(item);
		}
	}

	#message(item) {
		const name = item.own ? 'You' : item.from;
		const text = h('div', { class: 'text', dir: 'auto' });
		if (item.unsealed) text.append(warning('not sealed, the server’s word alone'));
		if (item.deleted) text.append(h('span', { class: 'gone' }, '(deleted)'));
		else if (item.file) text.append(this.#file(item));
		if (!item.deleted) {
			if (item.says === 'me') text.append(`${name} `);
			text.append(...linked(item.text));
		}
		const notes = [
			item.edited && !item.deleted && '(edited)',
			item.changing && '(change not stored yet)',
			item.confidentiality === 'rsa_alone' && `(${PROTECTION.rsa_alone})`,
			item.retired && '(earlier numbering)',
		].filter(Boolean);
		if (notes.length) text.append(' ', h('span', { class: 'notes' }, notes.join(' ')));
		if (item.state === 'pending') text.append(h('span', { class: 'waits', title: 'not stored yet' }, ' …'), h('span', { class: 'unseen' }, ' (not stored yet)'));
		if (item.state === 'pending' && item.stored === false) text.append(warning('only in memory: this computer’s disk cannot be written'));
		if (item.state === 'refused') text.append(this.#refused(item));
		return [h('span', { class: `name ${item.own ? '' : colour(item.from)}`, dir: 'auto' }, name), text, stamp(item.time)];
	}

	#refused(item) {
		const act = (word, does) => button(word, () => this.acts[does](item));
		return h('div', { class: 'refusal' }, h('span', {}, sign(), `Not sent: ${item.hint}`), act('Retry', 'retry'), act('Edit', 'edit'), act('Drop', 'drop'));
	}

	#file(item) {
		const { name, bytes, media, size: shape, preview } = item.file;
		const isPicture = /^image\/(jpeg|png|webp|gif)$/.test(media);
		const card = h('div', { class: 'file' });
		const picture = preview && canvas(preview);
		if (picture) {
			const [width, height] = Array.isArray(shape) && shape[0] > 0 && shape[1] > 0 ? shape : [picture.width, picture.height];
			const scale = Math.min(1, PICTURE_SIDE / width, PICTURE_SIDE / height);
			picture.style.width = `${Math.max(24, Math.round(width * scale))}px`;
			// The shape is a number that the sender has chosen.
			picture.style.aspectRatio = String(Math.min(8, Math.max(1 / 8, width / height)));
			card.append(picture);
		}
		const info = h('div', { class: 'file-info' }, h('span', { class: 'file-name', dir: 'auto' }, picture ? '' : icon('file'), name),
			h('span', { class: 'file-size' }, size(bytes)));
		const get = item.get;
		const actions = h('div', { class: 'actions' });
		if (isPicture) actions.append(button('View', () => this.acts.view(item), { 'aria-label': `View ${name}` }));
		if (get?.state === 'saved') info.append(h('span', { class: 'notes' }, get.viewed ? 'viewed, not saved' : get.path.startsWith(OUTSIDE) ? 'saved' : `saved: ${get.path}`));
		else if (get?.state === 'failed') info.append(warning(get.hint, 'span'));
		if (!get || ['saved', 'failed', 'cancelled'].includes(get.state)) {
			if (get?.state !== 'saved' || get.viewed) actions.append(button('Save', () => this.acts.get(item), { 'aria-label': `Save ${name}` }));
		} else {
			info.append(h('progress', { max: '1', 'aria-label': `${name}: progress` }), h('span', { class: 'file-state' }));
			actions.append(button('Cancel', () => this.acts.cancel(get), { 'aria-label': `Cancel ${name}` }));
		}
		card.append(info, actions);
		return card;
	}

	#progress(row, item) {
		if (item.get) progress(row, item.get);
		return row;
	}

	#transfer(row, transfer) {
		const ended = ['failed', 'cancelled'].includes(transfer.state);
		const shown = `${ended} ${transfer.hint ?? ''}`;
		if (row.shown !== shown) {
			row.shown = shown;
			row.replaceChildren(h('span', { class: 'name' }, transfer.direction === 'down' ? 'Download' : 'You'), h('div', { class: 'text' },
				h('div', { class: 'file' }, h('div', { class: 'file-info' },
					h('span', { class: 'file-name', dir: 'auto' }, icon('file'), transfer.name), ended ? warning(transfer.hint ?? 'cancelled', 'span')
						: [h('progress', { max: '1', 'aria-label': `${transfer.name}: progress` }), h('span', { class: 'file-state' })]),
				h('div', { class: 'actions' }, ended ? button('Drop', () => this.acts.dropTransfer(row.item))
					: button('Cancel', () => this.acts.cancel(transfer), { 'aria-label': `Cancel ${transfer.name}` })))));
		}
		progress(row, transfer);
		return row;
	}

	#gap(item) {
		const count = Number(BigInt(item.to) - BigInt(item.from)) + 1;
		const text = `${plural(count, 'message')} ${count === 1 ? 'was' : 'were'} left out`;
		if (!item.stored) return h('div', { class: 'text' }, `${text} and no longer ${count === 1 ? 'exists' : 'exist'}`);
		return h('div', { class: 'text' }, `${text}. `, button('Load them', () => this.acts.fill(item)));
	}

	#note(item) {
		const mark = item.origin === 'server' ? 'server' : item.error ? '!' : '–';
		const text = h('div', { class: 'text', dir: 'auto' });
		const who = item.origin === 'server' ? 'From the server: ' : item.error ? 'Error: ' : 'Notice: ';
		if (item.what) text.append(h('span', { class: 'notes' }, `${item.what}: `));
		text.append(...linked(item.text));
		if (item.compare) text.append(' ', button('Compare keys', () => this.acts.compare(item.compare)));
		return [h('span', { class: 'mark' }, h('span', { class: 'unseen' }, who), h('span', { 'aria-hidden': 'true' }, mark)), text, stamp(item.time)];
	}
}

const stamp = (ms) => (ms ? h('time', { datetime: new Date(ms).toISOString(), title: fullTime(ms) }, time(ms)) : undefined);

const STATES = { queued: 'waiting', reading: 'reading', waiting: 'waiting', storing: 'storing', uploading: 'preparing' };

/** Moves the bar of a transfer, and the words beside it. */
function progress(row, { state, bytes = 0, of = 0, rate = 0 }) {
	const bar = row.querySelector('progress');
	if (!bar) return;
	bar.value = of ? bytes / of : 0;
	const left = rate && of > bytes ? `, ${span(Math.ceil((of - bytes) / rate) * 1000)} left` : '';
	const words = STATES[state] ? `${STATES[state]} ` : '';
	row.querySelector('.file-state').textContent = `${words}${brief(bytes)} of ${brief(of)}${rate ? `, ${brief(rate)}/s${left}` : ''}`;
}
