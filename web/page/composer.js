// The message field: drafts, completion, typed lines, edits.

import { $, button, iconButton } from './dom.js';
import { runLocal } from './commands.js';
import { joinSheet } from './sheets.js';
import { bytesOf, isBlank, mayBeSecret, plural, title } from './words.js';

const TYPED_MAX = 50;
const COMPLETE_MS = 120;

export class Composer {
	constructor(app) {
		Object.assign(this, { app, text: $('text'), room: null, editing: null, typed: new Map(), at: 0, before: '', pasted: false, sure: null });
		$('line').prepend(iconButton('attach', 'Send a file', () => app.files.choose()));
		$('line').append(iconButton('send', 'Send', () => {}, { type: 'submit', id: 'send' }));
		$('composer').addEventListener('submit', (event) => {
			event.preventDefault();
			this.submit();
			if (matchMedia('(pointer: coarse)').matches) this.focus();
		});
		this.text.addEventListener('keydown', (event) => this.#key(event));
		this.text.addEventListener('input', () => this.#input());
		this.text.addEventListener('paste', (event) => this.#paste(event));
	}

	get isEmpty() { return !this.text.value; }

	focus() { this.text.focus({ preventScroll: true }); }

	/** Shows the draft of another room. The text in the field stays as the draft of its room. */
	open(room) {
		if (this.room === room) return;
		if (this.room && !this.editing) this.app.disk.keep(this.room, this.text.value, this.before);
		Object.assign(this, { room, editing: null, at: 0, pasted: false, sure: null });
		this.tell('');
		this.#show(this.app.disk.draft(room));
		this.#label();
	}

	/** Drafts have been loaded. */
	refresh() {
		if (this.isEmpty && this.room && !this.editing) this.#show(this.app.disk.draft(this.room));
	}

	#label() {
		const room = this.app.room;
		this.text.placeholder = this.editing ? 'Edit your message' : `Message ${room.isPrivate ? room.to.slice(1) : room.to.replace(/~.*/, '')}`;
	}

	#show(value) {
		this.text.value = value;
		this.#choose([]);
		this.#grow();
	}

	/** Puts a text into the field, as if it was typed. */
	set(value) {
		this.#show(value);
		this.focus();
		this.text.setSelectionRange(value.length, value.length);
		this.#keep();
	}

	insert(value) {
		const { selectionStart: start, selectionEnd: end, value: old } = this.text;
		this.set(old.slice(0, start) + value + old.slice(end));
	}

	/** Shows a hint above the field. */
	tell(text, ...more) {
		this.standing = null;
		$('hint').replaceChildren(...(text ? [text, ...more] : []));
	}

	/** Shows a hint above the field that lasts as long as its reason, unless another hint is there. */
	stands(about, text, ...more) {
		if (this.standing && this.standing !== about) this.tell('');
		if (!about || $('hint').textContent) return;
		this.tell(text, ...more);
		this.standing = about;
	}

	#grow() {
		this.text.style.height = 'auto';
		this.text.style.height = `${Math.min(this.text.scrollHeight + 2, 202)}px`;
	}

