// Elements, icons, sheets. Text of others becomes a text node, never markup.

/** Makes an element: attributes by name, listeners as `on...`, children as nodes or texts. */
export function h(tag, props = {}, ...children) {
	const element = document.createElement(tag);
	for (const [name, value] of Object.entries(props)) {
		if (value === undefined || value === null || value === false) continue;
		if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
		else if (name === 'class') element.className = value;
		else element.setAttribute(name, value === true ? '' : value);
	}
	element.append(...children.flat(3).filter((child) => child !== undefined && child !== null && child !== false));
	return element;
}

const policy = window.trustedTypes?.createPolicy('pychat', { createScriptURL: (url) => url });

/** The address of a script of this page, as a Worker takes it. */
export const scriptUrl = (path) => (policy ? policy.createScriptURL(path) : path);

export const $ = (id) => document.getElementById(id);

const ICONS = {
	menu: 'M4 6h16M4 12h16M4 18h16',
	people: 'M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7M2.5 20c0-4 3-6 6.5-6s6.5 2 6.5 6M16 4.5a3.5 3.5 0 0 1 0 6M18 14.5c2.3.7 3.5 2.5 3.5 5.5',
	search: 'M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13M15.5 15.5 20 20',
	lock: 'M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3',
	open: 'M6 11h12v9H6zM8.5 11V7a3.5 3.5 0 0 1 6.7-1.5',
	key: 'M8 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8M12 12h9v3M17 12v3',
	attach: 'M19 11.5 11.5 19a5 5 0 0 1-7-7l8-8a3.3 3.3 0 0 1 4.7 4.7l-7.7 7.7a1.6 1.6 0 0 1-2.3-2.3l7-7',
	send: 'M4 12 20 4l-4 16-4-6zM12 14l8-10',
	close: 'M5 5l14 14M19 5 5 19',
	more: 'M5 12h.01M12 12h.01M19 12h.01',
	plus: 'M12 5v14M5 12h14',
	gear: 'M4 7h9M17 7h3M4 17h3M11 17h9M15 4.5v5M9 14.5v5',
	help: 'M9 9a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.2-1.5 2.4M12 18h.01M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18',
	down: 'M12 5v14M6 13l6 6 6-6',
	file: 'M6 3h8l4 4v14H6zM14 3v4h4',
	at: 'M12 15.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7M15.5 8.5V13a2.5 2.5 0 0 0 5 0v-1a8.5 8.5 0 1 0-3.5 6.9',
};

export function icon(name) {
	const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
	const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
	path.setAttribute('d', ICONS[name]);
	svg.setAttribute('viewBox', '0 0 24 24');
	svg.setAttribute('aria-hidden', 'true');
	svg.setAttribute('class', 'icon');
	svg.append(path);
	return svg;
}

/** A button with an icon, and a name for screen readers. */
export const iconButton = (name, label, onclick, props = {}) =>
	h('button', { type: 'button', class: 'icon-button', 'aria-label': label, title: label, onclick, ...props }, icon(name));

/** A sign beside text that has the colour of a warning. */
export const sign = () => h('span', { class: 'sign', 'aria-hidden': 'true' }, '! ');
/** A text that warns, by a sign and not by its colour alone. */
export const warning = (text, tag = 'p', props = {}) => h(tag, { class: 'warning', ...props }, sign(), text);

export const button = (text, onclick, props = {}) => h('button', { type: 'button', onclick, ...props }, text);

// Sheets and drawers: the browser's way back closes the newest one. One entry of the history stands for
// all of them.
const layers = [];
let entered = false;
let leaves = 0;

function settle() {
	if (layers.length && !entered) {
		entered = true;
		history.pushState({ layer: true }, '');
	} else if (!layers.length && entered && !leaves) {
		leaves += 1;
		history.back();
	}
}

addEventListener('popstate', () => {
	const isOwn = leaves > 0;
	if (isOwn) leaves -= 1;
	else if (!entered) return;
	entered = false;
	// A sheet that opened while the page itself went back stays open.
	if (!isOwn) layers.pop()?.();
	settle();
});

/** Registers a sheet or drawer that the browser's back button closes by `close`. Returns a function to call when it is closed. */
export function layer(close) {
	layers.push(close);
	settle();
	return () => {
		const at = layers.lastIndexOf(close);
		if (at >= 0) layers.splice(at, 1);
		setTimeout(settle, 0);
	};
}

let sheets = 0;

/**
 * Opens a sheet over the page. The focus goes into it, and back when it closes.
 * `done` is called at its end.
 */
export function sheet(name, content, { kind = '', done, at, fixed = false } = {}) {
	const id = `sheet-${(sheets += 1)}`;
	const dialog = h('dialog', { class: `sheet ${kind}`, 'aria-labelledby': id });
	const close = () => dialog.close();
	const bar = h('div', { class: 'sheet-bar' }, h('h2', { id }, name), !fixed && iconButton('close', 'Close', close));
	dialog.append(bar, h('div', { class: 'sheet-body' }, content));
	document.body.append(dialog);
	const closed = fixed ? () => {} : layer(close);
	dialog.addEventListener('cancel', (event) => fixed && event.preventDefault());
	dialog.addEventListener('click', (event) => event.target === dialog && !fixed && close());
	dialog.addEventListener('close', () => {
		dialog.remove();
		closed();
		done?.();
	});
	dialog.showModal();
	if (at && innerWidth >= 600) {
		const box = dialog.getBoundingClientRect();
		dialog.classList.add('placed');
		dialog.style.left = `${Math.max(8, Math.min(at.x, innerWidth - box.width - 8))}px`;
		dialog.style.top = `${Math.max(8, Math.min(at.y, innerHeight - box.height - 8))}px`;
	}
	return { dialog, close };
}

/** A form in a sheet: `submit` gets its data, and returns whether the sheet stays. */
export function formSheet(name, fields, submit, { verb = 'OK', ...options } = {}) {
	const form = h('form', { method: 'dialog', class: 'form' }, fields, h('div', { class: 'actions' },
		h('button', { type: 'submit', class: 'primary' }, verb)));
	const opened = sheet(name, form, options);
	form.addEventListener('submit', (event) => {
		event.preventDefault();
		if (!submit(new FormData(form))) opened.close();
	});
	form.querySelector('input:not([type=checkbox])')?.focus();
	return { ...opened, form };
}

/** A labelled input. */
export function field(label, props, hint) {
	const id = `field-${(sheets += 1)}`;
	const described = hint ? `${id}-hint` : undefined;
	return h('div', { class: 'field' }, h('label', { for: id }, label),
		h('input', { id, autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false', 'aria-describedby': described, ...props }),
		hint && h('p', { class: 'hint', id: described }, hint));
}

export function check(label, name, checked, hint) {
	const id = `field-${(sheets += 1)}`;
	return h('div', { class: 'field check' }, h('input', { type: 'checkbox', id, name, checked }), h('label', { for: id }, label),
		hint && h('p', { class: 'hint' }, hint));
}

/** Work that is done once before the next frame, also while the page is hidden. */
export function batch(work) {
	let waits = false;
	return () => {
		if (waits) return;
		waits = true;
		const run = () => {
			if (!waits) return;
			waits = false;
			work();
		};
		if (document.hidden) setTimeout(run, 50);
		else {
			requestAnimationFrame(run);
			// A page that becomes hidden gets no frame.
			setTimeout(run, 200);
		}
	};
}
