// quant/quantize-nearest: round to nearest on given grids: code = clamp(round(w/s) + z, 0, top), error = w − s·(code − z).
// Dims: N rows, n columns (a multiple of 4), G groups.
// Bindings: 1 w f32 view [N, n]; 2 group_of u32 [K], column j is entry first_column + j; 3 scales and 4 zeros f32
// [N, G]; 5 error f32 view [N, n] out; 6 codes u8 view [N, n] out, four to a word. One lane a word.
//#include common/index.wgsl
//#include common/grid.wgsl
struct Params {
  rows: u32,
  cols: u32,
  groups: u32,
  first_column: u32,
  w_offset: u32, w_stride: u32,
  error_offset: u32, error_stride: u32,
  codes_offset: u32, codes_stride: u32,
  top: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> group_of: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<f32>;
@group(0) @binding(4) var<storage, read> zeros: array<f32>;
@group(0) @binding(5) var<storage, read_write> error: array<f32>;
@group(0) @binding(6) var<storage, read_write> codes: array<u32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = flat_group(group, groups) * 256u + lane;
  let words = params.cols / 4u;
  if (index >= params.rows * words) { return; }
  let row = index / words;
  let first = index % words * 4u;
  var word = 0u;
  for (var i = 0u; i < 4u; i++) {
    let at = row * params.groups + group_of[params.first_column + first + i];
    let value = w[params.w_offset + row * params.w_stride + first + i];
    let code = grid_code(value, scales[at], zeros[at], params.top);
    let miss = value - grid_value(code, scales[at], zeros[at]);
    error[params.error_offset + row * params.error_stride + first + i] = miss;
    word |= u32(code) << (i * 8u);
  }
  codes[(params.codes_offset + row * params.codes_stride + first) / 4u] = word;
}
