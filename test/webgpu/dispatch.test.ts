import { afterAll, beforeAll, expect, it } from 'vitest';
import type { WebGpuEngine } from '../../src/webgpu/webgpu-engine.js';
import { describeGpu, openTestGpu } from '../helpers/engines.js';

describeGpu('memory and dispatch', () => {
  let engine: WebGpuEngine;
  beforeAll(async () => {
    engine = await openTestGpu();
  });
  afterAll(() => engine.dispose());

  it('hands out poisoned memory, and zeros when asked', async () => {
    const dirty = engine.create([10], 'f32', 'dirty');
    const clean = engine.create([10], 'f32', 'clean', { zero: true });
    expect([...((await engine.read(dirty)) as Float32Array)].every(Number.isNaN)).toBe(true);
    expect(await engine.read(clean)).toEqual(new Float32Array(10));
    engine.free(dirty, clean);
  });
});
