// quant/codebook-dequantize: out = table[code]·absmax[block] from 4-bit codes whose blocks run through row ends.
// Dims: N rows, K columns; blocks of 2^block_shift elements of the flattened matrix.
// Bindings: 1 codes u8 [⌈N·K/2⌉], two a byte, the first in the high nibble; 2 absmax f32 [⌈N·K/2^block_shift⌉];
// 3 table f32 [16]; 4 out f32 view [N, K]. One lane an element.
//#include common/index.wgsl
struct Params {
  rows: u32,
  cols: u32,
  block_shift: u32,
  out_offset: u32, out_stride: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> codes: array<u32>;
@group(0) @binding(2) var<storage, read> absmax: array<f32>;
@group(0) @binding(3) var<storage, read> table: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = flat_group(group, groups) * 256u + lane;
  if (index >= params.rows * params.cols) { return; }
  // Nibbles of a byte are swapped against the order of a little-endian word.
  let code = (codes[index >> 3u] >> (((index & 7u) ^ 1u) << 2u)) & 15u;
  let at = params.out_offset + index / params.cols * params.out_stride + index % params.cols;
  out[at] = table[code] * absmax[index >> params.block_shift];
}
