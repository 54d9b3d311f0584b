// Sheets over the page: joining, searching, people, settings, help, passwords.

import { $, button, check, field, formSheet, h, icon, sheet, warning } from './dom.js';
import { linked } from './rows.js';
import { day, fold, fullTime, PROTECTION, readers, size, span, time, title } from './words.js';

/** The sign for who can read a conversation. */
export const MARKS = { open: 'open', pin: 'key', sealed: 'lock' };
const SHOWN_MAX = 100;
const AROUND = 12;

const entry = (name, text, onclick, note) =>
	h('button', { type: 'button', class: 'entry', onclick }, icon(name), h('span', { class: 'label', dir: 'auto' }, text), note && h('span', { class: 'notes' }, note));

/** A sheet with a list of things to do, each of which closes it. */
function menu(name, entries, at) {
	const opened = sheet(name, entries.filter(Boolean).map(([mark, text, does]) => entry(mark, text, () => {
		opened.close();
		does();
	})), { kind: 'menu', at });
	opened.dialog.querySelector('.entry')?.focus();
	return opened;
}

export function confirm(app, name, text, verb, does) {
	return formSheet(name, [h('p', {}, text)], () => { does(); }, { verb });
}

/** Enter a channel, make one, or write to a person. */
export function joinSheet(app, { name = '', pin = '' } = {}) {
	const nameField = field('Channel or person', { name: 'name', value: name, placeholder: '#tea or @bob', required: true, maxlength: 80 });
	const pinField = field('PIN', { name: 'pin', type: 'password', value: pin, maxlength: 200, autocomplete: 'one-time-code' }, 'Only for a channel with a PIN. It stays on this computer.');
	const makes = check('Create a channel with a new PIN', 'makes', false, 'The client generates the PIN and shows the line for the others.');
	const list = h('div', { class: 'results' });
	const submit = (data) => {
		const to = data.get('name').trim();
		if (!/^[#@]?[^\s#@]+$/.test(to)) {
			wrong.replaceChildren(warning('A name is one word: #tea is a channel, @bob is a person.'));
			return true;
		}
		if (to.startsWith('@')) app.openPerson(to);
		else if (data.get('makes')) {
			app.want(to.startsWith('#') ? to : `#${to}`);
			app.line(app.room, `/create ${to.startsWith('#') ? to : `#${to}`}`);
		} else app.join(to, data.get('pin').trim() || undefined);
		return false;
	};
	const wrong = h('div', { role: 'alert' });
	const opened = formSheet('Join or write', [nameField, pinField, makes, wrong], submit, { verb: 'Open' });
	opened.form.after(list);
	opened.form.querySelector(name ? '[name=pin]' : '[name=name]').focus();
	const input = opened.form.querySelector('[name=pin]');
	if (pin) input.setSelectionRange(pin.length, pin.length);
	app.ask({ type: 'channels' }, (answer) => {
		if (answer.type !== 'channels' || !answer.channels.length) return;
		list.append(h('h3', {}, 'Channels'), ...answer.channels.slice(0, SHOWN_MAX).map((one) => {
			const known = app.store.find(one.channel);
			const does = () => {
				opened.close();
				if (known?.joined) app.open(known); else app.join(one.channel);
			};
			return entry(one.sealed ? 'key' : 'open', title(one.channel), does, `${one.sealed ? 'PIN, ' : ''}${one.here} here`);
		}), answer.omitted ? h('p', { class: 'hint' }, `and ${answer.omitted} more`) : '');
	});
	return opened;
}

/** Goes to a conversation by a part of its name. */
export function switcher(app) {
	const input = h('input', { type: 'text', 'aria-label': 'Name of a conversation', autocomplete: 'off', spellcheck: 'false' });
	const list = h('div', { class: 'results' });
	const opened = sheet('Go to', [h('div', { class: 'field' }, input), list]);
	const people = new Map(app.store.list().flatMap((room) => [...room.people]));
	const go = (does) => () => {
		opened.close();
		does();
		app.composer.focus();
	};
	const draw = () => {
		const text = fold(input.value.trim().replace(/^[#@]/, ''));
		const rooms = app.store.list().filter((room) => fold(title(room.to)).includes(text));
		rooms.sort((a, b) => !fold(title(a.to)).replace('#', '').startsWith(text) - !fold(title(b.to)).replace('#', '').startsWith(text));
		const others = [...people].filter(([key]) => text && key.includes(text) && !app.store.find(`@${key}`)).map(([, name]) => name);
		list.replaceChildren(
			...rooms.slice(0, 12).map((room) => entry(MARKS[readers(room.to).kind], title(room.to), go(() => app.open(room)),
				[readers(room.to).word, room.gone && 'left', room.unread && `${room.unread} unread`].filter(Boolean).join(', '))),
			...others.slice(0, 8).map((name) => entry('at', name, go(() => app.openPerson(name)), 'private')),
		);
	};
	input.addEventListener('input', draw);
	input.addEventListener('keydown', (event) => {
		if (event.key === 'Enter') list.querySelector('button')?.click();
		if (event.key === 'ArrowDown') list.querySelector('button')?.focus();
	});
	draw();
	input.focus();
}

/** Searches this conversation or all. Results that are not loaded are shown with the messages around them. */
export function search(app, text) {
	const { room } = app;
	const sealed = room.isPrivate || room.hasPin;
	const input = field('Words', { name: 'text', type: 'search', value: text, maxlength: 256, required: true }, sealed
		? 'A search in this conversation stays on this computer.' : 'The server searches open channels, and learns the words.');
	const all = check('All conversations', 'all', false);
	const list = h('div', { class: 'results', role: 'status' });
	const go = (message) => {
		const where = message.to.startsWith('@') && fold(message.from) !== fold(app.store.me) ? `@${message.from}` : message.to;
		const target = app.store.room(where);
		const item = target.bySeq.get(message.seq);
		if (item) {
			opened.close();
			app.reveal(target, item);
		} else around(app, target, message);
	};
	const run = (data) => {
		list.replaceChildren(h('p', { class: 'hint' }, 'Searching …'));
		const to = data.get('all') ? {} : { to: app.exact(room) };
		const sent = app.ask({ type: 'search', text: data.get('text'), ...to }, (end, messages) => {
			if (end.type !== 'history') return list.replaceChildren(warning(end.hint));
			const shown = messages.filter((one) => !one.deleted).reverse();
			const count = h('p', { class: 'hint' }, shown.length ? `${shown.length} found${end.partial ? '; older messages were not searched' : ''}` : 'Nothing found.');
			return list.replaceChildren(count, ...shown.map((message) => result(app, message, () => go(message))));
		});
		if (!sent) list.replaceChildren(warning('The client is not running.'));
		return true;
	};
	const opened = formSheet(`Search ${title(room.to)}`, [input, all], run, { verb: 'Search' });
	opened.form.after(list);
	opened.form.querySelector('[name=text]').focus();
	if (text) run(new FormData(opened.form));
}

function result(app, message, onclick) {
	const from = fold(message.from) === fold(app.store.me) ? 'You' : message.from;
	const at = Date.parse(message.time);
	const head = `${from} in ${title(message.to)}, ${day(at)}, ${time(at)}`;
	const body = h('span', { class: 'body', dir: 'auto' }, message.file ? `${message.file.name} ${message.text}` : message.text);
	return h('button', { type: 'button', class: 'result', onclick }, h('span', { class: 'notes' }, head), body);
}

/** A message that is not loaded, with those around it. */
function around(app, room, message) {
	const list = h('ol', { class: 'results' }, h('li', { class: 'hint' }, 'Loading …'));
	sheet(`In ${title(room.to)}`, list, { kind: 'wide' });
	const before = String(BigInt(message.seq) + BigInt(AROUND));
	app.ask({ type: 'history', to: app.exact(room), before, messages: 2 * AROUND }, (end, messages) => {
		if (end.type !== 'history') return list.replaceChildren(warning(end.hint, 'li'));
		return list.replaceChildren(...messages.filter((one) => one.kind !== 'edit' && one.kind !== 'delete').map((one) =>
			h('li', { class: `row message${one.seq === message.seq ? ' found' : ''}` }, h('span', { class: 'name' }, one.from),
				h('div', { class: 'text', dir: 'auto' }, linked(one.text)), h('time', {}, time(Date.parse(one.time))))));
	});
}

/** What can be done with a message. */
export function rowMenu(app, item, at) {
	const { room } = app;
	if (item.kind !== 'message') {
		if (item.text) menu('Notice', [['file', 'Copy text', () => copy(app, item.text)]], at);
		return;
	}
	const canChange = item.own && item.seq && !item.deleted && !item.retired && !item.unsealed;
	menu(item.own ? 'Your message' : `Message of ${item.from}`, [
		item.text && ['file', 'Copy text', () => copy(app, item.text)],
		!item.own && ['at', 'Reply', () => app.composer.insert(room.isPrivate ? '' : `${app.composer.isEmpty ? '' : ' '}${item.from}: `)],
		canChange && !item.file && ['gear', 'Edit', () => app.composer.edit(item)],
		canChange && ['close', 'Delete', () => confirm(app, 'Delete this message?', 'Everybody sees that it was deleted.', 'Delete', () => app.change(room, item))],
		item.file && ['down', 'Save the file', () => app.files.get(room, item)],
		!item.own && ['people', `About ${item.from}`, () => person(app, item.from)],
		['help', 'Details', () => details(app, item)],
	], at);
}

function copy(app, text) {
	navigator.clipboard?.writeText(text).then(() => { $('live').textContent = 'Copied'; }, () => app.fail('This browser does not allow the page to copy.'));
}

const rows = (pairs) => h('dl', {}, pairs.filter(([, value]) => value).flatMap(([name, value]) => [h('dt', {}, name), h('dd', { dir: 'auto' }, value)]));

function details(app, item) {
	sheet('Details', rows([
		['Number', item.seq ?? 'not stored yet'], ['From', item.from], ['Device', item.device], ['Time', fullTime(item.time)],
		['Protection', item.unsealed ? 'none: the server’s word alone' : PROTECTION[item.confidentiality]],
		['Changed', item.edited && 'the text is not the first one'], ['File', item.file && `${item.file.name}, ${size(item.file.bytes)}, ${item.file.media}`],
	]));
}

/** A conversation: who can read it, and what can be done with it. */
export function roomInfo(app, room) {
	const { tells } = readers(room.to);
	const kept = { forever: 'without a time limit', off: 'not at all' }[room.retention] ?? `for ${room.retention}`;
	const notify = h('select', { id: 'notify' }, ['off', 'mentions', 'all'].map((value) => h('option', { value, selected: app.notify.of(room) === value },
		{ off: 'no message', mentions: room.isPrivate ? 'each message' : 'messages that mention me', all: 'each message' }[value])));
	notify.addEventListener('change', () => app.line(room, `/notify ${notify.value}`));
	const act = (mark, text, does) => entry(mark, text, () => {
		opened.close();
		does();
	});
	const opened = sheet(title(room.to), [
		h('p', {}, tells), room.hasPin && h('p', { class: 'hint' }, room.to), !room.isPrivate && h('p', { class: 'hint' }, `The server keeps messages ${kept}.`),
		room.topic && h('p', { dir: 'auto' }, `Topic: ${room.topic}`),
		h('div', { class: 'field' }, h('label', { for: 'notify' }, 'Notify me of'), notify),
		h('div', { class: 'results' },
			act('file', 'Files', () => files(app, room)),
			!room.isPrivate && !room.hasPin && act('gear', 'Change the topic', () => topic(app, room)),
			room.isPrivate && act('people', `About ${title(room.to)}`, () => person(app, title(room.to))),
			room.gone && act('plus', 'Join again', () => joinAgain(app, room)),
			room.isPrivate && act('close', 'Close this conversation', () => app.line(room, '/part')),
			!room.isPrivate && room !== app.store.lobby && act('close', 'Leave the channel', () => confirm(app, `Leave ${title(room.to)}?`,
				room.hasPin ? 'The client deletes its key and its messages on this computer.' : 'You can join it again.', 'Leave',
				() => app.line(room, '/part'))))]);
}

/** Enters a channel again that the server has forgotten. */
export function joinAgain(app, room) {
	app.composer.tell('');
	// The client still has the key of a channel with a PIN.
	return app.ask({ type: 'join', channel: app.exact(room) }, (end) => end.type === 'refused' && app.fail(end.hint, room)) || app.fail('The client is not running. Nothing was sent.');
}

function topic(app, room) {
	formSheet(`Topic of ${title(room.to)}`, [field('Topic', { name: 'text', value: room.topic, maxlength: 400 }, 'Empty: no topic')],
		(data) => { app.ask({ type: 'topic', channel: app.exact(room), text: data.get('text') }, (end) => end.type === 'refused' && app.fail(end.hint, room)); }, { verb: 'Set' });
}

/** A person: devices, keys, and what can be done. */
export function person(app, name) {
	const about = h('div', {}, h('p', { class: 'hint' }, 'Loading …'));
	const line = (text) => () => app.line(app.room, text);
	const act = (mark, text, does) => entry(mark, text, () => {
		opened.close();
		does();
	});
	const operator = ['kick', 'mute', 'ban'].filter((word) => app.store.ready?.commands?.some((one) => one.name === `/${word}`));
	const isMe = fold(name) === fold(app.store.me);
	const opened = sheet(name, [about, h('div', { class: 'results' },
		act('lock', 'Private message', () => app.openPerson(name)),
		!isMe && act('key', 'Compare keys', () => compareKeys(app, name)),
		!isMe && act('close', 'Hide messages, or show them again', line(`/ignore ${name}`)),
		!isMe && operator.map((word) => act('gear', `Operators: /${word} ${name}`, () => app.composer.set(`/${word} ${name} `))))]);
	app.ask({ type: 'whois', name }, (answer) => {
		if (answer.type !== 'whois') return about.replaceChildren(warning(answer.hint));
		const idle = answer.idle_ms === undefined ? 'not connected' : `idle for ${span(answer.idle_ms)}`;
		return about.replaceChildren(h('p', { class: 'hint' }, 'From the server:'), rows([
			['State', answer.away ? `away (${answer.away}), ${idle}` : idle], ['Devices', answer.devices.join(', ')],
			['Channels', answer.channels.map(title).join(', ')], ['Keys', answer.fingerprints.join('\n')]]));
	});
}

/** The safety number, to be compared by telephone or in person. */
export function compareKeys(app, name) {
	const who = fold(name);
	const text = h('pre', { 'aria-live': 'polite' }, 'Loading …');
	const confirmed = button('They match', () => {
		app.store.expect((notice) => /(are|nothing is) confirmed/.test(notice) && notice.includes(` ${who}`), (answer) => text.replaceChildren(answer));
		app.line(app.room, `/fingerprint ${name} confirm`);
		confirmed.disabled = true;
	}, { class: 'primary' });
	const opened = sheet(`Compare keys with ${name}`, [h('p', {}, `Read this to ${name}, by telephone or in person. It must be the same on both sides.`), text,
		h('div', { class: 'actions' }, confirmed, button('Not now', () => opened.close()))]);
	// Other notices name the person too: only the answer to `/fingerprint` may stand here.
	app.store.expect((notice) => notice.includes(`compare this with ${who},`) || notice.includes(`no user is called ${who}`), (answer) => text.replaceChildren(answer),
		() => text.replaceChildren('The client has not answered. Try again.'));
	if (!app.line(app.room, `/fingerprint ${name}`)) text.replaceChildren('The client is not running.');
}

let asking = null;

export const isAsking = () => asking !== null;

/** The server asks for the user's password. It goes to the client alone, and is not kept here. */
export function password(app) {
	asking?.close();
	const asked = app.store.password;
	if (!asked) return;
	const { wrong, retry_ms } = asked;
	const until = Date.now() + (retry_ms ?? 0);
	const hint = [wrong && 'That is not your password.', retry_ms && `Wait ${Math.ceil(retry_ms / 1000)} s.`].filter(Boolean).join(' ');
	const opened = formSheet('Password', [field('Your password on this server', { name: 'password', type: 'password', required: true, autocomplete: 'one-time-code', maxlength: 1024 }, hint)],
		(data) => {
			const value = data.get('password');
			asked.given = true;
			const send = () => app.send({ type: 'password', password: value }) || app.fail('The client does not answer: the password was not sent.');
			setTimeout(send, Math.max(0, until - Date.now()));
		}, { verb: 'Log in', done: () => { if (asking === opened) asking = null; } });
	asking = opened;
}

/** What the keys of `keys.js` do. */
const KEYS = [
	['Enter', 'send (on touch screens: a new line)'],
	['Shift-Enter, Alt-Enter, Ctrl-J', 'a new line in the message'],
	['Tab, Shift-Tab', 'complete a command, name or channel'],
	['Up, Down', 'in an empty field: the lines that were typed'],
	['Ctrl-K', 'go to a conversation by its name'],
	['Alt-1 to Alt-9', 'the conversation with that number'],
	['Alt-Down, Alt-Up', 'the next and the previous conversation'],
	['Alt-A', 'the next conversation with unread messages, mentions first'],
	['Alt-U', 'the first unread message'],
	['Alt-P, Alt-N', 'the previous and the next mention'],
	['Page Up, Page Down', 'scroll; loads older messages'],
	['Alt-Home, Alt-End', 'the oldest loaded and the newest message'],
	['Ctrl-Shift-F', 'search'],
	['F1', 'this help'],
	['F7, F8', 'show or hide the conversations, the people'],
	['Esc', 'close; back to the message field'],
	['Arrow keys, Enter', 'in the list of messages: choose one, and what to do with it'],
];

/** Commands of the client's table, and the keys of this page. */
export function help(app, word = '') {
	const commands = app.store.ready?.commands ?? [];
	const filter = h('input', { type: 'search', value: word, 'aria-label': 'Find in the help', placeholder: 'Find' });
	const body = h('tbody', {});
	const keys = h('tbody', {});
	const line = (one, two) => h('tr', {}, h('td', {}, one), h('td', {}, two));
	const draw = () => {
		const text = filter.value.trim().toLowerCase().replace(/^\//, '');
		const has = (...texts) => texts.some((one) => one.toLowerCase().includes(text));
		keys.replaceChildren(...KEYS.filter(([one, two]) => has(one, two)).map(([one, two]) => line(one, two)));
		body.replaceChildren(...commands.filter((one) => has(one.usage, one.help)).map((one) => line(one.usage, one.help)));
	};
	filter.addEventListener('input', draw);
	const table = (name, rowsOf) => [h('h3', {}, name), h('table', {}, h('thead', { class: 'unseen' }, h('tr', {}, h('th', { scope: 'col' }, name), h('th', { scope: 'col' }, 'does'))), rowsOf)];
	sheet('Help', [h('div', { class: 'field' }, filter), table('Commands', body), h('p', { class: 'hint' }, 'Two slashes send a text that begins with one.'), table('Keys', keys)], { kind: 'wide' });
	draw();
}

/** Settings of this page, in this browser. */
export function settings(app) {
	const change = (key) => (event) => {
		const { target } = event;
		app.settings.set(key, target.type === 'checkbox' ? target.checked : target.value);
		app.look();
	};
	const choice = (label, key, values) => {
		const id = `set-${key}`;
		return h('div', { class: 'field' }, h('label', { for: id }, label), h('select', { id, onchange: change(key) },
			Object.entries(values).map(([value, text]) => h('option', { value, selected: app.settings.get(key) === value }, text))));
	};
	const toggle = (label, key) => {
		const one = check(label, key, app.settings.get(key));
		one.querySelector('input').addEventListener('change', change(key));
		return one;
	};
	const tells = check('Notifications of the system', 'notifications', app.settings.get('notifications') === 'on', 'Only while a page of pychat is open, and without anybody’s text.');
	tells.querySelector('input').addEventListener('change', async ({ target }) => {
		const granted = target.checked && window.Notification && (await Notification.requestPermission()) === 'granted';
		app.settings.set('notifications', granted ? 'on' : 'off');
		target.checked = Boolean(granted);
	});
	const line = (text) => () => app.line(app.room, text);
	const { ready } = app.store;
	const forgets = () => {
		app.disk.close();
		app.link.forget();
	};
	const forget = app.link.isOwn && h('div', { class: 'actions' }, button('Forget this browser', () => confirm(app, 'Forget this browser?',
		`Your key and everything that is stored here are removed, for good. If you do not come back, ask the person who runs the server to remove the key: pychat users remove ${app.store.me}`,
		'Forget it', forgets)));
	const backup = app.link.isOwn && (app.link.hasBackup
		? h('div', { class: 'actions' }, button('Save the key in a file', () => app.link.backup()), h('p', { class: 'hint' }, 'The file has the passphrase that you chose when the key was made.'))
		: h('p', { class: 'hint' }, 'The key was made without a passphrase: it cannot be saved in a file.'));
	sheet('Settings', h('div', { class: 'form' },
		choice('Theme', 'theme', { system: 'as the system', light: 'light', dark: 'dark' }),
		choice('Enter', 'enter', { auto: 'sends, on touch screens a new line', sends: 'sends', line: 'begins a new line' }),
		toggle('Times of messages', 'times'), toggle('Names in colours', 'colours'), tells,
		h('div', { class: 'actions' },
			button('Away', () => formSheet('Away', [field('Text', { name: 'text', maxlength: 200 }, 'Others see it beside your name.')], (data) => { line(`/away ${data.get('text')}`)(); }, { verb: 'Set' })),
			button('Back', line('/back')), button('Show or hide joins', line('/quiet')), button('Reconnect', line('/reconnect'))),
		h('div', { class: 'actions' }, button('Keep messages for the search', line('/set search on')), button('Keep no messages', line('/set search off'))), backup, forget,
		rows([['You', app.store.me], ['Server', ready?.server], ['Fingerprint', ready?.fingerprint ?? app.store.hello?.server]])));
}

/** The files of a conversation. */
export function files(app, room) {
	const list = h('div', { class: 'results' }, h('p', { class: 'hint' }, 'Loading …'));
	const opened = sheet(`Files of ${title(room.to)}`, list);
	app.ask({ type: 'files', to: app.exact(room), messages: 50 }, (end, messages) => {
		if (end.type !== 'history') return list.replaceChildren(warning(end.hint));
		const shown = messages.filter((one) => one.file && !one.deleted).reverse();
		if (!shown.length) return list.replaceChildren(h('p', { class: 'hint' }, 'No files.'));
		return list.replaceChildren(...shown.map((one) => entry('file', one.file.name, () => {
			opened.close();
			const item = room.bySeq.get(one.seq);
			if (item) app.reveal(room, item); else app.files.get(room, { seq: one.seq, file: one.file });
		}, `${size(one.file.bytes)}, ${one.from}`)));
	});
}

export function transfers(app) {
	const all = [...app.store.transfers.values()];
	sheet('Transfers', all.length ? rows(all.map((one) => [one.name, `${one.direction === 'up' ? 'to' : 'from'} ${title(one.to)}: ${one.viewed ? 'viewed, not saved' : one.state}, ${size(one.bytes)} of ${size(one.of)}`])) : h('p', { class: 'hint' }, 'No transfers.'));
}

