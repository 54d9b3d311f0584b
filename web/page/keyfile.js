// The user's RSA key: generated here or read from a key file, and stored so that scripts cannot export it. A key file is PKCS#8
// PEM, as `id.pem` of the terminal client.

import { scriptUrl } from './dom.js';

const OAEP = { name: 'RSA-OAEP', hash: 'SHA-256' };
const PSS = { name: 'RSA-PSS', hash: 'SHA-256' };
/** Largest size of a key file, in bytes. */
export const FILE_BYTES_MAX = 65536;
const LINE = 64;
/** The time within which the browser begins to save a file, in milliseconds. */
const SAVING_MS = 60000;

export const base64 = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)));
const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const pemOf = (der) => `-----BEGIN PRIVATE KEY-----\n${base64(der).match(new RegExp(`.{1,${LINE}}`, 'g')).join('\n')}\n-----END PRIVATE KEY-----\n`;
const derOf = (pem) => bytesOf(pem.replace(/-----[A-Z ]+-----|\s/g, ''));

/** Two handles of one key, neither of which can be exported. */
async function handles(pkcs8, spki) {
	const opens = await crypto.subtle.importKey('pkcs8', pkcs8, OAEP, false, ['decrypt']);
	const signs = await crypto.subtle.importKey('pkcs8', pkcs8, PSS, false, ['sign']);
	return { opens, signs, spki };
}

/** Makes an RSA-3072 key. With a passphrase, also its key file. */
export async function makeKey(passphrase) {
	const making = { ...OAEP, modulusLength: 3072, publicExponent: new Uint8Array([1, 0, 1]) };
	const pair = await crypto.subtle.generateKey(making, true, ['encrypt', 'decrypt']);
	const pkcs8 = await crypto.subtle.exportKey('pkcs8', pair.privateKey);
	const spki = await crypto.subtle.exportKey('spki', pair.publicKey);
	const keys = await handles(pkcs8, spki);
	const file = passphrase && (await rekey(pemOf(pkcs8), '', passphrase)).pem;
	new Uint8Array(pkcs8).fill(0);
	return { keys, file };
}

/** Reads a key file. Returns the file too if it has a passphrase. The error states why it cannot be opened. */
export async function readKey(pem, passphrase) {
	const { pem: open, public: spki } = await rekey(pem, passphrase, '');
	const pkcs8 = derOf(open);
	const keys = await handles(pkcs8, bytesOf(spki).buffer);
	pkcs8.fill(0);
	return { keys, file: pem.includes('BEGIN ENCRYPTED PRIVATE KEY') ? pem : undefined };
}

/** Lets the browser save a key file. */
export function saveFile(pem, name) {
	const url = URL.createObjectURL(new Blob([pem], { type: 'application/octet-stream' }));
	const link = Object.assign(document.createElement('a'), { href: url, download: name, hidden: true });
	document.body.append(link);
	link.click();
	link.remove();
	setTimeout(() => URL.revokeObjectURL(url), SAVING_MS);
}

/** Returns whether a stored key still works: some browsers store keys that they cannot read back. */
export async function works(keys) {
	try {
		const own = await crypto.subtle.importKey('spki', keys.spki, OAEP, false, ['encrypt']);
		const sealed = await crypto.subtle.encrypt({ name: 'RSA-OAEP' }, own, new Uint8Array([7]));
		const [seven] = new Uint8Array(await crypto.subtle.decrypt({ name: 'RSA-OAEP' }, keys.opens, sealed));
		return seven === 7;
	} catch {
		return false;
	}
}

/** Decrypts a key file and encrypts it with another passphrase, in a Worker whose memory ends with it. */
function rekey(pem, old, passphrase) {
	const worker = new Worker(scriptUrl('page/locker.js'), { type: 'module' });
	const answered = new Promise((resolve, reject) => {
		worker.onmessage = ({ data }) => (data.problem ? reject(new Error(data.problem)) : resolve(data));
		worker.onerror = (event) => reject(new Error(event.message || 'the browser cannot start a Worker'));
	});
	worker.postMessage({ base: document.baseURI, pem, old, passphrase });
	return answered.finally(() => worker.terminate());
}