	#keep() {
		if (!this.editing) this.app.disk.keep(this.room, this.text.value, this.before);
	}

	#input() {
		this.#grow();
		if (this.editing) this.tell('Editing your message. ', this.#stop()); else if (!this.standing) this.tell('');
		if (this.text.value !== this.sure) this.sure = null;
		if (!this.text.value) this.pasted = false;
		if (this.#takesPin()) return;
		this.#keep();
		clearTimeout(this.timer);
		const word = this.#before().slice(-256).match(/\S*$/)[0];
		if (/^[/@#]/.test(word) || /^\/\S+\s\S*$/.test(this.#before())) this.timer = setTimeout(() => this.#ask(), COMPLETE_MS);
		else this.#choose([]);
	}

	/** A PIN is typed into a field that hides it, and is never in this one. */
	#takesPin() {
		const join = this.text.value.match(/^\/join\s+(#?[^\s,]+)\s+(\S[^\n]*)$/i);
		if (!join) return false;
		this.set('');
		joinSheet(this.app, { name: join[1], pin: join[2] });
		return true;
	}

	#before() { return this.text.value.slice(0, this.text.selectionStart); }

	#key(event) {
		if (event.isComposing) return;
		const { key, shiftKey, altKey, ctrlKey } = event;
		const takes = (does) => {
			event.preventDefault();
			does();
		};
		if (key === 'Enter' && (altKey || ctrlKey)) return takes(() => this.insert('\n'));
		if (key === 'Enter' && !shiftKey && this.#sendsByEnter()) return takes(() => this.submit());
		if (key === 'j' && ctrlKey) return takes(() => this.insert('\n'));
		if (key === 'Tab' && !altKey && !ctrlKey && this.#before()) return takes(() => this.#complete(shiftKey ? -1 : 1));
		if (key === 'Escape' && (this.choices?.length || this.editing)) return takes(() => (this.editing ? this.stopEditing() : this.#choose([])));
		if (key === 'ArrowUp' && !shiftKey && !this.#before().includes('\n') && (this.isEmpty || this.at)) return takes(() => this.#recall(1));
		if (key === 'ArrowDown' && !shiftKey && this.at) return takes(() => this.#recall(-1));
		return undefined;
	}

	#sendsByEnter() {
		const enter = this.app.settings.get('enter');
		return enter === 'sends' || (enter === 'auto' && matchMedia('(pointer: fine)').matches);
	}

	/** Lines of this room that were sent, newest first; never one that may be secret. */
	#recall(step) {
		const lines = this.typed.get(this.room.key) ?? [];
		const at = Math.max(0, Math.min(lines.length, this.at + step));
		if (at === this.at) return;
		this.at = at;
		this.set(at ? lines[at - 1] : '');
	}

	submit() {
		const { app, room } = this;
		// The client ignores line breaks at the end, too.
		const value = this.text.value.replace(/\n+$/, '');
		if (this.editing) return this.#submitEdit(value);
		if (isBlank(value)) return;
		const rows = value.split('\n').length;
		if (this.pasted && rows > 1 && this.sure !== value) {
			this.sure = value;
			return this.tell(`${plural(rows, 'line')} as one message: send again to confirm.`);
		}
		const isText = !value.startsWith('/') || value.startsWith('//') || rows > 1;
		if (isText && this.#isTooLong(value)) return;
		if (!isText && runLocal(app, room, value)) return this.#sent(room, value);
		const isSure = this.isHeld && this.sure === value;
		if (app.post(room, value, isSure)) this.#sent(room, value);
		return undefined;
	}

	#isTooLong(value) {
		const [bytes, most] = [bytesOf(value), this.app.store.limits?.text_bytes ?? 8192];
		if (bytes > most) this.tell(`Too long: ${bytes} of ${most} bytes. Nothing was sent.`);
		return bytes > most;
	}

	#sent(room, value) {
		if (!mayBeSecret(value, this.before) || /^\/(?!join|create|pm|msg|dm|reply)/i.test(value)) {
			const lines = (this.typed.get(room.key) ?? []).filter((line) => line !== value);
			this.typed.set(room.key, [value, ...lines].slice(0, TYPED_MAX));
		}
		Object.assign(this, { before: value.length < 60 ? value : '', at: 0, sure: null, isHeld: false, pasted: false });
		// A command may have opened another room or put a text here.
		if (this.text.value.replace(/\n+$/, '') === value) this.#show('');
		this.tell('');
		this.app.disk.keep(room, '', '');
		this.app.disk.flush();
	}

	/** Puts a line back that the client has not sent: it looks like a mistyped command, or like a path. */
	held(room, { text, hint }) {
		if (room === this.room && this.isEmpty) {
			this.#show(text);
			this.#keep();
			Object.assign(this, { sure: text, isHeld: true });
			this.tell(hint.replace('Enter sends', 'sending again sends'));
			return;
		}
		const isFree = room !== this.room && !this.app.disk.draft(room);
		if (isFree) this.app.disk.keep(room, text, this.before);
		this.app.fail(isFree ? `${hint}. The text is in the field of ${title(room.to)}.` : `${hint}: ${text}`, room);
	}

	edit(item) {
		this.editing = { item, draft: this.text.value };
		this.#show(item.text);
		this.focus();
		this.#label();
		this.tell('Editing your message. ', this.#stop());
	}

	#stop() { return button('Cancel', () => this.stopEditing()); }

	stopEditing() {
		const { draft } = this.editing;
		this.editing = null;
		this.#show(draft);
		this.#label();
		this.tell('');
	}

	#submitEdit(value) {
		const { item } = this.editing;
		if (isBlank(value)) return this.tell('A message cannot be empty: delete it instead. ', this.#stop());
		if (this.#isTooLong(value)) return;
		if (value === item.text || this.app.change(this.room, item, value)) this.stopEditing();
	}

	#paste(event) {
		const files = [...(event.clipboardData?.files ?? [])];
		if (files.length) {
			event.preventDefault();
			this.app.files.offer(files);
		} else if ((event.clipboardData?.getData('text') ?? '').trim().includes('\n')) this.pasted = true;
	}

	// Completion, by the table of the client.

	#ask(step = 0) {
		const text = this.text.value;
		const cursor = this.text.selectionStart;
		const ref = `${this.app.store.prefix}${(this.app.store.refs += 1)}`;
		this.asked = { ref, text, cursor, step };
		this.app.send({ type: 'complete', to: this.app.room.to, text, cursor, ref });
	}

	completions({ ref, from, candidates }) {
		const { asked } = this;
		if (asked?.ref !== ref || asked.text !== this.text.value) return;
		this.#choose(candidates.slice(0, 40), asked.text.slice(0, from), asked.text.slice(asked.cursor));
		if (!asked.step) return;
		if (candidates.length) this.#complete(asked.step); else $('send').focus();
	}

	#choose(candidates, head = '', tail = '') {
		this.choices = candidates;
		Object.assign(this, { head, tail, chosen: -1 });
		const choices = $('choices');
		choices.hidden = !candidates.length;
		choices.replaceChildren(...candidates.slice(0, 12).map((candidate, i) => button(candidate.trim(), () => this.#take(i, true), { tabindex: '-1' })));
	}

	#complete(step) {
		if (!this.choices?.length) return this.#ask(step);
		const count = this.choices.length;
		const at = this.chosen < 0 ? (step > 0 ? 0 : count - 1) : (this.chosen + step + count) % count;
		return this.#take(at);
	}

	#take(at, ends) {
		const { choices, head, tail } = this;
		this.chosen = at;
		this.text.value = head + choices[at] + tail;
		this.focus();
		const end = head.length + choices[at].length;
		this.text.setSelectionRange(end, end);
		[...$('choices').children].forEach((one, i) => one.setAttribute('aria-pressed', i === at));
		this.#grow();
		this.#keep();
		if (ends || choices.length === 1) this.#choose([]);
	}
}
