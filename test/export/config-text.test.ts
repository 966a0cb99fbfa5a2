import { describe, expect, it } from 'vitest';
import { patchedConfigText, withoutKeys } from '../../src/export/config-text.js';

describe('patchedConfigText', () => {
  it('keeps the text of every other key, floats that look like integers included', () => {
    const original = '{\n  "model_type": "llama",\n  "rope_theta": 10000.0,\n  "eps": 1e-05\n}\n';
    const patched = patchedConfigText(original, JSON.parse(original) as Record<string, unknown>, { bits: 4 });
    expect(patched).toBe(
      '{\n  "model_type": "llama",\n  "rope_theta": 10000.0,\n  "eps": 1e-05,\n  "quantization_config": {\n    "bits": 4\n  }\n}\n',
    );
  });

  it('replaces a null in place of repeating the key, and copes with an empty object', () => {
    const original = '{"quantization_config": null, "a": 1}';
    const patched = patchedConfigText(original, JSON.parse(original) as Record<string, unknown>, { bits: 4 });
    expect(JSON.parse(patched)).toEqual({ quantization_config: { bits: 4 }, a: 1 });
    expect(patched.match(/quantization_config/g)).toHaveLength(1);
    expect(JSON.parse(patchedConfigText('{}', {}, { bits: 4 }))).toEqual({
      quantization_config: { bits: 4 },
    });
  });
});

describe('withoutKeys', () => {
  const drop = (text: string, ...keys: string[]): string =>
    withoutKeys(text, JSON.parse(text) as Record<string, unknown>, keys);

  it('takes keys out and leaves every other character', () => {
    const nested = '{"bits": 4, "note": "a } \\" b", "list": [1, {"x": 2}]}';
    expect(drop(`{\n  "theta": 10000.0,\n  "q": ${nested},\n  "eps": 1e-05\n}\n`, 'q')).toBe(
      '{\n  "theta": 10000.0,\n  "eps": 1e-05\n}\n',
    );
    expect(drop(`{\n  "theta": 10000.0,\n  "q": ${nested}\n}`, 'q')).toBe('{\n  "theta": 10000.0\n}');
    expect(drop('{"q": {}, "theta": 1.0}', 'q')).toBe('{ "theta": 1.0}');
    expect(drop('{"a": 1.0}', 'q')).toBe('{"a": 1.0}');
  });

  it('is right even where a key hides inside another value', () => {
    const text = '{"a": {"q": 1.0}, "q": 2.0}';
    expect(JSON.parse(drop(text, 'q'))).toEqual({ a: { q: 1 } });
  });
});
