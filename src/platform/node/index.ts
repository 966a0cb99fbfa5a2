/**
 * halfbyte on Node: engines, files and the Hub, to be passed to the functions of the main entry.
 *
 * @packageDocumentation
 */
export type { OpenCpuEngineOptions } from './cpu/open.js';
export { openCpuEngine } from './cpu/open.js';
export { openBundledCalibration } from './data-files.js';
export type { DoctorReport, EngineDiagnosis, MissingPiece } from './doctor.js';
export { diagnose } from './doctor.js';
export { openFileSource } from './files/file-source.js';
export type { FolderOptions } from './files/output-folder.js';
export { createOutputFolder } from './files/output-folder.js';
export type { AdapterEntry, OpenWebGpuOptions } from './gpu/index.js';
export { listAdapters, openWebGpu } from './gpu/index.js';
export { currentRssBytes, defaultThreads, nodeHost, packageVersion, peakRssBytes } from './host.js';
export type { ResolveNodeOptions } from './model-files.js';
export { resolveNodeModel } from './model-files.js';
export type { OpenEngineOptions } from './open-engine.js';
export { openEngine } from './open-engine.js';
export type { Environment } from './options.js';
export { readEnvironment } from './options.js';
