// linalg/count-non-finite-rows: adds to `count` the rows of x that hold a NaN or an infinity, one workgroup a row.
// Asked of the bits: a compiler may assume that NaN does not occur in arithmetic.
// Dims: x [rows, cols].
// Bindings: 1 x f32 view, or 16-bit floats two to a word; 2 count u32 [1].
//#flag HALF: x holds 16-bit floats
//#include common/index.wgsl
//#include common/dtype.wgsl
struct Params {
  rows: u32,
  cols: u32,
  offset: u32,
  stride: u32,
  exponent: u32, // the exponent's bits, all set in NaN and infinities
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> count: atomic<u32>;
var<workgroup> bad: atomic<u32>;

fn bits_at(index: u32) -> u32 {
  //#if HALF
  return half_of(x[index >> 1u], index);
  //#else
  return x[index];
  //#endif
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = flat_group(group, groups);
  if (row >= params.rows) { return; }
  let line = params.offset + row * params.stride;
  var found = false;
  for (var j = lane; j < params.cols; j += 256u) {
    found = found || (bits_at(line + j) & params.exponent) == params.exponent;
  }
  if (found) { atomicStore(&bad, 1u); }
  workgroupBarrier();
  if (lane == 0u && atomicLoad(&bad) != 0u) { atomicAdd(&count, 1u); }
}
