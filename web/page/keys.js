// The keyboard: the terminal's keys, without those that belong to the browser. The help lists them
// (`KEYS` in sheets.js).

import { $ } from './dom.js';
import * as sheets from './sheets.js';

function step(app, by) {
	const rooms = app.store.list();
	app.open(rooms[(rooms.indexOf(app.room) + by + rooms.length) % rooms.length]);
}

function active(app) {
	const rooms = app.store.list().filter((room) => room !== app.room && room.unread);
	const next = rooms.find((room) => room.mentioned) ?? rooms[0] ?? app.before;
	if (!next) return;
	app.before ??= app.room;
	app.open(next);
	if (next === app.before) app.before = null;
}

function mention(app, by) {
	const items = app.room.items.filter((item) => item.mention);
	const at = items.indexOf(app.mentioned);
	app.mentioned = items[at < 0 ? (by < 0 ? items.length - 1 : 0) : Math.max(0, Math.min(items.length - 1, at + by))];
	if (app.mentioned) app.reveal(app.room, app.mentioned);
}

function scroll(app, part) {
	const { scroller } = app.list;
	scroller.scrollTop += scroller.clientHeight * part;
}

function pane(app, which) {
	if (matchMedia(which === 'rooms' ? '(min-width: 600px)' : '(min-width: 1000px)').matches) {
		app.settings.set(which, !app.settings.get(which));
		app.look();
	} else app.panes.toggle(which);
}

function search(app) { sheets.search(app, ''); }

const PLAIN = {
	F1: (app) => sheets.help(app),
	F7: (app) => pane(app, 'rooms'),
	F8: (app) => pane(app, 'people'),
	PageUp: (app) => scroll(app, -0.85),
	PageDown: (app) => scroll(app, 0.85),
};
const ALT = {
	KeyA: active,
	KeyU: (app) => app.toUnread(),
	KeyP: (app) => mention(app, -1),
	KeyN: (app) => mention(app, 1),
	ArrowUp: (app) => step(app, -1),
	ArrowDown: (app) => step(app, 1),
	Home: (app) => { app.list.scroller.scrollTop = 0; },
	End: (app) => app.list.toEnd(),
};

function does(event) {
	const { key, code, altKey, ctrlKey, metaKey, shiftKey } = event;
	if ((ctrlKey || metaKey) && !altKey) {
		if (code === 'KeyK' && !shiftKey) return (app) => sheets.switcher(app);
		return code === 'KeyF' && shiftKey ? search : undefined;
	}
	if (altKey && !ctrlKey) {
		const digit = code.match(/^Digit([1-9])$/)?.[1];
		if (digit) return (app) => app.store.list()[digit - 1] && app.open(app.store.list()[digit - 1]);
		return ALT[code];
	}
	return shiftKey ? undefined : PLAIN[key];
}

export function bindKeys(app) {
	document.addEventListener('keydown', (event) => {
		if ($('app').hidden || event.isComposing) return;
		const inSheet = event.target.closest?.('dialog');
		if (event.key === 'Escape' && !inSheet && !event.defaultPrevented) {
			if (app.panes.opened) app.panes.closeDrawers(); else app.composer.focus();
			return;
		}
		const run = !inSheet && does(event);
		if (!run) return;
		event.preventDefault();
		run(app);
	});
	const list = $('list');
	list.addEventListener('keydown', (event) => move(app, event));
	list.addEventListener('contextmenu', (event) => {
		const row = event.target.closest('.row');
		if (!row || event.target.closest('a, button') || !getSelection().isCollapsed) return;
		event.preventDefault();
		sheets.rowMenu(app, row.item, { x: event.clientX, y: event.clientY });
	});
	hold(app, list);
}

/** Arrow keys go from row to row; one row is in the order of Tab. */
function move(app, event) {
	const row = event.target.closest('.row');
	if (!row || event.target !== row) return;
	const to = { ArrowUp: row.previousElementSibling, ArrowDown: row.nextElementSibling, Home: row.parentNode.firstElementChild, End: row.parentNode.lastElementChild }[event.key];
	if (to && !event.altKey) {
		event.preventDefault();
		row.setAttribute('tabindex', '-1');
		to.setAttribute('tabindex', '0');
		to.focus();
		to.scrollIntoView({ block: 'nearest' });
	} else if (event.key === 'Enter' || event.key === 'ContextMenu') {
		event.preventDefault();
		const box = row.getBoundingClientRect();
		sheets.rowMenu(app, row.item, { x: box.left + 120, y: box.top + 20 });
	}
}

const HOLD_MS = 500;

/** A long press where the browser has no event for it, and a button for the pointer. */
function hold(app, list) {
	let timer;
	const stop = () => clearTimeout(timer);
	list.addEventListener('touchstart', (event) => {
		stop();
		const row = event.target.closest('.row');
		if (!row || event.target.closest('a, button') || event.touches.length > 1) return;
		const { clientX: x, clientY: y } = event.touches[0];
		timer = setTimeout(() => !document.querySelector('dialog[open]') && sheets.rowMenu(app, row.item, { x, y }), HOLD_MS);
	}, { passive: true });
	for (const end of ['touchend', 'touchmove', 'touchcancel']) list.addEventListener(end, stop, { passive: true });
	if (!matchMedia('(hover: hover)').matches) return;
	const more = app.panes.rowButton;
	list.addEventListener('pointerover', (event) => {
		const row = event.target.closest('.row.message');
		if (row && more.parentNode !== row) row.append(more);
	});
	list.addEventListener('pointerleave', () => more.remove());
	more.addEventListener('click', () => {
		const row = more.closest('.row');
		const box = more.getBoundingClientRect();
		if (row) sheets.rowMenu(app, row.item, { x: box.left, y: box.bottom });
	});
}
