import { DeviceError } from '../core/errors.js';
import { SHADER_STAGE_COMPUTE } from './gpu-constants.js';
import type { DeviceHealth } from './device-health.js';
import { shaderRecord, type ShaderName } from './shader-types.js';
import { locateLine, resolveFlags, textBindings } from './shader-text.js';

/** A compiled shader variant. */
export interface Kernel {
  readonly id: number;
  readonly shader: ShaderName;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  /** Access of the storage bindings in ascending order (binding 0, the Params uniform, left out). */
  readonly storage: readonly { readonly binding: number; readonly writes: boolean }[];
  /** Bytes of the Params struct, a multiple of 16. */
  readonly paramsBytes: number;
}

/**
 * One pipeline per shader, flags and constants. Compiling returns at once; what is wrong with the text reaches
 * `health` with kernel name, file, line, column and the line itself.
 */
export class PipelineCache {
  private readonly kernels = new Map<string, Kernel>();
  private nextId = 0;

  constructor(
    private readonly device: GPUDevice,
    private readonly health: DeviceHealth,
  ) {}

  get(shader: ShaderName, flags: readonly string[], constants: Readonly<Record<string, number>>): Kernel {
    const key = `${shader}|${flags.join()}|${JSON.stringify(constants)}`;
    const known = this.kernels.get(key);
    if (known !== undefined) return known;
    const record = shaderRecord(shader);
    const text = resolveFlags(shader, record.source, record.flags, flags);
    const kernel = this.compile(shader, text, constants, 4 * record.params.length);
    this.kernels.set(key, kernel);
    return kernel;
  }

  /** Compiles text that is not one of the package's shaders' files as they stand; `get` is the usual way. */
  compile(
    shader: ShaderName,
    text: string,
    constants: Readonly<Record<string, number>>,
    paramsBytes: number,
  ): Kernel {
    const { device } = this;
    const bindings = textBindings(text);
    device.pushErrorScope('validation');
    const module = device.createShaderModule({ code: text, label: shader });
    const layout = device.createBindGroupLayout({
      label: shader,
      entries: bindings.map(({ binding, type }) => ({
        binding,
        visibility: SHADER_STAGE_COMPUTE,
        buffer: { type, hasDynamicOffset: type === 'uniform' },
      })),
    });
    const pipeline = device.createComputePipeline({
      label: shader,
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: 'main', constants: { ...constants } },
    });
    this.health.watch(this.report(shader, text, module, device.popErrorScope()));
    return {
      id: this.nextId++,
      shader,
      pipeline,
      layout,
      storage: bindings
        .filter(({ type }) => type !== 'uniform')
        .map(({ binding, type }) => ({ binding, writes: type === 'storage' })),
      paramsBytes: Math.ceil(paramsBytes / 16) * 16,
    };
  }

  private async report(
    shader: string,
    text: string,
    module: GPUShaderModule,
    scope: Promise<GPUError | null>,
  ): Promise<void> {
    try {
      const error = await scope;
      if (error === null) return;
      const info = await module.getCompilationInfo();
      this.health.fail('shader', compileError(shader, text, info.messages, error.message));
    } catch {
      // Only a lost device rejects here, and that has its own report.
    }
  }
}

/** "shader linalg/gemm does not compile" with each message's place and line. */
function compileError(
  shader: string,
  text: string,
  messages: readonly GPUCompilationMessage[],
  summary: string,
): DeviceError {
  const lines = text.split('\n');
  const details = messages
    .filter((message) => message.type === 'error')
    .map((message) => {
      const { file, line } = locateLine(text, message.lineNum);
      const source = lines[message.lineNum - 1] ?? '';
      return `  ${file}:${line}:${message.linePos}: ${message.message}\n    ${source.trim()}`;
    });
  return new DeviceError(
    `shader ${shader} does not compile:\n${details.length > 0 ? details.join('\n') : `  ${summary}`}`,
    { advice: 'this is a mistake in halfbyte or in the driver: run `halfbyte doctor` and report its output' },
  );
}
