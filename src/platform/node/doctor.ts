import { arch, platform } from 'node:os';
import type { Engine, EngineInfo } from '../../engine/engine.js';
import type { SelfCheckResult } from '../../webgpu/self-check.js';
import { selfCheck } from '../../webgpu/self-check.js';
import { openCpuEngine } from './cpu/open.js';
import type { AdapterEntry } from './gpu/index.js';
import { SOFTWARE_ADAPTER_INSTALL, listAdapters, openWebGpu } from './gpu/index.js';
import { defaultThreads, packageVersion } from './host.js';

/** One engine, opened and asked for known answers. */
export interface EngineDiagnosis {
  /** Value for --device that opens it. */
  readonly device: string;
  readonly info: EngineInfo | null;
  readonly selfCheck: readonly SelfCheckResult[];
  /** Every check passed. */
  readonly ok: boolean;
  /** Why the engine could not be opened or checked; null when it could. */
  readonly error: string | null;
}

export interface MissingPiece {
  readonly what: string;
  readonly consequence: string;
  /** Lines that install it. */
  readonly install: readonly string[];
}

/** What `doctor --json` prints. */
export interface DoctorReport {
  readonly version: string;
  readonly node: string;
  readonly platform: string;
  readonly threads: number;
  /** What --device auto opens. */
  readonly auto: string;
  readonly adapters: readonly AdapterEntry[];
  readonly engines: readonly EngineDiagnosis[];
  readonly missing: readonly MissingPiece[];
  /** Every engine that is present gave the right answers. */
  readonly ok: boolean;
}

/** Looks for engines and adapters, opens each and runs the numeric self-check. Never throws for a broken device. */
export async function diagnose(): Promise<DoctorReport> {
  const missing: MissingPiece[] = [];
  const adapters = await findAdapters(missing);
  const engines = [await diagnoseEngine('cpu', () => openCpuEngine())];
  for (const { name } of adapters) engines.push(await diagnoseEngine(name, () => openWebGpu({ name })));
  if (engines[0].info?.matrixLibrary?.startsWith('onnxruntime') !== true)
    missing.push({
      what: 'onnxruntime-node',
      consequence: 'the cpu engine multiplies matrices in plain loops, ten to a hundred times slower',
      install: ['ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node'],
    });
  if (!adapters.some((adapter) => !adapter.software)) missing.push(missingAdapter(adapters));
  return {
    version: packageVersion(),
    node: process.versions.node,
    platform: `${platform()}-${arch()}`,
    threads: defaultThreads(),
    auto: adapters.find((adapter) => !adapter.software)?.name ?? 'cpu',
    adapters,
    engines,
    missing,
    ok: engines.every((engine) => engine.ok),
  };
}

async function findAdapters(missing: MissingPiece[]): Promise<AdapterEntry[]> {
  try {
    return await listAdapters();
  } catch (error) {
    missing.push({
      what: 'webgpu binding',
      consequence: `no webgpu engine: ${messageOf(error)}`,
      install: ['npm ci'],
    });
    return [];
  }
}

function missingAdapter(adapters: readonly AdapterEntry[]): MissingPiece {
  const software = adapters.some((adapter) => adapter.software);
  return {
    what: software ? 'a real GPU' : 'a WebGPU adapter',
    consequence: software
      ? 'software adapters are for tests; --device auto takes the cpu engine'
      : 'the shaders cannot run here; --device auto takes the cpu engine',
    install: software ? ['a GPU driver with Vulkan'] : SOFTWARE_ADAPTER_INSTALL.split('\n'),
  };
}

async function diagnoseEngine(device: string, open: () => Promise<Engine>): Promise<EngineDiagnosis> {
  let engine: Engine | undefined;
  try {
    engine = await open();
    const results = await selfCheck(engine);
    return {
      device,
      info: engine.info,
      selfCheck: results,
      ok: results.every((check) => check.ok),
      error: null,
    };
  } catch (error) {
    // A broken driver is a finding, not a failure of the doctor.
    return { device, info: engine?.info ?? null, selfCheck: [], ok: false, error: messageOf(error) };
  } finally {
    await engine?.dispose();
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
