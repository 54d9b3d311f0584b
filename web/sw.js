// Caches the page itself, so that it opens and reports that the client does not run. Never a message:
// what is not in SHELL goes past this worker.

const NAME = 'pychat page';
const SHELL = [
	'./', 'manifest.webmanifest', 'icons/icon.svg', 'icons/icon-unread.svg', 'icons/icon-192.png', 'page/style.css',
	...'main words room store link own vault core blobs keyfile keyholder locker disk dom thumb rows list composer panes sheets preview files commands keys notify'.split(' ')
		.map((name) => `page/${name}.js`),
];
/** The client, which only a server's page has. */
const CORE = 'core.wasm';
const urls = new Set([...SHELL, CORE].map((path) => new URL(path, registration.scope).href));

addEventListener('install', (event) => {
	event.waitUntil(caches.open(NAME).then((cache) => cache.addAll(SHELL)).then(() => skipWaiting()));
});
addEventListener('activate', (event) => event.waitUntil(clients.claim()));

/** What a proxy says if there is no answer. */
const NO_ANSWER = [502, 503, 504];
const stored = (request, otherwise) => caches.match(request, { cacheName: NAME }).then((found) => found ?? otherwise);

// The page of the running client has priority; the stored page is used if there is no answer.
addEventListener('fetch', (event) => {
	const { request } = event;
	if (request.method !== 'GET' || !urls.has(request.url.split('#')[0])) return;
	event.respondWith(fetch(request).then((response) => {
		if (NO_ANSWER.includes(response.status)) return stored(request, response);
		if (response.ok) {
			const copy = response.clone();
			event.waitUntil(caches.open(NAME).then((cache) => cache.put(request, copy)));
		}
		return response;
	}).catch(() => stored(request, Response.error())));
});

addEventListener('notificationclick', (event) => {
	event.notification.close();
	event.waitUntil(clients.matchAll({ type: 'window' }).then((all) => {
		all[0]?.postMessage({ open: event.notification.data });
		return all[0]?.focus();
	}));
});
