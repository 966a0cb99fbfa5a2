// nn/token-loss: losses[i] = −ln softmax(logits[i])[targets[i]], one workgroup a row, two passes over it.
// Dims: n token rows, V vocabulary.
// Bindings: 1 logits f32 view [n, V]; 2 targets u32 [n] < V; 3 losses f32 [n], natural logarithm.
// Accumulation: f32, four sums of V/1024 terms a lane, then a tree.
//#if SUBGROUPS
enable subgroups;
//#endif
//#include common/index.wgsl
//#include common/reduce.wgsl
struct Params {
  rows: u32,
  vocab: u32,
  logits_offset: u32,
  logits_stride: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> targets: array<u32>;
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = flat_group(group, groups);
  if (row >= params.rows) { return; }
  let start = params.logits_offset + row * params.logits_stride;
  // The literal of the largest f32 overflows some parsers.
  var own_top = -3.4e38;
  for (var j = lane; j < params.vocab; j += 256u) { own_top = max(own_top, logits[start + j]); }
  let top = reduce_max(own_top, lane);
  var sums = vec4<f32>();
  for (var j = lane; j < params.vocab; j += 1024u) {
    for (var part = 0u; part < 4u; part++) {
      let col = j + part * 256u;
      if (col < params.vocab) { sums[part] += exp(logits[start + col] - top); }
    }
  }
  let total = reduce_sum(sums.x + sums.y + (sums.z + sums.w), lane);
  if (lane == 0u) { losses[row] = log(total) + (top - logits[start + targets[row]]); }
}
