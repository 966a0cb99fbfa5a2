import { describe, expect, it } from 'vitest';
import { FormatError } from '../../src/core/errors.js';
import { isMlxConfig, parseMlxConfig } from '../../src/formats/mlx/mlx-config.js';

const AFFINE = { group_size: 64, bits: 4, mode: 'affine' };

function errorOf(quantization: unknown): string {
  try {
    parseMlxConfig({ quantization }, 'config.json');
  } catch (error) {
    expect(error).toBeInstanceOf(FormatError);
    return String(error);
  }
  throw new Error('accepted');
}

describe('isMlxConfig', () => {
  it('knows the key of mlx-lm', () => {
    expect(isMlxConfig({ quantization: AFFINE, quantization_config: AFFINE })).toBe(true);
    expect(isMlxConfig({ quantization: AFFINE })).toBe(true);
  });

  it('leaves other methods alone', () => {
    expect(isMlxConfig({ quantization_config: { quant_method: 'gptq', bits: 4, group_size: 64 } })).toBe(
      false,
    );
    expect(isMlxConfig({ quantization: AFFINE, quantization_config: { quant_method: 'awq' } })).toBe(false);
    expect(isMlxConfig({ quantization: null })).toBe(false);
    expect(isMlxConfig({})).toBe(false);
  });
});

describe('parseMlxConfig', () => {
  it('reads defaults and modules', () => {
    const { bits, groupSize, modules } = parseMlxConfig(
      {
        quantization: {
          ...AFFINE,
          lm_head: false,
          'model.embed_tokens': true,
          'model.layers.0.mlp.down_proj': { bits: 6 },
          'model.layers.1.mlp.down_proj': { bits: 8, group_size: 32, mode: 'affine' },
        },
      },
      'config.json',
    );
    expect({ bits, groupSize }).toEqual({ bits: 4, groupSize: 64 });
    expect([...modules]).toEqual([
      ['lm_head', null],
      ['model.layers.0.mlp.down_proj', { bits: 6, groupSize: 64 }],
      ['model.layers.1.mlp.down_proj', { bits: 8, groupSize: 32 }],
    ]);
  });

  it('takes the mode for affine where there is none', () => {
    expect(parseMlxConfig({ quantization: { group_size: 32, bits: 3 } }, 'config.json').bits).toBe(3);
  });

  it.each(['mxfp4', 'mxfp8', 'nvfp4'])('refuses %s by name', (mode) => {
    expect(errorOf({ group_size: 32, bits: 4, mode })).toContain(
      `quantization.mode: "affine" expected, string "${mode}" found`,
    );
  });

  it('lists every offender', () => {
    const message = errorOf({
      group_size: 48,
      bits: 7,
      a: { bits: '4' },
      b: { mode: 'nvfp4' },
      c: { group_size: 16 },
    });
    expect(message).toContain('quantization.bits: 2, 3, 4, 5, 6, 8 expected, number 7 found');
    expect(message).toContain('quantization.group_size: 32, 64, 128 expected, number 48 found');
    expect(message).toContain('a.bits');
    expect(message).toContain('b.mode');
    expect(message).toContain('c.group_size');
  });

  it.each([[[]], ['affine'], [4], [undefined], [{}], [{ group_size: null, bits: null }]])(
    'refuses %j',
    (value) => {
      expect(errorOf(value)).toContain('config.json');
    },
  );
});
