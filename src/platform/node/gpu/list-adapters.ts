import { adapterName, isSoftwareAdapter } from '../../../webgpu/adapter-facts.js';
import { createDawn } from './dawn.js';

/** An adapter as listed to people. */
export interface AdapterEntry {
  /** What `--device` matches a part of. */
  readonly name: string;
  /** Computes on the CPU: for tests, taken only when named. */
  readonly software: boolean;
}

/**
 * Adapters that Dawn finds, each once, the preferred one first. WebGPU has no list: this asks with every preference.
 * Two equal GPUs look like one; choose between them by the driver's own means (for example a container per GPU).
 */
export async function listAdapters(gpu: GPU = createDawn()): Promise<AdapterEntry[]> {
  const requests: GPURequestAdapterOptions[] = [
    { powerPreference: 'high-performance' },
    { powerPreference: 'low-power' },
    { forceFallbackAdapter: true },
  ];
  const entries = new Map<string, AdapterEntry>();
  for (const request of requests) {
    const adapter = await gpu.requestAdapter(request);
    if (adapter === null) continue;
    const name = adapterName(adapter.info);
    if (!entries.has(name)) entries.set(name, { name, software: isSoftwareAdapter(adapter.info) });
  }
  return [...entries.values()];
}
