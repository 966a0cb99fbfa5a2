// quant/group-fit: scale and zero of each group of g columns of each row for the rules signed (zero = half the codes) and
// min (zero = −min/scale), scales and mins float16 values; plain, or with SEARCH fitted to least Σ cost·Δ².
// Dims: N rows, groups_here groups of g columns in w, G columns of scales and zeros.
// Bindings: 1 w f32 view [N, groups_here·g]; 2 scales and 3 zeros f32 [N, G] out, columns first_group …; with COSTS
// 4 costs f32 [K], column j of w is entry first_column + j. TEAM lanes share the trials of a group. Accumulation: f32.
//#flag SEARCH: least-squares trials instead of the plain rule
//#flag COSTS: an error costs costs[column] instead of 1
//#include common/index.wgsl
//#include common/dtype.wgsl
//#include common/fit-grid.wgsl
struct Params {
  rows: u32,
  groups_here: u32,
  group_size: u32,
  groups: u32,
  first_group: u32,
  first_column: u32,
  w_offset: u32, w_stride: u32,
  with_min: u32, // 1 for the rule min
  top: f32, // 2^bits − 1
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> scales: array<f32>;
@group(0) @binding(3) var<storage, read_write> zeros: array<f32>;
//#if COSTS
@group(0) @binding(4) var<storage, read> costs: array<f32>;
//#endif
override TEAM: u32 = 8u; // power of two, at most 64

var<workgroup> fits: array<vec2<f32>, 64>;
var<private> run_start: u32;
var<private> cost_start: u32;

fn fit_value(i: u32) -> f32 {
  return w[run_start + i];
}

fn fit_cost(i: u32) -> f32 {
  //#if COSTS
  return costs[cost_start + i];
  //#else
  return 1.0;
  //#endif
}

// As the file will hold it.
fn storable(scale: f32, least: f32) -> vec2<f32> {
  return vec2(half_multiple(scale), round_to_f16(least));
}

fn plain(e: Extent) -> vec2<f32> {
  if (params.with_min == 1u) { return storable((e.high - e.low) / params.top, e.low); }
  return storable(select(-e.extreme, 1.0, e.extreme == 0.0) * 2.0 / (params.top + 1.0), 0.0);
}

//#if SEARCH
fn candidate(t: u32, half: f32, e: Extent) -> Fit {
  if (params.with_min == 1u) { return line_trial(t, params.top, false, e, params.group_size); }
  return scale_trial(t, half, e.extreme, params.group_size);
}

// The plain rule and the trials from the second on.
fn search(e: Extent, lane: u32) -> vec2<f32> {
  let member = lane % TEAM;
  let half = (params.top + 1.0) * 0.5;
  let lowest = select(-half, 0.0, params.with_min == 1u);
  var least = WORST;
  var best = plain(e);
  var chosen = member;
  for (var t = member; t < TRIALS; t += TEAM) {
    let fit = candidate(t, half, e);
    let known = t == 0u || fit.known;
    let line = select(storable(fit.scale, fit.min), plain(e), t == 0u);
    let error = select(WORST, line_error(line.x, line.y, lowest, params.top, params.group_size), known);
    if (error < least) {
      least = error;
      best = line;
      chosen = t;
    }
  }
  fits[lane] = best;
  let winner = best_of_team(lane, TEAM, least, chosen);
  return fits[lane - member + winner % TEAM];
}
//#endif

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let team = flat_group(group, groups) * (64u / TEAM) + lane / TEAM;
  let live = team < params.rows * params.groups_here;
  let row = select(0u, team / params.groups_here, live);
  let column = team % params.groups_here;
  run_start = params.w_offset + row * params.w_stride + column * params.group_size;
  cost_start = params.first_column + column * params.group_size;
  let extent = extent_of(params.group_size);
  //#if SEARCH
  let line = search(extent, lane);
  //#else
  let line = plain(extent);
  //#endif
  if (!live || lane % TEAM != 0u) { return; }
  let at = row * params.groups + params.first_group + column;
  scales[at] = line.x;
  zeros[at] = select((params.top + 1.0) * 0.5, -line.y / line.x, params.with_min == 1u);
}
