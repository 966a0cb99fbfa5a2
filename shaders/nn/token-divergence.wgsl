// nn/token-divergence: P = softmax(reference), Q = softmax(logits) per row; stats gets KL(P‖Q) in nats, P[target],
// Q[target], and 1 where both have the same largest element (the first of equals) else 0.
// Dims: n token rows, V vocabulary (< 2²⁴, so that an index is exact in f32).
// Bindings: 1 reference f32 view [n, V]; 2 logits f32 view [n, V]; 3 targets u32 [n] < V; 4 stats f32 [n, 4].
// With d = (y − max y) − (x − max x) and its P-mean c, KL = ln Σ P·e^(d−c) = ln(1 + Σ P·φ(d − c)), φ(t) = e^t − 1 − t.
// Every term is ≥ 0 and nothing cancels, so nearly equal logits keep their relative accuracy; large divergences, where
// e^t could overflow, use −c − ln(Zx/Zy) instead. One workgroup a row, four passes. Accumulation: f32, then two levels of 16.
//#include common/index.wgsl
//#include common/reduce-vec4.wgsl
struct Params {
  rows: u32,
  vocab: u32,
  reference_offset: u32,
  reference_stride: u32,
  logits_offset: u32,
  logits_stride: u32,
  fan: u32, // 16, see common/reduce-vec4.wgsl
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> reference: array<f32>;
@group(0) @binding(2) var<storage, read> logits: array<f32>;
@group(0) @binding(3) var<storage, read> targets: array<u32>;
@group(0) @binding(4) var<storage, read_write> stats: array<f32>;

// The literal of the largest f32 overflows some parsers.
const LOWEST = -3.4e38;

// e^t − 1 − t; the direct form cancels below 1, the series' remainder there is under 1e-8 of the value.
fn excess(t: f32) -> f32 {
  if (abs(t) > 1.0) { return exp(t) - 1.0 - t; }
  var s = 1.0 + t * (1.0 / 11.0);
  for (var k = 10.0; k > 2.5; k -= 1.0) { s = 1.0 + t / k * s; }
  return 0.5 * t * t * s;
}

// ln(1 + a) for 0 ≤ a ≤ 1 as 2·artanh(a / (2 + a)): WGSL's log is only absolutely accurate near 1.
fn log_one_plus(a: f32) -> f32 {
  let z = a / (2.0 + a);
  let q = z * z;
  let series = 1.0 / 9.0 + q * (1.0 / 11.0 + q * (1.0 / 13.0 + q * (1.0 / 15.0)));
  return 2.0 * z * (1.0 + q * (1.0 / 3.0 + q * (1.0 / 5.0 + q * (1.0 / 7.0 + q * series))));
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = flat_group(group, groups);
  if (row >= params.rows) { return; }
  let x_from = params.reference_offset + row * params.reference_stride;
  let y_from = params.logits_offset + row * params.logits_stride;
  var own_top = vec4(LOWEST); // of reference and logits, with − their first index in z and w
  for (var j = lane; j < params.vocab; j += 256u) {
    let x = reference[x_from + j];
    let y = logits[y_from + j];
    if (x > own_top.x) { own_top = vec4(x, own_top.y, -f32(j), own_top.w); }
    if (y > own_top.y) { own_top = vec4(own_top.x, y, own_top.z, -f32(j)); }
  }
  let tops = reduce_vec4(own_top, lane, params.fan, true).xy;
  let candidates = select(vec2(LOWEST), own_top.zw, own_top.xy == tops);
  let indices = reduce_vec4(vec4(candidates, 0.0, 0.0), lane, params.fan, true).xy;
  let shift = tops.y - tops.x;
  var own_sums = vec4<f32>(); // Σ e^(x − top), Σ e^(y − top), Σ e^(x − top)·d
  for (var j = lane; j < params.vocab; j += 256u) {
    let x = reference[x_from + j];
    let y = logits[y_from + j];
    let weight = exp(x - tops.x);
    own_sums += vec4(weight, exp(y - tops.y), weight * (y - x - shift), 0.0);
  }
  let sums = reduce_vec4(own_sums, lane, params.fan, false);
  let centre = sums.z / sums.x;
  let direct = log(sums.y / sums.x) - centre;
  var own_excess = 0.0;
  for (var j = lane; j < params.vocab; j += 256u) {
    let x = reference[x_from + j];
    let t = logits[y_from + j] - x - shift - centre;
    // Where e^t overflows, e^(x − top) is so small that the product is still right when the exponents are added first.
    if (t > 20.0) { own_excess += exp(min(x - tops.x + t, 60.0)); }
    else { own_excess += exp(x - tops.x) * excess(t); }
  }
  let kl = log_one_plus(min(reduce_vec4(vec4(own_excess), lane, params.fan, false).x / sums.x, 1.0));
  if (lane == 0u) {
    let target_index = targets[row];
    stats[row * 4u] = select(kl, direct, direct > 0.5);
    stats[row * 4u + 1u] = exp(reference[x_from + target_index] - tops.x) / sums.x;
    stats[row * 4u + 2u] = exp(logits[y_from + target_index] - tops.y) / sums.y;
    stats[row * 4u + 3u] = select(0.0, 1.0, indices.x == indices.y);
  }
}
