// The bar above the messages, the list of conversations, the list of people.

import { $, h, icon, iconButton, layer } from './dom.js';
import * as sheets from './sheets.js';
import { colour, fold, readers, span, title } from './words.js';

const SECTIONS = [['Channels', (room) => !room.isPrivate], ['Private', (room) => room.isPrivate]];
const PEOPLE_MAX = 300;

/** Moves children into this order, and leaves those that are in it already. */
function arrange(parent, children) {
	const wanted = new Set(children);
	for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
	let next = parent.firstChild;
	for (const child of children) {
		if (child === next) next = next.nextSibling; else parent.insertBefore(child, next);
	}
}

/** The sign before a state that is a problem, because colour alone is not enough. */
const sign = (isTrouble) => (isTrouble ? '! ' : '');
const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };

export class Panes {
	constructor(app) {
		Object.assign(this, { app, entries: new Map(), persons: new Map(), opened: null });
		this.rowButton = iconButton('more', 'Actions of this message', () => {}, { tabindex: '-1' });
		this.rowButton.classList.add('row-menu');
		this.#bar();
		this.#rooms();
		this.#people();
	}

	#bar() {
		const { app } = this;
		this.menuCount = h('span', { class: 'count urgent', 'aria-hidden': 'true', hidden: true });
		this.menu = iconButton('menu', 'Conversations', () => this.toggle('rooms'), { 'aria-expanded': 'false', 'aria-controls': 'rooms' });
		this.menu.classList.add('for-narrow');
		this.menu.append(this.menuCount);
		this.name = h('h1', { dir: 'auto' });
		this.below = h('p', { dir: 'auto' });
		this.lock = h('button', { type: 'button', class: 'lock', onclick: () => sheets.roomInfo(app, app.room) });
		const search = iconButton('search', 'Search', () => sheets.search(app, ''));
		this.peopleButton = iconButton('people', 'People', () => this.#togglePeople(), { 'aria-controls': 'people' });
		$('bar').append(this.menu, h('div', { class: 'titles' }, this.name, this.below), this.lock, search, this.peopleButton);
	}

