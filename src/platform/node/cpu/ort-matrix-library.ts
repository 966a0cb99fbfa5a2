import { DeviceError } from '../../../core/errors.js';
import type { LibraryProduct, MatrixLibrary } from '../../../cpu/matrix-library.js';
import { encodeGemmModel } from './onnx-gemm-model.js';

/**
 * What is used of onnxruntime-node. Written out here because the package is optional: the compiler must not need it.
 */
interface OrtModule {
  readonly InferenceSession: {
    create(model: Uint8Array, options: Readonly<Record<string, unknown>>): Promise<OrtSession>;
  };
  readonly Tensor: new (type: 'float32', data: Float32Array, dims: readonly number[]) => object;
  readonly env: { readonly versions: Readonly<Record<string, string | undefined>> };
}

interface OrtSession {
  run(
    feeds: Readonly<Record<string, object>>,
    fetches: Readonly<Record<string, object>>,
  ): Promise<Readonly<Record<string, object>>>;
  release(): Promise<void>;
}

/**
 * Multiply-adds from which a call through the library (about 50 µs of fixed cost) is faster than plain loops at about
 * 2 billion a second.
 */
const MIN_MULTIPLY_ADDS = 100_000;

/**
 * Matrix products by onnxruntime's CPU provider, through graphs of one Gemm node.
 *
 * @param options.threads worker threads of the library.
 * @returns undefined when onnxruntime-node is not installed.
 */
export async function loadOrtMatrixLibrary(options: {
  readonly threads: number;
}): Promise<MatrixLibrary | undefined> {
  const ort = await importOrt();
  return ort === undefined ? undefined : new OrtMatrixLibrary(ort, options.threads);
}

/** The module, or undefined where the optional package is absent; a broken one is an error. */
async function importOrt(): Promise<OrtModule | undefined> {
  // Not a literal, so that the compiler does not ask for the optional package's types.
  const specifier: string = 'onnxruntime-node';
  try {
    const loaded = (await import(specifier)) as OrtModule | { readonly default: OrtModule };
    // Node gives a CommonJS package as `default`; loaders that compile TypeScript give its names directly.
    return 'default' in loaded ? loaded.default : loaded;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') return undefined;
    throw new DeviceError('onnxruntime-node is installed but does not load', {
      cause: error,
      advice: 'remove node_modules/onnxruntime-node; matrix products then run in plain loops, slowly',
    });
  }
}

class OrtMatrixLibrary implements MatrixLibrary {
  readonly name: string;
  readonly minMultiplyAdds = MIN_MULTIPLY_ADDS;
  /** One session for each pair of transposition flags, made when first needed. */
  private readonly sessions = new Map<string, Promise<OrtSession>>();

  constructor(
    private readonly ort: OrtModule,
    private readonly threads: number,
  ) {
    this.name = `onnxruntime ${ort.env.versions['node'] ?? ort.env.versions['common'] ?? 'of unknown version'}`;
  }

  async multiply(product: LibraryProduct): Promise<void> {
    const { a, b, c, m, k, n, transA, transB } = product;
    const session = await this.session(transA, transB);
    const { Tensor } = this.ort;
    await session.run(
      {
        a: new Tensor('float32', a, transA ? [k, m] : [m, k]),
        b: new Tensor('float32', b, transB ? [n, k] : [k, n]),
      },
      // An output given beforehand is written in place.
      { c: new Tensor('float32', c, [m, n]) },
    );
  }

  async dispose(): Promise<void> {
    const sessions = [...this.sessions.values()];
    this.sessions.clear();
    for (const session of sessions) await (await session).release();
  }

  private session(transA: boolean, transB: boolean): Promise<OrtSession> {
    const key = `${transA ? 't' : 'n'}${transB ? 't' : 'n'}`;
    let session = this.sessions.get(key);
    if (session === undefined) {
      session = this.ort.InferenceSession.create(encodeGemmModel({ transA, transB }), {
        executionProviders: ['cpu'],
        intraOpNumThreads: this.threads,
        interOpNumThreads: 1,
        graphOptimizationLevel: 'disabled',
        logSeverityLevel: 3,
        // Threads that spin while they wait take the cores that row workers and other processes need.
        extra: { 'session.intra_op.allow_spinning': '0' },
      });
      this.sessions.set(key, session);
    }
    return session;
  }
}
