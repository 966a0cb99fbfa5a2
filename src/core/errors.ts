/**
 * The error classes a user can meet. Every message says what, where, expected vs actual and what to do next.
 * The CLI maps them to exit codes: UserError 2, AbortError 130, everything else 1.
 */

/** Options common to all halfbyte errors. */
export interface ErrorDetails {
  /** What the person can do next; printed on its own line. */
  readonly advice?: string;
  readonly cause?: unknown;
}

export class HalfbyteError extends Error {
  readonly advice: string | undefined;

  constructor(message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.advice = details.advice;
  }
}

/** A wrong flag, path or combination of options: the caller can fix it. Exit code 2. */
export class UserError extends HalfbyteError {}

export interface FormatErrorDetails extends ErrorDetails {
  /** File (or URL) the bytes came from. */
  readonly file: string;
  readonly tensor?: string;
  /** Byte offset inside `file`. */
  readonly offset?: number;
}

/** A malformed file: permanent, retrying does not help. */
export class FormatError extends HalfbyteError {
  readonly file: string;
  readonly tensor: string | undefined;
  readonly offset: number | undefined;

  constructor(message: string, details: FormatErrorDetails) {
    const where = [
      details.file,
      details.tensor === undefined ? '' : `tensor "${details.tensor}"`,
      details.offset === undefined ? '' : `byte ${details.offset}`,
    ].filter((part) => part !== '');
    super(`${where.join(', ')}: ${message}`, details);
    this.file = details.file;
    this.tensor = details.tensor;
    this.offset = details.offset;
  }
}

export interface FetchErrorDetails extends ErrorDetails {
  /** HTTP status; undefined when no response arrived. */
  readonly status?: number;
  /** True for time-outs, 429 and 5xx: trying again may help. */
  readonly retryable: boolean;
}

export class FetchError extends HalfbyteError {
  readonly status: number | undefined;
  readonly retryable: boolean;

  constructor(message: string, details: FetchErrorDetails) {
    super(message, details);
    this.status = details.status;
    this.retryable = details.retryable;
  }
}

/** No adapter, device lost, a limit exceeded, a shader that does not compile. */
export class DeviceError extends HalfbyteError {}

export interface NumericErrorDetails extends ErrorDetails {
  /** Checkpoint name of the layer or tensor. */
  readonly layer: string;
  /** Step of the algorithm, such as "hessian" or "cholesky". */
  readonly step: string;
  /** Flat index of the first bad element, where known. */
  readonly index?: number;
}

/** NaN or infinity where a finite number must be, a factorisation that cannot succeed. */
export class NumericError extends HalfbyteError {
  readonly layer: string;
  readonly step: string;
  readonly index: number | undefined;

  constructor(message: string, details: NumericErrorDetails) {
    const at = details.index === undefined ? '' : `, element ${details.index}`;
    super(`${details.layer}, ${details.step}${at}: ${message}`, details);
    this.layer = details.layer;
    this.step = details.step;
    this.index = details.index;
  }
}

/** The caller's AbortSignal fired. Exit code 130. */
export class AbortError extends HalfbyteError {
  constructor(message = 'interrupted', details: ErrorDetails = {}) {
    super(message, details);
  }
}

/** A broken promise of our own code; never the user's fault. */
export class Bug extends HalfbyteError {}

export function assert(condition: unknown, message: string): asserts condition {
  if (condition !== true && !condition) throw new Bug(`internal: ${message}`);
}

/** For the default branch of an exhaustive switch. */
export function unreachable(value: never): never {
  throw new Bug(`internal: unexpected value ${String(value)}`);
}
