// The page: shows the objects of the client, and sends the user's input to it.

import { Composer } from './composer.js';
import { Disk, Settings } from './disk.js';
import { $, batch, button, h, scriptUrl } from './dom.js';
import { Files } from './files.js';
import { bindKeys } from './keys.js';
import { Link, storeToken, WRONG_TOKEN } from './link.js';
import { List } from './list.js';
import { Notify } from './notify.js';
import { OwnLink, servedBy } from './own.js';
import { Panes } from './panes.js';
import { Rows } from './rows.js';
import * as sheets from './sheets.js';
import { LOBBY, OFFLINE, Store, written } from './store.js';
import { actionOf, compare, fold, hex, isBlank, title } from './words.js';

const HISTORY_MESSAGES = 100;
const MORE_MESSAGES = 250;
/** Requests for older messages until a message is found. */
const ROUNDS_MAX = 12;
const REFUSED_MS = 3000;
const WANTED_MS = 60000;
const LAST_ROOM = 'pychat room';
export const CROWDED = 'The client has too many pages open, or this page was too slow.';

class App {
	/** `server` serves this page; without one, the client on this computer does. */
	constructor(server) {
		this.settings = new Settings();
		this.disk = new Disk(() => this.fail('This browser stores no more text: unsent text is lost when the page is closed.'));
		this.flags = new Set();
		this.draw = batch(() => this.#draw());
		this.store = new Store((...change) => this.#changed(...change), (room) => this.attends(room));
		this.files = new Files(this);
		this.rows = new Rows(this.#acts());
		this.list = new List($('scroller'), $('list'), this.rows, {
			older: (room) => this.older(room),
			moved: () => this.#moved(),
		});
		this.panes = new Panes(this);
		this.composer = new Composer(this);
		this.notify = new Notify(this);
		const hears = [(object) => this.#heard(object), (...told) => this.#told(...told)];
		this.link = server ? new OwnLink(server, ...hears) : new Link(...hears);
		bindKeys(this);
		this.look();
	}

	start() {
		addEventListener('focus', () => this.#attend());
		document.addEventListener('visibilitychange', () => (document.hidden ? this.disk.flush() : this.#attend()));
		addEventListener('pagehide', () => this.disk.flush());
		$('pill').addEventListener('click', () => this.toUnread());
		window.visualViewport?.addEventListener('resize', () => this.#fit());
		matchMedia('(min-width: 600px)').addEventListener('change', () => this.panes.closeDrawers());
		setInterval(() => this.tick(), 1000);
		this.open(this.store.lobby);
		this.link.open();
		register();
	}

	/** Where the keyboard does not shrink the page (iOS), the page shrinks itself. */
	#fit() {
		const { height, scale } = window.visualViewport;
		const covered = scale === 1 && innerHeight - height > 80;
		document.body.style.height = covered ? `${height}px` : '';
		if (covered) scrollTo(0, 0);
	}

	get room() { return this.store.current; }
	get isOnline() { return this.link.attached && ['connected', 'silent'].includes(this.store.state.state); }

	/** Returns whether the user sees the end of a room now. */
	attends(room) {
		return room === this.store.current && this.list?.room === room && this.list.atEnd && !document.hidden && document.hasFocus();
	}

	/** The name of a room in commands, where a name alone can mean a channel with a PIN. */
	exact(room) {
		return room.isPrivate || room.hasPin || room.to === LOBBY ? room.to : `${room.to}~open`;
	}

	send(object) { return this.link.send(object); }

	/** Sends a command, as it is typed in a room. */
	line(room, line) { return this.send({ type: 'input', to: room.to, line }); }

	/** Sends a request to the client, and passes on its answer and the messages before it. Returns whether the client runs. */
	ask(object, done, each) {
		const isLocal = object.type === 'search' && isSealed(object.to);
		if (this.link.attached && !this.isOnline && !isLocal && !each?.keeps) {
			done?.({ type: 'refused', code: 'unanswered', hint: OFFLINE }, []);
			return true;
		}
		const ref = this.store.ref(done, each, isLocal);
		const sent = this.send({ ...object, ref });
		if (!sent) this.store.asked.delete(ref);
		return sent;
	}

	look() {
		const { settings } = this;
		const root = document.documentElement;
		if (settings.get('theme') === 'system') delete root.dataset.theme; else root.dataset.theme = settings.get('theme');
		root.classList.toggle('no-times', !settings.get('times'));
		root.classList.toggle('no-colours', !settings.get('colours'));
		root.classList.toggle('no-rooms', !settings.get('rooms'));
		root.classList.toggle('no-people', !settings.get('people'));
	}

	say(text, room) { this.store.note({ text, origin: 'client' }, this.#open(room)); }
	fail(text, room) { this.store.note({ text, origin: 'client', error: true }, this.#open(room)); }

	/** Returns the room if it is open, or else the current one: nobody sees a notice in a closed room. */
	#open(room) { return room && this.store.rooms.has(room.key) ? room : this.room; }

	// Objects of the client.

	#heard(object) {
		if (object.type === 'completions') return this.composer.completions(object);
		if (object.type === 'ready' && this.#isOther(object)) return undefined;
		return this.store.apply(object);
	}

	/** Opens the drafts of this person. For a client of another person, the page loads again without them. */
	#isOther(ready) {
		const name = ready.name ?? this.store.me;
		const key = name && `${fold(name)} ${ready.fingerprint ?? this.store.hello?.server ?? ready.server}`;
		if (key && this.disk.name && this.disk.name !== key) {
			this.disk.close();
			this.link.close();
			location.reload();
			return true;
		}
		if (key) this.disk.open(key);
		if (this.page && ready.page && this.page !== ready.page) this.#newer();
		this.page = ready.page ?? this.page;
		return false;
	}

	/** Reports a newer page. The user loads it, which is refused while text would be lost. */
	#newer() {
		const bar = $('newer');
		if (!bar.hidden) return;
		const loads = () => {
			this.disk.flush();
			if (this.disk.hasUnstored) this.composer.tell('First send or remove the text that you have typed, and wait until the client has accepted sent text. This text is not stored: loading the page would lose it.');
			else location.reload();
		};
		bar.replaceChildren(h('span', { role: 'status' }, 'There is a newer version of this page. Your drafts stay.'), button('Load it', loads, { class: 'primary' }));
		bar.hidden = false;
	}

	#told(state, detail) {
		if (state === 'given') return $('start').replaceChildren();
		if (state === 'newer') return this.#newer();
		this.linkState = { state, detail };
		this.store.giveUp('The connection to the client is lost. Try again.');
		if (state === 'attaching') {
			Object.assign(this.store, { ended: null, deriving: [] });
			for (const room of this.store.rooms.values()) room.loading = false;
		}
		if (state === 'denied') this.#denied(detail);
		return this.#changed('state');
	}

	#denied(code) {
		$('app').hidden = true;
		document.querySelectorAll('dialog[open]').forEach((dialog) => dialog.close());
		this.#card(code === WRONG_TOKEN ? 'The client was started again, and its address has changed.' : 'This page needs the address that the client prints.');
	}

	/** Shows the reason and the next step while no client is attached. */
	#card(why) {
		const known = $('start').querySelector('.why');
		if (known) return known.replaceChildren(why);
		const line = h('input', { id: 'token', type: 'text', autocomplete: 'off', spellcheck: 'false' });
		line.addEventListener('input', () => storeToken(line.value) && this.#again());
		return $('start').replaceChildren(h('main', { class: 'card' }, h('h1', {}, 'pychat'), h('p', { class: 'why', role: 'status' }, why),
			h('p', {}, 'Start ', h('code', {}, 'pychat client --web'), ' in a terminal, and open the address that it prints, or paste it here:'),
			h('div', { class: 'field' }, h('label', { for: 'token' }, 'Address of the client'), line)));
	}

	tick() {
		this.store.tick();
		this.panes.tick();
		if ($('app').hidden && !this.link.isOwn && this.linkState?.state === 'lost') this.#card(`${this.link.isCrowded ? CROWDED : 'The client does not answer.'} The page tries again by itself.`);
	}

	/** Shows the line for the operator until the key is registered. */
	#admission() {
		const { state, ready } = this.store;
		if (state.state !== 'not_admitted' || !ready?.admission?.length || this.hasAsked) return;
		this.hasAsked = true;
		const what = 'The server does not know your key yet. Send this to the person who runs the server';
		this.store.note({ text: `\n${ready.admission.join('\n')}`, origin: 'client', what }, this.store.lobby);
	}

	#again() {
		$('start').replaceChildren();
		this.link.open();
	}

	#ready(first) {
		const appears = $('app').hidden;
		$('start').replaceChildren();
		$('app').hidden = false;
		for (const [id, message] of Object.entries(this.disk.transit)) this.#sendAgain(id, message);
		if (first) {
			const last = this.store.list().find((room) => room.bare === sessionStorage.getItem(LAST_ROOM));
			this.open(last ?? this.store.lobby);
		}
		if (appears && matchMedia('(pointer: fine)').matches) this.composer.focus();
		this.composer.refresh();
		this.#changed('state');
		this.#flag('items', 'rooms', 'people');
	}

	/** Repeats a message that the client had not confirmed when the connection to it broke. */
	#sendAgain(id, { to, line, sure }) {
		const room = this.store.room(to);
		const item = room.byId.get(id) ?? room.addPending({ id, ...shown(line), from: this.store.me });
		if (room.gone) return this.store.refuseHere(room, item);
		return this.send({ type: 'input', to, line, id, ref: id, ...(sure ? { sure } : {}) });
	}

	#changed(what, room, item) {
		const { store } = this;
		switch (what) {
			case 'items': if (room !== store.current) return; break;
			case 'settled': return this.disk.settled(item);
			case 'held': return this.composer.held(room, item);
			case 'entered': return this.#entered(room);
			case 'arrived':
				if (room === store.current && !this.attends(room) && (!room.divider || compare(room.divider.seq, room.read) <= 0)) room.divider = item;
				return this.notify.arrived(room, item);
			case 'noted': return this.notify.noted(room, item);
			case 'target': return this.isCommand && this.composer.isEmpty && this.open(room);
			case 'password': return sheets.password(this);
			case 'ready': return this.#ready(item);
			case 'state': this.#admission(); break;
			case 'transfer': return this.files.moved(room, item);
			case 'current': return room && this.list && this.#leaves(room);
			default:
		}
		return this.#flag(what);
	}

	/** The current room was left, perhaps on another page. What is typed next must not go to another room. */
	#leaves(room) {
		const { composer } = this;
		const [left, isTyping] = [composer.room, !composer.isEmpty];
		this.open(room);
		if (!isTyping || left === room) return;
		composer.text.blur();
		this.say(`${title(left.to)} was left, here or on another page, before your text was sent. The text is there when you open it again.`);
	}

	#flag(...flags) {
		for (const flag of flags) this.flags.add(flag);
		this.draw();
	}

