import { describe, expect, it } from 'vitest';
import { createCpuEngine } from '../../src/cpu/engine.js';
import { expectTable, readTable, stridedView } from './strided.js';

// Plan: the helpers of the cpu tests must notice NaN, off-by-one, wrong sizes and overwritten guards.
describe('strided test helpers', () => {
  it('accepts equal tables and refuses NaN, a difference and wrong sizes', () => {
    expectTable([[1, 2]], [[1, 2]], 0);
    expect(() => expectTable([[1, NaN]], [[1, 2]], 1e9)).toThrow('NaN');
    expect(() => expectTable([[1, 2]], [[1, NaN]], 1e9)).toThrow('NaN');
    expect(() => expectTable([[1, 3]], [[1, 2]], 0.5)).toThrow('[0, 1] is 3');
    expect(() => expectTable([[1]], [[1, 2]], 1)).toThrow('1 columns');
    expect(() => expectTable([[1]], [[1], [2]], 1)).toThrow('1 rows');
  });

  it('notices a write beside the view', async () => {
    const engine = createCpuEngine({ precision: 'f64' });
    const view = stridedView(engine, [
      [1, 2],
      [3, 4],
    ]);
    expectTable(
      await readTable(engine, view),
      [
        [1, 2],
        [3, 4],
      ],
      0,
    );
    engine.write(view.tensor, new Float32Array([9]), view.offset + view.cols);
    await expect(readTable(engine, view)).rejects.toThrow('was overwritten with 9');
  });
});