	#rooms() {
		const { app } = this;
		const entry = (name, text, onclick) => h('button', { type: 'button', class: 'entry', onclick }, icon(name), h('span', { class: 'label' }, text));
		this.whoName = h('strong', { dir: 'auto' }, 'pychat');
		this.whoState = h('span', {});
		this.roomList = h('div', { class: 'pane-list' });
		$('rooms').append(
			h('div', { class: 'pane-head' }, h('div', { class: 'who' }, this.whoName, this.whoState), iconButton('plus', 'Join a channel, or write to a person', () => sheets.joinSheet(app))),
			this.roomList,
			h('div', { class: 'pane-foot' }, entry('gear', 'Settings', () => sheets.settings(app)), entry('help', 'Help', () => sheets.help(app))),
		);
		this.sections = SECTIONS.map(([name, has]) => ({ has, head: h('h2', {}, name), list: h('ul', {}) }));
		this.roomList.append(...this.sections.flatMap(({ head, list }) => [head, list]));
	}

	#people() {
		this.peopleHead = h('strong', {});
		this.peopleList = h('div', { class: 'pane-list' });
		$('people').append(h('div', { class: 'pane-head' }, h('div', { class: 'who' }, this.peopleHead)), this.peopleList);
		this.personList = h('ul', {});
		this.peopleMore = h('p', { class: 'hint' });
		this.peopleList.append(this.personList, this.peopleMore);
	}

	/** The state of the connection, in words, and whether it is a problem. */
	state() {
		const { app } = this;
		const { state, store: { ended } } = { state: app.store.state, store: app.store };
		const link = app.linkState ?? { state: 'attaching' };
		const left = (until) => `${Math.max(0, Math.ceil((until - Date.now()) / 1000))} s`;
		if (ended) return [`the client has ended: ${ended.reason}`, true];
		if (link.state === 'lost' && app.link.isCrowded) return [`too many pages are open, or this one was too slow, retry in ${left(link.detail)}`, true];
		if (link.state === 'lost') return [`the client does not answer, retry in ${left(link.detail)}`, true];
		if (link.state === 'attaching' && !app.link.attached) return ['connecting to the client …', false];
		const texts = {
			connecting: ['connecting …', false],
			connected: ['connected', false],
			silent: [`the server is silent for ${span(Date.now() - Date.parse(state.since))}`, true],
			offline: [`offline, retry in ${left(state.at + state.retry_ms)}`, true],
			not_admitted: [`waiting, asks in ${left(state.at + state.retry_ms)}`, true],
			refused: [`refused: ${state.code}`, true],
		};
		return texts[state.state] ?? [state.state, false];
	}

	/** Countdowns go on. */
	tick() {
		if (!$('app').hidden) this.drawBar();
	}

	drawBar() {
		const { app } = this;
		const { room } = app;
		const [state, isTrouble] = this.state();
		const shows = state !== 'connected';
		const inRoom = room.isPrivate ? 'private conversation' : room.topic || `${room.people.size + room.omitted} here`;
		put(this.name, room.isPrivate ? title(room.to) : title(room.to));
		const warns = (shows && isTrouble) || room.gone;
		put(this.below, sign(warns) + (shows ? state : room.gone ? 'you are no longer in this channel' : inRoom));
		this.below.classList.toggle('trouble', warns);
		this.below.title = this.below.textContent;
		document.documentElement.classList.toggle('in-trouble', warns);
		this.#drawDeriving();
		app.composer.stands(...app.standing());
		put(this.whoName, app.store.me || 'pychat');
		put(this.whoState, sign(shows && isTrouble) + state);
		const { kind, word, tells } = readers(room.to);
		if (this.lock.dataset.kind !== kind) {
			this.lock.dataset.kind = kind;
			this.lock.className = `lock ${kind}`;
			this.lock.replaceChildren(icon(sheets.MARKS[kind]), h('span', {}, word));
		}
		this.lock.title = tells;
		this.lock.setAttribute('aria-label', `${word}. ${tells}`);
		this.peopleButton.hidden = false;
		// A countdown alone is no change of the state.
		const told = state.replace(/\d+ ?[smhd]/g, '');
		if (shows && isTrouble && this.told !== told) $('alert').textContent = state;
		if (!shows && this.wasTrouble) $('alert').textContent = state;
		this.wasTrouble = shows && (isTrouble || this.wasTrouble);
		this.told = told;
	}

	/** The bar while a key is derived, which takes seconds on a phone. */
	#drawDeriving() {
		const channels = this.app.store.deriving.map(title).join(', ');
		if (this.derives === channels) return;
		this.derives = channels;
		const bar = $('deriving');
		bar.hidden = !channels;
		bar.replaceChildren(...(channels ? [h('span', { role: 'status' }, `Deriving the key of ${channels} from its PIN …`),
			h('progress', { 'aria-label': 'Deriving a key' })] : []));
	}

	drawRooms() {
		const { app } = this;
		const rooms = app.store.list();
		for (const { has, head, list } of this.sections) {
			const shown = rooms.filter(has);
			head.hidden = !shown.length;
			arrange(list, shown.map((room) => this.#entry(room)));
		}
		for (const [room] of this.entries) if (!app.store.rooms.has(room.key)) this.entries.delete(room);
		const elsewhere = rooms.filter((room) => room !== app.room).reduce((sum, room) => sum + room.unread, 0);
		this.menuCount.hidden = !elsewhere;
		put(this.menuCount, elsewhere > 99 ? '99+' : String(elsewhere));
		this.menu.setAttribute('aria-label', elsewhere ? `Conversations, ${elsewhere} unread` : 'Conversations');
	}

	#entry(room) {
		let entry = this.entries.get(room);
		if (!entry) {
			const label = h('span', { class: 'label', dir: 'auto' }, title(room.to));
			const count = h('span', { class: 'count', hidden: true });
			const kind = readers(room.to);
			const mark = h('span', { title: kind.tells }, icon(sheets.MARKS[kind.kind]), h('span', { class: 'unseen' }, `${kind.word} `));
			const left = h('span', { class: 'notes', hidden: true }, 'left');
			const element = h('button', { type: 'button', class: 'entry', onclick: () => this.app.open(room) }, mark, label, left, count);
			entry = { item: h('li', {}, element), element, left, count };
			this.entries.set(room, entry);
		}
		const { element, left, count } = entry;
		const urgent = room.unread > 0 && (room.isPrivate || room.mentioned > 0);
		element.setAttribute('aria-current', room === this.app.room);
		element.classList.toggle('unread', room.unread > 0);
		element.classList.toggle('absent', room.gone);
		left.hidden = !room.gone;
		count.hidden = !room.unread;
		count.classList.toggle('urgent', urgent);
		put(count, `${room.unread > 999 ? '999+' : room.unread}${urgent ? '!' : ''}`);
		count.title = urgent ? `${room.unread} unread, for you` : `${room.unread} unread`;
		return entry.item;
	}

	drawPeople() {
		const { room } = this.app;
		const names = room.isPrivate ? [title(room.to), this.app.store.me] : [...room.people.values()];
		names.sort((a, b) => a.localeCompare(b));
		put(this.peopleHead, room.isPrivate ? 'Two people' : `${names.length + room.omitted} here`);
		arrange(this.personList, names.slice(0, PEOPLE_MAX).map((name) => this.#person(name)));
		const more = Math.max(0, names.length - PEOPLE_MAX) + room.omitted;
		put(this.peopleMore, more ? `and ${more} more` : '');
	}

	#person(name) {
		let entry = this.persons.get(name);
		if (!entry) {
			if (this.persons.size > 2000) this.persons.clear();
			entry = h('li', {}, h('button', { type: 'button', class: 'entry', onclick: () => sheets.person(this.app, name) },
				h('span', { class: `label name ${colour(name)}`, dir: 'auto' }, name), fold(name) === fold(this.app.store.me) && h('span', { class: 'notes' }, 'you')));
			this.persons.set(name, entry);
		}
		return entry;
	}

	// Drawers, on narrow screens.

	#togglePeople() {
		if (!matchMedia('(min-width: 1000px)').matches) return this.toggle('people');
		this.app.settings.set('people', !this.app.settings.get('people'));
		return this.app.look();
	}

	showPeople() {
		if (matchMedia('(min-width: 1000px)').matches) {
			this.app.settings.set('people', true);
			this.app.look();
		} else if (this.opened !== 'people') this.toggle('people');
	}

	toggle(which) {
		if (this.opened === which) return this.closeDrawers();
		this.closeDrawers();
		this.opened = which;
		document.documentElement.classList.add(`${which}-open`);
		for (const id of ['rooms', 'main', 'people']) $(id).inert = id !== which;
		this.menu.setAttribute('aria-expanded', which === 'rooms');
		this.backTo = document.activeElement;
		$(which).querySelector('button')?.focus();
		this.closed = layer(() => this.#close());
		this.outside = (event) => { if (!$(which).contains(event.target)) this.closeDrawers(); };
		setTimeout(() => document.addEventListener('click', this.outside), 0);
		return undefined;
	}

	#close() {
		if (!this.opened) return;
		document.documentElement.classList.remove('rooms-open', 'people-open');
		for (const id of ['rooms', 'main', 'people']) $(id).inert = false;
		document.removeEventListener('click', this.outside);
		this.menu.setAttribute('aria-expanded', 'false');
		this.opened = null;
		if (this.backTo?.isConnected) this.backTo.focus();
	}

	closeDrawers() {
		if (!this.opened) return;
		this.#close();
		this.closed();
	}
}