	#draw() {
		const flags = new Set(this.flags);
		this.flags.clear();
		if (!this.store.ready && !flags.has('state')) return;
		if (flags.has('items')) this.list.sync();
		if (flags.has('rooms') || flags.has('state')) this.panes.drawRooms();
		if (flags.has('people') || flags.has('rooms')) this.panes.drawPeople();
		if (flags.has('rooms') || flags.has('state') || flags.has('people')) this.panes.drawBar();
		this.#attend();
		this.#pill();
		this.notify.count();
	}

	/** Marks as read what the user sees. */
	#attend() {
		const { room } = this;
		if (!this.store.ready || !this.attends(room) || compare(room.last, room.read) <= 0) return;
		if (!this.isOnline || !this.send({ type: 'read', conversations: [{ to: this.exact(room), seq: room.last }] })) return;
		room.reads(room.last);
		[room.unread, room.mentioned] = [0, 0];
		this.#flag('rooms');
	}

	#moved() {
		this.#attend();
		this.#pill();
	}

	#pill() {
		const { room, list } = this;
		const pill = $('pill');
		pill.hidden = list.atEnd || !room.items.length;
		if (pill.hidden) return;
		const text = room.unread ? `${room.unread} new` : 'Newest';
		if (pill.textContent !== `${text} ↓`) pill.textContent = `${text} ↓`;
	}

	// Rooms.

	open(room) {
		const { store } = this;
		const left = store.current;
		if (left !== room && left) left.divider = null;
		store.current = room;
		if (left !== room || !room.divider) room.divider = room.unread ? room.firstUnread() ?? null : null;
		sessionStorage.setItem(LAST_ROOM, room.bare);
		this.panes.closeDrawers();
		this.composer.open(room);
		$('list').setAttribute('aria-label', `Messages of ${title(room.to)}`);
		this.list.show(room);
		if (!room.isPrivate && this.isOnline) this.ask({ type: 'people', channel: this.exact(room) });
		this.#flag('items', 'rooms', 'people', 'state');
	}

	openPerson(name) { this.open(this.store.room(`@${name.replace(/^@/, '')}`)); }

	/** A channel of this name will be opened when the client is in it. */
	want(name) {
		this.store.wanted = this.store.wanted.filter((one) => one.until > Date.now());
		this.store.wanted.push({ name: fold(name), until: Date.now() + WANTED_MS });
	}

	join(channel, pin) {
		const name = channel.startsWith('#') ? channel : `#${channel}`;
		const known = !pin && this.store.find(name);
		if (known?.joined) return this.open(known);
		this.want(name);
		const done = (end) => end.type === 'refused' && this.fail(end.hint);
		const sent = pin ? this.send({ type: 'join', channel: name, pin }) : this.ask({ type: 'join', channel: name }, done);
		return sent || this.fail('The client is not running. Nothing was sent.');
	}

	#entered(room) {
		const { store } = this;
		const at = store.wanted.findIndex((one) => one.name === fold(title(room.to)) && one.until > Date.now());
		if (at >= 0) {
			store.wanted.splice(at, 1);
			if (store.passOn?.name === fold(title(room.to))) store.note({ text: store.passOn.text, origin: 'client' }, room);
			store.passOn = null;
			if (this.composer.isEmpty) this.open(room); else this.composer.tell(`${title(room.to)} is open: Alt-A or Ctrl-K goes there.`);
		}
		this.#flag('rooms', 'people');
	}

	/** Loads older messages of a room. Resolves when they are here. */
	older(room, count = HISTORY_MESSAGES) {
		if (room.loading || !room.more || room.gone || !this.isOnline) return Promise.resolve(false);
		room.loading = true;
		return new Promise((resolve) => {
			const done = (end, messages) => {
				const refused = end.type !== 'history';
				// A refused request is not repeated at once by the same scrolling.
				setTimeout(() => { room.loading = false; }, refused ? Math.max(end.retry_ms ?? 0, REFUSED_MS) : 0);
				if (!refused) room.more = end.more && messages.length > 0;
				messages.forEach((message) => this.store.addMessage(message, true));
				if (refused && !['rate', 'busy', 'unavailable', 'unanswered'].includes(end.code)) room.more = false;
				if (room === this.room) this.list.sync();
				resolve(!refused);
			};
			if (!this.ask({ type: 'history', to: this.exact(room), before: room.oldest(), messages: count }, done)) {
				room.loading = false;
				resolve(false);
			}
		});
	}

	/** Loads older messages until `found()`. */
	async olderUntil(room, found) {
		for (let round = 0; round < ROUNDS_MAX && !found(); round += 1) {
			if (room.loading) await new Promise((done) => { setTimeout(done, 100); });
			else if (!room.more || !(await this.older(room, MORE_MESSAGES))) break;
			await new Promise((done) => { setTimeout(done, 0); });
		}
		return found();
	}

	/** Goes to the first unread message, or to the end. */
	async toUnread() {
		const { room } = this;
		if (room.unread) {
			await this.olderUntil(room, () => compare(room.oldest() ?? '0', room.read) <= 0 || !room.more);
			if (room !== this.room) return;
			const first = room.firstUnread();
			const below = first && (this.list.isBelow(first) || this.#isOutside(first));
			if (below) {
				room.divider = first;
				this.list.reveal(first, 0.2);
				this.#flag('items');
				return;
			}
		}
		this.list.toEnd();
		this.#moved();
	}

	#isOutside(item) {
		const box = this.rows.known(item)?.getBoundingClientRect();
		const view = $('scroller').getBoundingClientRect();
		return !box || box.bottom < view.top || box.top > view.bottom;
	}

	/** Scrolls to a loaded message and marks it. */
	reveal(room, item) {
		if (room !== this.room) this.open(room);
		this.list.reveal(item);
		const row = this.rows.known(item);
		for (const found of document.querySelectorAll('.found')) found.classList.remove('found');
		row?.classList.add('found');
		row?.focus({ preventScroll: true });
	}

	// Input of the user.

	/** Sends a typed line to a room. Returns false if the text has to stay in the message field. */
	post(room, line, sure) {
		if (!this.link.attached) return this.#keeps('The client is not running. Your text stays here.');
		const action = actionOf(line);
		if (action !== undefined && isBlank(action)) return this.#keeps('/me needs a text: /me waves. Nothing was sent.');
		const isCommand = /^\/(?!\/)/.test(line) && !line.includes('\n') && action === undefined;
		if (room.gone && !isCommand) return this.#keeps(`You are no longer in ${title(room.to)}. Nothing was sent: your text stays here.`, ...this.#joins(room));
		const id = hex(16);
		this.isCommand = isCommand;
		if (!isCommand) {
			this.disk.sends(id, { to: room.to, line, sure }, this.composer.before);
			room.addPending({ id, ...shown(line), from: this.store.me });
			this.#flag('items');
		}
		this.send({ type: 'input', to: room.to, line, id, ref: id, ...(sure ? { sure } : {}) });
		if (room === this.room) this.list.toEnd();
		return true;
	}

	#keeps(text, ...more) {
		this.composer.tell(text, ...more);
		return false;
	}

	#joins(room) { return [button('Join again', () => sheets.joinAgain(this, room))]; }

	/** Returns the hint above the message field that lasts as long as its reason: its name, its text, a button. */
	standing() {
		const { store, room } = this;
		if (store.password && !store.password.given && !sheets.isAsking()) {
			return ['password', 'The server asks for your password.', button('Enter it', () => sheets.password(this))];
		}
		return room.gone ? ['gone', `You are no longer in ${title(room.to)}. Text is not sent from here.`, ...this.#joins(room)] : [];
	}

	change(room, item, text) {
		const id = hex(16);
		const sent = this.send({ type: text === undefined ? 'delete' : 'edit', to: this.exact(room), of: item.seq, id, text });
		if (sent) this.store.changing(room, item, id);
		return sent || this.#keeps('The client is not running. Nothing was changed.');
	}

	#acts() {
		const roomOf = (item) => [...this.store.rooms.values()].find((room) => room.items.includes(item)) ?? this.room;
		const drop = (item) => {
			roomOf(item).drop(item);
			this.#flag('items');
		};
		const unsettled = () => [...this.store.rooms.values()].flatMap((room) => room.items.filter((one) => one.state && !one.isHere));
		const isSending = ({ direction, state }) => direction === 'up' && !['sent', 'failed', 'cancelled'].includes(state);
		// The client drops all that is unsent at once: messages, edits, deletions and files.
		const cancel = (then) => {
			const { changes, transfers } = this.store;
			const count = unsettled().length + changes.size + [...transfers.values()].filter(isSending).length;
			const does = () => {
				this.line(this.room, '/cancel');
				then?.();
			};
			if (count > 1) sheets.confirm(this, `Drop ${count} messages and changes?`, 'None of your messages, edits, deletions and files that wait is sent.', 'Drop them', does); else does();
		};
		return {
			retry: (item) => {
				if (!item.isHere) return this.line(this.room, '/retry');
				return this.post(roomOf(item), written(item)) && drop(item);
			},
			edit: (item) => {
				if (!this.composer.isEmpty) return this.composer.tell('Send or remove the text here first.');
				const does = () => this.composer.set(written(item));
				if (!item.isHere) return cancel(does);
				drop(item);
				return does();
			},
			drop: (item) => (item.isHere ? drop(item) : cancel()),
			dropTransfer: drop,
			get: (item) => this.files.get(this.room, item),
			view: (item) => this.files.view(this.room, item),
			cancel: (transfer) => this.files.cancel(transfer),
			fill: (item) => this.#fill(this.room, item),
			compare: (name) => sheets.compareKeys(this, name),
		};
	}

	/** Loads the messages of a gap, newest first. */
	#fill(room, gap) {
		const count = Math.min(MORE_MESSAGES, Number(BigInt(gap.to) - BigInt(gap.from)) + 1);
		const done = (end, messages) => {
			if (end.type !== 'history') return this.fail(end.hint);
			if (!messages.length) gap.stored = false; else room.take(gap);
			messages.forEach((message) => this.store.addMessage(message, true));
			const first = messages.find((message) => message.seq)?.seq;
			const rest = first && BigInt(first) - 1n;
			if (rest && end.more && rest >= BigInt(gap.from)) room.addGap({ from_seq: gap.from, to_seq: String(rest), stored: true });
			return this.list.sync();
		};
		this.ask({ type: 'history', to: this.exact(room), before: String(BigInt(gap.to) + 1n), messages: count }, done);
	}
}

