// The visible part of a conversation: a window of rows that follows the reader.
//
// Only some hundred rows are in the document. While the reader is at the end, new rows appear there.
// Otherwise the rows on the screen keep their place to the pixel, whatever is added above or below.

import { dayStarts } from './room.js';
import { compare } from './words.js';

const FILL = 80;
const ROWS_MAX = 260;
const EDGE_PX = 900;
const END_PX = 4;

/** The upper edge of a row's text. The day line above it can come and go. */
const textTop = (row) => (row.querySelector('.text') ?? row).getBoundingClientRect().top;

export class List {
	/** `hooks`: `older(room)` loads older messages; `moved()` is called when the end is reached or left. */
	constructor(scroller, list, rows, hooks) {
		Object.assign(this, { scroller, list, rows, hooks, room: null, top: null, bottom: null, atEnd: true, places: new WeakMap() });
		scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
		new ResizeObserver(() => this.#resized()).observe(scroller);
		new ResizeObserver(() => this.#resized()).observe(list);
	}

	/** Shows a room where it was left, or at its first unread message, or at its end. */
	show(room) {
		if (this.room) this.places.set(this.room, this.atEnd ? null : this.#anchor());
		this.room = room;
		[this.top, this.bottom, this.atEnd, this.hasLast] = [null, null, true, true];
		this.list.replaceChildren();
		const place = this.places.get(room);
		const divider = room.divider ? room.index(room.divider) : room.items.length;
		if (room.items.length - divider > 8) this.#open(divider, () => this.reveal(room.divider, 0.25));
		else if (place && room.items.includes(place.item)) this.#open(room.index(place.item), () => this.#restore(place));
		else this.sync();
	}

	/** Opens the window around a row. */
	#open(at, then) {
		const { items } = this.room;
		this.top = items[Math.max(0, at - FILL / 2)];
		this.bottom = items[Math.min(items.length - 1, at + FILL)];
		this.atEnd = false;
		this.#draw(this.room.index(this.top), this.room.index(this.bottom) + 1);
		then();
		this.#measure();
	}

	/** Scrolls a row into the view, loaded ones only. `part` of the height is above it. */
	reveal(item, part = 0.4) {
		if (!this.rows.known(item)?.isConnected) {
			const at = this.room.index(item);
			if (this.room.items[at] !== item) return false;
			this.#open(at, () => {});
		}
		const row = this.rows.row(item);
		this.scroller.scrollTop += row.getBoundingClientRect().top - this.scroller.getBoundingClientRect().top - this.scroller.clientHeight * part;
		this.#measure();
		return true;
	}

	/** The row at the upper edge, and how far its text is from there. */
	#anchor() {
		const edge = this.scroller.getBoundingClientRect().top;
		for (const row of this.list.children) {
			if (row.getBoundingClientRect().bottom > edge) return { item: row.item, offset: textTop(row) - edge };
		}
		return null;
	}

	#restore(anchor) {
		const row = anchor && this.rows.known(anchor.item);
		if (!row?.isConnected) return;
		const moved = textTop(row) - this.scroller.getBoundingClientRect().top - anchor.offset;
		if (Math.abs(moved) >= 0.5) this.scroller.scrollTop += moved;
	}

	/** Brings the rows up to date with the room. */
	sync() {
		const { room } = this;
		if (!room) return;
		const { items } = room;
		if (!this.bottom) this.atEnd = true;
		const anchor = this.atEnd ? null : this.#anchor();
		let [first, last] = [0, items.length];
		if (this.atEnd) {
			first = this.top ? room.index(this.top) : last - FILL;
			// Rows leave in groups, so that a busy room is not laid out again for each message.
			if (last - first > ROWS_MAX) first = last - FILL;
		} else {
			first = room.index(this.top);
			last = room.index(this.bottom) + 1;
			if (last - first < FILL) last = Math.min(items.length, first + FILL);
			// Older rows are drawn at once: without them the text could not stay where it is.
			if (this.scroller.scrollTop < EDGE_PX) first = Math.max(0, first - FILL);
			last = Math.min(last, first + ROWS_MAX);
		}
		this.#draw(Math.max(0, first), Math.min(last, items.length));
		if (this.atEnd) this.toEnd(); else this.#restore(anchor);
		this.#measure();
		if (!this.atEnd) this.#near();
	}

	#draw(first, last) {
		const { items, divider } = this.room;
		const shown = items.slice(first, last);
		[this.top, this.bottom] = [shown[0] ?? null, shown.at(-1) ?? null];
		// What has arrived since is drawn in the next frame: it does not end the stay at the end.
		this.hasLast = last >= items.length;
		const wanted = new Set(shown);
		for (const row of [...this.list.children]) if (!wanted.has(row.item)) row.remove();
		let next = this.list.firstChild;
		const days = dayStarts(items, first, last);
		shown.forEach((item, i) => {
			const row = this.rows.patch(item, items[first + i - 1], item === divider, days.has(first + i));
			if (row === next) next = next.nextSibling; else this.list.insertBefore(row, next);
		});
		if (!this.list.querySelector('[tabindex="0"]')) this.list.lastElementChild?.setAttribute('tabindex', '0');
	}

	toEnd() {
		const last = this.room.items.at(-1) ?? null;
		if (this.bottom !== last) {
			this.atEnd = true;
			this.top = null;
			return this.sync();
		}
		this.scroller.scrollTop = this.scroller.scrollHeight;
		return this.#measure();
	}

	/** Whether the reader is at the end. */
	#measure() {
		const { scroller } = this;
		const atEnd = this.hasLast && scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight <= END_PX;
		if (atEnd !== this.atEnd) {
			this.atEnd = atEnd;
			this.hooks.moved();
		}
	}

	#resized() {
		if (!this.room) return;
		if (this.atEnd) this.scroller.scrollTop = this.scroller.scrollHeight;
		this.#near();
	}

	#scrolled() {
		if (!this.room) return;
		this.#measure();
		this.#near();
	}

	/** Extends the window near its edges, and asks for older messages at the beginning. */
	#near() {
		const { scroller, room } = this;
		const { items } = room;
		if (scroller.scrollTop < EDGE_PX) {
			const first = this.top ? room.index(this.top) : 0;
			if (first > 0) return this.#extend(first - FILL, this.atEnd ? items.length : room.index(this.bottom) + 1);
			if (room.more && !room.loading) this.hooks.older(room);
		}
		const below = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
		const last = this.bottom ? room.index(this.bottom) + 1 : items.length;
		if (!this.atEnd && below < EDGE_PX && last < items.length) return this.#extend(room.index(this.top), last + FILL, true);
		return undefined;
	}

	#extend(first, last, down = false) {
		const [from, to] = [Math.max(0, first), Math.min(this.room.items.length, last)];
		const anchor = this.#anchor();
		if (to - from <= ROWS_MAX) this.#draw(from, to);
		else if (down) this.#draw(to - ROWS_MAX, to);
		else if (this.atEnd) return;
		else this.#draw(from, from + ROWS_MAX);
		if (this.atEnd && !down) this.scroller.scrollTop = this.scroller.scrollHeight; else this.#restore(anchor);
		this.#measure();
	}

	/** Returns whether a message is below the rows in the document. */
	isBelow(item) {
		return !this.bottom || (item.at && compare(item.at, this.bottom.at) > 0);
	}
}
