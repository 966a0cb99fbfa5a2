import { expect, it } from 'vitest';
import type { Engine } from '../../src/engine/engine.js';
import { selfCheck } from '../../src/webgpu/self-check.js';
import { describeEngines, openTestGpu, describeGpu } from '../helpers/engines.js';

describeEngines('self-check', (make) => {
  it('gets every answer right', async () => {
    const engine = await make();
    const results = await selfCheck(engine);
    expect(results.filter((result) => !result.ok)).toEqual([]);
    expect(results.length).toBeGreaterThanOrEqual(7);
    await engine.dispose();
  });

  it('sees a wrong answer', async () => {
    const engine = await make();
    const liar: Engine = Object.assign(Object.create(engine) as Engine, {
      gemm: (options: Parameters<Engine['gemm']>[0]) => {
        engine.gemm({ ...options, alpha: 1.0001 });
      },
    });
    const wrong = (await selfCheck(liar)).filter((result) => !result.ok);
    expect(wrong.map((result) => result.name)).toEqual(['matrix product']);
    await engine.dispose();
  });
});

describeGpu('opening with the self-check', () => {
  it('hands out an engine', async () => {
    const engine = await openTestGpu({ selfCheck: true });
    expect(engine.memory().tensors).toBe(0);
    await engine.dispose();
  });
});