/** How a line is shown until it is stored. */
function shown(line) {
	const action = actionOf(line);
	if (action !== undefined) return { text: action, says: 'me' };
	return { text: line.startsWith('//') && !line.includes('\n') ? line.slice(1) : line, says: 'say' };
}

/** Whether a name in a command is that of a conversation that the server cannot read. */
const isSealed = (to = '') => to.startsWith('@') || /~(?!open$)/.test(to);

/** Lets the service worker store the page, so that it opens without the client. */
function register() {
	if (!navigator.serviceWorker) return;
	navigator.serviceWorker.register(scriptUrl('sw.js')).catch(() => {});
}

if (!window.WebSocket || !window.HTMLDialogElement || !crypto.getRandomValues) {
	$('start').append(h('main', { class: 'card' }, h('h1', {}, 'pychat'), h('p', {}, 'This browser is too old for the page. The terminal client works without one.')));
} else {
	try {
		sessionStorage.setItem('pychat test', '1');
		const server = await servedBy();
		if (server === undefined) {
			$('start').append(h('main', { class: 'card' }, h('h1', {}, 'The server does not answer'), h('p', {}, 'Nothing is stored in this browser for this address.'),
				button('Retry', () => location.reload())));
		} else new App(server).start();
	} catch (error) {
		if (error.name !== 'SecurityError') throw error;
		$('start').append(h('main', { class: 'card' }, h('h1', {}, 'pychat'), h('p', {}, 'This browser blocks the storage of this page. Allow it for this address, and load the page again.'),
			button('Load again', () => location.reload())));
	}
}
