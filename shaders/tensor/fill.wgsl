// tensor/fill: every 32-bit word of a range of a tensor becomes the same bit pattern.
// Dims: none; words [first, first + count).
// Bindings: 1 target u32 words, any dtype.
//#include common/index.wgsl
struct Params {
  first: u32,
  count: u32,
  bits: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> words: array<u32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = flat_group(group, groups) * 256u + lane;
  if (index >= params.count) { return; }
  words[params.first + index] = params.bits;
}
