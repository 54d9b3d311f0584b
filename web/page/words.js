// Texts, times and colours: functions of their arguments alone.

/** Compares two seqs, which are decimal numbers of any length. */
export const compare = (a, b) => a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);

/** The form of a name in which names are compared. */
export const fold = (name) => name.normalize('NFC').toLowerCase();

/** Names of one script, or of scripts that are written together. Marks and letters of other scripts are left to the client. */
const ONE_SCRIPT = ['Latin', 'Greek', 'Cyrillic', 'Armenian', 'Hebrew', 'Arabic', 'Devanagari', 'Bengali', 'Tamil', 'Thai', 'Georgian', 'Ethiopic',
	'Han Hiragana Katakana', 'Han Hangul', 'Han Bopomofo']
	.map((scripts) => scripts.split(' ').map((script) => `\\p{scx=${script}}`).join(''))
	.map((scripts) => new RegExp(`^[${scripts}\\p{scx=Common}\\p{scx=Inherited}]*$`, 'u'));

/** The reason why the client refuses a name, as far as a browser can check; undefined if the name is valid. */
export function nameProblem(name) {
	const letters = [...name];
	if (!letters.length || letters.length > 32) return 'Names have 1 to 32 characters.';
	if (!/^[\p{L}\p{N}][\p{L}\p{M}\p{N}_-]*$/u.test(name)) return 'Names contain only letters, digits, - and _, and start with a letter or a digit.';
	const known = letters.filter((letter) => !/\p{M}/u.test(letter) && ONE_SCRIPT.some((script) => script.test(letter))).join('');
	return ONE_SCRIPT.some((script) => script.test(known)) ? undefined : 'Names use one script: letters that look alike must not be mixed.';
}

