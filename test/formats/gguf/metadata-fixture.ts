import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { JsonObject } from '../../../src/io/json.js';
import { parseJson } from '../../../src/io/json.js';

/** A JSON file of test/fixtures. */
export function readFixture(path: string): JsonObject {
  const file = fileURLToPath(new URL(`../../fixtures/${path}`, import.meta.url));
  return parseJson(readFileSync(file, 'utf8'), path) as JsonObject;
}
