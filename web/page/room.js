// One conversation: its rows in order, its people, and its unread messages.
//
// Rows are ordered by `at`, a seq, and `sub`, which counts the rows behind that message that have no
// seq: notices, joins, gaps. Messages that are not stored yet are at the end.

import { compare, dayKey, fold, mentions } from './words.js';

/** The seq of rows behind all stored messages. It is longer than each seq of a server. */
const END = 'f'.repeat(64);
/** Rows of a conversation in memory. Beyond, the oldest are dropped and loaded again on demand. */
export const ROWS_MAX = 20000;
/** People of a channel by name, and names in one row of arrivals. Beyond, they are counted. */
const PEOPLE_MAX = 5000;
const PRESENCE_MAX = 200;
const NAMES_SHOWN = 6;
/** Rows above the visible ones that decide whose day it is. */
const DAY_ROWS = 200;
/** The difference between the clocks of a server and of this computer that day lines tolerate. */
const SKEW_MS = 3600000;

let count = 0;
const next = () => (count += 1);
const before = (a, b) => (compare(a.at, b.at) || a.sub - b.sub) < 0;

export class Room {
	constructor(to) {
		Object.assign(this, { to, key: fold(to), topic: '', people: new Map(), omitted: 0, retention: 'forever' });
		Object.assign(this, { items: [], bySeq: new Map(), byId: new Map() });
		Object.assign(this, { read: '0', last: '0', unread: 0, mentioned: 0, divider: null });
		// Whether older messages may exist, whether they are being loaded, and whether the user is in it.
		Object.assign(this, { more: true, loading: false, joined: false, gone: false, made: next() });
	}

	get isPrivate() { return this.to.startsWith('@'); }
	get hasPin() { return this.to.includes('~'); }
	/** The name without the tag of a PIN, which is never stored. */
	get bare() { return this.to.replace(/~.*/, '~'); }

	/** The index of the first row that is not before this one. */
	index(item) {
		let [low, high] = [0, this.items.length];
		while (low < high) {
			const middle = (low + high) >> 1;
			if (before(this.items[middle], item)) low = middle + 1; else high = middle;
		}
		return low;
	}

	place(item) {
		const last = this.items[this.items.length - 1];
		if (!last || before(last, item)) this.items.push(item);
		else this.items.splice(this.index(item), 0, item);
		return item;
	}

	take(item) {
		const at = this.index(item);
		if (this.items[at] === item) this.items.splice(at, 1);
	}

	/** Drops the oldest rows. */
	trim() {
		if (this.items.length <= ROWS_MAX) return;
		for (const item of this.items.splice(0, this.items.length - ROWS_MAX * 0.9)) {
			if (item.seq) this.bySeq.delete(item.seq);
			if (item.id) this.byId.delete(item.id);
		}
		this.more = true;
	}

	oldest() { return this.items.find((item) => item.seq && !item.retired)?.seq; }

	/** The newest stored row, behind which a notice is placed. */
	#end() { return { at: this.last, sub: next() }; }

