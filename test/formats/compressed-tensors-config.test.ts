// Plan: settings as compressed-tensors and llm-compressor write them are read; the closest target wins as in the library;
// everything that would change the meaning of the weights is refused, all of it at once.
import { describe, expect, it } from 'vitest';
import { parsePackedConfig } from '../../src/formats/compressed-tensors/compressed-tensors-config.js';

const W4 = { num_bits: 4, type: 'int', symmetric: true, strategy: 'group', group_size: 128 };
const W8 = {
  num_bits: 8,
  type: 'INT',
  symmetric: false,
  strategy: 'channel',
  group_size: null,
  observer: 'mse',
};

function parse(groups: Record<string, unknown>, more: object = {}): ReturnType<typeof parsePackedConfig> {
  return parsePackedConfig({ format: 'pack-quantized', config_groups: groups, ...more }, 'config.json');
}

describe('schemes', () => {
  it('of one class of modules, without those ignored', () => {
    const { schemeOf, schemes } = parse(
      { group_0: { targets: ['Linear'], weights: W4, input_activations: null } },
      {
        ignore: ['lm_head', 're:.*\\.gate$'],
        sparsity_config: {},
        transform_config: {},
        kv_cache_scheme: null,
      },
    );
    const expected = { bits: 4, groupSize: 128, symmetric: true };
    expect(schemes).toEqual([expected]);
    expect(schemeOf('model.layers.0.mlp.up_proj')).toEqual(expected);
    expect(schemeOf('lm_head')).toBeUndefined();
    expect(schemeOf('model.layers.0.mlp.gate')).toBeUndefined();
    expect(schemeOf('model.embed_tokens')).toBeUndefined();
  });

  it('path before pattern before class', () => {
    const { schemeOf } = parse({
      a: { targets: ['Linear'], weights: W4 },
      b: { targets: ['re:model.*down'], weights: { ...W8, symmetric: true } },
      c: { targets: ['model.layers.1.mlp.down_proj'], weights: W8, format: 'pack-quantized' },
    });
    expect(schemeOf('model.layers.0.q_proj')?.bits).toBe(4);
    expect(schemeOf('model.layers.0.mlp.down_proj')).toEqual({ bits: 8, groupSize: -1, symmetric: true });
    expect(schemeOf('model.layers.1.mlp.down_proj')).toEqual({ bits: 8, groupSize: -1, symmetric: false });
    // A pattern must match from the start of the path.
    expect(schemeOf('x.model.layers.0.mlp.down_proj')?.bits).toBe(4);
  });

  it('a group size alone says the strategy', () => {
    const scheme = (group_size: number): unknown =>
      parse({ a: { targets: ['Linear'], weights: { num_bits: 4, group_size } } }).schemes[0];
    expect(scheme(32)).toEqual({ bits: 4, groupSize: 32, symmetric: true });
    expect(scheme(-1)).toEqual({ bits: 4, groupSize: -1, symmetric: true });
  });
});

describe('settings that cannot be read', () => {
  it.each([
    [
      'other formats',
      { a: { targets: ['Linear'], weights: W4, format: 'int-quantized' } },
      {},
      /int-quantized/,
    ],
    ['other formats for all', { a: { targets: ['Linear'], weights: W4 } }, { format: 'nvfp4' }, /nvfp4/],
    [
      'activations',
      { a: { targets: ['Linear'], weights: W4, input_activations: W8 } },
      {},
      /input_activations/,
    ],
    [
      '3 bits',
      { a: { targets: ['Linear'], weights: { ...W4, num_bits: 3 } } },
      {},
      /num_bits: 4 or 8 expected/,
    ],
    ['floats', { a: { targets: ['Linear'], weights: { ...W4, type: 'float' } } }, {}, /type: "int" expected/],
    ['no strategy', { a: { targets: ['Linear'], weights: { num_bits: 4 } } }, {}, /strategy/],
    ['blocks', { a: { targets: ['Linear'], weights: { ...W4, strategy: 'block' } } }, {}, /"block"/],
    ['no group size', { a: { targets: ['Linear'], weights: { ...W4, group_size: 0 } } }, {}, /group_size/],
    ['dynamic weights', { a: { targets: ['Linear'], weights: { ...W4, dynamic: true } } }, {}, /dynamic/],
    ['no weights', { a: { targets: ['Linear'] } }, {}, /weights: an object expected/],
    ['no targets', { a: { weights: W4 } }, {}, /targets: a list expected/],
    ['a broken pattern', { a: { targets: ['re:('], weights: W4 } }, {}, /re:\( is no regular expression/],
    ['a number as target', { a: { targets: [4], weights: W4 } }, {}, /names expected/],
    ['a group that is none', { a: 4 }, {}, /an object expected/],
    ['no groups', {}, {}, /config_groups/],
    [
      'sparsity',
      { a: { targets: ['Linear'], weights: W4 } },
      { sparsity_config: { format: 'sparse-24' } },
      /sparse-24/,
    ],
    [
      'transforms',
      { a: { targets: ['Linear'], weights: W4 } },
      { transform_config: { config_groups: { r1: {} } } },
      /transform_config/,
    ],
    [
      'ignore that is no list',
      { a: { targets: ['Linear'], weights: W4 } },
      { ignore: 'lm_head' },
      /ignore: a list/,
    ],
  ])('%s', (_, groups, more, message) => {
    expect(() => parse(groups, more)).toThrow(message);
  });

  it('are listed together', () => {
    const groups = { a: { targets: 4, weights: { num_bits: 2, dynamic: true }, format: 'dense' } };
    expect(() => parse(groups)).toThrow(
      /a\.format.*\n.*a\.targets.*\n.*a\.weights\.num_bits.*\n.*dynamic.*\n.*strategy/,
    );
  });
});
