// A Worker that decrypts one key file and encrypts it with another passphrase. It is ended afterwards, so that the key and the
// passphrases do not stay in memory.

let wasm;
const memory = (at, length) => new Uint8Array(wasm.memory.buffer, at, length);
const none = () => -1;
const page = {
	random(at, length) {
		for (let from = 0; from < length; from += 65536) crypto.getRandomValues(memory(at + from, Math.min(65536, length - from)));
	},
	rsa: none, file_read: none, file_append: none, file_forget() {}, panicked() {},
};

onmessage = async ({ data: { base, pem, old, passphrase } }) => {
	try {
		const response = await fetch(new URL('core.wasm', base));
		if (!response.ok) throw new Error(`core.wasm: ${response.status}`);
		({ instance: { exports: wasm } } = await WebAssembly.instantiateStreaming(response, { page }));
		const [first, second, file] = [old, passphrase, pem].map((text) => new TextEncoder().encode(text));
		const at = wasm.space(first.length + second.length + file.length);
		memory(at, first.length).set(first);
		memory(at + first.length, second.length).set(second);
		memory(at + first.length + second.length, file.length).set(file);
		wasm.rekey(first.length, second.length);
		wasm.next();
		postMessage(JSON.parse(new TextDecoder().decode(memory(wasm.output(), wasm.output_bytes()).slice())));
	} catch (error) {
		postMessage({ problem: error.message });
	}
};
