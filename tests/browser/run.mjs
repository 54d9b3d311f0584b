// Browser stories: run.mjs BINARY [STORY ...]
// One server, two pages and a terminal client; then a picture of each state. Every wait has a deadline,
// and the first thing that is not as it should be ends the run.

import fs from 'node:fs';
import path from 'node:path';
import { IS_FIREFOX, launch } from './browsers.mjs';
import { CHECKS, checks } from './checks.mjs';
import { DESKTOP, Person, PHONE } from './person.mjs';
import { states } from './states.mjs';
import { SERVED } from './served.mjs';
import { SERVED_FILES } from './served_files.mjs';
import { STORIES } from './stories.mjs';
import { units } from './units.mjs';
import { World } from './world.mjs';

const WHOLE_MS = 420000;
const [, , binary, ...wanted] = process.argv;
const begun = Date.now();
const seconds = () => ((Date.now() - begun) / 1000).toFixed(1);

await units();
const world = await World.open(path.resolve(binary));
const browser = await launch();
const people = [];

async function end(code, why) {
  if (why) console.error(why);
  if (code) for (const { name, faults } of people) for (const fault of faults.slice(0, 10)) console.error(`${name}: ${fault}`);
  if (code) {
    const shots = process.env.PYCHAT_SHOTS ?? '/tmp/pychat-browser-failed';
    fs.mkdirSync(shots, { recursive: true });
    for (const [number, page] of browser.contexts().flatMap((context) => context.pages()).entries()) {
      const name = people.find((person) => person.page === page)?.name ?? `page-${number}`;
      await page.screenshot({ path: path.join(shots, `${name}.png`), timeout: 3000 }).catch(() => {});
      const text = await page.innerText('body', { timeout: 3000 }).catch((error) => error.message);
      console.error(`${name} shows: ${text.replace(/\s*\n\s*/g, ' | ').slice(-1500)}`);
    }
    console.error(`pictures of the pages: ${shots}`);
  }
  await browser.close().catch(() => {});
  await world.close();
  process.exit(code);
}
setTimeout(() => end(1, `not done after ${WHOLE_MS / 1000} s`), WHOLE_MS).unref();
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => end(130));

try {
  await Promise.all(['alice', 'bob', 'carol'].map((name) => world.call(name, 'keygen')));
  for (const name of ['alice', 'bob', 'carol']) await world.admit(name, name === 'alice' && 'owner');
  const wire = await world.wire();
  const [one, two] = await Promise.all([world.web('alice'), world.web('bob', { port: wire.port })]);
  const carol = world.terminal('carol');
  const alice = await Person.open(browser, 'alice', one, DESKTOP);
  people.push(alice);
  const bob = await Person.open(browser, 'bob', two, { ...PHONE, colorScheme: 'dark' });
  people.push(bob);
  await carol.hears('its login', (object) => object.type === 'hello');
  console.log(`${seconds()} s: everybody is here`);
  // Carol and bob's client are gone after the last one.
  const { 'an operator kicks': last, ...rest } = STORIES;
  const stories = Object.entries({ ...rest, ...SERVED, ...SERVED_FILES, 'an operator kicks': last });
  const cast = { world, wire, browser, Person, alice, bob, carol };
  for (const [name, story] of stories) {
    if (wanted.length && !wanted.some((word) => name.includes(word))) continue;
    await story(cast).catch((error) => { throw new Error(`${name}: ${error.message}`, { cause: error }); });
    for (const person of people) await person.check().catch((error) => { throw new Error(`${name}: ${error.message}`); });
    console.log(`${seconds()} s: ${name}`);
  }
  const some = Object.keys(CHECKS).filter((name) => !wanted.length || wanted.some((word) => name.includes(word)));
  await checks({ browser, names: some, say: (text) => console.log(`${seconds()} s: ${text}`) });
  // For pictures Playwright gives a page of Firefox a style, which the page refuses.
  if (!IS_FIREFOX && (!wanted.length || wanted.includes('states'))) await states({ browser, say: (text) => console.log(`${seconds()} s: ${text}`) });
  await end(0);
} catch (error) {
  await end(1, error.stack);
}
