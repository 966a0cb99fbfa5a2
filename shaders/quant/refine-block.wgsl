// quant/refine-block: one block of a refinement sweep: for j in order c = Q_j + G_j/H[j,j], n = grid(c), δ = n − Q_j;
// D_j −= δ, G_i −= δ·H[j,i] for i > j, code_j = n. A column whose H[j,j] is not positive is left alone.
// Dims: N rows (independent), n ≤ 128 columns of the block, G groups.
// Bindings: 1 gradient f32 view [N, n] in and out; 2 h f32 view [n, n], strict upper triangle; 3 diagonal f32 [K];
// 4 group_of u32 [K], column j is entry first_column + j; 5 scales and 6 zeros f32 [N, G]; 7 error f32 view [N, n],
// D in and out; 8 codes u8 view [N, n] in and out, four to a word. Q_j is taken from the code, so w is not needed.
// Accumulation: f32. 8 rows a workgroup, 32 lanes a row: all lanes of a row decide the same code, then spread its
// change. With ROW_PER_LANE a lane does a whole row alone without barriers, which software adapters run faster.
//#flag ROW_PER_LANE: one lane a row, 64 rows a workgroup
//#include common/index.wgsl
//#include common/grid.wgsl
struct Params {
  rows: u32,
  cols: u32,
  groups: u32,
  first_column: u32,
  gradient_offset: u32, gradient_stride: u32,
  h_offset: u32, h_stride: u32,
  error_offset: u32, error_stride: u32,
  codes_offset: u32, codes_stride: u32,
  top: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> gradient: array<f32>;
@group(0) @binding(2) var<storage, read> h: array<f32>;
@group(0) @binding(3) var<storage, read> diagonal: array<f32>;
@group(0) @binding(4) var<storage, read> group_of: array<u32>;
@group(0) @binding(5) var<storage, read> scales: array<f32>;
@group(0) @binding(6) var<storage, read> zeros: array<f32>;
@group(0) @binding(7) var<storage, read_write> error: array<f32>;
@group(0) @binding(8) var<storage, read_write> codes: array<u32>;

//#if ROW_PER_LANE
const ROWS = 64u;
const TEAM = 1u;
var<private> pending: array<f32, 128>; // G of the row
//#else
const ROWS = 8u;
const TEAM = 32u;
var<workgroup> pending: array<f32, 1024>; // [8, 128]: G of each row
//#endif

// The code that column j of the row should have instead of `code`.
fn better_code(row: u32, j: u32, code: f32, slope: f32) -> vec2<f32> {
  let curvature = diagonal[params.first_column + j];
  let at = row * params.groups + group_of[params.first_column + j];
  let scale = scales[at];
  let wanted = grid_value(code, scale, zeros[at]) + slope / curvature;
  let found = select(code, grid_code(wanted, scale, zeros[at], params.top), curvature > 0.0);
  return vec2(found, scale);
}

@compute @workgroup_size(ROWS * TEAM)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let own_row = flat_group(group, groups) * ROWS + lane / TEAM;
  let live = own_row < params.rows;
  let row = min(own_row, params.rows - 1u); // a row past the end follows the last one and writes nothing
  let member = lane % TEAM;
  let leads = live && member == 0u;
  let gradient_row = params.gradient_offset + row * params.gradient_stride;
  let error_row = params.error_offset + row * params.error_stride;
  let codes_row = (params.codes_offset + row * params.codes_stride) / 4u;
  //#if ROW_PER_LANE
  if (!live) { return; }
  let slot = 0u;
  //#else
  let slot = lane / TEAM * 128u;
  //#endif
  for (var j = member; j < params.cols; j += TEAM) { pending[slot + j] = gradient[gradient_row + j]; }
  var word = 0u;
  for (var j = 0u; j < params.cols; j++) {
    //#if !ROW_PER_LANE
    workgroupBarrier(); // column j is complete
    //#endif
    let bit = j % 4u * 8u;
    if (bit == 0u) { word = codes[codes_row + j / 4u]; }
    let code = f32((word >> bit) & 0xffu);
    let better = better_code(row, j, code, pending[slot + j]);
    if (better.x != code) {
      let change = better.y * (better.x - code);
      let line = params.h_offset + j * params.h_stride;
      for (var i = j + 1u + member; i < params.cols; i += TEAM) { pending[slot + i] -= change * h[line + i]; }
      if (leads) { error[error_row + j] -= change; }
      word = (word & ~(0xffu << bit)) | (u32(better.x) << bit);
    }
    if (bit == 24u && leads) { codes[codes_row + j / 4u] = word; }
  }
  //#if !ROW_PER_LANE
  workgroupBarrier();
  //#endif
  for (var j = member; live && j < params.cols; j += TEAM) { gradient[gradient_row + j] = pending[slot + j]; }
}
