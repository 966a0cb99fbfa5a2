// Plan: errors name file, line, column and byte; the position finder agrees with JSON.parse on what is JSON at all.
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/rng.js';
import { FormatError } from '../../src/core/errors.js';
import { parseJson, readJsonObject, readText } from '../../src/io/json.js';
import { jsonErrorPosition } from '../../src/io/json-error-position.js';
import { createMemorySource, createTextSource } from '../../src/io/memory-source.js';

describe('parseJson', () => {
  it.each([
    ['{"a":}', 1, 6],
    ['{\n  "a": 1,\n  "b" 2\n}', 3, 7],
    ['{"a": [1, 2', 1, 12],
    ['', 1, 1],
    ['{"a":1} x', 1, 9],
    ['[1,]', 1, 4],
    ['{"a":1,}', 1, 8],
    ['[01]', 1, 3],
    ['["\t"]', 1, 2],
    ['{"a":"\\x"}', 1, 6],
    ['nul', 1, 1],
    ['[1}', 1, 3],
    ['{"a":1]', 1, 7],
    ['{1:2}', 1, 2],
  ])('%j is refused at line %i, column %i', (text, line, column) => {
    expect(() => JSON.parse(text) as unknown).toThrow();
    expect(() => parseJson(text, 'config.json')).toThrow(`line ${line}, column ${column}`);
    expect(() => parseJson(text, 'config.json')).toThrow(/^config\.json/);
  });

  it('counts bytes, not characters, in the offset', () => {
    const error = ((): unknown => {
      try {
        return parseJson('{"ä€": x}', 'f');
      } catch (reason) {
        return reason;
      }
    })();
    expect(error).toBeInstanceOf(FormatError);
    expect((error as FormatError).offset).toBe(10);
  });

  it('tolerates a byte order mark', () => {
    expect(parseJson('\ufeff{"a":1}', 'f')).toEqual({ a: 1 });
  });

  it('finds a position exactly where JSON.parse fails, in mutated texts (seed 7)', () => {
    const rng = createRng(7);
    const valid = '{"a":[1,-2.5e3,{"b":null,"c":"x\\n\\u00e9"}],"d":true,"":[[],{}]}';
    let broken = 0;
    for (let i = 0; i < 3000; i++) {
      const at = rng.int(valid.length);
      const text = valid.slice(0, at) + '{}[]:,"0\\ x'.charAt(rng.int(11)) + valid.slice(at + rng.int(2));
      let parses = true;
      try {
        JSON.parse(text);
      } catch {
        parses = false;
        broken++;
      }
      // A complete valid text is "left" at its very end.
      expect(jsonErrorPosition(text) === text.length || !parses, text).toBe(true);
      if (!parses) {
        const position = jsonErrorPosition(text);
        expect(position).toBeLessThanOrEqual(text.length);
      }
    }
    expect(broken).toBeGreaterThan(1000);
  });
});

describe('readText and readJsonObject', () => {
  it('refuse what is not UTF-8 or not an object', async () => {
    await expect(readText(createMemorySource('f.txt', Uint8Array.of(0x61, 0xc3)))).rejects.toThrow(
      /f\.txt.*not valid UTF-8/,
    );
    await expect(readJsonObject(createTextSource('f', '[1]'))).rejects.toThrow(
      'a JSON object expected, an array found',
    );
    await expect(readJsonObject(createTextSource('f', '{"a":2}'))).resolves.toEqual({ a: 2 });
  });

  it('refuse a file too long to be text without reading it', async () => {
    const huge = { name: 'f', size: 2 ** 40, read: () => Promise.reject(new Error('was read')) };
    await expect(readText(huge)).rejects.toThrow(/1099511627776 bytes/);
  });
});
