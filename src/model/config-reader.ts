/**
 * Reads config.json key by key and keeps every complaint, so that one error can list all offenders. A getter that
 * complains returns a harmless stand-in; the caller throws after the last key is read.
 */
export class ConfigReader {
  constructor(
    private readonly json: Readonly<Record<string, unknown>>,
    private readonly path = '',
    /** Keys that are missing or hold nonsense. */
    readonly malformed: string[] = [],
    /** Features that are valid but that halfbyte cannot run. */
    readonly unsupported: string[] = [],
  ) {}

  /** False for absent keys and for null, which config.json uses for "not set". */
  has(key: string): boolean {
    return this.json[key] !== undefined && this.json[key] !== null;
  }

  raw(key: string): unknown {
    return this.json[key];
  }

  /** A positive integer; absent or null gives `fallback`, and is a complaint where there is none. */
  positiveInt(key: string, fallback?: number): number {
    const found = this.number(key, fallback);
    if (Number.isSafeInteger(found) && found >= 1) return found;
    if (!Number.isNaN(found)) this.complain(key, 'a positive integer');
    return 1;
  }

  positiveNumber(key: string, fallback?: number): number {
    const found = this.number(key, fallback);
    if (Number.isFinite(found) && found > 0) return found;
    if (!Number.isNaN(found)) this.complain(key, 'a positive number');
    return 1;
  }

  boolean(key: string, fallback: boolean): boolean {
    if (!this.has(key)) return fallback;
    const found = this.json[key];
    if (typeof found === 'boolean') return found;
    this.complain(key, 'true or false');
    return fallback;
  }

  string(key: string, fallback: string): string {
    if (!this.has(key)) return fallback;
    const found = this.json[key];
    if (typeof found === 'string') return found;
    this.complain(key, 'a string');
    return fallback;
  }

  /** A nested object, read by a reader whose complaints join this one's; undefined when absent or null. */
  object(key: string): ConfigReader | undefined {
    if (!this.has(key)) return undefined;
    const found = this.json[key];
    if (!isObject(found)) {
      this.complain(key, 'an object');
      return undefined;
    }
    return new ConfigReader(found, `${this.path}${key}.`, this.malformed, this.unsupported);
  }

  strings(key: string): readonly string[] | undefined {
    if (!this.has(key)) return undefined;
    const found = this.json[key];
    if (Array.isArray(found) && found.every((item): item is string => typeof item === 'string')) return found;
    this.complain(key, 'an array of strings');
    return undefined;
  }

  /** Records that `key` is not what it must be. */
  complain(key: string, expected: string): void {
    const found = this.json[key];
    this.malformed.push(
      `"${this.path}${key}" must be ${expected}, found ${found === undefined ? 'nothing' : JSON.stringify(found)}`,
    );
  }

  /** Records a feature of `key` that halfbyte does not have. */
  refuse(key: string, supported: string): void {
    this.unsupported.push(
      `"${this.path}${key}" is ${JSON.stringify(this.json[key])}; supported: ${supported}`,
    );
  }

  /** NaN when a complaint was recorded. */
  private number(key: string, fallback: number | undefined): number {
    const found = this.has(key) ? this.json[key] : fallback;
    if (typeof found === 'number' && !Number.isNaN(found)) return found;
    this.complain(key, 'a number');
    return NaN;
  }
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
