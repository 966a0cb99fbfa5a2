// quant/pack-codes: codes one byte each become rows of dense bit streams, least significant bits first; packed column k
// is column position_of[k] of `codes`. A code of 3, 5 or 6 bits may straddle two words.
// Dims: N rows, K columns with K·bits divisible by 32.
// Bindings: 1 codes u8 [N, K], four to a word; 2 position_of u32 [K]; 3 packed u32 [N, K·bits/32] out. One lane a word.
//#include common/index.wgsl
struct Params {
  rows: u32,
  cols: u32,
  bits: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> codes: array<u32>;
@group(0) @binding(2) var<storage, read> position_of: array<u32>;
@group(0) @binding(3) var<storage, read_write> packed: array<u32>;

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
  var word = 0u;
  for (var k = first_bit / params.bits; k * params.bits < first_bit + 32u; k++) {
    let at = row * params.cols + position_of[k];
    let code = (codes[at / 4u] >> (at % 4u * 8u)) & 0xffu;
    let bit = k * params.bits;
    if (bit >= first_bit) { word |= code << (bit - first_bit); }
    else { word |= code >> (first_bit - bit); }
  }
  packed[index] = word;
}
