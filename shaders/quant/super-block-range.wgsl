// quant/super-block-range: scales and minima of llama.cpp's super-blocks of 256 columns: q4_k (8 sub-blocks, 6-bit
// multiples of d and dmin) or, with SIX_BIT, q6_k (16 sub-blocks, 8-bit multiples of d, zero 32).
// Dims: N rows, blocks_here super-blocks in w; G sub-blocks and G/SUBS super-blocks a row of the outputs.
// Bindings: 1 w f32 view [N, blocks_here·256]; 2 scales and 3 zeros f32 [N, G] out, effective; 4 blocks f32
// [N, 2·G/SUBS] out, d and dmin, from first_block on; with COSTS 5 costs f32 [K], column j of w is entry
// first_column + j. One workgroup a super-block, its lanes in teams, one a sub-block. Accumulation: f32.
//#flag SIX_BIT: q6_k instead of q4_k
//#flag COSTS: an error costs costs[column] instead of what the weights' own size says
//#include common/index.wgsl
//#include common/dtype.wgsl
//#include common/fit-grid.wgsl
struct Params {
  rows: u32,
  blocks_here: u32,
  blocks: u32, // a row of the outputs
  first_block: u32,
  first_column: u32,
  w_offset: u32, w_stride: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> scales: array<f32>;
@group(0) @binding(3) var<storage, read_write> zeros: array<f32>;
@group(0) @binding(4) var<storage, read_write> blocks: array<f32>;
//#if COSTS
@group(0) @binding(5) var<storage, read> costs: array<f32>;
//#endif
//#if SIX_BIT
const SUBS = 16u;
const CHOICES = 5u;
const TOP = 63.0;
const LOWEST = -32.0;
//#else
const SUBS = 8u;
const CHOICES = 25u;
const TOP = 15.0;
const LOWEST = 0.0;
//#endif
const TEAM = 64u / SUBS;
const SIZE = 256u / SUBS;

var<workgroup> values: array<f32, 256>;
var<workgroup> prices: array<f32, 256>;
var<workgroup> fits: array<vec2<f32>, 64>; // scale and depth (−min)
var<private> run_start: u32;

fn fit_value(i: u32) -> f32 {
  return values[run_start + i];
}

fn fit_cost(i: u32) -> f32 {
  return prices[run_start + i];
}

fn trial(t: u32, e: Extent) -> Fit {
  if (SUBS == 16u) { return scale_trial(t, 32.0, e.extreme, SIZE); }
  return line_trial(t, TOP, true, e, SIZE);
}

// d and dmin from the fits of all sub-blocks.
fn steps_of_block() -> vec2<f32> {
  var most = vec2(0.0);
  for (var sub = 0u; sub < SUBS; sub++) {
    let fit = fits[sub * TEAM];
    if (abs(fit.x) > abs(most.x)) { most.x = fit.x; }
    most.y = max(most.y, fit.y);
  }
  if (SUBS == 16u) { return vec2(half_multiple(most.x / -128.0), 0.0); }
  return vec2(half_multiple(most.x / 63.0), select(0.0, half_multiple(most.y / 63.0), most.y > 0.0));
}

// Scale and minimum of a choice of multiples near the fit.
fn grid_choice(choice: u32, fit: vec2<f32>, steps: vec2<f32>) -> vec2<f32> {
  if (SUBS == 16u) {
    let multiple = clamp(round(fit.x / steps.x) + f32(choice) - 2.0, -128.0, 127.0);
    return vec2(steps.x * select(multiple, 1.0, multiple == 0.0), 0.0);
  }
  let near = select(0.0, round(fit.y / steps.y), steps.y > 0.0);
  let scale = steps.x * clamp(round(fit.x / steps.x) + f32(choice / 5u) - 2.0, 1.0, 63.0);
  return vec2(scale, -steps.y * clamp(near + f32(choice % 5u) - 2.0, 0.0, 63.0));
}

fn error_of(line: vec2<f32>) -> f32 {
  return line_error(line.x, line.y, LOWEST, TOP, SIZE);
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = flat_group(group, groups);
  let live = index < params.rows * params.blocks_here;
  let row = select(0u, index / params.blocks_here, live);
  let block = index % params.blocks_here;
  let member = lane % TEAM;
  let sub = lane / TEAM;
  let first = params.w_offset + row * params.w_stride + block * 256u;
  for (var i = lane; i < 256u; i += 64u) { values[i] = w[first + i]; }
  workgroupBarrier();
  run_start = sub * SIZE;
  var squares = 0.0;
  for (var i = 0u; i < SIZE; i++) { squares += fit_value(i) * fit_value(i); }
  let rms = sqrt(squares / f32(SIZE));
  for (var i = run_start + member; i < run_start + SIZE; i += TEAM) {
    //#if COSTS
    prices[i] = costs[params.first_column + block * 256u + i];
    //#else
    prices[i] = select(rms + abs(values[i]), values[i] * values[i], SUBS == 16u);
    //#endif
  }
  workgroupBarrier();

  let extent = extent_of(SIZE);
  var best = vec2(0.0, min(extent.low, 0.0)); // of a run without spread, the minimum alone
  var least = WORST;
  var chosen = member;
  for (var t = member; t < TRIALS; t += TEAM) {
    let found = trial(t, extent);
    let error = select(WORST, error_of(vec2(found.scale, found.min)), found.known);
    if (error < least) {
      least = error;
      best = vec2(found.scale, found.min);
      chosen = t;
    }
  }
  let winner = best_of_team(lane, TEAM, least, chosen);
  if (winner == chosen) { fits[lane - member] = vec2(best.x, -best.y); }
  workgroupBarrier();

  let fit = fits[lane - member];
  let steps = steps_of_block();
  least = WORST;
  chosen = member;
  for (var c = member; c < CHOICES; c += TEAM) {
    let error = error_of(grid_choice(c, fit, steps));
    if (error < least) { least = error; chosen = c; }
  }
  let line = grid_choice(best_of_team(lane, TEAM, least, chosen), fit, steps);
  if (!live || member != 0u) { return; }
  let out_block = row * params.blocks + params.first_block + block;
  scales[out_block * SUBS + sub] = line.x;
  zeros[out_block * SUBS + sub] = select(-line.y / line.x, 32.0, SUBS == 16u);
  if (sub == 0u) {
    blocks[out_block * 2u] = steps.x;
    blocks[out_block * 2u + 1u] = steps.y;
  }
}
