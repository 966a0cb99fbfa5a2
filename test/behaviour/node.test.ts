import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Engine } from '../../src/engine/engine.js';
import { describeEngines, openOracle } from '../helpers/engines.js';
import { BEHAVIOURS } from './table.js';

describeEngines('behaviour in Node', (make) => {
  let engine: Engine;
  let judge: Engine;
  beforeAll(async () => {
    [engine, judge] = [await make(), await openOracle()];
  });
  afterAll(() => Promise.all([engine.dispose(), judge.dispose()]));

  it.each(BEHAVIOURS.map((row) => [row.name, row] as const))('%s', async (_name, row) => {
    expect(await row.run(engine, judge)).toBe('');
  });
});
