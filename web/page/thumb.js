// ThumbHash: a preview of at most 28 bytes (https://evanw.github.io/thumbhash/), shown by arithmetic.

const BYTES = [5, 28];
const SIDE = 32;

/** The pixels that a hash in base64 describes: `{ width, height, rgba }`, or nothing. */
export function preview(base64) {
	let hash;
	try {
		hash = Uint8Array.from(atob(base64.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
	} catch { return undefined; }
	if (hash.length < BYTES[0] || hash.length > BYTES[1]) return undefined;
	const head = hash[0] | (hash[1] << 8) | (hash[2] << 16);
	const tail = hash[3] | (hash[4] << 8);
	const part = (bits, mask, scale) => (bits & mask) / scale;
	const [l, p, q, lScale] = [part(head, 63, 63), part(head >> 6, 63, 31.5) - 1, part(head >> 12, 63, 31.5) - 1, part(head >> 18, 31, 31)];
	const hasAlpha = head >> 23;
	const [pScale, qScale, wide] = [part(tail >> 3, 63, 63), part(tail >> 9, 63, 63), tail >> 15];
	const lx = Math.max(3, wide ? (hasAlpha ? 5 : 7) : tail & 7);
	const ly = Math.max(3, wide ? tail & 7 : hasAlpha ? 5 : 7);
	if (hasAlpha && hash.length < 6) return undefined;
	const [alpha, aScale] = hasAlpha ? [(hash[5] & 15) / 15, (hash[5] >> 4) / 15] : [1, 0];
	let at = 0;
	const start = hasAlpha ? 6 : 5;
	const channel = (nx, ny, scale) => {
		const values = [];
		for (let y = 0; y < ny; y += 1) {
			for (let x = y ? 0 : 1; x * ny < nx * (ny - y); x += 1) {
				const byte = hash[start + (at >> 1)] ?? 0;
				values.push((((byte >> ((at & 1) << 2)) & 15) / 7.5 - 1) * scale);
				at += 1;
			}
		}
		return values;
	};
	const channels = [[l, channel(lx, ly, lScale), lx, ly], [p, channel(3, 3, pScale * 1.25), 3, 3], [q, channel(3, 3, qScale * 1.25), 3, 3]];
	if (hasAlpha) channels.push([alpha, channel(5, 5, aScale), 5, 5]);
	const ratio = lx / ly;
	const width = Math.round(ratio > 1 ? SIDE : SIDE * ratio);
	const height = Math.round(ratio > 1 ? SIDE / ratio : SIDE);
	return { width, height, rgba: draw(width, height, channels) };
}

function draw(width, height, channels) {
	const rgba = new Uint8ClampedArray(width * height * 4);
	const cosines = (count, at, side) => Array.from({ length: count }, (_, i) => Math.cos((Math.PI / side) * (at + 0.5) * i));
	for (let y = 0, i = 0; y < height; y += 1) {
		const fy = cosines(7, y, height);
		for (let x = 0; x < width; x += 1, i += 4) {
			const fx = cosines(7, x, width);
			const values = channels.map(([base, factors, nx, ny]) => {
				let [value, j] = [base, 0];
				for (let cy = 0; cy < ny; cy += 1) {
					const f = fy[cy] * 2;
					for (let cx = cy ? 0 : 1; cx * ny < nx * (ny - cy); cx += 1, j += 1) value += factors[j] * fx[cx] * f;
				}
				return value;
			});
			const [l, p, q, a = 1] = values;
			const b = l - (2 / 3) * p;
			const r = (3 * l - b + q) / 2;
			rgba.set([r * 255, (r - q) * 255, b * 255, a * 255], i);
		}
	}
	return rgba;
}

/** A canvas with the preview; its box has the shape of the picture. */
export function canvas(base64) {
	const pixels = preview(base64);
	if (!pixels) return undefined;
	const element = document.createElement('canvas');
	Object.assign(element, { width: pixels.width, height: pixels.height });
	element.getContext('2d').putImageData(new ImageData(pixels.rgba, pixels.width, pixels.height), 0, 0);
	return element;
}
