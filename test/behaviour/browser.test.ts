import { describe, expect, it } from 'vitest';
import { findChromium, runInChromium } from './run-in-chromium.js';
import { BEHAVIOURS } from './table.js';

const chromium = findChromium();
const required = process.env.REQUIRE_BROWSER === '1';

describe('behaviour in headless Chromium', () => {
  if (chromium === undefined && !required) {
    it.skip(
      'SKIPPED, no Chromium found. Install one: sudo apt-get install -y chromium, or set CHROMIUM=<path>',
    );
    return;
  }

  it('agrees with Node on every row', async () => {
    if (chromium === undefined)
      throw new Error('REQUIRE_BROWSER=1, but no Chromium was found; set CHROMIUM=<path>');
    const report = await runInChromium(chromium, 110_000);
    expect(report.failure).toBeUndefined();
    expect(report.rows.filter((row) => row.problem !== '')).toEqual([]);
    expect(report.rows.map((row) => row.name)).toEqual(BEHAVIOURS.map((row) => row.name));
  });
});