/** A random lower-case hex text of so many bytes. */
export function hex(bytes) {
	const random = crypto.getRandomValues(new Uint8Array(bytes));
	return Array.from(random, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The characters that the client takes for blanks (`char::is_whitespace` in Rust). */
const BLANK = '[\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]';
const BLANKS = new RegExp(`^(?:${BLANK}|\\ufeff)*$`);
const ACTION = new RegExp(`^/me(?:$|${BLANK}+)`, 'i');

/** Whether a text has nothing that can be sent. */
export const isBlank = (text) => BLANKS.test(text);

/** The text of `/me TEXT`, which can be empty. `undefined` for other lines, and for texts of several lines. */
export function actionOf(line) {
	const command = line.includes('\n') ? null : line.match(ACTION);
	return command ? line.slice(command[0].length) : undefined;
}

export const bytesOf = (text) => new TextEncoder().encode(text).length;

/** The index of a name's colour, the same as in the terminal (FNV-1a, 64 bits). */
export function shade(name) {
	let hash = 0xcbf29ce484222325n;
	for (const byte of new TextEncoder().encode(fold(name))) {
		hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
	}
	return Number(hash % 16n);
}

const shades = new Map();
/** The class of a name's colour. */
export function colour(name) {
	if (!shades.has(name)) {
		if (shades.size > 5000) shades.clear();
		shades.set(name, `n${shade(name)}`);
	}
	return shades.get(name);
}

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const dayName = new Intl.DateTimeFormat(undefined, { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });

export const time = (ms) => clock.format(ms);
export const fullTime = (ms) => full.format(ms);
export const day = (ms) => dayName.format(ms);
export const dayKey = (ms) => new Date(ms).toDateString();

/** `850 B`, `2.10 MB`. */
export function size(bytes) {
	const units = ['B', 'kB', 'MB', 'GB', 'TB'];
	let value = Number(bytes) || 0;
	let unit = 0;
	while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
	return `${unit ? value.toFixed(2) : value} ${units[unit]}`;
}

/** The same with three digits, so that a changing number keeps its width. */
export function brief(bytes) {
	const [value, unit] = size(bytes).split(' ');
	if (unit === 'B') return `${value} B`;
	return `${value < 100 ? Number(value).toPrecision(3) : Math.round(value)} ${unit}`;
}

/** `4s`, `12m`, `2h`, `3d`. */
export function span(ms) {
	const s = Math.floor(ms / 1000);
	if (s < 60) return `${s}s`;
	if (s < 3600) return `${Math.floor(s / 60)}m`;
	return s < 86400 ? `${Math.floor(s / 3600)}h` : `${Math.floor(s / 86400)}d`;
}

export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/** The name of a conversation for people: a channel without the tag of its PIN. */
export const title = (to) => to.replace(/~.*$/, '').replace(/^@/, '');

/** Who can read a conversation: a kind, a word and a sentence. */
export function readers(to) {
	if (to.startsWith('@')) {
		return { kind: 'sealed', word: 'Private', tells: `End-to-end encrypted: only you and ${title(to)} can read it.` };
	}
	if (to.includes('~')) {
		return { kind: 'pin', word: 'PIN', tells: 'End-to-end encrypted: only those who know the PIN can read it.' };
	}
	return { kind: 'open', word: 'Open', tells: 'Open: the operator of the server can read it too.' };
}

/** The protection of a single message, where it needs a note. */
export const PROTECTION = {
	open: 'open: the operator can read it',
	pin: 'sealed with the PIN of the channel',
	sealed: 'sealed for the two people of the conversation',
	rsa_alone: 'sealed under the RSA key alone: the recipient had no certificate yet',
};

/** A text without these signs at its end. A regular expression for this takes quadratic time on hostile texts. */
function without(text, signs) {
	let end = text.length;
	while (end && signs.includes(text[end - 1])) end -= 1;
	return text.slice(0, end);
}

/** Splits a text into texts and links. A link is in printable ASCII, as in the terminal. */
export function pieces(text) {
	const found = [];
	let end = 0;
	for (const match of text.matchAll(/https?:\/\/[\x21-\x7e]+/gi)) {
		const bare = without(match[0], '.,;:!?\'"<>');
		const head = without(bare, ')]}');
		const url = /[([{]/.test(head) ? bare : head;
		if (!URL.canParse?.(url) || url.length < 10) continue;
		if (match.index > end) found.push({ text: text.slice(end, match.index) });
		found.push({ text: url, link: true });
		end = match.index + url.length;
	}
	if (end < text.length) found.push({ text: text.slice(end) });
	return found;
}

/** Whether a text names a person as a whole word, in any case. */
export function mentions(text, name) {
	if (!name) return false;
	const at = fold(text);
	const word = fold(name);
	const letter = /[\p{L}\p{N}_]/u;
	for (let i = at.indexOf(word); i >= 0; i = at.indexOf(word, i + 1)) {
		const before = [...at.slice(Math.max(0, i - 2), i)].pop() ?? ' ';
		const after = at.slice(i + word.length, i + word.length + 2).match(/^./u)?.[0] ?? ' ';
		if (!letter.test(before) && !letter.test(after)) return true;
	}
	return false;
}

const SECRET = 'join|create|pm|msg|dm|reply|query|tell|whisper|auth|identify|login|passwd|password|[jmpwr]';
/** Characters of a row in which a command is looked for. */
const ROW_MAX = 200;
/** A slash that is no part of a text: at most two letters are before it, or the end of a copied name. */
const SLASH = /^[^\p{L}\p{N}/]*(?:[\p{L}\p{N}][^\p{L}\p{N}/]*){0,2}\/|[>:|\]$]\s*\//u;
/** The name of a command at the beginning, behind a slash, or behind the end of a copied name. */
const NAME = new RegExp(`(?:^[^\\p{L}]*|/[^\\p{L}\\p{N}]*|[>:|\\]$]\\s*)(?:${SECRET})(?!\\p{L})`, 'iu');
/** A misspelt name before a channel. */
const AIM = /(?:^[^\p{L}\p{N}]*|[/>:|\]$]\s*)[\p{L}\p{N}]{1,9}[^\p{L}\p{N}#]{0,3}#\S/u;

function isCommand(text) {
	const plain = text.normalize('NFKC').replace(/\p{Cf}/gu, '').replace(/[\u2044\u2215\u29f8]/g, '/').replace(/https?:\/\/(?=\w)/gi, 'link ');
	return plain.split(/[\r\n\u2028\u2029]+/).some((row) => {
		const line = row.slice(0, ROW_MAX).trim();
		return SLASH.test(line) || NAME.test(line) || AIM.test(line);
	});
}

/**
 * Whether a text may be a command with a PIN, a password or a private text, also a mistyped one.
 * Such a text is never stored on disk. `before` is the line that was sent before it. In doubt a text is
 * not stored: this finds more than the client, which asks about such texts.
 */
export function mayBeSecret(text, before = '') {
	if (isCommand(text)) return true;
	if (!before || !isCommand(before)) return false;
	// The second half of a command: a PIN with or without its channel, or a private text.
	const words = (row) => row.trim().split(/\s+/).length;
	if (words(before) <= 2 && /(?:pm|msg|dm|reply|query|tell|whisper|\b[mpwr]\b)/i.test(before)) return true;
	return words(text.trim().split('\n')[0]) <= 2;
}
