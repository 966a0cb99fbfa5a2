import { DeviceError } from '../../core/errors.js';
import type { LimitsMode } from '../../webgpu/request-device.js';
import { createWebGpuEngine, type WebGpuEngine } from '../../webgpu/webgpu-engine.js';

export interface OpenWebGpuOptions {
  readonly powerPreference?: GPUPowerPreference;
  /** Most bytes of GPU memory; default no bound. */
  readonly budgetBytes?: number;
  readonly limits?: LimitsMode;
  readonly poison?: boolean;
  readonly selfCheck?: boolean;
}

/** Opens the webgpu engine in a page or worker. DeviceError when the browser has no WebGPU or no adapter. */
export async function openWebGpu(options: OpenWebGpuOptions = {}): Promise<WebGpuEngine> {
  const { powerPreference = 'high-performance', ...engineOptions } = options;
  const gpu = (navigator as { readonly gpu?: GPU }).gpu;
  if (gpu === undefined)
    throw new DeviceError('this browser has no WebGPU here', {
      advice: 'use a current browser and a secure context (https or localhost)',
    });
  const adapter = await gpu.requestAdapter({ powerPreference });
  if (adapter === null)
    throw new DeviceError('the browser offers no WebGPU adapter', {
      advice:
        'enable hardware acceleration in the browser settings; its page about the GPU tells why it is off',
    });
  return createWebGpuEngine({ adapter, ...engineOptions });
}
