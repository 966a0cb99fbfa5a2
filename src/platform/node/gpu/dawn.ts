import { createRequire } from 'node:module';
import { DeviceError } from '../../../core/errors.js';

/**
 * Dawn toggles of this process, each with its reason. Dawn ignores unknown names without a message, so this is the one
 * place that has them. `doctor` prints what the device then offers.
 */
const ENABLED_TOGGLES = [
  // NVIDIA's Vulkan driver has f16 in shaders, but Dawn hides it by default (crbug 42251215).
  'vulkan_enable_f16_on_nvidia',
];
const DISABLED_TOGGLES = [
  // Without this, timestamps come in steps of 65,536 ns.
  'timestamp_quantization',
];

interface DawnModule {
  readonly create: (options: string[]) => GPU;
}

/**
 * Loads the npm package `webgpu` and makes one Dawn instance. Whoever holds the result keeps the instance alive: Dawn
 * crashes when the object returned by `create` is collected while work is under way (crbug 387965810), so it must stay
 * referenced until the device is destroyed.
 */
export function createDawn(extraOptions: readonly string[] = []): GPU {
  const { create } = loadDawn();
  return create([
    `enable-dawn-features=${ENABLED_TOGGLES.join(',')}`,
    `disable-dawn-features=${DISABLED_TOGGLES.join(',')}`,
    ...extraOptions,
  ]);
}

/** Loaded on first use and not by an import: a machine without the binary still runs the cpu engine. */
function loadDawn(): DawnModule {
  try {
    return createRequire(import.meta.url)('webgpu') as DawnModule;
  } catch (cause) {
    throw new DeviceError(
      `the WebGPU binding for ${process.platform}-${process.arch} does not load: ${String(cause)}`,
      {
        cause,
        advice: 'reinstall with `npm ci`, or use --device cpu',
      },
    );
  }
}
