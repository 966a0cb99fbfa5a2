import { DeviceError } from '../core/errors.js';

/** Kinds of failure, the most telling first: later ones are usually consequences. */
const RANKS = ['lost', 'out-of-memory', 'shader', 'validation'] as const;
export type FailureKind = (typeof RANKS)[number];

interface Failure {
  readonly kind: FailureKind;
  readonly error: DeviceError;
}

/**
 * Remembers what went wrong on a device. WebGPU reports mistakes asynchronously and nothing throws by itself; here the
 * most telling failure is kept and given to every later read and sync.
 */
export class DeviceHealth {
  private failure: Failure | undefined;
  private closing = false;
  private readonly pending = new Set<Promise<void>>();
  private readonly lost: Promise<void>;

  constructor(
    private readonly device: GPUDevice,
    private readonly adapter: string,
  ) {
    device.addEventListener('uncapturederror', this.onUncaptured);
    this.lost = device.lost.then((info) => {
      if (this.closing) return;
      const reason = [info.reason, info.message]
        .filter((part) => part !== '' && part !== 'unknown')
        .join(': ');
      this.fail(
        'lost',
        new DeviceError(`the device ${this.adapter} was lost${reason === '' ? '' : ` (${reason})`}`, {
          advice:
            'run again; finished layers are kept where the command keeps a journal. If it happens again, ask for less GPU memory (--gpu-memory) or use --device cpu',
        }),
      );
    });
  }

  /** Records a failure unless a more telling one is known. */
  fail(kind: FailureKind, error: DeviceError): void {
    if (this.failure !== undefined && RANKS.indexOf(this.failure.kind) <= RANKS.indexOf(kind)) return;
    this.failure = { kind, error };
  }

  /** Keeps a check under way; `settle` waits for it. The check itself must not reject. */
  watch(check: Promise<void>): void {
    this.pending.add(check);
    void check.finally(() => this.pending.delete(check));
  }

  /** Throws the failure known now. */
  check(): void {
    if (this.failure !== undefined) throw this.failure.error;
  }

  /** Waits for all checks under way, then throws the failure, if any. */
  async settle(): Promise<void> {
    while (this.pending.size > 0) await Promise.all(this.pending);
    this.check();
  }

  /** Turns a rejected WebGPU promise into the failure behind it. */
  async explain(cause: unknown, what: string): Promise<DeviceError> {
    // A lost device rejects other promises first, in misleading ways; give its own report a moment to arrive.
    await Promise.race([this.lost, new Promise((resolve) => setTimeout(resolve, 200))]);
    try {
      await this.settle();
    } catch (error) {
      if (error instanceof DeviceError) return error;
      throw error;
    }
    return new DeviceError(`${what} failed on ${this.adapter}: ${String(cause)}`, { cause });
  }

  /** From here on a lost device is what we asked for. */
  close(): void {
    this.closing = true;
    this.device.removeEventListener('uncapturederror', this.onUncaptured);
  }

  private readonly onUncaptured = (event: GPUUncapturedErrorEvent): void => {
    event.preventDefault();
    const { error } = event;
    const memory = error.constructor.name === 'GPUOutOfMemoryError';
    this.fail(
      memory ? 'out-of-memory' : 'validation',
      new DeviceError(`WebGPU on ${this.adapter}: ${error.message}`, {
        advice: memory
          ? 'ask for less GPU memory (--gpu-memory) or use --device cpu'
          : 'this is a mistake in halfbyte or in the driver: run `halfbyte doctor` and report its output',
      }),
    );
  };
}
