// quant/gptq-block: one block of GPTQ's column loop (numerics: c_j = w_j + (T_j + Σ_{i<j} E_i·L[j,i]) / L[j,j],
// Q_j = grid(c_j), E_j = w_j − Q_j); rows are independent.
// Dims: N rows, n ≤ 128 columns of the block, G groups.
// Bindings: 1 w f32 view [N, n]; 2 carried f32 view [N, n], T on entry and E on exit (a binding of its own for E would be
// the ninth); 3 l f32 view [n, n], lower triangle; 4 group_of u32 [K]; 5 scales and 6 zeros f32 [N, G]; 7 codes u8 view
// [N, n] out, four to a word; 8 losses f32 [N], Σ (L[j,j]·(c_j − Q_j))² is added.
// Accumulation: f32. 8 rows a workgroup, 32 lanes a row: each step all lanes of a row decide the same code, then spread
// its error over the columns to the right. With ROW_PER_LANE a lane does a whole row alone without barriers, which
// software adapters run faster.
//#flag ROW_PER_LANE: one lane a row, 64 rows a workgroup
//#include common/index.wgsl
//#include common/grid.wgsl
struct Params {
  rows: u32,
  cols: u32,
  groups: u32,
  first_column: u32,
  w_offset: u32, w_stride: u32,
  carried_offset: u32, carried_stride: u32,
  l_offset: u32, l_stride: u32,
  codes_offset: u32, codes_stride: u32,
  top: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> carried: array<f32>;
@group(0) @binding(3) var<storage, read> l: array<f32>;
@group(0) @binding(4) var<storage, read> group_of: array<u32>;
@group(0) @binding(5) var<storage, read> scales: array<f32>;
@group(0) @binding(6) var<storage, read> zeros: array<f32>;
@group(0) @binding(7) var<storage, read_write> codes: array<u32>;
@group(0) @binding(8) var<storage, read_write> losses: array<f32>;

// One row's grid, fetched again only where the group changes.
struct Grid {
  group: u32,
  scale: f32,
  zero: f32,
}

fn grid_of(row: u32, group: u32, known: Grid) -> Grid {
  if (group == known.group) { return known; }
  let at = row * params.groups + group;
  return Grid(group, scales[at], zeros[at]);
}

//#if ROW_PER_LANE
var<private> errors: array<f32, 128>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = flat_group(group, groups) * 64u + lane;
  if (row >= params.rows) { return; }
  let carried_row = params.carried_offset + row * params.carried_stride;
  var grid = Grid(0xffffffffu, 1.0, 0.0);
  var loss = 0.0;
  var word = 0u;
  for (var j = 0u; j < params.cols; j++) {
    let line = params.l_offset + j * params.l_stride;
    var sum = 0.0;
    for (var i = 0u; i < j; i++) { sum += errors[i] * l[line + i]; }
    let pivot = l[line + j];
    let original = w[params.w_offset + row * params.w_stride + j];
    let wanted = original + (carried[carried_row + j] + sum) / pivot;
    grid = grid_of(row, group_of[params.first_column + j], grid);
    let code = grid_code(wanted, grid.scale, grid.zero, params.top);
    let value = grid_value(code, grid.scale, grid.zero);
    let miss = pivot * (wanted - value);
    loss += miss * miss;
    errors[j] = original - value;
    carried[carried_row + j] = original - value;
    word |= u32(code) << (j % 4u * 8u);
    if (j % 4u == 3u) {
      codes[(params.codes_offset + row * params.codes_stride + j) / 4u] = word;
      word = 0u;
    }
  }
  losses[row] += loss;
}
//#else
var<workgroup> original: array<f32, 1024>; // [8, 128]
var<workgroup> pending: array<f32, 1024>; // [8, 128]: T and in-block sums; E where a column is done
var<workgroup> pivots: array<f32, 128>;
var<workgroup> group_ids: array<u32, 128>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = flat_group(group, groups) * 8u + lane / 32u;
  let member = lane % 32u;
  let slot = lane / 32u * 128u;
  let live = row < params.rows;
  let carried_row = params.carried_offset + row * params.carried_stride;
  for (var j = member; live && j < params.cols; j += 32u) {
    original[slot + j] = w[params.w_offset + row * params.w_stride + j];
    pending[slot + j] = carried[carried_row + j];
  }
  if (lane < params.cols) {
    pivots[lane] = l[params.l_offset + lane * (params.l_stride + 1u)];
    group_ids[lane] = group_of[params.first_column + lane];
  }
  workgroupBarrier();
  var grid = Grid(0xffffffffu, 1.0, 0.0);
  var loss = 0.0;
  var word = 0u;
  for (var j = 0u; j < params.cols; j++) {
    let wanted = original[slot + j] + pending[slot + j] / pivots[j];
    grid = grid_of(min(row, params.rows - 1u), group_ids[j], grid);
    let code = grid_code(wanted, grid.scale, grid.zero, params.top);
    let value = grid_value(code, grid.scale, grid.zero);
    let miss = pivots[j] * (wanted - value);
    loss += miss * miss;
    let e = original[slot + j] - value;
    for (var i = j + 1u + member; i < params.cols; i += 32u) {
      pending[slot + i] += e * l[params.l_offset + i * params.l_stride + j];
    }
    word |= u32(code) << (j % 4u * 8u);
    if (j % 4u == 3u) {
      if (live && member == 0u) { codes[(params.codes_offset + row * params.codes_stride + j) / 4u] = word; }
      word = 0u;
    }
    // Everyone has read column j and the next one is complete.
    workgroupBarrier();
    if (member == 0u) { pending[slot + j] = e; }
  }
  workgroupBarrier();
  for (var j = member; live && j < params.cols; j += 32u) {
    carried[carried_row + j] = pending[slot + j];
  }
  if (live && member == 0u) { losses[row] += loss; }
}
//#endif
