// The bytes of files that the client sends and fetches, outside of its memory. A Worker reads a Blob synchronously.

/** Bytes of a file that are read at once: each read costs a message to another process of the browser. */
const AHEAD = 1 << 20;
/** Received bytes are joined to a Blob at this size. The browser may keep the Blob on its disk. */
const JOINED = 4 << 20;

export class Blobs {
	/** `gone`: the paths of chosen files that the client no longer needs. */
	constructor() { Object.assign(this, { files: new Map(), gone: [], reader: new FileReaderSync() }); }

	/** Adds a file: one that the user has chosen has a path. */
	put(number, blob, path) { this.files.set(number, { blob, path, parts: [], waiting: 0, ahead: null }); }

	has(number) { return this.files.has(number); }

	/** The whole file. */
	whole(number) {
		const file = this.files.get(number);
		if (!file) return new Blob([]);
		if (file.parts.length) Object.assign(file, { blob: new Blob([file.blob, ...file.parts]), parts: [], waiting: 0 });
		return file.blob;
	}

	/** Bytes of a file, or nothing if the browser cannot read them. */
	read(number, from, length) {
		const file = this.files.get(number);
		if (!file) return length === 0 ? new Uint8Array() : undefined;
		const { ahead } = file;
		const isAhead = ahead && from >= ahead.from && from + length <= ahead.from + ahead.bytes.length;
		try {
			if (!isAhead) {
				const part = this.whole(number).slice(from, from + Math.max(length, AHEAD));
				file.ahead = { from, bytes: new Uint8Array(this.reader.readAsArrayBuffer(part)) };
			}
		} catch {
			// The file was changed or removed.
			file.ahead = null;
			return undefined;
		}
		const bytes = file.ahead.bytes.subarray(from - file.ahead.from, from - file.ahead.from + length);
		return bytes.length === length ? bytes : undefined;
	}

	/** Adds bytes at the end of a file, which may be new. Returns whether they fit. */
	append(number, bytes) {
		if (!this.files.has(number)) this.put(number, new Blob([]));
		const file = this.files.get(number);
		file.ahead = null;
		try {
			file.parts.push(bytes);
			file.waiting += bytes.length;
			if (file.waiting >= JOINED) this.whole(number);
			return true;
		} catch {
			return false;
		}
	}

	forget(number) {
		const path = this.files.get(number)?.path;
		if (path) this.gone.push(path);
		this.files.delete(number);
	}
}
