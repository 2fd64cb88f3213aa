//! XFS: what the kernel counts of each mounted file system.

use crate::family::{Families, Family, label};
use crate::inputs::{Files, Inputs, SourceError};

/// What xfs reads.
pub const XFS: &[Files] = &[Files { folder: "/sys/fs/xfs/*", names: &["stats/stats"] }];

/// Metric, line of the file, place in it (https://xfs.org/index.php/Runtime_Stats).
const COUNTERS: [(&str, &str, usize); 39] = [
    ("node_xfs_extent_allocation_extents_allocated_total", "extent_alloc", 0),
    ("node_xfs_extent_allocation_blocks_allocated_total", "extent_alloc", 1),
    ("node_xfs_extent_allocation_extents_freed_total", "extent_alloc", 2),
    ("node_xfs_extent_allocation_blocks_freed_total", "extent_alloc", 3),
    ("node_xfs_allocation_btree_lookups_total", "abt", 0),
    ("node_xfs_allocation_btree_compares_total", "abt", 1),
    ("node_xfs_allocation_btree_records_inserted_total", "abt", 2),
    ("node_xfs_allocation_btree_records_deleted_total", "abt", 3),
    ("node_xfs_block_mapping_reads_total", "blk_map", 0),
    ("node_xfs_block_mapping_writes_total", "blk_map", 1),
    ("node_xfs_block_mapping_unmaps_total", "blk_map", 2),
    ("node_xfs_block_mapping_extent_list_insertions_total", "blk_map", 3),
    ("node_xfs_block_mapping_extent_list_deletions_total", "blk_map", 4),
    ("node_xfs_block_mapping_extent_list_lookups_total", "blk_map", 5),
    ("node_xfs_block_mapping_extent_list_compares_total", "blk_map", 6),
    ("node_xfs_block_map_btree_lookups_total", "bmbt", 0),
    ("node_xfs_block_map_btree_compares_total", "bmbt", 1),
    ("node_xfs_block_map_btree_records_inserted_total", "bmbt", 2),
    ("node_xfs_block_map_btree_records_deleted_total", "bmbt", 3),
    ("node_xfs_directory_operation_lookup_total", "dir", 0),
    ("node_xfs_directory_operation_create_total", "dir", 1),
    ("node_xfs_directory_operation_remove_total", "dir", 2),
    ("node_xfs_directory_operation_getdents_total", "dir", 3),
    ("node_xfs_inode_operation_attempts_total", "ig", 0),
    ("node_xfs_inode_operation_found_total", "ig", 1),
    ("node_xfs_inode_operation_recycled_total", "ig", 2),
    ("node_xfs_inode_operation_missed_total", "ig", 3),
    ("node_xfs_inode_operation_duplicates_total", "ig", 4),
    ("node_xfs_inode_operation_reclaims_total", "ig", 5),
    ("node_xfs_inode_operation_attribute_changes_total", "ig", 6),
    ("node_xfs_read_calls_total", "rw", 1),
    ("node_xfs_write_calls_total", "rw", 0),
    ("node_xfs_vnode_active_total", "vnodes", 0),
    ("node_xfs_vnode_allocate_total", "vnodes", 1),
    ("node_xfs_vnode_get_total", "vnodes", 2),
    ("node_xfs_vnode_hold_total", "vnodes", 3),
    ("node_xfs_vnode_release_total", "vnodes", 4),
    ("node_xfs_vnode_reclaim_total", "vnodes", 5),
    ("node_xfs_vnode_remove_total", "vnodes", 6),
];

/// `node_xfs_*`. Without such a file system there are none, and that is a success.
///
/// # Errors
/// None.
pub fn xfs(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let mut families = Families::default();
    for device in inputs.devices("/sys/fs/xfs/", "") {
        let Some(text) = device.text("stats/stats") else { continue };
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        for (name, wanted, place) in COUNTERS {
            let line = lines.iter().find(|words| words.first() == Some(&wanted));
            // An older kernel has fewer lines; the others' counters are then 0.
            let value = line.and_then(|words| words.get(place + 1)).and_then(|word| word.parse::<u64>().ok());
            let labels = vec![label("device", device.name)];
            families.counter(name, "Runtime statistic of XFS.", labels, value.unwrap_or_default() as f64);
        }
    }
    Ok(families.done())
}
