import { Bug } from '../core/errors.js';
import { SHADERS } from './generated/shaders.js';

/** Path of a kernel below shaders/, without ".wgsl". */
export type ShaderName = keyof typeof SHADERS;

/** One number per field of the shader's Params struct, derived from the WGSL text itself. */
export type ParamsOf<S extends ShaderName> = {
  readonly [Field in (typeof SHADERS)[S]['params'][number] as Field[0]]: number;
};

/** A generated record with the literal types forgotten. */
export interface ShaderRecord {
  readonly source: string;
  readonly flags: readonly string[];
  readonly params: readonly (readonly [name: string, type: 'u32' | 'i32' | 'f32'])[];
  readonly bindings: readonly number[];
}

export function shaderRecord(name: ShaderName): ShaderRecord {
  return SHADERS[name];
}

/** Writes one value per Params field into `target` (little-endian, four bytes each) from byte `offset` on. */
export function packParams<S extends ShaderName>(
  shader: S,
  values: ParamsOf<S>,
  target: DataView,
  offset: number,
): void {
  const byName: Readonly<Record<string, number>> = values;
  shaderRecord(shader).params.forEach(([name, type], index) => {
    const value = byName[name];
    const at = offset + 4 * index;
    if (value === undefined) throw new Bug(`internal: ${shader} lacks the parameter ${name}`);
    switch (type) {
      case 'f32':
        target.setFloat32(at, value, true);
        return;
      case 'u32':
        if (!Number.isInteger(value) || value < 0 || value > 0xffffffff)
          throw new Bug(`internal: ${shader} parameter ${name} = ${value} is not a u32`);
        target.setUint32(at, value, true);
        return;
      case 'i32':
        if (!Number.isInteger(value) || Math.abs(value) > 0x7fffffff)
          throw new Bug(`internal: ${shader} parameter ${name} = ${value} is not an i32`);
        target.setInt32(at, value, true);
    }
  });
}
