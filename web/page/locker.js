// A Worker for one operation with a secret: it decrypts a key file and encrypts it with another passphrase, or derives the key
// of a PIN, which needs 64 MiB. It is ended afterwards, so that the secrets and the memory do not stay.

let wasm;
const memory = (at, length) => new Uint8Array(wasm.memory.buffer, at, length);
const none = () => -1;
const page = {
	random(at, length) {
		for (let from = 0; from < length; from += 65536) crypto.getRandomValues(memory(at + from, Math.min(65536, length - from)));
	},
	rsa: none, file_read: none, file_append: none, file_forget() {}, panicked() {},
};

/** Hands bytes to the client. */
function hand(parts) {
	const at = wasm.space(parts.reduce((sum, part) => sum + part.length, 0));
	parts.reduce((from, part) => {
		memory(from, part.length).set(part);
		return from + part.length;
	}, at);
}

function answer() {
	wasm.next();
	return memory(wasm.output(), wasm.output_bytes()).slice();
}

/** Decrypts a key file, and encrypts it with another passphrase. */
async function rekey({ base, pem, old, passphrase }) {
	const response = await fetch(new URL('core.wasm', base));
	if (!response.ok) throw new Error(`core.wasm: ${response.status}`);
	({ instance: { exports: wasm } } = await WebAssembly.instantiateStreaming(response, { page }));
	const parts = [old, passphrase, pem].map((text) => new TextEncoder().encode(text));
	hand(parts);
	wasm.rekey(parts[0].length, parts[1].length);
	return JSON.parse(new TextDecoder().decode(answer()));
}

/** Derives the secret of a channel's key. */
async function derive({ module, wanted }) {
	({ exports: wasm } = await WebAssembly.instantiate(module, { page }));
	hand([wanted]);
	wasm.derive();
	return { root: answer() };
}

onmessage = async ({ data }) => {
	try {
		postMessage(await (data.wanted ? derive(data) : rekey(data)));
	} catch (error) {
		postMessage({ problem: error.message });
	}
};
