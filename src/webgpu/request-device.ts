import { DeviceError } from '../core/errors.js';
import { adapterName, isSoftwareAdapter } from './adapter-facts.js';
import type { DeviceFacts } from './kernel-context.js';

/** Asked for when the adapter offers them; everything works without. */
const WANTED_FEATURES: readonly GPUFeatureName[] = ['subgroups', 'shader-f16', 'timestamp-query'];

/** Limits asked for at the adapter's own value; the defaults of the specification are enough to work. */
const RAISED_LIMITS = [
  'maxStorageBufferBindingSize',
  'maxBufferSize',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
] as const;

/** `raised` takes what the adapter offers; `default` asks for nothing, to prove that nothing more is needed. */
export type LimitsMode = 'raised' | 'default';

/** Opens a device. DeviceError when the adapter refuses. */
export async function requestDevice(adapter: GPUAdapter, limits: LimitsMode): Promise<GPUDevice> {
  const requiredLimits: Record<string, number> = {};
  if (limits === 'raised') for (const name of RAISED_LIMITS) requiredLimits[name] = adapter.limits[name];
  const requiredFeatures =
    limits === 'raised' ? WANTED_FEATURES.filter((name) => adapter.features.has(name)) : [];
  try {
    return await adapter.requestDevice({ requiredFeatures, requiredLimits });
  } catch (cause) {
    throw new DeviceError(`${adapterName(adapter.info)} gives no device: ${String(cause)}`, {
      cause,
      advice: 'choose another one with --device; `halfbyte doctor` lists what is there',
    });
  }
}

/** What kernels may know about a device; `software` overrides what its name tells. */
export function deviceFacts(device: GPUDevice, info: GPUAdapterInfo, software?: boolean): DeviceFacts {
  const { limits, features } = device;
  const subgroups = features.has('subgroups');
  return {
    adapter: adapterName(info),
    software: software ?? isSoftwareAdapter(info),
    subgroups,
    subgroupMinSize: subgroups ? info.subgroupMinSize : 0,
    subgroupMaxSize: subgroups ? info.subgroupMaxSize : 0,
    shaderF16: features.has('shader-f16'),
    maxBindingBytes: Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize),
    maxWorkgroupStorageBytes: limits.maxComputeWorkgroupStorageSize,
    maxWorkgroupsPerDimension: limits.maxComputeWorkgroupsPerDimension,
    maxInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
  };
}

/** Names of the optional features that the device has, for reports. */
export function featuresInUse(device: GPUDevice): string[] {
  return WANTED_FEATURES.filter((name) => device.features.has(name));
}

/** Limits that shape a run, for reports. */
export function limitsInUse(device: GPUDevice): Record<string, number> {
  const names = [
    ...RAISED_LIMITS,
    'maxStorageBuffersPerShaderStage',
    'maxComputeWorkgroupsPerDimension',
  ] as const;
  return Object.fromEntries(names.map((name) => [name, device.limits[name]]));
}
