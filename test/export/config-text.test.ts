import { describe, expect, it } from 'vitest';
import { patchedConfigText } from '../../src/export/config-text.js';

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
