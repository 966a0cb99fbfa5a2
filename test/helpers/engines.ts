import { describe } from 'vitest';
import type { Engine } from '../../src/engine/engine.js';
import { listAdapters, openWebGpu, SOFTWARE_ADAPTER_INSTALL } from '../../src/platform/node/gpu/index.js';
import type { WebGpuEngine } from '../../src/webgpu/webgpu-engine.js';
import type { OpenWebGpuOptions } from '../../src/platform/node/gpu/index.js';

/** Adapter that GPU tests use; "swiftshader" needs VK_ICD_FILENAMES to name its ICD file. */
export const TEST_ADAPTER = process.env.HALFBYTE_TEST_ADAPTER ?? 'lavapipe';

const ADAPTERS = await listAdapters().catch(() => []);

/** Whether the adapter for tests is there. */
export const HAS_ADAPTER = ADAPTERS.some((entry) =>
  entry.name.toLowerCase().includes(TEST_ADAPTER === 'lavapipe' ? 'llvmpipe' : TEST_ADAPTER.toLowerCase()),
);

if (!HAS_ADAPTER && process.env.REQUIRE_GPU === '1')
  throw new Error(
    `REQUIRE_GPU=1, but no WebGPU adapter "${TEST_ADAPTER}"; found ${ADAPTERS.map((a) => a.name).join(', ') || 'none'}.\n${SOFTWARE_ADAPTER_INSTALL}`,
  );

export interface EngineCase {
  readonly name: string;
  readonly kind: 'webgpu' | 'cpu';
  readonly precision: 'f32' | 'f64';
}

export type MakeEngine = () => Promise<Engine>;

/** The webgpu engine on the adapter for tests; unwritten memory is NaN unless told not to. */
export function openTestGpu(options: OpenWebGpuOptions = {}): Promise<WebGpuEngine> {
  return openWebGpu({ name: TEST_ADAPTER, poison: true, selfCheck: false, ...options });
}

/** The judge: the cpu engine in float64. */
export async function openOracle(): Promise<Engine> {
  const { createCpuEngine } = await import('../../src/cpu/engine.js');
  return createCpuEngine({ precision: 'f64' });
}

/** Runs `body` for every engine present. A missing adapter is a visible skip that says how to install one. */
export function describeEngines(title: string, body: (make: MakeEngine, info: EngineCase) => void): void {
  describe(`${title} · cpu f32`, () => {
    body(
      async () => {
        const { createCpuEngine } = await import('../../src/cpu/engine.js');
        return createCpuEngine({ precision: 'f32' });
      },
      { name: 'cpu f32', kind: 'cpu', precision: 'f32' },
    );
  });
  describe(`${title} · cpu f32, matrix library, threads`, () => {
    body(
      async () => {
        const { openCpuEngine } = await import('../../src/platform/node/cpu/open.js');
        return openCpuEngine({ precision: 'f32', threads: 2 });
      },
      { name: 'cpu f32 library', kind: 'cpu', precision: 'f32' },
    );
  });
  describeGpu(title, () => body(() => openTestGpu(), { name: 'webgpu', kind: 'webgpu', precision: 'f32' }));
}

/** Runs `body` when the adapter for tests is there, else shows a skipped suite with the lines that install one. */
export function describeGpu(title: string, body: () => void): void {
  if (HAS_ADAPTER) describe(`${title} · webgpu ${TEST_ADAPTER}`, body);
  else
    describe.skip(
      `${title} · SKIPPED, no adapter "${TEST_ADAPTER}". Install one:\n${SOFTWARE_ADAPTER_INSTALL}`,
      body,
    );
}
