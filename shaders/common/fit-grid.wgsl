// common/fit-grid: least-squares trials of a grid on a run of weights (numbers as in src/cpu/quant/fit-grid.ts): a trial
// rounds with one step size, and its codes tell the scale (and minimum) of least Σ cost·Δ². Teams of lanes share trials.
// The including shader has fit_value(i) and fit_cost(i), i counted from the start of the run. Accumulation: f32.
// Needs common/dtype.
const TRIALS = 24u;
const OWN_SIGN_TRIALS = 16u;
const TRIAL_STEP = 0.125;
const TRIAL_START = 0.0625; // keeps the outermost weight off the middle between two codes
const SAME_CODES = 1e-5;
const WORST = 3.4e38;

struct Fit {
  scale: f32,
  min: f32,
  known: bool, // false where the trial says nothing
}

// Of a run: the first value of largest magnitude, least and largest, Σ cost, cost-weighted mean.
struct Extent {
  extreme: f32,
  low: f32,
  high: f32,
  weight: f32,
  mean: f32,
}

fn extent_of(count: u32) -> Extent {
  let first = fit_value(0u);
  var e = Extent(first, first, first, 0.0, 0.0);
  for (var i = 0u; i < count; i++) {
    let value = fit_value(i);
    let cost = fit_cost(i);
    if (abs(value) > abs(e.extreme)) { e.extreme = value; }
    e.low = min(e.low, value);
    e.high = max(e.high, value);
    e.weight += cost;
    e.mean += cost * value;
  }
  e.mean /= e.weight;
  return e;
}

// The float16 nearest to `value`, but neither 0 nor infinite.
fn half_multiple(value: f32) -> f32 {
  let size = clamp(round_to_f16(abs(value)), 5.9604644775390625e-8, 65504.0);
  return select(size, -size, value < 0.0);
}

// value = scale·code, codes −half … half − 1.
fn scale_trial(t: u32, half: f32, extreme: f32, count: u32) -> Fit {
  var reach = 1.0 - half - TRIAL_START - TRIAL_STEP * f32(t);
  if (t >= OWN_SIGN_TRIALS) { reach = half - 1.5 + TRIAL_START + TRIAL_STEP * f32(t - OWN_SIGN_TRIALS); }
  let steps = reach / extreme;
  var xq = 0.0;
  var qq = 0.0;
  for (var i = 0u; i < count; i++) {
    let code = clamp(round(fit_value(i) * steps), -half, half - 1.0);
    xq += fit_cost(i) * fit_value(i) * code;
    qq += fit_cost(i) * code * code;
  }
  return Fit(xq / qq, 0.0, qq > 0.0 && extreme != 0.0);
}

// value = scale·code + min, codes 0 … top; with `below` min ≤ 0.
fn line_trial(t: u32, top: f32, below: bool, e: Extent, count: u32) -> Fit {
  let low = select(e.low, min(e.low, 0.0), below);
  let steps = (top - 1.0 + TRIAL_START + TRIAL_STEP * f32(t)) / (e.high - low);
  let centre = round((e.mean - low) * steps); // codes are counted from here, or their variance would drown in rounding
  var q = 0.0;
  var qq = 0.0;
  var xq = 0.0;
  for (var i = 0u; i < count; i++) {
    let code = min(round((fit_value(i) - low) * steps), top) - centre;
    q += fit_cost(i) * code;
    qq += fit_cost(i) * code * code;
    xq += fit_cost(i) * (fit_value(i) - e.mean) * code;
  }
  let spread = qq - q * q / e.weight;
  let apart = spread > SAME_CODES * e.weight;
  var scale = select(0.0, xq / spread, apart);
  var least = e.mean - scale * (q / e.weight + centre);
  if (below && (least > 0.0 || !apart)) {
    least = 0.0;
    scale = (xq + e.mean * (q + centre * e.weight)) / (qq + 2.0 * centre * q + centre * centre * e.weight);
  }
  return Fit(scale, least, scale > 0.0 && e.high > low && e.weight > 0.0);
}

// Σ cost·Δ² of rounding to value = scale·code + min, codes lowest … lowest + top.
fn line_error(scale: f32, least: f32, lowest: f32, top: f32, count: u32) -> f32 {
  let steps = 1.0 / scale;
  var sum = 0.0;
  for (var i = 0u; i < count; i++) {
    let value = fit_value(i) - least;
    let miss = value - scale * clamp(round(value * steps), lowest, lowest + top);
    sum += fit_cost(i) * miss * miss;
  }
  return sum;
}

var<workgroup> team_errors: array<f32, 64>;
var<workgroup> team_orders: array<u32, 64>;

// Of a team of lanes (a power of two), the order number with the least error, the first of equals. Lane `member` of a
// team takes orders member, member + team ….
fn best_of_team(lane: u32, team: u32, error: f32, order: u32) -> u32 {
  let member = lane % team;
  workgroupBarrier();
  team_errors[lane] = error;
  team_orders[lane] = order;
  for (var half = team / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (member < half) {
      let other = lane + half;
      let equal = team_errors[other] == team_errors[lane] && team_orders[other] < team_orders[lane];
      if (team_errors[other] < team_errors[lane] || equal) {
        team_errors[lane] = team_errors[other];
        team_orders[lane] = team_orders[other];
      }
    }
  }
  workgroupBarrier();
  return team_orders[lane - member];
}
