// Detects pictures by their first bytes, and makes the small picture of a preview.

/** Width and height of the picture that the client makes a preview of. */
const SIDE = 100;
/** Largest size of a picture that is decoded, in bytes. */
const BYTES_MAX = 64 << 20;

/** Formats that the browser may decode. Never SVG, HTML or PDF. */
export function pictureType(bytes) {
	const head = String.fromCharCode(...bytes.subarray(0, 12));
	if (head.startsWith('\xff\xd8\xff')) return 'image/jpeg';
	if (head.startsWith('\x89PNG\r\n\x1a\n')) return 'image/png';
	if (head.startsWith('GIF87a') || head.startsWith('GIF89a')) return 'image/gif';
	return head.startsWith('RIFF') && head.slice(8) === 'WEBP' ? 'image/webp' : undefined;
}

/** Returns a small copy of the user's picture, rotated as it is displayed, and its original size; undefined if the browser cannot decode it. */
export async function smallPicture(file) {
	try {
		const type = pictureType(new Uint8Array(await file.slice(0, 12).arrayBuffer()));
		if (!type || file.size > BYTES_MAX) return undefined;
		const bitmap = await createImageBitmap(file.slice(0, file.size, type), { imageOrientation: 'from-image' });
		const { width, height } = bitmap;
		const scale = Math.min(1, SIDE / width, SIDE / height);
		const small = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
		const canvas = Object.assign(document.createElement('canvas'), { width: small[0], height: small[1] });
		const context = canvas.getContext('2d');
		context.drawImage(bitmap, 0, 0, ...small);
		bitmap.close();
		return { original: [width, height], small, pixels: new Uint8Array(context.getImageData(0, 0, ...small).data.buffer) };
	} catch {
		return undefined;
	}
}
