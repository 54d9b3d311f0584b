// Figures of the page (docs/performance.md): node tests/browser/figures.mjs
// Run it on a machine that does nothing else.

import { launch } from './browsers.mjs';
import { core, LOGIN, message, READY } from './core.mjs';
import { DESKTOP } from './person.mjs';

const RATE = 500;
const SECONDS = 6;
const KEYS = 60;
const entered = (channel, last) => ({ type: 'entered', channel, epoch: '1', last: String(last), read: String(last), retention: 'forever', people: ['alice', 'bob', 'carol'], topic: '', origin: 'server' });
const time = (i) => new Date(Date.UTC(2026, 10, 1) + i * 20000).toISOString();
const many = (count) => [entered('#lobby', 0), entered('#many', count), ...Array.from({ length: count }, (_, i) =>
  message('#many', ['bob', 'carol', 'alice'][i % 3], i + 1, `this is a message of a usual length, number ${i}`, { time: time(i) }))];
const COUNTS = [10000, 50000];
const script = await core(Object.fromEntries(COUNTS.map((count) => [`many${count}`, [...LOGIN, ...many(count), READY]])));
const browser = await launch();
const shown = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  return `p50 ${sorted[sorted.length >> 1].toFixed(1)} ms, p95 ${sorted[Math.floor(sorted.length * 0.95)].toFixed(1)} ms, longest ${sorted.at(-1).toFixed(1)} ms`;
};

for (const count of COUNTS) {
  const page = await browser.newPage(DESKTOP);
  await page.addInitScript(() => {
    globalThis.tasks = [];
    new PerformanceObserver((list) => tasks.push(...list.getEntries().map((entry) => entry.duration))).observe({ entryTypes: ['longtask'] });
  });
  await page.goto(script.url(`many${count}`));
  await page.waitForSelector('#app:not([hidden])', { timeout: 60000 });
  await page.waitForFunction(() => [...document.querySelectorAll('#rooms .label')].some((one) => one.textContent === '#many'));
  const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime);
  const fills = await page.evaluate(async () => {
    const room = (name) => [...document.querySelectorAll('#rooms .entry')].find((one) => one.querySelector('.label').textContent === name);
    const found = [];
    for (let i = 0; i < 10; i += 1) {
      room('#lobby').click();
      await new Promise((done) => { setTimeout(done, 100); });
      const begun = performance.now();
      room('#many').click();
      await new Promise((done) => { requestAnimationFrame(() => setTimeout(done, 0)); });
      found.push(performance.now() - begun);
    }
    return found;
  });
  console.log(`${count} messages: first paint ${paint?.toFixed(0)} ms; fill ${shown(fills)}`);
  await page.evaluate(() => {
    globalThis.frames_ = [];
    tasks.length = 0;
    let last = performance.now();
    const frame = (now) => {
      frames_.push(now - last);
      last = now;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
  for (let i = 0; i < SECONDS * 50; i += 1) {
    script.push(Array.from({ length: RATE / 50 }, (_, k) => message('#many', 'carol', count + 1 + (i * RATE) / 50 + k, `news ${i} ${k}`, { replay: false, time: time(count) })));
    await page.waitForTimeout(20);
  }
  const [frames, tasks] = await page.evaluate(() => [frames_.slice(5), tasks.splice(0)]);
  console.log(`${count} messages, about ${RATE} more a second: frames ${shown(frames)}; tasks over 50 ms: ${tasks.length}`);
  const keys = await page.evaluate(async (times) => {
    const text = document.querySelector('#text');
    const found = [];
    for (let i = 0; i < times; i += 1) {
      const begun = performance.now();
      text.value += 'a';
      text.dispatchEvent(new Event('input', { bubbles: true }));
      await new Promise((done) => { requestAnimationFrame(() => setTimeout(done, 0)); });
      found.push(performance.now() - begun);
    }
    return found;
  }, KEYS);
  console.log(`${count} messages: key to frame ${shown(keys)}`);
  await page.close();
}
script.close();
await browser.close();