	note(fields) { return this.place({ kind: 'note', time: Date.now(), ...fields, ...this.#end() }); }

	/** Adds a message that is not stored yet. */
	addPending(fields) {
		const known = this.byId.get(fields.id);
		if (known) return Object.assign(known, fields);
		const item = { kind: 'message', says: 'say', state: 'pending', own: true, time: Date.now(), ...fields, at: END, sub: next() };
		this.byId.set(item.id, item);
		return this.place(item);
	}

	rename(item, id) {
		this.byId.delete(item.id);
		item.id = id;
		this.byId.set(id, item);
	}

	drop(item) {
		this.take(item);
		if (item.id) this.byId.delete(item.id);
	}

	/** Adds a row for a transfer; it stays below the stored messages. */
	addTransfer(transfer) { return this.place({ kind: 'transfer', transfer, time: Date.now(), at: END, sub: next() }); }

	/** Adds a stored message, or changes the one that has its seq or id. */
	addMessage(message, me) {
		const { seq, id } = message;
		if (compare(this.last, seq) < 0) this.last = seq;
		const own = fold(message.from) === fold(me);
		const fields = {
			seq, id, from: message.from, device: message.device, text: message.text, says: message.kind, own,
			time: Date.parse(message.time) || 0, edited: !!message.edited, deleted: !!message.deleted, file: message.file,
			unsealed: !!message.unsealed, confidentiality: message.confidentiality, state: undefined, hint: undefined,
			mention: !own && mentions(message.text, me),
		};
		let item = this.bySeq.get(seq);
		if (item) return Object.assign(item, fields);
		item = own && !message.unsealed ? this.byId.get(id) : undefined;
		if (item?.state) this.take(item); else item = { kind: 'message' };
		Object.assign(item, fields, { at: seq, sub: 0 });
		this.bySeq.set(seq, item);
		if (own) this.byId.set(id, item);
		return this.place(item);
	}

	/** Applies an edit or a deletion to the message that it names. */
	change(message) {
		if (compare(this.last, message.seq) < 0) this.last = message.seq;
		const waiting = this.byId.get(message.id);
		if (waiting?.state) this.drop(waiting);
		const item = this.bySeq.get(message.of);
		if (!item || item.unsealed || fold(item.from) !== fold(message.from)) return undefined;
		if (message.kind === 'delete') Object.assign(item, { deleted: true, text: '', file: undefined });
		else Object.assign(item, { edited: true, text: message.text });
		return item;
	}

	/** Seqs above this one now belong to other messages. */
	renumber(after) {
		for (const item of this.items.filter((one) => one.seq && compare(one.seq, after) > 0)) {
			this.bySeq.delete(item.seq);
			Object.assign(item, { retired: true });
		}
		// The rows keep their order: they are placed after the last message of the log that remains.
		for (const item of this.items) {
			if (item.at !== END && compare(item.at, after) > 0) Object.assign(item, { at: after, sub: next() });
		}
		this.last = after;
		if (compare(this.read, after) > 0) this.read = after;
	}

	/** A gap in the messages, which can be loaded if the server has stored them. */
	addGap({ from_seq: from, to_seq: to, stored }) {
		const known = this.items.find((item) => item.kind === 'gap' && item.to === to);
		if (known) return Object.assign(known, { from, stored });
		return this.place({ kind: 'gap', from, to, stored, at: to, sub: -1 });
	}

	/** Adds somebody to the people, or counts them. */
	enters(who) {
		if (this.people.has(fold(who)) || this.people.size < PEOPLE_MAX) this.people.set(fold(who), who); else this.omitted += 1;
	}

	leaves(who) {
		if (!this.people.delete(fold(who)) && this.omitted) this.omitted -= 1;
	}

	/** Adds a join or a departure to the last row, if that shows joins and departures. */
	presence(does, who) {
		let row = this.items[this.items.length - 1];
		if (row?.kind !== 'presence' || row.joined.length + row.left.length >= PRESENCE_MAX) row = this.place({ kind: 'presence', time: Date.now(), joined: [], left: [], ...this.#end() });
		const [to, other] = does === 'joined' ? [row.joined, row.left] : [row.left, row.joined];
		const back = other.indexOf(who);
		if (back >= 0) other.splice(back, 1);
		if (!to.includes(who)) to.push(who);
		return row;
	}

	isUnread(item) {
		return item.kind === 'message' && item.seq && !item.own && !item.retired && compare(item.seq, this.read) > 0;
	}

	firstUnread() { return this.items.find((item) => this.isUnread(item)); }

	/** Everything up to this seq is read. */
	reads(seq) {
		if (compare(seq, this.read) <= 0) return false;
		this.read = seq;
		if (compare(this.last, seq) <= 0) [this.unread, this.mentioned] = [0, 0];
		else this.unread = Math.min(this.unread, this.items.filter((item) => this.isUnread(item)).length);
		return true;
	}
}

/**
 * The indices from `first` to before `last` of the rows that begin a day. Stored messages have the
 * time of the server, other rows the time of this computer: the difference of two clocks around
 * midnight does not begin a day twice.
 */
export function dayStarts(items, first, last) {
	const starts = new Set();
	let [day, time, isLocalDay] = [undefined, 0, false];
	for (let i = Math.max(0, first - DAY_ROWS); i < last; i += 1) {
		const item = items[i];
		// The row of a transfer shows no day.
		if (!item.time || item.kind === 'transfer') continue;
		const own = dayKey(item.time);
		const isEarlier = day !== undefined && item.time < time;
		const stays = isEarlier && (!item.seq || (isLocalDay && time - item.time < SKEW_MS));
		if (own !== day && !stays) {
			[day, time, isLocalDay] = [own, item.time, !item.seq];
			if (i >= first) starts.add(i);
		} else if (!isEarlier) time = item.time;
	}
	return starts;
}

/** `bob, carol joined; alice left` */
export function presenceText({ joined, left }) {
	const names = (people) => {
		const more = people.length - NAMES_SHOWN;
		return people.slice(0, NAMES_SHOWN).join(', ') + (more > 0 ? ` and ${more} more` : '');
	};
	const parts = [joined.length && `${names(joined)} joined`, left.length && `${names(left)} left`];
	return parts.filter(Boolean).join('; ') || 'people came and went';
}
