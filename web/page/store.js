// The state of the page, from the objects of the client. No DOM here.
//
// `apply` takes one object of docs/json.md and docs/web.md, and calls `changed` with the kind of change,
// the room and the row.

import { Room } from './room.js';
import { compare, fold, hex, title } from './words.js';

export const LOBBY = '#lobby';
/** Why the server is not asked now. */
export const OFFLINE = 'There is no connection to the server. Try again when it is back.';
export const goneFrom = (room) => `you are no longer in ${title(room.to)}`;
/** Notices of the client that the page waits for, and for how long. */
const SINK_MS = 15000;
/** The time after which a request is given up. A request for a transfer stays open while the transfer progresses. */
const ANSWER_MS = 60000;
const TRANSFER_MS = 600000;
const ENDS = ['sent', 'saved', 'failed', 'cancelled'];
/** The departure of somebody who was silent for this time is not shown. */
const QUIET_MS = 300000;

export class Store {
	/** `changed(what, room, item)`; `attends(room)`: whether the user sees the end of this room now. */
	constructor(changed, attends) {
		Object.assign(this, { changed, attends, rooms: new Map(), me: '', current: null, ready: null });
		Object.assign(this, { state: { state: 'connecting' }, hello: null, password: null, ended: null, deriving: [] });
		Object.assign(this, { transfers: new Map(), ofMessage: new Map(), asked: new Map(), sinks: [], wanted: [], changes: new Map() });
		// No other page of this client may have the same one.
		this.prefix = `p${hex(8)}-`;
		this.refs = 0;
		this.lobby = this.room(LOBBY);
		this.current = this.lobby;
	}

	/** Returns the room with this name. Creates it if there is none. */
	room(to) {
		const key = fold(to);
		let room = this.rooms.get(key);
		if (!room) {
			room = new Room(to);
			this.rooms.set(key, room);
			if (!room.isPrivate || this.ready) this.changed('rooms', room);
		}
		return room;
	}

	find(to) { return this.rooms.get(fold(to)); }

	/** The room of a message: a private one is named by the other person. */
	roomOf({ to, from }) {
		const isMine = to.startsWith('@') && fold(to.slice(1)) === fold(this.me);
		return this.room(isMine && from ? `@${from}` : to);
	}

	/** Rooms in the order of the list: the lobby, channels, people. */
	list() {
		const rank = (room) => (room === this.lobby ? 0 : room.isPrivate ? 2 : 1);
		return [...this.rooms.values()].sort((a, b) => rank(a) - rank(b) || a.made - b.made);
	}

	forget(room) {
		this.rooms.delete(room.key);
		this.changed('rooms', room);
		if (this.current !== room) return;
		this.current = this.lobby;
		this.changed('current', this.lobby);
	}

	/**
	 * Makes a reference. The object that ends the answer goes to `done` with the messages before it.
	 * `each` gets the messages as they come. With `each.keeps` the request is one for a transfer.
	 * `isLocal`: the client answers it without the server.
	 */
	ref(done, each, isLocal = false) {
		const ref = this.prefix + (this.refs += 1);
		this.asked.set(ref, { done, each, isLocal, messages: [], at: Date.now() });
		return ref;
	}

	/** Ends open requests that `fits` chooses, because no answer can arrive. Transfers report their end themselves. */
	giveUp(hint, fits = () => true) {
		for (const [ref, asked] of [...this.asked]) {
			if (!fits(asked)) continue;
			this.asked.delete(ref);
			if (!asked.each?.keeps) asked.done?.({ type: 'refused', code: 'unanswered', hint }, asked.messages);
		}
	}

	/** Ends requests that have waited too long. */
	tick() {
		const now = Date.now();
		this.giveUp('The client has not answered. Try again.', (asked) => now - asked.at > (asked.each?.keeps ? TRANSFER_MS : ANSWER_MS));
		const late = this.sinks.filter((sink) => sink.until <= now);
		this.sinks = this.sinks.filter((sink) => sink.until > now);
		late.forEach((sink) => sink.late?.());
	}

	/** Hands the next notice of the client whose folded text fits to `take` as well. `late` is called if there is none in time. */
	expect(fits, take, late) { this.sinks.push({ fits, take, late, until: Date.now() + SINK_MS }); }

