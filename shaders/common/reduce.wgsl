// common/reduce: reductions over a workgroup of 256 invocations in one dimension (@workgroup_size(256)). Every
// invocation must call; every one gets the result; the order of additions is fixed, so results repeat bit for bit.
// With SUBGROUPS the kernel's first line is "enable subgroups;" under the same flag. Subgroups are taken to be runs of
// consecutive invocations of equal size, which the engine's self-check proves on the device before it is trusted.
//#flag SUBGROUPS: reduce inside subgroups first, two barriers instead of nine
var<workgroup> reduce_slots: array<f32, 256>;

//#if SUBGROUPS
fn reduce_sum(value: f32, lane: u32) -> f32 {
  let size = subgroupAdd(1u);
  let part = subgroupAdd(value);
  workgroupBarrier();
  if (subgroupElect()) { reduce_slots[lane / size] = part; }
  workgroupBarrier();
  var total = 0.0;
  for (var i = 0u; i < 256u / size; i++) { total += reduce_slots[i]; }
  return total;
}

fn reduce_max(value: f32, lane: u32) -> f32 {
  let size = subgroupAdd(1u);
  let part = subgroupMax(value);
  workgroupBarrier();
  if (subgroupElect()) { reduce_slots[lane / size] = part; }
  workgroupBarrier();
  var top = reduce_slots[0];
  for (var i = 1u; i < 256u / size; i++) { top = max(top, reduce_slots[i]); }
  return top;
}
//#else
fn reduce_sum(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  reduce_slots[lane] = value;
  workgroupBarrier();
  for (var half = 128u; half > 0u; half >>= 1u) {
    if (lane < half) { reduce_slots[lane] += reduce_slots[lane + half]; }
    workgroupBarrier();
  }
  return reduce_slots[0];
}

fn reduce_max(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  reduce_slots[lane] = value;
  workgroupBarrier();
  for (var half = 128u; half > 0u; half >>= 1u) {
    if (lane < half) { reduce_slots[lane] = max(reduce_slots[lane], reduce_slots[lane + half]); }
    workgroupBarrier();
  }
  return reduce_slots[0];
}
//#endif
