import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Engine } from '../../src/engine/engine.js';
import { openOracle } from './engines.js';
import { Guarded, PLACES } from './guarded.js';

describe('Guarded', () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await openOracle();
  });
  afterAll(() => engine.dispose());

  it('gives back what was put, in every place', async () => {
    const guarded = new Guarded(engine);
    for (const place of PLACES) {
      const view = guarded.put([1, 2, 3, 4, 5, 6], 2, 3, { place });
      expect([...(await guarded.read(view))]).toEqual([1, 2, 3, 4, 5, 6]);
    }
    guarded.free();
  });

  it.each(PLACES)('sees a word written outside a %s view', async (place) => {
    const guarded = new Guarded(engine);
    const view = guarded.put([1, 2, 3, 4, 5, 6], 2, 3, { place });
    const last = view.offset + view.stride + 2;
    engine.write(view.tensor, Float32Array.of(7), last + 1);
    await expect(guarded.read(view)).rejects.toThrow('was changed');
    guarded.free();
  });

  it('sees a NaN and a write before the view and between rows', async () => {
    for (const at of [0, 2, 3 + 3]) {
      const guarded = new Guarded(engine);
      const view = guarded.put([1, 2, 3, 4, 5, 6], 2, 3, { place: 'odd' });
      engine.write(view.tensor, Float32Array.of(NaN), at);
      await expect(guarded.read(view)).rejects.toThrow('was changed');
      guarded.free();
    }
  });
});
