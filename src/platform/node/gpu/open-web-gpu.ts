import { DeviceError } from '../../../core/errors.js';
import { adapterName, isSoftwareAdapter } from '../../../webgpu/adapter-facts.js';
import type { LimitsMode } from '../../../webgpu/request-device.js';
import { createWebGpuEngine, type WebGpuEngine } from '../../../webgpu/webgpu-engine.js';
import { createDawn } from './dawn.js';
import { listAdapters } from './list-adapters.js';

export interface OpenWebGpuOptions {
  /**
   * `auto`, `gpu`, `webgpu` or nothing: the first adapter that is a real GPU. Else part of an adapter's name, upper or
   * lower case; `lavapipe` means Mesa's llvmpipe. Software adapters are taken only when named.
   */
  readonly name?: string;
  readonly powerPreference?: GPUPowerPreference;
  /** Most bytes of GPU memory; default no bound. */
  readonly budgetBytes?: number;
  readonly limits?: LimitsMode;
  readonly poison?: boolean;
  readonly selfCheck?: boolean;
}

/** The two lines that install a software adapter, for messages and for `doctor`. */
export const SOFTWARE_ADAPTER_INSTALL =
  'Ubuntu 24.04 or newer: sudo apt-get install -y mesa-vulkan-drivers libvulkan1\n' +
  'Debian 12: add the suite bookworm-backports, then sudo apt-get install -y -t bookworm-backports mesa-vulkan-drivers libvulkan1';

/**
 * Opens the webgpu engine in Node. The result holds the Dawn instance, which must stay referenced while the device
 * lives. DeviceError when no adapter fits, naming those that are there.
 */
export async function openWebGpu(options: OpenWebGpuOptions = {}): Promise<WebGpuEngine> {
  const { name, powerPreference = 'high-performance', ...engineOptions } = options;
  const gpu = createDawn();
  const adapter = await findAdapter(gpu, name, powerPreference);
  const engine = await createWebGpuEngine({ adapter, ...engineOptions });
  return holdInstance(engine, gpu);
}

/** True for the names that mean "any real GPU". */
export function isAnyGpu(name: string | undefined): boolean {
  return name === undefined || ['', 'auto', 'gpu', 'webgpu'].includes(name.toLowerCase());
}

async function findAdapter(
  gpu: GPU,
  name: string | undefined,
  powerPreference: GPUPowerPreference,
): Promise<GPUAdapter> {
  const wanted = isAnyGpu(name) ? undefined : soughtText(name ?? '');
  const requests: GPURequestAdapterOptions[] = [
    { powerPreference },
    { powerPreference: powerPreference === 'low-power' ? 'high-performance' : 'low-power' },
    { forceFallbackAdapter: true },
  ];
  for (const request of requests) {
    const adapter = await gpu.requestAdapter(request);
    if (adapter === null) continue;
    const fits =
      wanted === undefined
        ? !isSoftwareAdapter(adapter.info)
        : adapterName(adapter.info).toLowerCase().includes(wanted);
    if (fits) return adapter;
  }
  throw await noAdapter(gpu, name);
}

function soughtText(name: string): string {
  const lower = name.toLowerCase();
  return lower === 'lavapipe' ? 'llvmpipe' : lower;
}

async function noAdapter(gpu: GPU, name: string | undefined): Promise<DeviceError> {
  const entries = await listAdapters(gpu);
  const found = entries.map((entry) => `"${entry.name}"${entry.software ? ' (software)' : ''}`).join(', ');
  const what = isAnyGpu(name) ? 'no WebGPU adapter that is a real GPU' : `no WebGPU adapter named "${name}"`;
  const software = entries.some((entry) => entry.software);
  return new DeviceError(`${what}; found ${found === '' ? 'none' : found}`, {
    advice: software
      ? 'use --device cpu, or name the software adapter (slow, for tests), for example --device lavapipe'
      : `use --device cpu, or install a GPU driver with Vulkan; a software adapter for tests comes with\n${SOFTWARE_ADAPTER_INSTALL}`,
  });
}

/** Keeps `gpu` reachable from the engine until its device is gone (crbug 387965810). */
function holdInstance(engine: WebGpuEngine, gpu: GPU): WebGpuEngine {
  const held: { gpu: GPU | undefined } = { gpu };
  // A timer-free root: promises of the device may be all that is reachable during a long wait.
  ROOTS.add(held);
  return {
    ...engine,
    dispose: async () => {
      await engine.dispose();
      ROOTS.delete(held);
      held.gpu = undefined;
    },
  };
}

/** Dawn instances with a live device; the one piece of module state, because the binding needs a global root. */
const ROOTS = new Set<{ gpu: GPU | undefined }>();
