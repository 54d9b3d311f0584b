// The browser that the stories drive: chromium, or with PYCHAT_BROWSER=firefox the Firefox of the system.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { chromium, firefox } from 'playwright-core';
import { until } from './world.mjs';

export const IS_FIREFOX = process.env.PYCHAT_BROWSER === 'firefox';
const downloadsPath = fs.mkdtempSync(path.join(os.tmpdir(), 'pychat-saved-'));
process.on('exit', () => fs.rmSync(downloadsPath, { recursive: true, force: true }));

/** Starts the browser. Firefox is driven over WebDriver BiDi. */
export function launch() {
  if (!IS_FIREFOX) return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'], downloadsPath });
  // A mouse, which a machine for tests does not have.
  const firefoxUserPrefs = { 'ui.primaryPointerCapabilities': 6, 'ui.allPointerCapabilities': 6 };
  return firefox.launch({ channel: 'moz-firefox', executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr', firefoxUserPrefs, downloadsPath });
}

/** Returns the name and the bytes of the file that a page gives to the browser during `act`. */
export async function saved(page, act) {
  if (!IS_FIREFOX) {
    const [download] = await Promise.all([page.waitForEvent('download'), act()]);
    return { name: download.suggestedFilename(), bytes: fs.readFileSync(await download.path()) };
  }
  // Playwright does not tell of these files of Firefox, which have no navigation. They are in the folder.
  const files = () => fs.readdirSync(downloadsPath);
  const known = new Set(files());
  await act();
  const added = () => files().filter((name) => !known.has(name));
  const name = await until('Firefox saves a file', () => !added().some((one) => one.endsWith('.part')) && added()[0]);
  return { name, bytes: fs.readFileSync(path.join(downloadsPath, name)) };
}
