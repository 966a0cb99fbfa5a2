// common/reduce-vec4: four reductions at once over a workgroup of 256 invocations (@workgroup_size(256)), through
// workgroup memory in two levels of `fan` = 16: three barriers. Every invocation must call; every one gets the result;
// the order of additions is fixed. `fan` comes from a uniform so that compilers leave the loops rolled: lavapipe took
// 20 s to compile four calls with the constant, 2 s with the uniform.
var<workgroup> vec4_slots: array<vec4<f32>, 256>;

fn fold_vec4(a: vec4<f32>, b: vec4<f32>, greatest: bool) -> vec4<f32> {
  return select(a + b, max(a, b), greatest);
}

// Sums, or the greatest values where `greatest` is set.
fn reduce_vec4(value: vec4<f32>, lane: u32, fan: u32, greatest: bool) -> vec4<f32> {
  workgroupBarrier();
  vec4_slots[lane] = value;
  workgroupBarrier();
  if (lane < fan) {
    var part = value;
    for (var i = lane + fan; i < 256u; i += fan) { part = fold_vec4(part, vec4_slots[i], greatest); }
    vec4_slots[lane] = part;
  }
  workgroupBarrier();
  var total = vec4_slots[0];
  for (var i = 1u; i < fan; i++) { total = fold_vec4(total, vec4_slots[i], greatest); }
  return total;
}
