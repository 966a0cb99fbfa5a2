// common/triangle: whether an element of a result is wanted when only one triangle of it is written.
// The kernel's Params has triangle: u32 (0 everything, 1 upper: row + row_offset ≤ col, 2 lower: row + row_offset ≥ col)
// and row_offset: i32. Numbers and not flags, because each text variant costs a compilation.
fn in_triangle(row: u32, col: u32) -> bool {
  let ahead = i32(col) - i32(row) - params.row_offset;
  return params.triangle == 0u || (params.triangle == 1u && ahead >= 0) || (params.triangle == 2u && ahead <= 0);
}
