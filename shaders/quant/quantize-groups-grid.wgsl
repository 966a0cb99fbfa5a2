// quant/quantize-groups-grid: scale and zero of each group from its range, and the rows that hold NaN or infinity.
// Dims: N rows, K columns in G groups of g.
// Bindings: 1 w view [N, K], f32, or f16 or bf16 two to a word; 2 scales and 3 zeros f32 [N, G] out; 4 non_finite u32 [N],
// 0 on entry, 1 on exit where the row holds NaN or infinity. TEAM lanes share a group. Accumulation: none.
//#include common/index.wgsl
//#include common/dtype.wgsl
//#include common/element.wgsl
//#include common/grid.wgsl
struct Params {
  rows: u32,
  groups_here: u32,
  group_size: u32,
  w_offset: u32, w_stride: u32,
  rule: u32, // 0 symmetric, 1 asymmetric, 2 signed, 3 min
  min_zero: f32,
  top: f32, // 2^bits − 1
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> w: array<u32>;
@group(0) @binding(2) var<storage, read_write> scales: array<f32>;
@group(0) @binding(3) var<storage, read_write> zeros: array<f32>;
@group(0) @binding(4) var<storage, read_write> non_finite: array<atomic<u32>>;
override TEAM: u32 = 16u; // power of two, at most 64

var<workgroup> lows: array<f32, 64>;
var<workgroup> highs: array<f32, 64>;

struct Grid {
  scale: f32,
  zero: f32,
}

fn weight(index: u32) -> f32 {
  return element_of(w[element_word(index)], index);
}

// float16 has no scale below 2⁻²⁴, and infinity is no scale.
fn grid_scale(extent: f32, steps: f32) -> f32 {
  let scale = clamp(round_to_f16(abs(extent) / steps), 5.9604644775390625e-8, 65504.0);
  return select(scale, -scale, extent < 0.0);
}

// The first of the weights of largest magnitude.
fn extreme_of(low: f32, high: f32, first: u32) -> f32 {
  if (high > -low) { return high; }
  if (high < -low) { return low; }
  for (var j = 0u; j < params.group_size; j++) {
    let value = weight(first + j);
    if (abs(value) == high) { return value; }
  }
  return high;
}

fn make_grid(least: f32, greatest: f32, first: u32) -> Grid {
  let half = (params.top + 1.0) * 0.5;
  if (params.rule == 3u) {
    let scale = grid_scale(greatest - least, params.top);
    return Grid(scale, -round_to_f16(least) / scale);
  }
  if (params.rule == 2u) {
    let extreme = extreme_of(least, greatest, first);
    return Grid(grid_scale(select(-extreme, 1.0, extreme == 0.0), half), half);
  }
  let none = least == 0.0 && greatest == 0.0; // GPTQ's rule for a group of zeros
  let low = select(min(least, 0.0), -1.0, none);
  let high = select(max(greatest, 0.0), 1.0, none);
  if (params.rule == 0u) { return Grid(grid_scale(2.0 * max(-low, high), params.top), half); }
  let scale = grid_scale(high - low, params.top);
  let zero = min(round_ratio(-low, scale), params.top);
  if (zero >= params.min_zero) { return Grid(scale, zero); }
  return Grid(grid_scale(high, params.top - params.min_zero), params.min_zero);
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let team = flat_group(group, groups) * (64u / TEAM) + lane / TEAM;
  let member = lane % TEAM;
  let live = team < params.rows * params.groups_here;
  let row = select(0u, team / params.groups_here, live);
  let column = team % params.groups_here;
  let first = params.w_offset + row * params.w_stride + column * params.group_size;
  var low = weight(first);
  var high = low;
  var bad = false;
  for (var j = member; j < params.group_size; j += TEAM) {
    let value = weight(first + j);
    bad = bad || (bitcast<u32>(value) & 0x7f800000u) == 0x7f800000u;
    low = min(low, value);
    high = max(high, value);
  }
  if (live && bad) { atomicStore(&non_finite[row], 1u); }
  lows[lane] = low;
  highs[lane] = high;
  for (var half = TEAM / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (member < half) {
      lows[lane] = min(lows[lane], lows[lane + half]);
      highs[lane] = max(highs[lane], highs[lane + half]);
    }
  }
  workgroupBarrier();
  if (live && member == 0u) {
    let grid = make_grid(lows[lane], highs[lane], first);
    scales[team] = grid.scale;
    zeros[team] = grid.zero;
  }
}
