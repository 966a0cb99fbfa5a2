import type { Tensor } from '../engine/tensor.js';
import type { ParamsOf, ShaderName } from './shader-types.js';

/** What kernels may ask about the device when they choose a variant; plain data, fixed for the device's life. */
export interface DeviceFacts {
  readonly adapter: string;
  readonly software: boolean;
  readonly subgroups: boolean;
  readonly subgroupMinSize: number;
  readonly subgroupMaxSize: number;
  readonly shaderF16: boolean;
  readonly maxBindingBytes: number;
  readonly maxWorkgroupStorageBytes: number;
  readonly maxWorkgroupsPerDimension: number;
  readonly maxInvocationsPerWorkgroup: number;
}

export interface DispatchOptions<S extends ShaderName> {
  /** Path below shaders/ without ".wgsl", such as "quant/gptq-block". */
  readonly shader: S;
  /** Declared text variants that are on; an undeclared name is a Bug. */
  readonly flags?: readonly string[];
  /** WGSL `override` constants. */
  readonly constants?: Readonly<Record<string, number>>;
  /** One value per field of the shader's Params struct (@group(0) @binding(0) uniform). */
  readonly params: ParamsOf<S>;
  /** Tensors for @binding(1), @binding(2), … in order, each bound whole. */
  readonly tensors: readonly Tensor[];
  /** Workgroups as one number; it is folded into x·y (shader uses common/index.wgsl), or an explicit grid. */
  readonly workgroups: number | readonly [number, number, number];
}

/** The only way a kernel file talks to the device. */
export interface KernelContext {
  readonly facts: DeviceFacts;
  dispatch<S extends ShaderName>(options: DispatchOptions<S>): void;
  /** A scratch tensor, freed by the kernel with `release`. */
  scratch(shape: readonly number[], label: string): Tensor;
  release(tensor: Tensor): void;
}
