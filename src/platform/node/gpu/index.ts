export { listAdapters, type AdapterEntry } from './list-adapters.js';
export { isAnyGpu, openWebGpu, SOFTWARE_ADAPTER_INSTALL, type OpenWebGpuOptions } from './open-web-gpu.js';
