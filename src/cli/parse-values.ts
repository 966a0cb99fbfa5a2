import { InvalidArgumentError } from 'commander';

/** Parsers of option values; commander turns their errors into "halfbyte: …" and exit code 2. */

export interface IntegerRange {
  readonly min: number;
  readonly max?: number;
}

export function parseInteger(range: IntegerRange): (text: string) => number {
  return (text) => {
    const value = Number(text);
    const max = range.max ?? Number.MAX_SAFE_INTEGER;
    if (/^[+-]?\d+$/.test(text) && value >= range.min && value <= max) return value;
    const upper = range.max === undefined ? '' : ` to ${range.max}`;
    throw new InvalidArgumentError(`A whole number from ${range.min}${upper} expected.`);
  };
}

/** One of a few numbers, such as the bit widths. */
export function parseOneOf<T extends number>(choices: readonly T[]): (text: string) => T {
  return (text) => {
    const found = choices.find((choice) => String(choice) === text.trim());
    if (found !== undefined) return found;
    throw new InvalidArgumentError(`One of ${choices.join(', ')} expected.`);
  };
}

/** Damping: a share of the mean diagonal, strictly between 0 and 1 (transformers refuses anything else). */
export function parseShare(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value > 0 && value < 1) return value;
  throw new InvalidArgumentError('A number between 0 and 1 expected, such as 0.01.');
}

const BYTE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 1e3,
  kb: 1e3,
  m: 1e6,
  mb: 1e6,
  g: 1e9,
  gb: 1e9,
  t: 1e12,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/** "6GB", "512MiB", "1.5 g", "1000000" → bytes; decimal units as on the Hub, binary ones with an i. */
export function parseBytes(text: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(text);
  const factor = match === null ? undefined : BYTE_UNITS[match[2].toLowerCase()];
  const bytes = match === null || factor === undefined ? NaN : Math.floor(Number(match[1]) * factor);
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new InvalidArgumentError('A size such as 6GB, 800MB or 512MiB expected.');
}

/** Values by commas, each one of `choices`. */
export function parseList<T extends string>(choices: readonly T[]): (text: string) => T[] {
  return (text) =>
    text.split(',').map((word) => {
      const found = choices.find((choice) => choice === word.trim());
      if (found !== undefined) return found;
      throw new InvalidArgumentError(`"${word.trim()}" is none of ${choices.join(', ')}.`);
    });
}
