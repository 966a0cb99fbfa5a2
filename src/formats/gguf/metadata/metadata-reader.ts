import { FormatError } from '../../../core/errors.js';
import { listOffenders } from '../../../io/list-offenders.js';
import type { GgufMetadata, GgufValue } from '../gguf-value.js';

/** Reads typed keys and keeps every complaint, so that one error can list all offenders. */
export class MetadataReader {
  readonly complaints: string[] = [];

  constructor(
    private readonly metadata: GgufMetadata,
    private readonly file: string,
  ) {}

  has(key: string): boolean {
    return this.metadata.has(key);
  }

  keys(): IterableIterator<string> {
    return this.metadata.keys();
  }

  /** A number of any stored type; absent gives `fallback`, and is a complaint where there is none. */
  number(key: string, fallback?: number): number {
    const found = this.metadata.get(key);
    if (found === undefined && fallback !== undefined) return fallback;
    const value = numberOf(found);
    if (value === undefined) this.complain(key, 'a number', found);
    return value ?? 0;
  }

  positiveInt(key: string, fallback?: number): number {
    const found = this.metadata.get(key);
    if (found === undefined && fallback !== undefined) return fallback;
    const value = numberOf(found);
    if (value !== undefined && Number.isSafeInteger(value) && value >= 1) return value;
    this.complain(key, 'a positive integer', found);
    return 1;
  }

  positiveNumber(key: string, fallback?: number): number {
    const found = this.metadata.get(key);
    if (found === undefined && fallback !== undefined) return fallback;
    const value = numberOf(found);
    if (value !== undefined && Number.isFinite(value) && value > 0)
      return found?.type === 'f32' ? shortestDecimal(value) : value;
    this.complain(key, 'a positive number', found);
    return 1;
  }

  string(key: string): string | undefined {
    const found = this.metadata.get(key);
    if (found === undefined) return undefined;
    if (found.type === 'string') return found.value;
    this.complain(key, 'a string', found);
    return undefined;
  }

  boolean(key: string, fallback: boolean): boolean {
    const found = this.metadata.get(key);
    if (found === undefined) return fallback;
    if (found.type === 'bool') return found.value;
    this.complain(key, 'true or false', found);
    return fallback;
  }

  strings(key: string): readonly string[] | undefined {
    const found = this.metadata.get(key);
    if (found === undefined) return undefined;
    if (found.type === 'array' && found.items === 'string') return found.values;
    this.complain(key, 'an array of strings', found);
    return undefined;
  }

  /** An array of numbers of any stored type. */
  numbers(key: string): ArrayLike<number> | undefined {
    const found = this.metadata.get(key);
    if (found === undefined) return undefined;
    if (found.type === 'array' && isNumberArray(found)) return found.values;
    this.complain(key, 'an array of numbers', found);
    return undefined;
  }

  complain(key: string, expected: string, found: GgufValue | undefined = this.metadata.get(key)): void {
    this.complaints.push(`"${key}" must be ${expected}, found ${describe(found)}`);
  }

  /** FormatError listing the complaints, if there are any. */
  throwComplaints(): void {
    if (this.complaints.length === 0) return;
    throw new FormatError(`metadata that cannot be used:${listOffenders(this.complaints)}`, {
      file: this.file,
      advice: 'fetch the file again, or convert the model anew',
    });
  }
}

type NumberArray = Extract<GgufValue, { type: 'array'; values: ArrayLike<number> }>;

function isNumberArray(array: GgufValue & { readonly type: 'array' }): array is NumberArray {
  return !['string', 'bool', 'array', 'u64', 'i64'].includes(array.items);
}

function numberOf(value: GgufValue | undefined): number | undefined {
  if (typeof value !== 'object' || value.type === 'array') return undefined;
  if (typeof value.value === 'number') return value.value;
  return typeof value.value === 'bigint' ? Number(value.value) : undefined;
}

function describe(value: GgufValue | undefined): string {
  if (value === undefined) return 'nothing';
  if (value.type === 'array') return `an array of ${value.values.length} ${value.items}`;
  return `${value.type} ${String(value.value).slice(0, 60)}`;
}

/** The shortest decimal number that float32 rounds to this value: 0.00001 instead of 0.000009999999747378752. */
export function shortestDecimal(value: number): number {
  const single = Math.fround(value);
  for (let digits = 1; digits < 10; digits++) {
    const short = Number(single.toPrecision(digits));
    if (Math.fround(short) === single) return short;
  }
  return value;
}