	apply(object) {
		if (typeof object?.type !== 'string') return;
		const answer = this.asked.get(object.ref);
		if (answer && this.#answers(object, answer)) return;
		// An answer to another page.
		if (typeof object.ref === 'string' && !answer && /^p[0-9a-z]+-\d+$/.test(object.ref) && !SHARED.includes(object.type)) return;
		const apply = APPLY[object.type];
		if (apply) apply.call(this, object);
	}

	/** Handles an answer to a request of this page. Returns whether nothing else may handle it. */
	#answers(object, answer) {
		const { type, ref } = object;
		if (type === 'message') {
			answer.messages.push(object);
			answer.each?.(object);
			return true;
		}
		if (type === 'transfer') {
			answer.at = Date.now();
			if (ENDS.includes(object.state)) this.asked.delete(ref);
			return false;
		}
		if (type === 'refused' && object.id) return false;
		// A gap or a violation belongs to an answer that goes on.
		if (type === 'gap' || type === 'violation') return false;
		// A transfer that is refused with a delay begins later by itself.
		if (type !== 'refused' || !answer.each?.keeps || !object.retry_ms) this.asked.delete(ref);
		answer.done?.(type === 'error' ? { ...object, type: 'refused' } : object, answer.messages);
		return !SHARED.includes(type);
	}

	addMessage(object, replay = object.replay) {
		const room = this.roomOf(object);
		if (!object.unsealed && (object.kind === 'edit' || object.kind === 'delete')) {
			this.sent(object.id);
			const item = room.change(object);
			this.changed('items', room, item);
			return item;
		}
		const known = room.bySeq.has(object.seq);
		const item = room.addMessage(object, this.me);
		const get = item.file && this.ofMessage.get(`${room.key} ${item.seq}`);
		if (get) item.get = get;
		if (item.own) this.changed('settled', room, item.id);
		room.trim();
		const isNew = !known && room.isUnread(item) && !item.deleted;
		if (isNew && this.attends(room)) item.seen = true;
		else if (isNew && !replay) room.unread += 1;
		if (isNew && !item.seen && (item.mention || room.isPrivate)) room.mentioned += 1;
		if (isNew && !replay && this.ready) this.changed('arrived', room, item);
		this.changed('items', room, item);
		this.changed('rooms', room);
		return item;
	}

	/** Marks a message as refused that the client has not taken. Only this page has it. */
	refuseHere(room, item, hint = goneFrom(room)) {
		Object.assign(item, { state: 'refused', isHere: true, hint });
		this.changed('settled', room, item.id);
		this.changed('items', room, item);
	}

	/** Shows the message of the day, after the messages of the snapshot. */
	day() {
		if (this.motd) this.note({ text: this.motd, origin: 'server', what: 'message of the day' }, this.lobby);
		this.motd = null;
	}

	/** An edit or a deletion of an own message is on its way. */
	changing(room, item, id) {
		item.changing = true;
		this.changes.set(id, { room, item });
		this.changed('items', room, item);
	}

	note(fields, room = this.current) {
		const item = room.note(fields);
		room.trim();
		this.changed('items', room, item);
		this.changed('noted', room, item);
	}

	/** The row of an own message that is not stored yet. */
	pendingOf(id) {
		for (const room of this.rooms.values()) {
			const item = room.byId.get(id);
			if (item?.state) return { room, item };
		}
		return undefined;
	}

	/** Marks an own message or change as taken by the client. Returns its row if it is not stored yet. */
	sent(id) {
		const found = this.pendingOf(id);
		const change = this.changes.get(id);
		if (change) {
			this.changes.delete(id);
			change.item.changing = false;
			this.changed('items', change.room, change.item);
		}
		this.changed('settled', undefined, id);
		return found;
	}
}

/** Objects that concern all pages, also if they answer a request of one page. */
const SHARED = ['entered', 'parted', 'people', 'topic', 'transfer'];

const isUp = ({ state }) => state === 'connected' || state === 'silent';

