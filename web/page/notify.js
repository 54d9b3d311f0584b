// Notices about new messages: the title, the icon, a region for screen readers, notifications of the
// system. A notification contains no text of a message, as in the terminal.

import { $ } from './dom.js';
import { fold, plural, title } from './words.js';

const SPOKEN_MS = 700;
const SPOKEN_MAX = 3;
const EVERY_MS = 1000;

export class Notify {
	constructor(app) {
		Object.assign(this, { app, waiting: [], last: 0 });
		navigator.serviceWorker?.addEventListener('message', ({ data }) => {
			const room = data?.open && app.store.list().find((one) => one.bare === data.open);
			if (room) app.open(room);
		});
	}

	/** Returns which messages of a room notify: `off`, `mentions` or `all`. */
	of(room) { return room.notify ?? 'mentions'; }

	arrived(room, item) {
		const { app } = this;
		if (room === app.room) this.#speak(item.says === 'me' ? `${item.from} ${item.text}` : `${item.from}: ${item.file ? item.file.name : item.text}`);
		else if (item.mention || room.isPrivate) this.#speak(`${item.from} in ${title(room.to)}`);
		if (app.attends(room)) return;
		const which = this.of(room);
		if (which === 'all' || (which === 'mentions' && (item.mention || room.isPrivate))) this.#show(room, item);
	}

	noted(room, item) {
		if (room !== this.app.room || !this.app.store.ready) return;
		if (item.error) $('alert').textContent = item.text; else this.#speak(item.text);
	}

	/** New messages are read out once; of a burst only the number. */
	#speak(text) {
		this.waiting.push(text);
		this.timer ??= setTimeout(() => {
			const { waiting } = this;
			Object.assign(this, { waiting: [], timer: null });
			const line = document.createElement('p');
			line.textContent = waiting.length > SPOKEN_MAX ? plural(waiting.length, 'new message') : waiting.join('\n');
			const live = $('live');
			live.append(line);
			while (live.childElementCount > 5) live.firstChild.remove();
		}, SPOKEN_MS);
	}

	async #show(room, item) {
		const { settings } = this.app;
		if (settings.get('notifications') !== 'on' || !window.Notification || Notification.permission !== 'granted') return;
		if (Date.now() - this.last < EVERY_MS) return;
		this.last = Date.now();
		const head = room.isPrivate ? `${item.from} has written` : `${item.from} in ${title(room.to)}`;
		// The system may store these.
		const options = { tag: fold(room.bare), icon: 'icons/icon-192.png', data: room.bare };
		const worker = await navigator.serviceWorker?.getRegistration();
		if (worker) await worker.showNotification(head, options).catch(() => {});
		else new Notification(head, options);
	}

	/** The number of unread messages in the title, on the icon and in the list. */
	count() {
		const { app } = this;
		let [all, urgent] = [0, 0];
		for (const room of app.store.rooms.values()) {
			if (this.of(room) === 'off') continue;
			all += room.unread;
			urgent += room.isPrivate ? room.unread : room.mentioned;
		}
		const name = `${title(app.room.to)} – pychat`;
		const text = all ? `(${all > 999 ? '999+' : all}) ${name}` : name;
		if (document.title !== text) document.title = text;
		const icon = urgent ? 'icons/icon-unread.svg' : 'icons/icon.svg';
		if ($('favicon').getAttribute('href') !== icon) $('favicon').setAttribute('href', icon);
		if (this.badge !== urgent) {
			this.badge = urgent;
			(urgent ? navigator.setAppBadge?.(urgent) : navigator.clearAppBadge?.())?.catch(() => {});
		}
	}
}
