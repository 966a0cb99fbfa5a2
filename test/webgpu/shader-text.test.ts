import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildShaders } from '../../scripts/build-shaders.js';
import { locateLine, resolveFlags, textBindings } from '../../src/webgpu/shader-text.js';
import { packParams } from '../../src/webgpu/shader-types.js';

const GOOD = `// demo/add: adds.
// Dims: n. Bindings: 1 x f32.
//#flag TWICE: adds it twice
//#include common/one.wgsl
struct Params {
  n: u32, // elements
  by: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
//#if TWICE
const TIMES = 2.0;
//#else
const TIMES = 1.0;
//#endif
`;

describe('buildShaders', () => {
  let root: string;
  const put = (path: string, text: string): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'shaders-'));
    put('shaders/common/one.wgsl', '// one\nconst ONE = 1.0;\n');
  });
  afterEach(() => {
    rmSync(root, { recursive: true });
  });

  it('writes source, flags, params and bindings', () => {
    put('shaders/demo/add.wgsl', GOOD);
    expect(buildShaders(root)).toEqual(['demo/add']);
    const text = readFileSync(join(root, 'src/webgpu/generated/shaders.ts'), 'utf8');
    expect(text).toContain(`params: [['n', 'u32'], ['by', 'f32']]`);
    expect(text).toContain('flags: ["TWICE"]');
    expect(text).toContain('bindings: [0,1]');
    expect(text).toContain('ONE = 1.0');
  });

  it.each([
    ['a header without the name', GOOD.replace('// demo/add: adds.', '// adds.'), 'the first line must be'],
    ['no dims', GOOD.replace('Dims', 'Sizes'), 'names no dims'],
    ['an undeclared flag', GOOD.replace('//#if TWICE', '//#if THRICE'), 'THRICE'],
    ['an open condition', GOOD.replace('//#endif\n', ''), 'without //#endif'],
    ['an unknown directive', GOOD.replace('//#else', '//#elsif'), 'unknown directive'],
    ['an include from elsewhere', GOOD.replace('common/one', 'demo/one'), 'includes come from common/'],
    ['no Params', GOOD.replace('struct Params', 'struct Parms'), 'no "struct Params'],
    ['a vector field', GOOD.replace('by: f32', 'by: vec4<f32>'), 'Params field'],
    ['a gap in the bindings', GOOD.replace('@binding(1)', '@binding(2)'), 'leave gaps'],
    ['too many lines', GOOD + '// more\n'.repeat(150), 'lines, allowed are 150'],
  ])('refuses %s', (_what, text, message) => {
    put('shaders/demo/add.wgsl', text);
    expect(() => buildShaders(root)).toThrow(message);
  });

  it('lists all offenders', () => {
    put('shaders/demo/add.wgsl', GOOD.replace('Dims', 'Sizes'));
    put('shaders/demo/sub.wgsl', GOOD);
    expect(() => buildShaders(root)).toThrow(/demo\/add[^]*demo\/sub/);
  });
});

describe('resolveFlags', () => {
  const source = 'a\n//#if X\nb\n//#if !Y\nc\n//#endif\n//#else\nd\n//#endif\ne';
  it.each([
    [[], 'ade'],
    [['X'], 'abce'],
    [['X', 'Y'], 'abe'],
    [['Y'], 'ade'],
  ])('with %j', (on, expected) => {
    const text = resolveFlags('demo', source, ['X', 'Y'], on);
    expect(text.split('\n').join('')).toBe(expected);
    expect(text.split('\n')).toHaveLength(source.split('\n').length);
  });

  it('refuses an undeclared flag', () => {
    expect(() => resolveFlags('demo', source, ['X'], ['Z'])).toThrow('declares no flag Z');
  });
});

describe('textBindings and locateLine', () => {
  it('reads access modes from the text', () => {
    const text =
      '@group(0) @binding(1) var<storage, read> a: f;\n@group(0) @binding(0) var<uniform> p: P;\n@binding(2) var<storage, read_write> b: f;';
    expect(textBindings(text).map((binding) => binding.type)).toEqual([
      'uniform',
      'read-only-storage',
      'storage',
    ]);
  });

  it('finds file and line behind includes', () => {
    const text =
      '//#file demo/add.wgsl:1\nl1\n//#file common/one.wgsl:1\nc1\nc2\n//#file demo/add.wgsl:3\nl3';
    expect(locateLine(text, 2)).toEqual({ file: 'shaders/demo/add.wgsl', line: 1 });
    expect(locateLine(text, 5)).toEqual({ file: 'shaders/common/one.wgsl', line: 2 });
    expect(locateLine(text, 7)).toEqual({ file: 'shaders/demo/add.wgsl', line: 3 });
  });
});

describe('packParams', () => {
  it('packs by the type of each field and refuses what does not fit', () => {
    const view = new DataView(new ArrayBuffer(16));
    packParams('tensor/fill', { first: 1, count: 2, bits: 0xffffffff }, view, 4);
    expect([4, 8, 12].map((at) => view.getUint32(at, true))).toEqual([1, 2, 0xffffffff]);
    expect(() => packParams('tensor/fill', { first: -1, count: 2, bits: 0 }, view, 0)).toThrow('not a u32');
    expect(() => packParams('tensor/fill', { first: NaN, count: 2, bits: 0 }, view, 0)).toThrow('not a u32');
  });
});