/** What each object does; `this` is the store. */
const APPLY = {
	state(object) {
		this.state = { ...object, at: Date.now() };
		if (object.state !== 'connecting' && this.password) {
			this.password = null;
			this.changed('password');
		}
		// Requests over a lost connection get no answer.
		if (!isUp(object)) this.giveUp(OFFLINE, (asked) => !asked.isLocal && !asked.each?.keeps);
		this.changed('state');
	},
	latency({ ms }) { this.latency = ms; },
	deriving({ channels }) {
		this.deriving = channels;
		this.changed('state');
	},
	hello(object) {
		this.limits = object.limits ?? this.limits;
		const again = this.hello?.motd === object.motd;
		this.hello = object;
		this.me = object.name;
		if (object.motd && !again) this.motd = object.motd;
		if (this.ready) this.day();
		this.changed('state');
	},
	ready(object) {
		const first = !this.ready;
		this.ready = object;
		this.limits = object.limits ?? this.limits;
		this.me = object.name ?? this.me;
		this.day();
		this.changed('ready', undefined, first);
	},
	password(object) {
		this.password = { ...object, at: Date.now() };
		this.changed('password');
	},
	bye(object) {
		this.ended = object;
		this.changed('state');
	},
	entered(object) {
		const room = this.room(object.channel);
		const isNew = !room.joined;
		Object.assign(room, { joined: true, gone: false, topic: object.topic ?? '', retention: object.retention ?? 'forever' });
		Object.assign(room, { omitted: object.omitted ?? 0, people: new Map(object.people.map((name) => [fold(name), name])) });
		room.reads(object.read ?? '0');
		if (compare(room.last, object.last ?? '0') < 0 && object.last === '0') room.more = false;
		if (isNew) this.changed('entered', room);
		this.changed('rooms', room);
		this.changed('people', room);
	},
	parted({ channel }) {
		const room = this.find(channel);
		if (room && room !== this.lobby) this.forget(room);
	},
	gone({ channel }) {
		const room = this.room(channel);
		Object.assign(room, { gone: true, joined: false });
		// The client refuses what it has not taken yet.
		for (const item of room.items) if (item.state === 'pending' && !item.taken) this.refuseHere(room, item);
		this.changed('rooms', room);
		this.changed('people', room);
	},
	joined(object) { presence.call(this, 'joined', object); },
	left(object) { presence.call(this, 'left', object); },
	people({ channel, people, omitted }) {
		const room = this.room(channel);
		Object.assign(room, { people: new Map(people.map((name) => [fold(name), name])), omitted: omitted ?? 0 });
		this.changed('people', room);
	},
	topic({ to, who, text, retention }) {
		const room = this.room(to);
		Object.assign(room, { topic: text ?? '', retention: retention ?? room.retention });
		if (who) this.note({ text: text ? `${who} set the topic: ${text}` : `${who} removed the topic`, origin: 'server' }, room);
		this.changed('rooms', room);
	},
	message(object) { this.addMessage(object); },
	// A message of this user is on its way, of this page or another one, for the first time or again.
	outgoing({ id, to, kind, text, of }) {
		const room = this.room(to);
		if (of) {
			const item = room.bySeq.get(of);
			if (item) this.changing(room, item, id);
		} else {
			if (room.byId.get(id)?.seq) return;
			// A row of this page, whose message has got another id.
			const own = !room.byId.has(id) && room.items.find((one) => one.state === 'pending' && !one.taken && one.text === text);
			if (own) {
				this.changed('settled', room, own.id);
				room.rename(own, id);
			}
			const item = room.addPending({ id, text, says: kind, from: this.me, state: 'pending', hint: undefined, taken: true });
			this.changed('items', room, item);
		}
		this.changed('settled', room, id);
	},
	pending({ id, stored }) {
		const found = this.pendingOf(id);
		this.changed('settled', undefined, id);
		if (!found) return;
		Object.assign(found.item, { stored, state: 'pending' });
		this.changed('items', found.room, found.item);
	},
	dropped({ id }) {
		const found = id && this.sent(id);
		if (!found) return;
		found.room.drop(found.item);
		this.changed('items', found.room, found.item);
	},
	// The message itself comes too: an acknowledgement without one leaves no row that waits.
	ack({ id, seq }) {
		const found = this.sent(id);
		if (!found) return;
		const { room, item } = found;
		room.drop(item);
		if (!room.bySeq.has(seq)) {
			Object.assign(item, { seq, at: seq, sub: 0, state: undefined });
			room.bySeq.set(seq, item);
			room.byId.set(id, item);
			room.place(item);
		}
		this.changed('items', room, item);
	},
	stored(object) { APPLY.ack.call(this, object); },
	refused({ id, hint, code, retry_ms, origin }) {
		const isChange = this.changes.has(id);
		const found = id && this.sent(id);
		if (isChange) hint = `Your change was not stored: ${hint}`;
		if (found && code !== 'in_doubt') {
			Object.assign(found.item, { state: 'refused', hint, code, retry_ms });
			this.changed('items', found.room, found.item);
		} else this.note({ text: hint, origin, error: true });
	},
	held(object) {
		const found = this.sent(object.id ?? object.ref);
		if (found) {
			found.room.drop(found.item);
			this.changed('items', found.room, found.item);
		}
		// A command has no row.
		const text = object.line ?? (found && written(found.item));
		const room = found?.room ?? (object.to ? this.room(object.to) : this.current);
		if (text) this.changed('held', room, { text, hint: object.hint });
	},
	gap(object) {
		const room = this.room(object.to);
		this.changed('items', room, room.addGap(object));
	},
	unread({ to, messages, read }) {
		const room = this.room(to);
		if (read) room.reads(read);
		if (messages === 0 || !this.attends(room)) room.unread = messages;
		if (messages === 0) room.mentioned = 0;
		this.changed('rooms', room);
	},
	read({ to, seq }) {
		const room = this.room(to);
		if (room.reads(seq)) this.changed('rooms', room);
	},
	conversation({ to, last, read }) {
		const room = this.room(to);
		room.reads(read ?? '0');
		if (last === '0') room.more = false;
		this.changed('rooms', room);
	},
	conversations({ conversations }) { conversations.forEach((one) => APPLY.conversation.call(this, one)); },
	// A command of this page has chosen the conversation for typed text.
	target({ to }) { this.changed('target', this.room(to)); },
	closed({ to }) {
		const room = this.find(to);
		if (room?.isPrivate) this.forget(room);
	},
	notify({ to, level }) { this.room(to).notify = level; },
	renumbered({ to, after }) {
		const room = this.room(to);
		room.renumber(after);
		this.note({ text: 'The server begins another numbering here. Messages above cannot be changed any more.', origin: 'client' }, room);
	},
	violation(object) {
		const room = this.roomOf(object);
		this.note({ text: object.hint, origin: 'client', error: true, what: `message ${object.seq} of ${object.from}` }, room);
	},
	key_changed({ name, hint }) {
		const own = this.find(`@${name}`);
		const fields = { text: hint, origin: 'client', error: true, compare: name };
		for (const room of new Set([own, this.current].filter(Boolean))) this.note(fields, room);
	},
	notice(object) {
		if (object.origin === 'client') {
			const text = fold(object.text);
			// The line for the others of a new channel, which is shown there too.
			const made = object.text.match(/\/join (#\S+) \S/)?.[1];
			if (made && this.wanted.some((one) => one.name === fold(made))) this.passOn = { name: fold(made), text: object.text };
			const takes = this.sinks.find((one) => one.fits(text));
			this.sinks = this.sinks.filter((one) => one !== takes);
			takes?.take(object.text);
		}
		this.note({ text: object.text, origin: object.origin });
	},
	error({ hint, origin, code, ref }) {
		// The client has not understood a message.
		const found = ref && this.pendingOf(ref);
		if (found) this.refuseHere(found.room, found.item, hint); else this.note({ text: hint, origin, error: true, code });
	},
	transfer(object) {
		const ends = ['sent', 'cancelled'].includes(object.state);
		let known = this.transfers.get(object.transfer);
		if (!known) this.transfers.set(object.transfer, (known = { id: object.transfer }));
		Object.assign(known, object);
		const room = this.room(object.to);
		if (object.direction === 'down' && object.seq) {
			const item = room.bySeq.get(object.seq);
			this.ofMessage.set(`${room.key} ${object.seq}`, known);
			if (item) item.get = known;
			this.changed('items', room, item);
		} else if (!known.item && !ends) known.item = room.addTransfer(known);
		else if (known.item && ends) room.drop(known.item);
		this.changed('items', room, known.item);
		this.changed('transfer', room, known);
	},
	channels({ channels }) {
		this.note({ text: channels.map((one) => `${title(one.channel)} (${one.here} here)`).join('\n'), origin: 'server' });
	},
	whois({ name, fingerprints, devices }) {
		this.note({ text: `${name} on ${devices.join(', ') || 'no device'}\n${fingerprints.join('\n')}`, origin: 'server' });
	},
};

/** The line with which a message was written. */
export const written = (item) => (item.says === 'me' ? `/me ${item.text}` : item.text.startsWith('/') ? `/${item.text}` : item.text);

/** Handles a join or a departure. A person who was silent for long leaves without a row, as in the terminal. */
function presence(does, { to, who, reason, after_ms: after, quiet: isHidden }) {
	const room = this.room(to);
	const key = fold(who);
	if (does === 'joined') room.enters(who); else room.leaves(who);
	if (key === fold(this.me)) return this.changed('people', room);
	const quiet = does === 'left' && !reason && after > 0 && !room.items.some((item) => item.from && fold(item.from) === key &&
		item.time > Date.now() - QUIET_MS) && after > QUIET_MS;
	if (isHidden) return this.changed('people', room);
	if (reason) this.note({ text: `${who} left: ${reason}`, origin: 'server' }, room);
	else if (!quiet) {
		const row = room.presence(does, who);
		room.trim();
		this.changed('items', room, row);
	}
	return this.changed('people', room);
}
