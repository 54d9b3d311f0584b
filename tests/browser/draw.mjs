// Draws what is made from other files: node tests/browser/draw.mjs
// web/icons/icon-*.png from icon.svg, and docs/pictures/page-*.png from the state `shown`.

import fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { launch } from './browsers.mjs';
import { core } from './core.mjs';
import { DESKTOP, PHONE } from './person.mjs';
import { STATES } from './states.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const browser = await launch();

// The system rounds the corners of an icon itself.
const icon = fs.readFileSync(`${ROOT}/web/icons/icon.svg`, 'utf8').replace(' rx="104"', '');
for (const side of [192, 512]) {
  const page = await browser.newPage({ viewport: { width: side, height: side } });
  await page.setContent(`<style>body { margin: 0 } svg { display: block; width: ${side}px }</style>${icon}`);
  await page.screenshot({ path: `${ROOT}/web/icons/icon-${side}.png` });
}

const script = await core({ shown: STATES.shown.tells });
for (const [name, look] of [['phone', { ...PHONE, colorScheme: 'dark' }], ['desktop', { ...DESKTOP, viewport: { width: 1120, height: 700 } }]]) {
  const page = await browser.newPage({ locale: 'en-GB', timezoneId: 'UTC', ...look });
  await page.goto(script.url('shown'));
  await page.waitForSelector('#app:not([hidden])');
  await page.waitForTimeout(300);
  await page.screenshot({ path: `${ROOT}/docs/pictures/page-${name}.png` });
}
script.close();
await browser.close();
