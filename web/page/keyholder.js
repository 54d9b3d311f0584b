// The Worker that holds the user's key. The client's Worker waits for its answers; a Worker can wait synchronously only for another Worker.
// WebCrypto does not export the private key: it decrypts and signs with it.

const [STATE, OPERATION, LABEL, INPUT, RESULT] = [0, 1, 2, 3, 4];
const BYTES = 32;
const OPEN = 1;

let keys;
let words;
let bytes;

async function operate() {
	const [label, input] = [words[LABEL], words[INPUT]];
	// WebCrypto does not accept shared memory.
	const given = bytes.slice(0, label + input);
	const data = given.subarray(label);
	const result = words[OPERATION] === OPEN
		? await crypto.subtle.decrypt({ name: 'RSA-OAEP', label: given.subarray(0, label) }, keys.opens, data)
		: await crypto.subtle.sign({ name: 'RSA-PSS', saltLength: 32 }, keys.signs, data);
	const whole = new Uint8Array(result);
	bytes.set(whole);
	words[RESULT] = whole.length;
	whole.fill(0);
}

async function asked() {
	try {
		await operate();
	} catch {
		// The same result as for every ciphertext that was not encrypted for this key.
		words[RESULT] = -1;
	}
	Atomics.store(words, STATE, 2);
	Atomics.notify(words, STATE);
}

onmessage = ({ data }) => {
	keys = data.keys;
	words = new Int32Array(data.shared);
	bytes = new Uint8Array(data.shared, BYTES);
	data.port.onmessage = asked;
};
