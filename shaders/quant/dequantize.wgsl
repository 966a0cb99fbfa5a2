// quant/dequantize: out = scale·(code − zero) from packed codes.
// Dims: N rows, K columns with K·bits divisible by 32, G groups.
// Bindings: 1 packed u32 [N, K·bits/32], dense bit stream a row, least significant bits first; 2 group_of u32 [K];
// 3 scales and 4 zeros f32 [N, G]; 5 out f32 view [N, K]. One lane an element.
//#include common/index.wgsl
//#include common/grid.wgsl
struct Params {
  rows: u32,
  cols: u32,
  groups: u32,
  bits: u32,
  out_offset: u32, out_stride: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> packed: array<u32>;
@group(0) @binding(2) var<storage, read> group_of: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<f32>;
@group(0) @binding(4) var<storage, read> zeros: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = flat_group(group, groups) * 256u + lane;
  if (index >= params.rows * params.cols) { return; }
  let row = index / params.cols;
  let col = index % params.cols;
  let word = row * (params.cols * params.bits / 32u) + col * params.bits / 32u;
  let shift = col * params.bits % 32u;
  var code = packed[word] >> shift;
  if (shift + params.bits > 32u) { code |= packed[word + 1u] << (32u - shift); }
  let at = row * params.groups + group_of[col];
  let value = grid_value(f32(code & ((1u << params.bits) - 1u)), scales[at], zeros[at]);
  out[params.out_offset + row * params.out_stride + col] = value;
}
