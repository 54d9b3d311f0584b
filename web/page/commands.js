// Slash commands that concern this page alone. All others are lines for the client.

import * as sheets from './sheets.js';

/** The argument of a command that this page runs itself, and what it does. */
const LOCAL = {
	query: (app, room, name) => (name.startsWith('#') ? goTo(app, name) : name ? app.openPerson(name) : app.fail('/query needs a name or a channel: /query bob')),
	search: (app, room, text) => sheets.search(app, text),
	help: (app, room, word) => sheets.help(app, word),
	whois: (app, room, name) => (name ? sheets.person(app, name.replace(/^@/, '')) : app.fail('/whois needs a name: /whois bob')),
	channels: (app) => sheets.joinSheet(app),
	list: (app) => app.panes.showPeople(),
	files: (app, room) => sheets.files(app, room),
	transfers: (app) => sheets.transfers(app),
	theme: (app, room, name) => theme(app, name),
	colors: (app) => toggle(app, 'colours', 'names in colours'),
	timestamp: (app) => toggle(app, 'times', 'times of messages'),
	clear: (app, room) => {
		room.items.filter((item) => !item.seq && !item.state && item.kind !== 'transfer' && item.kind !== 'gap').forEach((item) => room.take(item));
		app.list.show(room);
	},
	history: (app, room, count) => {
		const wanted = /^\d{1,4}$/.test(count) ? Math.min(250, Math.max(1, Number(count))) : 100;
		if (!room.more) return app.say('there are no older messages');
		return app.older(room, wanted);
	},
	set: (app, room, text) => (/^(search\b.*)?$/.test(text) ? app.line(room, `/set ${text}`) : sheets.settings(app)),
	get: (app, room, number) => numbered(app, room, number, (item) => app.files.get(room, item)),
	open: (app, room, number) => numbered(app, room, number, (item) => app.files.get(room, item)),
	view: (app, room, number) => numbered(app, room, number, (item) => app.files.view(room, item)),
	exit: (app) => sheets.confirm(app, 'End the client?', 'The client on this computer ends, for all its pages.', 'End it', () => app.send({ type: 'quit' })),
};
const ALIASES = { quit: 'exit', q: 'exit', names: 'list', users: 'list' };

function goTo(app, name) {
	const room = app.store.list().find((one) => one.to.replace(/~.*/, '') === name.toLowerCase());
	if (room) app.open(room); else app.fail(`you are not in ${name}: /join ${name} enters it`);
}

function toggle(app, key, what) {
	app.settings.set(key, !app.settings.get(key));
	app.look();
	app.say(`${what}: ${app.settings.get(key) ? 'shown' : 'hidden'}`);
}

function theme(app, name) {
	if (!['system', 'dark', 'light'].includes(name)) return app.fail('there is no such theme: /theme system, dark or light');
	app.settings.set('theme', name);
	return app.look();
}

function numbered(app, room, number, does) {
	const item = room.bySeq.get(number.split(/\s/)[0]);
	if (item?.file) return does(item);
	return app.fail(`no loaded message with the number ${number || '?'} has a file: /files lists the files`);
}

/** Runs a command of this page. Returns whether it was one. */
export function runLocal(app, room, line) {
	const [, word, rest] = line.match(/^\/(\w+)\s*(.*)$/) ?? [];
	const name = ALIASES[word?.toLowerCase()] ?? word?.toLowerCase();
	if (name === 'join' && /^#?[^\s,#]+$/.test(rest)) {
		app.join(rest);
		return true;
	}
	// The client reads these too: the page only follows.
	if (name === 'create' && rest) app.want(rest.startsWith('#') ? rest : `#${rest}`);
	if (name === 'join') rest.split(',').forEach((one) => app.want(one.trim().replace(/^#?/, '#')));
	if (name === 'pm' || name === 'msg' || name === 'dm') {
		const to = rest.match(/^@?(\S+)\s/)?.[1];
		// Without a client the line stays in its field.
		if (to && app.link.attached) app.openPerson(to);
	}
	if (!Object.hasOwn(LOCAL, name ?? '')) return false;
	LOCAL[name](app, room, rest.trim());
	return true;
}
