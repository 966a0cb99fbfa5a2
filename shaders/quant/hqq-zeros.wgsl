// quant/hqq-zeros: zeros of less |w − Q| for each group of g columns of each row, by half-quadratic splitting.
// Dims: N rows, groups_here groups of g columns in w, G columns of scales and zeros.
// Bindings: 1 w f32 view [N, groups_here·g]; 2 scales f32 [N, G]; 3 zeros f32 [N, G] in and out, columns first_group ….
// One lane fits one group. Accumulation: f32, in chunks of 64 terms.
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
  integer_zero: u32,
  top: f32, // 2^bits − 1
  beta: f32,
  kappa: f32,
  power: f32, // norm − 1
  rounds: u32,
  largest_zero: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> scales: array<f32>;
@group(0) @binding(3) var<storage, read_write> zeros: array<f32>;

struct Round {
  error: f32,
  next: f32,
}

fn one_round(first: u32, scale: f32, zero: f32, beta: f32) -> Round {
  var error = 0.0;
  var sum = 0.0;
  for (var chunk = 0u; chunk < params.group_size; chunk += 64u) {
    var part = Round(0.0, 0.0);
    for (var j = chunk; j < min(chunk + 64u, params.group_size); j++) {
      let value = w[first + j];
      let code = grid_code(value, scale, zero, params.top);
      let rest = value - grid_value(code, scale, zero);
      let size = abs(rest);
      part.error += size;
      let shrunk = max(size - pow(max(size, 1e-30), params.power) / beta, 0.0);
      part.next += code - (value - sign(rest) * shrunk) / scale;
    }
    error += part.error;
    sum += part.next;
  }
  return Round(error, sum / f32(params.group_size));
}

fn storable(scale: f32, zero: f32) -> f32 {
  if (params.integer_zero == 1u) { return clamp(round(zero), 0.0, params.top); }
  return -round_to_f16(-scale * zero) / scale;
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = flat_group(group, groups) * 64u + lane;
  let row = index / params.groups_here;
  if (row >= params.rows) { return; }
  let here = index % params.groups_here;
  let at = row * params.groups + params.first_group + here;
  let first = params.w_offset + row * params.w_stride + here * params.group_size;
  let scale = scales[at];
  let start = zeros[at];
  if (abs(start) > params.largest_zero) { return; }
  var beta = params.beta;
  var zero = start;
  var best = start;
  var least = 3.4e38;
  for (var i = 0u; i < params.rounds; i++) {
    let found = one_round(first, scale, zero, beta);
    if (!(found.error < least)) { break; }
    least = found.error;
    best = zero;
    zero = found.next;
    beta *= params.kappa;
  }
  let kept = storable(scale, best);
  let before = one_round(first, scale, start, beta).error;
  if (one_round(first, scale, kept, beta).error < before) { zeros[at] = kept; }
}
