// common/index: one linear workgroup index out of a dispatch that the host folded into x and y
// (65,535 groups per dimension). Groups past the asked number exist when the folding is ragged: compare with the
// count in Params and return.
fn flat_group(group: vec3<u32>, groups: vec3<u32>) -> u32 {
  return group.x + group.y * groups.x;
}
