// linalg/multiply-add-chain: keeps the multiply-add units busy and memory idle, to measure their peak rate.
// Three vec4 accumulators per element start at x[i] + k/16 (k = 0 … 11) and run `rounds` steps a ← a·(1 − 2⁻¹³) + 2⁻¹³;
// x[i] becomes their sum, so nothing can be optimised away. 12·rounds multiply-adds per element.
// `a * b + c` and not fma(): on some adapters fma is a slow library call.
// Dims: x [count].
// Bindings: 1 x f32.
//#include common/index.wgsl
struct Params {
  count: u32,
  rounds: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = flat_group(group, groups) * 256u + lane;
  if (index >= params.count) { return; }
  let steps = vec4<f32>(0.0, 0.0625, 0.125, 0.1875);
  let factor = vec4<f32>(0.9998779296875);
  let addend = vec4<f32>(0.0001220703125);
  var a = x[index] + steps;
  var b = x[index] + steps + 0.25;
  var c = x[index] + steps + 0.5;
  for (var round = 0u; round < params.rounds; round += 4u) {
    a = a * factor + addend; b = b * factor + addend; c = c * factor + addend;
    a = a * factor + addend; b = b * factor + addend; c = c * factor + addend;
    a = a * factor + addend; b = b * factor + addend; c = c * factor + addend;
    a = a * factor + addend; b = b * factor + addend; c = c * factor + addend;
  }
  let sum = a + b + c;
  x[index] = sum.x + sum.y + sum.z + sum.w;
}
