// quant/group-range: scale and zero of each group of g columns of each row; scales are float16 values, ranges hold 0.
// Dims: N rows, groups_here groups of g columns in w, G columns of scales and zeros.
// Bindings: 1 w f32 view [N, groups_here·g]; 2 scales and 3 zeros f32 [N, G] out, columns first_group ….
// TEAM lanes share a group. With SEARCH they also share GPTQ's 80 shrink factors 1 − i/100 and keep the one of least
// Σ|w − Q|^2.4, the first of equals; the sum is carried in units of the range, in chunks of 64 terms. Accumulation: f32.
//#flag SEARCH: mse range search instead of min-max
//#include common/index.wgsl
//#include common/dtype.wgsl
//#include common/grid.wgsl
struct Params {
  rows: u32,
  groups_here: u32,
  group_size: u32,
  groups: u32,
  first_group: u32,
  w_offset: u32, w_stride: u32,
  symmetric: u32,
  min_zero: f32,
  top: f32, // 2^bits − 1
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> scales: array<f32>;
@group(0) @binding(3) var<storage, read_write> zeros: array<f32>;
override TEAM: u32 = 16u; // power of two, at most 64
const CANDIDATES = 80u;

var<workgroup> lows: array<f32, 64>;
var<workgroup> highs: array<f32, 64>;

struct Grid {
  scale: f32,
  zero: f32,
}

// float16 has no scale below 2⁻²⁴, and infinity is no scale.
fn grid_scale(extent: f32, steps: f32) -> f32 {
  return clamp(round_to_f16(extent / steps), 5.9604644775390625e-8, 65504.0);
}

fn make_grid(low: f32, high: f32) -> Grid {
  if (params.symmetric == 1u) {
    return Grid(grid_scale(2.0 * max(-low, high), params.top), (params.top + 1.0) * 0.5);
  }
  let scale = grid_scale(high - low, params.top);
  let zero = min(round_ratio(-low, scale), params.top);
  if (zero >= params.min_zero) { return Grid(scale, zero); }
  return Grid(grid_scale(high, params.top - params.min_zero), params.min_zero);
}

//#if SEARCH
// |Δ|^2.4 as Δ²·|Δ|^0.4, which asks less of log2 and exp2.
fn cost(delta: f32) -> f32 {
  let size = abs(delta);
  if (size == 0.0) { return 0.0; }
  return size * size * exp2(0.4 * log2(size));
}

fn grid_cost(grid: Grid, first: u32, unit: f32) -> f32 {
  var sum = 0.0;
  for (var chunk = 0u; chunk < params.group_size; chunk += 64u) {
    var part = 0.0;
    for (var j = chunk; j < min(chunk + 64u, params.group_size); j++) {
      let value = w[first + j];
      let code = grid_code(value, grid.scale, grid.zero, params.top);
      part += cost((value - grid_value(code, grid.scale, grid.zero)) * unit);
    }
    sum += part;
  }
  return sum;
}

fn search(low: f32, high: f32, first: u32, lane: u32) -> Grid {
  let member = lane % TEAM;
  var best = 3.4e38;
  var chosen = member;
  for (var i = member; i < CANDIDATES; i += TEAM) {
    let share = 1.0 - f32(i) / 100.0;
    let found = grid_cost(make_grid(low * share, high * share), first, 1.0 / (high - low));
    if (found < best) { best = found; chosen = i; }
  }
  workgroupBarrier();
  lows[lane] = best;
  highs[lane] = f32(chosen);
  for (var half = TEAM / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (member < half) {
      let other = lane + half;
      if (lows[other] < lows[lane] || (lows[other] == lows[lane] && highs[other] < highs[lane])) {
        lows[lane] = lows[other];
        highs[lane] = highs[other];
      }
    }
  }
  workgroupBarrier();
  let share = 1.0 - highs[lane - member] / 100.0;
  return make_grid(low * share, high * share);
}
//#endif

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
  var low = 0.0;
  var high = 0.0;
  for (var j = member; j < params.group_size; j += TEAM) {
    low = min(low, w[first + j]);
    high = max(high, w[first + j]);
  }
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
  low = lows[lane - member];
  high = highs[lane - member];
  if (low == 0.0 && high == 0.0) { // GPTQ's rule for a group of zeros
    low = -1.0;
    high = 1.0;
  }
  //#if SEARCH
  let grid = search(low, high, first, lane);
  //#else
  let grid = make_grid(low, high);
  //#endif
  if (live && member == 0u) {
    let at = row * params.groups + params.first_group + column;
    scales[at] = grid.scale;
    zeros[at] = grid.zero;
  }
}
