// quant/quantize-groups-codes: weights as they are stored become rows of dense bit streams of codes on given grids.
// Dims: N rows, K columns in G groups of g; K·bits divisible by 32.
// Bindings: 1 w view [N, K], f32, or f16 or bf16 two to a word; 2 scales and 3 zeros f32 [N, G]; 4 packed u32
// [N, K·bits/32] out, least significant bits first. One lane a word; a code in two words is worked out twice.
//#include common/index.wgsl
//#include common/dtype.wgsl
//#include common/element.wgsl
//#include common/grid.wgsl
struct Params {
  rows: u32,
  cols: u32,
  group_size: u32,
  w_offset: u32, w_stride: u32,
  bits: u32,
  top: f32, // 2^bits − 1
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> w: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<f32>;
@group(0) @binding(3) var<storage, read> zeros: array<f32>;
@group(0) @binding(4) var<storage, read_write> packed: array<u32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = flat_group(group, groups) * 256u + lane;
  let words = params.cols * params.bits / 32u;
  if (index >= params.rows * words) { return; }
  let row = index / words;
  let first_bit = index % words * 32u;
  let line = params.w_offset + row * params.w_stride;
  let grids = row * (params.cols / params.group_size);
  var word = 0u;
  for (var k = first_bit / params.bits; k * params.bits < first_bit + 32u; k++) {
    let value = element_of(w[element_word(line + k)], line + k);
    let grid = grids + k / params.group_size;
    let code = u32(grid_code(value, scales[grid], zeros[grid], params.top));
    let bit = k * params.bits;
    if (bit >= first_bit) { word |= code << (bit - first_bit); }
    else { word |= code >> (first_bit - bit); }
  }
  packed[index] = word;
}
